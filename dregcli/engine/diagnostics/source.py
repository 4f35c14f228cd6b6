"""Where gradients to compare come from: differences between estimators on the same noise, batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.estimators import Coefficients
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.gradients import RowPass
from dregcli.engine.models.base import LatentModel
from dregcli.engine.pairs import Pair, require_finite
from dregcli.engine.randomness import Randomness, Stream

Parts = Mapping[str, Tensor]
"""A vector in named parts, each of one dimension."""


@dataclass(frozen=True)
class Comparison:
    """An estimator and what it is compared with, of the same objective."""

    pair: Pair
    reference: Pair


def comparison_of(pair: Pair) -> Comparison:
    """An estimator against its objective's reparam; reparam itself against dreg."""
    reference = Dreg() if isinstance(pair.estimator, Reparam) else Reparam()
    return Comparison(pair, Pair(pair.objective, reference))


@dataclass(frozen=True)
class Draw:
    """One batch of independent noise.

    Attributes:
        differences: for each comparison the estimator's gradient less the reference's. A part that is equal by
            construction is left out: the weights that make it are the same numbers.
        references: the gradient of each distinct reference, whole and by parameter; empty unless asked for.
    """

    differences: list[Parts]
    references: dict[Pair, Parts]


class GradientSource(Protocol):
    """A frozen model and fixed examples, whose gradients vary with the noise of the samples alone."""

    k: int
    blocks: tuple[str, ...]

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """The gradients of one batch, the same for the same step."""
        ...

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """Batch means of differences, (M, P) each, by parameter of the model: a linear map."""
        ...


def weights_that_differ(one: Coefficients, other: Coefficients) -> tuple[Coefficients, bool, bool, bool]:
    """The difference of two sets of weights, and which of model, path and score differ at all."""
    difference = Coefficients(one.model - other.model, one.path - other.path, one.score - other.score)
    model, path, score = (bool(each.any()) for each in (difference.model, difference.path, difference.score))
    return difference, model, path, score


class ModelSource:
    """Gradients of a model of this program at fixed examples and pixels.

    With the pixels fixed, phi's gradient is a fixed linear map of the gradient by the posterior's own parameters
    (loc and scale of B examples), so that is what is kept of each batch: a few thousand numbers for each estimator
    instead of all weights, and no pass through the encoder.

    Args:
        model: frozen.
        pixels: shape (B, D).
        k: samples per example.
        randomness: addresses the noise.
    """

    def __init__(self, model: LatentModel, pixels: Tensor, *, k: int, randomness: Randomness) -> None:
        self.k = k
        self._model = model
        self._pixels = pixels
        self._randomness = randomness
        self._live = model.posterior(pixels)
        self._leaves = self._live.as_leaves()
        self._phi = model.posterior_parameters()
        self.blocks = (*self._phi, *model.model_parameters())

    def rows(self, step: int, stream: Stream = Stream.DIAGNOSTIC_NOISE) -> RowPass:
        """The pass over all rows of one batch."""
        batch, width = self._pixels.shape[0], self._model.latent_width
        noise = self._randomness.normal(stream, step, k=self.k, batch=batch, width=width)
        return RowPass(self._model, self._pixels, noise.to(self._pixels.dtype), posterior=self._leaves)

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """The gradients of one batch, from one forward and one backward pass for all comparisons."""
        rows = self.rows(step)
        weights: dict[Pair, Coefficients] = {}
        for comparison in comparisons:
            for pair in (comparison.pair, comparison.reference):
                if pair not in weights:
                    _, found = pair.at(rows.log_w)
                    require_finite(pair, (found.model, found.path, found.score))
                    weights[pair] = found
        differences: list[Parts] = []
        for comparison in comparisons:
            difference, model, path, score = weights_that_differ(
                weights[comparison.pair], weights[comparison.reference]
            )
            parts: dict[str, Tensor] = {}
            if path or score:
                parts |= rows.posterior_gradients(difference, path=path, score=score)
            if model:
                parts |= rows.model_gradients(difference.model)
            differences.append({name: part.flatten() for name, part in parts.items()})
        if not references:
            return Draw(differences, {})
        found = dict.fromkeys(comparison.reference for comparison in comparisons)
        return Draw(differences, {pair: self._whole(rows, weights[pair]) for pair in found})

    def _whole(self, rows: RowPass, weights: Coefficients) -> Parts:
        by_posterior: dict[str, Tensor] = {
            name: part[None] for name, part in rows.posterior_gradients(weights).items()
        }
        phi = {name: part[0] for name, part in self._through_encoder(by_posterior).items()}
        return phi | {name: part.flatten() for name, part in rows.model_gradients(weights.model).items()}

    def _through_encoder(self, by_posterior: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients by the posterior's parameters, (M, B, Z) each, as gradients by phi, (M, P) each."""
        outputs = self._live.parameters()
        phi = list(self._phi.values())
        rows = [
            torch.autograd.grad(
                [outputs[name] for name in by_posterior],
                phi,
                [each[i] for each in by_posterior.values()],
                retain_graph=True,
            )
            for i in range(len(next(iter(by_posterior.values()))))
        ]
        stacked = (torch.stack([part.flatten() for part in column]) for column in zip(*rows, strict=True))
        return dict(zip(self._phi, stacked, strict=True))

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """The batch means of differences by parameter of encoder and decoder."""
        shapes = {name: value.shape for name, value in self._live.parameters().items()}
        by_posterior: dict[str, Tensor] = {
            name: means[name].unflatten(1, shape) for name, shape in shapes.items() if name in means
        }
        found = self._through_encoder(by_posterior) if by_posterior else {}
        return found | {name: rows for name, rows in means.items() if name not in shapes}
