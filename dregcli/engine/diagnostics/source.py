"""Where gradients to compare come from: differences between estimators on the same noise, batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.estimators import Coefficients
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.gradients import RowPass, through_posterior
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


@dataclass(frozen=True)
class StackedWeights:
    """The weights of several pairs at the same log-weights, or differences of such.

    Attributes:
        model: shape (P, K, B), float64.
        path: shape (P, K, B), float64.
        score: shape (P, K, B), float64.
    """

    model: Tensor
    path: Tensor
    score: Tensor

    @classmethod
    def at(cls, pairs: Sequence[Pair], log_w: Tensor) -> "StackedWeights":
        """The weights of pairs at log-weights of shape (K, B); each objective's terms are computed once.

        Raises:
            NotFinite: a pair has none that are finite at these log-weights.
        """
        exact = log_w.detach().double()
        terms = {objective: objective.terms(exact) for objective in dict.fromkeys(pair.objective for pair in pairs)}
        found = [pair.weights(terms[pair.objective]) for pair in pairs]
        stacked = cls(*(torch.stack([getattr(each, name) for each in found]) for name in ("model", "path", "score")))
        if not all(torch.isfinite(each).all() for each in (stacked.model, stacked.path, stacked.score)):
            for pair, each in zip(pairs, found, strict=True):
                require_finite(pair, (each.model, each.path, each.score))
        return stacked

    def __getitem__(self, rows: list[int]) -> "StackedWeights":
        """Those of some of the pairs."""
        return StackedWeights(self.model[rows], self.path[rows], self.score[rows])

    def __sub__(self, other: "StackedWeights") -> "StackedWeights":
        """The differences, pair by pair."""
        return StackedWeights(self.model - other.model, self.path - other.path, self.score - other.score)

    def differ(self) -> list[tuple[bool, bool, bool]]:
        """For each pair, whether there is any weight of model, path and score that is not 0."""
        flags = torch.stack([each.any(dim=2).any(dim=1) for each in (self.model, self.path, self.score)], dim=1)
        return [(bool(model), bool(path), bool(score)) for model, path, score in flags.tolist()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def one(self, i: int) -> Coefficients:
        """Those of one pair."""
        return Coefficients(self.model[i], self.path[i], self.score[i])


def pairs_of(comparisons: Sequence[Comparison]) -> list[Pair]:
    """All pairs in comparisons, each once."""
    return list(dict.fromkeys(pair for each in comparisons for pair in (each.pair, each.reference)))


def differences(weights: StackedWeights, pairs: list[Pair], comparisons: Sequence[Comparison]) -> StackedWeights:
    """The weights of each comparison's pair less those of its reference, from those of all pairs."""
    ours = [pairs.index(each.pair) for each in comparisons]
    theirs = [pairs.index(each.reference) for each in comparisons]
    return weights[ours] - weights[theirs]


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
        self._rows = self._live.by_row(k)
        self._phi = model.posterior_parameters()
        self.blocks = (*self._phi, *model.model_parameters())

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """The gradients of one batch, from one forward and one backward pass for all comparisons."""
        batch, width = self._pixels.shape[0], self._model.latent_width
        noise = self._randomness.normal(Stream.DIAGNOSTIC_NOISE, step, k=self.k, batch=batch, width=width)
        rows = RowPass(self._model, self._pixels, noise.to(self._pixels.dtype), posterior=self._rows)
        pairs = pairs_of(comparisons)
        weights = StackedWeights.at(pairs, rows.log_w)
        difference = differences(weights, pairs, comparisons)
        sums = rows.posterior_sums(difference.path, difference.score)
        found: list[Parts] = []
        for i, (model, path, score) in enumerate(difference.differ()):
            parts = {name: each[i].flatten() for name, each in sums.items()} if path or score else {}
            if model:
                of_model = rows.model_gradients(difference.model[i])
                parts |= {name: part.flatten() for name, part in of_model.items()}
            found.append(parts)
        if not references:
            return Draw(found, {})
        wanted = list(dict.fromkeys(comparison.reference for comparison in comparisons))
        of_references = weights[[pairs.index(pair) for pair in wanted]]
        by_posterior = rows.posterior_sums(of_references.path, of_references.score)
        phi = self._through_encoder(by_posterior)
        whole: dict[Pair, Parts] = {}
        for i, pair in enumerate(wanted):
            theta = rows.model_gradients(weights.model[pairs.index(pair)])
            whole[pair] = {name: each[i] for name, each in phi.items()} | {
                name: part.flatten() for name, part in theta.items()
            }
        return Draw(found, whole)

    def _through_encoder(self, by_posterior: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients by the posterior's parameters, (M, B, Z) each, as gradients by phi, (M, P) each."""
        rows = through_posterior(self._live, self._phi, by_posterior)
        return {name: torch.stack([row[name].flatten() for row in rows]) for name in self._phi}

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """The batch means of differences by parameter of encoder and decoder."""
        shapes = {name: value.shape for name, value in self._live.parameters().items()}
        by_posterior: dict[str, Tensor] = {
            name: means[name].unflatten(1, shape) for name, shape in shapes.items() if name in means
        }
        found = self._through_encoder(by_posterior) if by_posterior else {}
        return found | {name: rows for name, rows in means.items() if name not in shapes}
