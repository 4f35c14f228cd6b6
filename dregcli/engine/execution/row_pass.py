"""One forward and one backward pass with unit weights over some rows, for any number of estimators."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self
from weakref import WeakSet

import torch
from torch import Tensor

from dregcli.engine.execution.batch import Batch, Named
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.models.base import DiagonalGaussian, Model
from dregcli.engine.rows import EveryRow, Selection
from dregcli.engine.tape import RowTape


@dataclass
class Sums:
    """Weighted sums over rows, as descent directions for the mean over the batch.

    Attributes:
        model: M gradients of theta, by parameter name.
        posterior: gradients by the posterior's own parameters, (P, B, Z) each; ``through_posterior`` turns them into
            gradients by phi.
    """

    model: list[Named]
    posterior: Named

    @classmethod
    def zero(cls, weights: RowWeights, batch: Batch) -> Self:
        """Return sums over no rows, to add to; possibly no row is added."""
        theta = batch.model.model_parameters()
        model = [{name: torch.zeros_like(each) for name, each in theta.items()} for _ in weights.model]
        arrays = weights.score if weights.path is None else weights.path
        pairs = 0 if arrays is None else len(arrays)
        parameters = batch.posterior.parameters()
        return cls(model, {name: each.new_zeros(pairs, *each.shape) for name, each in parameters.items()})

    def add(self, other: Self) -> None:
        """Add the sums over other rows."""
        for mine, added in zip(self.model, other.model, strict=True):
            _add(mine, added)
        self.add_posterior(other.posterior)

    def add_posterior(self, gradients: Named) -> None:
        """Add gradients by the posterior's parameters."""
        _add(self.posterior, gradients)


def _add(total: Named, gradients: Named) -> None:
    for name, gradient in gradients.items():
        total[name] = total[name].add_(gradient) if name in total else gradient


_CHECKED: WeakSet[Model] = WeakSet()
"""Models whose rows were checked: every dependence can be weighted. The graph is the same at every step."""


class RowPass:
    """Rows with their derivatives, unweighted.

    Args:
        batch: the examples.
        noise: noise of the rows, shape (K', B', Z).
        selection: the chosen rows; all samples of all examples if it is not given.
    """

    def __init__(self, batch: Batch, noise: Tensor, selection: Selection | None = None) -> None:
        self._selection = selection or EveryRow(noise.shape[0])
        self._noise = noise
        self._theta = batch.model.model_parameters()
        self._batch = batch
        taken = {name: self._selection.take(each) for name, each in batch.posterior.parameters().items()}
        self._posterior = DiagonalGaussian(**taken)
        self._latents = tuple(z.requires_grad_() for z in self._posterior.rsample(noise))
        self._tape = RowTape(self._selection, check=batch.model not in _CHECKED)
        with torch.enable_grad():
            self._log_p = batch.model.log_joint(batch.pixels, self._latents, self._tape)
        self.log_w = self._log_p.detach() - self._posterior.log_prob_at(noise)

    @cached_property
    def dz(self) -> tuple[Tensor, ...]:
        """The derivative d log w / d z, unweighted, (K', B', Z_layer) each, from the only backward pass."""
        by_log_p = self._tape.backward(self._log_p, self._latents)
        _CHECKED.add(self._batch.model)
        slopes = self._posterior.slope_at(self._noise)
        return tuple(of_p - of_q for of_p, of_q in zip(by_log_p, slopes, strict=True))

    def model_gradients(self, weights: Tensor) -> Named:
        """Compute theta's gradient with these row weights, shape (K', B')."""
        _ = self.dz
        with torch.no_grad():
            found = self._tape.contract(descent_weights(weights, self._batch), self._theta.values())
        return dict(zip(self._theta, found, strict=True))

    def path_sums(self, weights: Tensor) -> Named:
        """Compute the path's gradients by the posterior's parameters for row weights (P, K', B'), (P, B, Z) each."""
        descent = descent_weights(weights, self._batch)
        derivatives = self._posterior.path_derivatives(self._noise, self.dz)
        return {name: self._selection.sum(descent, each) for name, each in derivatives.items()}

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums that the weights request for model and path, from one backward pass."""
        path = {} if weights.path is None else self.path_sums(weights.path)
        return Sums([self.model_gradients(each) for each in weights.model], path)


def score_sums(batch: Batch, noise: Tensor, weights: Tensor) -> Named:
    """Compute the score's gradients by the posterior's parameters; they need no decoder.

    Args:
        batch: the examples.
        noise: noise of some samples, shape (K', B, Z).
        weights: weights of rows, shape (P, K', B).

    Returns:
        (P, B, Z) each.
    """
    descent = descent_weights(weights, batch)
    every = EveryRow(noise.shape[0])
    return {name: every.sum(descent, each) for name, each in batch.posterior.score_derivatives(noise).items()}


def descent_weights(weights: Tensor, batch: Batch) -> Tensor:
    """Turn weights of ascent into weights of descent for the mean over the batch, in the model's dtype."""
    return (weights * (-1.0 / batch.examples)).to(batch.posterior.loc.dtype)
