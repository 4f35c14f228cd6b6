"""One forward and one backward pass with unit weights over rows of the fast path, for any number of estimators."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents
from dregcli.engine.execution.batch import Named, Sums, descent_weights
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.rows import PLAIN_ROWS, EveryRow, Rows, Selection
from dregcli.engine.tape import RowTape


class TapedModel(Protocol):
    """What the fast path needs of a model."""

    @property
    def values_in_threads(self) -> bool:
        """Whether several threads can compute values of rows at once; not if compiled code takes part."""
        ...

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x, z), shape (K, B), nats; parameters meet rows in ``rows`` alone."""
        ...

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z), or p(z | c) for a model with a context, for pixels of shape (B, D)."""
        ...

    def model_parameters(self) -> Mapping[str, nn.Parameter]:
        """Return theta, by name."""
        ...

    def posterior_parameters(self) -> Mapping[str, nn.Parameter]:
        """Return phi, by name."""
        ...


@dataclass(frozen=True)
class GaussianExamples:
    """Examples with one diagonal Gaussian each.

    Attributes:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
        posterior: q(z | x) with its parameters held fixed.
    """

    model: TapedModel
    pixels: Tensor
    posterior: DiagonalGaussian


_CHECKED: WeakSet[TapedModel] = WeakSet()
"""Models whose rows were checked: every dependence can be weighted. The graph is the same at every step."""


class GaussianRowPass:
    """Rows with their derivatives, unweighted.

    Args:
        batch: the examples.
        noise: noise of the rows, shape (K', B', Z).
        selection: the chosen rows; all samples of all examples if it is not given.
    """

    def __init__(self, batch: GaussianExamples, noise: Tensor, selection: Selection | None = None) -> None:
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

    def model_gradients(self, weights: Tensor, prior: DiagonalGaussian | None = None) -> Named:
        """Compute theta's gradient with these row weights, shape (K', B').

        Args:
            weights: row weights.
            prior: another gradient by the prior's mean and scale than the weighted one.
        """
        _ = self.dz
        with torch.no_grad():
            descent = descent_weights(weights, self._batch.posterior.loc)
            found = self._tape.contract(descent, self._theta.values(), prior=prior)
        return dict(zip(self._theta, found, strict=True))

    @torch.no_grad()
    def _along_prior(self, rule: PriorRule, model: Tensor, square: Tensor) -> DiagonalGaussian:
        """Return the gradient by the prior's mean and scale, (B, Z) each, along samples of the prior; see the rule.

        Args:
            rule: the rule; with one latent, its samples move together and alone in the same way.
            model: weights of theta's gradient, (K', B').
            square: model - d model / d log w.
        """
        prior = self._tape.prior()
        assert prior is not None, "the model was asked for its faults before"
        (z,), (g,) = self._latents, self.dz
        e = (z.detach() - prior.loc) / prior.scale
        own = -e / prior.scale
        (of_q,) = self._posterior.slope_at(self._noise)
        of_p = of_q + g
        share = (self._posterior.scale / prior.scale).square().clamp(max=1.0) if rule.blended else torch.ones_like(e)
        along, less = share * (of_p - own), share * g
        loc = self._weighted(model, along - (1.0 - share) * own) - self._weighted(square, less)
        scale = (1.0 - share) * (e.square() - 1.0) / prior.scale + along * e
        return DiagonalGaussian(loc, self._weighted(model, scale) - self._weighted(square, less * e))

    def _weighted(self, weights: Tensor, values: Tensor) -> Tensor:
        descent = descent_weights(weights, self._batch.posterior.loc)
        return self._selection.sum(descent.unsqueeze(0), values)[0]

    def path_sums(self, weights: Tensor, scale: Tensor | None = None) -> Named:
        """Compute the path's gradients by the posterior's parameters, (P, B, Z) each.

        Args:
            weights: row weights, (P, K', B').
            scale: other row weights for the posterior's standard deviations.
        """
        like = self._batch.posterior.loc
        descent = descent_weights(weights, like)
        of = {"loc": descent, "scale": descent if scale is None else descent_weights(scale, like)}
        derivatives = self._posterior.path_derivatives(self._noise, self.dz)
        return {name: self._selection.sum(of[name], each) for name, each in derivatives.items()}

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums that the weights request for model and path, from one backward pass."""
        path = {} if weights.path is None else self.path_sums(weights.path, weights.path_scale)
        if weights.square is None:
            return Sums([self.model_gradients(each) for each in weights.model], path)
        found = [
            self.model_gradients(model, self._along_prior(rule, model, square) if rule else None)
            for model, square, rule in zip(weights.model, weights.square, weights.rules, strict=True)
        ]
        return Sums(found, path)

    def score_sums(self, weights: RowWeights) -> Named:
        """Compute the score's gradients by the posterior's parameters for all rows."""
        assert weights.score is not None
        return score_sums(self._batch, self._noise, weights.score)


def score_sums(batch: GaussianExamples, noise: Tensor, weights: Tensor) -> Named:
    """Compute the score's gradients by the posterior's parameters; they need no decoder.

    Args:
        batch: the examples.
        noise: noise of some samples, shape (K', B, Z).
        weights: weights of rows, shape (P, K', B).

    Returns:
        (P, B, Z) each.
    """
    descent = descent_weights(weights, batch.posterior.loc)
    every = EveryRow(noise.shape[0])
    return {name: every.sum(descent, each) for name, each in batch.posterior.score_derivatives(noise).items()}
