"""Sources of gradients to compare: differences between estimators on the same noise, batch by batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.diagnostics.references import Comparison, comparison_of
from dregcli.engine.draws import AddressedDraws
from dregcli.engine.dreams import DreamNoise, sleep_gradient
from dregcli.engine.estimators import Coefficients
from dregcli.engine.execution import Execution, WeighedRows
from dregcli.engine.execution.batch import Batch, Named, Sums
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair, require_finite
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward

Parts = Mapping[str, Tensor]
"""A vector in named one-dimensional parts."""


@dataclass(frozen=True)
class Draw:
    """One batch of independent noise.

    Attributes:
        differences: for each comparison the estimator's gradient minus the reference's. A part that is equal by
            construction, because both have the same weights, is left out.
        references: the whole gradient of each distinct reference, by parameter; empty if it is not requested.
    """

    differences: list[Parts]
    references: dict[Pair, Parts]


class GradientSource(Protocol):
    """A frozen model and fixed examples, whose gradients vary only with the noise of the samples."""

    k: int
    blocks: tuple[str, ...]

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """Compute the gradients of one batch; equal steps give equal gradients."""
        ...

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """Map batch means of differences, (M, P) each, to parameters of the model; the map is linear."""
        ...


@dataclass(frozen=True)
class StackedWeights:
    """The weights of several pairs at the same log-weights, or differences of such weights.

    Attributes:
        model: weights of theta's gradient, shape (P, K, B), float64.
        path: weights of the path, shape (P, K, B), float64.
        score: weights of the score, shape (P, K, B), float64.
        pathless: weights of the score of latents without a path, where other latents have one, shape (P, K, B),
            float64; None if all latents are alike.
        square: weights model - d model / d log w, shape (P, K, B), float64; None if they are not needed.
    """

    model: Tensor
    path: Tensor
    score: Tensor
    pathless: Tensor | None = None
    square: Tensor | None = None

    @classmethod
    def at(
        cls, pairs: Sequence[Pair], log_w: Tensor, *, mixed: bool = False, squares: bool = False
    ) -> "StackedWeights":
        """Compute the weights of pairs at log-weights of shape (K, B); each objective's terms are computed once.

        Raises:
            NotFinite: a pair has no finite weights at these log-weights.
        """
        exact = log_w.detach().double()
        terms = {objective: objective.terms(exact) for objective in dict.fromkeys(pair.objective for pair in pairs)}
        found = [pair.weights(terms[pair.objective]) for pair in pairs]
        stacked = cls(*(torch.stack([getattr(each, name) for each in found]) for name in ("model", "path", "score")))
        if mixed:
            stacked = replace(stacked, pathless=torch.stack([pair.pathless(terms[pair.objective]) for pair in pairs]))
        if squares:
            of_model = torch.stack([terms[pair.objective].dmodel for pair in pairs])
            stacked = replace(stacked, square=stacked.model - of_model)
        if not all(torch.isfinite(each).all() for each in (stacked.model, stacked.path, stacked.score)):
            for pair, each in zip(pairs, found, strict=True):
                require_finite(pair, (each.model, each.path, each.score))
        return stacked

    @classmethod
    def of(cls, weights: RowWeights) -> "StackedWeights":
        """Build the weights of pairs from an executor's row weights."""
        assert weights.path is not None
        assert weights.score is not None
        return cls(weights.model, weights.path, weights.score, weights.pathless, weights.square)

    def as_rows(self, rules: tuple[PriorRule | None, ...] = ()) -> RowWeights:
        """Return row weights for an executor; nothing is estimated beside the gradients.

        Args:
            rules: how each gradient of theta treats the prior; if there are any, all squares are needed.
        """
        nothing = self.model.new_empty(0, self.model.shape[2])
        return RowWeights(
            nothing, self.model, self.path, self.score, self.pathless, self.square if rules else None, rules
        )

    def __getitem__(self, rows: list[int]) -> "StackedWeights":
        """Return the weights of some pairs."""
        pathless = None if self.pathless is None else self.pathless[rows]
        square = None if self.square is None else self.square[rows]
        return StackedWeights(self.model[rows], self.path[rows], self.score[rows], pathless, square)

    def __sub__(self, other: "StackedWeights") -> "StackedWeights":
        """Return the differences, pair by pair, without squares."""
        pathless = self.pathless
        if pathless is not None and other.pathless is not None:
            pathless = pathless - other.pathless
        return StackedWeights(self.model - other.model, self.path - other.path, self.score - other.score, pathless)

    def differ(self) -> list[tuple[bool, bool, bool]]:
        """Return for each pair whether any weight of model, path and score is not 0."""
        flags = torch.stack([each.any(dim=2).any(dim=1) for each in (self.model, self.path, self.score)], dim=1)
        return [(bool(model), bool(path), bool(score)) for model, path, score in flags.tolist()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def one(self, i: int) -> Coefficients:
        """Return the weights of one pair."""
        return Coefficients(self.model[i], self.path[i], self.score[i])


def stacked_weigh(pairs: Sequence[Pair], *, mixed: bool, rules: tuple[PriorRule | None, ...] = ()) -> Weigh:
    """Return the function that computes row weights for pairs, with one gradient of theta and one of phi each.

    Args:
        pairs: the pairs.
        mixed: whether some latents have a path and others have none.
        rules: how each gradient of theta treats the prior, None for its score; empty if all follow it.
    """

    def weigh(log_w: Tensor, *, values: bool = True) -> RowWeights:
        return StackedWeights.at(pairs, log_w, mixed=mixed, squares=any(rules)).as_rows(rules if any(rules) else ())

    return weigh


def pairs_of(comparisons: Sequence[Comparison]) -> list[Pair]:
    """Return all pairs in comparisons, each once."""
    return list(dict.fromkeys(pair for each in comparisons for pair in (each.pair, each.reference)))


def differences(weights: StackedWeights, pairs: list[Pair], comparisons: Sequence[Comparison]) -> StackedWeights:
    """Return the weights of each comparison's pair minus its reference's, from the weights of all pairs."""
    ours = [pairs.index(each.pair) for each in comparisons]
    references = [pairs.index(each.reference) for each in comparisons]
    return weights[ours] - weights[references]


class ModelSource:
    """Gradients of a model of this program at fixed examples and pixels.

    With the pixels fixed, phi's gradient is a fixed linear map of the gradient by the posterior's own parameters (loc
    and scale of B examples). So only this smaller gradient is kept for each batch: a few thousand numbers for each
    estimator instead of all network weights, and no pass through the encoder.

    Args:
        model: frozen model.
        pixels: shape (B, D).
        k: samples per example.
        randomness: random numbers of the noise.
        execution: how gradients of the tested pairs are computed. Gradients of the references are always dense.
        rule: how theta's gradients of the tested pairs treat the prior; None for its score, which the references
            always have. With a rule, the parameters of the prior are tested.
    """

    def __init__(
        self,
        model: Model,
        pixels: Tensor,
        *,
        k: int,
        randomness: Randomness,
        execution: Execution | None = None,
        rule: PriorRule | None = None,
    ) -> None:
        self.k = k
        self._model = model
        self.rule = rule
        self._of_prior = frozenset(model.prior_parameters())
        self._pixels = pixels
        self._randomness = randomness
        self._execution = execution or Execution()
        self._batch: Batch | None = None
        self.blocks = tuple({**model.posterior_parameters(), **model.model_parameters()})

    def compared(self, pairs: Iterable[Pair]) -> list[Comparison]:
        """Return each pair with the reference that the model can take."""
        return [comparison_of(pair, self.k, lambda each: not self._model.faults(each)) for pair in pairs]

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """Compute one batch's gradients, by one forward and one backward pass for all comparisons.

        Raises:
            SpecError: the model cannot be trained by one of the pairs.
        """
        pairs = pairs_of(comparisons)
        self._model.require_pairs(pairs)
        draws = AddressedDraws(
            self._randomness,
            Stream.DIAGNOSTIC_NOISE,
            step,
            k=self.k,
            batch=self._pixels.shape[0],
            width=self._model.latent_width,
            screening=Stream.DIAGNOSTIC_SCREENING,
            dtype=self._pixels.dtype,
        )
        self._dreams = DreamNoise(
            self._randomness,
            Stream.DIAGNOSTIC_NOISE,
            step,
            batch=self._pixels.shape[0],
            width=self._model.latent_width,
            dtype=self._pixels.dtype,
        )
        batch = self._batch.drawn(draws) if self._batch else self._model.batch(self._pixels, draws)
        self._batch = batch
        wanted = list(dict.fromkeys(comparison.reference for comparison in comparisons))
        if self._execution.backward is not Backward.DENSE:
            return self._across(batch, comparisons, wanted, references=references)
        ruled = [self._rule_of(each) for each in comparisons]
        squares = (self.rule,) * len(pairs) if any(ruled) else ()
        rows = self._execution.rows(batch, stacked_weigh(pairs, mixed=batch.mixed, rules=squares))
        weights = StackedWeights.of(rows.weights)
        difference = differences(weights, pairs, comparisons)
        differ = difference.differ()
        models = [i for i, (model, _, _) in enumerate(differ) if model and not ruled[i]]
        sums = rows.sums(replace(difference.as_rows(), model=difference.model[models]))
        found: list[Parts] = []
        for i, (_, path, score) in enumerate(differ):
            parts = {name: each[i].flatten() for name, each in sums.posterior.items()} if path or score else {}
            if i in models:
                of_model = sums.model[models.index(i)]
                parts = added(parts, _flat(of_model))
            found.append(parts)
        if any(ruled):
            by_rule = [i for i, rule in enumerate(ruled) if rule]
            same = [not differ[i][0] for i in by_rule]
            of_theta = self._by_rule(rows, weights, pairs, [comparisons[i] for i in by_rule], same)
            for i, parts in zip(by_rule, of_theta, strict=True):
                found[i] = added(found[i], parts)
        if not references:
            return Draw(found, {})
        whole = rows.sums(weights[[pairs.index(pair) for pair in wanted]].as_rows())
        return Draw(found, self._whole(batch, wanted, whole))

    def _rule_of(self, comparison: Comparison) -> PriorRule | None:
        """Return the rule of a comparison's pair; None if its gradient of theta uses only some of the samples."""
        return self.rule if comparison.pair.keeps_theta else None

    def _by_rule(
        self,
        rows: WeighedRows,
        weights: StackedWeights,
        pairs: list[Pair],
        comparisons: Sequence[Comparison],
        same: Sequence[bool],
    ) -> list[Parts]:
        """Return theta's gradient of each comparison's pair by the rule, minus the reference's by the score.

        Args:
            rows: the rows of the batch.
            weights: weights of all pairs, with squares.
            pairs: the pairs.
            comparisons: the comparisons.
            same: whether both pairs of a comparison have the same weights for theta; then only the prior's
                parameters have a difference, and pairs with the same reference have the same one.
        """
        tested = [each.reference if alike else each.pair for each, alike in zip(comparisons, same, strict=True)]
        ours = list(dict.fromkeys(tested))
        base = list(dict.fromkeys(each.reference for each in comparisons))
        asked = weights[[pairs.index(each) for each in (*ours, *base)]]
        rules = (*[self.rule] * len(ours), *[None] * len(base))
        sums = rows.sums(replace(asked.as_rows(rules), path=None, score=None, pathless=None))
        found: list[Parts] = []
        for pair, each, alike in zip(tested, comparisons, same, strict=True):
            one, other = sums.model[ours.index(pair)], sums.model[len(ours) + base.index(each.reference)]
            names = [name for name in one if name in self._of_prior or not alike]
            found.append({name: (one[name] - other[name]).flatten() for name in names})
        return found

    def _across(
        self, batch: Batch, comparisons: Sequence[Comparison], wanted: list[Pair], *, references: bool
    ) -> Draw:
        """Compute differences between two executors' gradients; no part is equal by construction."""
        dense = replace(self._execution, backward=Backward.DENSE)
        pairs, rules = [each.pair for each in comparisons], tuple(self._rule_of(each) for each in comparisons)
        tested = self._execution.rows(batch, stacked_weigh(pairs, mixed=batch.mixed, rules=rules))
        reference = dense.rows(batch, stacked_weigh(wanted, mixed=batch.mixed))
        ours, base = tested.sums(tested.weights), reference.sums(reference.weights)
        found: list[Parts] = []
        for i, each in enumerate(comparisons):
            j = wanted.index(each.reference)
            posterior = {name: (part[i] - base.posterior[name][j]).flatten() for name, part in ours.posterior.items()}
            model = {name: (part - base.model[j][name]).flatten() for name, part in ours.model[i].items()}
            found.append(added(posterior, model))
        return Draw(found, self._whole(batch, wanted, base) if references else {})

    def _whole(self, batch: Batch, pairs: list[Pair], sums: Sums) -> dict[Pair, Parts]:
        """Turn sums into whole gradients by parameter, with the gradients of dreams.

        Dreams need no weights, so they are equal for a pair and its reference, and no difference has them.
        """
        every = batch.through_posterior(sums.posterior) or [{} for _ in pairs]
        asleep: Named = {}
        if any(pair.objective.dreams for pair in pairs):
            asleep = sleep_gradient(self._model, self._model.dream(self._pixels, self._dreams))
        return {
            pair: added(
                {name: part + pair.objective.dreams * asleep[name].flatten() for name, part in _flat(phi).items()}
                if asleep
                else _flat(phi),
                _flat(model),
            )
            for pair, phi, model in zip(pairs, every, sums.model, strict=True)
        }

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """Map batch means of differences to the parameters of q and p.

        Raises:
            RuntimeError: nothing was drawn yet.
        """
        if self._batch is None:
            message = "there are no differences before any batch was drawn"
            raise RuntimeError(message)
        shapes = dict(self._batch.shapes)
        inner: Named = {name: means[name].reshape(-1, *shape) for name, shape in shapes.items() if name in means}
        found: dict[str, Tensor] = {}
        if inner:
            every = [_flat(each) for each in self._batch.through_posterior(inner)]
            found = {name: torch.stack([each[name] for each in every]) for name in every[0]}
        return found | {name: rows for name, rows in means.items() if name not in shapes}


def added(one: Parts, other: Parts) -> Parts:
    """Return the parts of both; a part of both, of a parameter that q and p share, is the sum."""
    return {**one, **{name: one[name] + each if name in one else each for name, each in other.items()}}


def _flat(gradients: Named) -> Parts:
    return {name: each.flatten() for name, each in gradients.items()}
