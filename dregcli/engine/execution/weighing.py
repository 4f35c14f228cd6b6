"""What estimators make of log-weights, in the form executors apply: weight arrays of rows, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from dregcli.engine.estimators import Coefficients
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.engine.weights import effective_sample_size, log_mean_exp


@dataclass(frozen=True)
class RowWeights:
    """Functions of one batch's log-weights that gradients are made with; float64.

    Attributes:
        value: numbers of each example to estimate beside the gradients, (V, B).
        model: weights of rows in M gradients of theta, (M, K, B).
        path: weights of rows in the path of P gradients of phi, (P, K, B); None where they are 0 by construction.
        score: the same of the score.
    """

    value: Tensor
    model: Tensor
    path: Tensor | None
    score: Tensor | None

    def arrays(self) -> tuple[Tensor | None, ...]:
        """All of them; the last axis is the examples'."""
        return self.value, self.model, self.path, self.score

    def samples(self, first: int, count: int) -> Self:
        """Those of ``count`` samples from the ``first`` on; the values are of all of them."""
        parts = (None if each is None else each[:, first : first + count] for each in self.arrays()[1:])
        return type(self)(self.value, *parts)  # pyright: ignore[reportArgumentType]

    def rows(self, k: Tensor, b: Tensor, inverse: Tensor) -> Self:
        """Those of some rows (k, b), times ``inverse`` (R,), as one sample of R examples; without a score."""
        path = None if self.path is None else (self.path[:, k, b] * inverse).unsqueeze(1)
        return type(self)(self.value, (self.model[:, k, b] * inverse).unsqueeze(1), path, None)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of consecutive examples together."""
        arrays = zip(*(part.arrays() for part in parts), strict=True)
        whole = (None if each[0] is None else torch.cat(list(each), dim=-1) for each in arrays)
        return cls(*whole)  # pyright: ignore[reportArgumentType]

    def corrected(self, examples: Tensor, rate: float, exact: Self) -> Self:
        """Those of some examples moved to what has their expectation: w + (exact - w) / rate.

        Args:
            examples: chosen with probability ``rate``, int64.
            rate: of choosing.
            exact: of these examples.
        """
        moved: list[Tensor | None] = []
        for mine, theirs in zip(self.arrays(), exact.arrays(), strict=True):
            if mine is None or theirs is None:
                moved.append(None)
                continue
            chosen = mine[..., examples]
            moved.append(mine.index_copy(mine.ndim - 1, examples, torch.lerp(chosen, theirs, 1.0 / rate)))
        return type(self)(*moved)  # pyright: ignore[reportArgumentType]


class Weigh(Protocol):
    """Makes row weights of log-weights. Examples do not mix: it is called with some of them, too."""

    def __call__(self, log_w: Tensor, *, values: bool = True) -> RowWeights:
        """Row weights at log-weights of shape (K, B); without ``values`` V is 0."""
        ...


@dataclass(frozen=True)
class PairWeigh:
    """The weights of pairs: of phi one gradient a pair, then the first one's derivatives by what it learns.

    Attributes:
        pairs: at least one.
        train_model: whether theta's gradients are wanted, one for each distinct objective.
        learning: whether the derivatives are wanted.
        known: objectives whose gradient of theta is there already.
        at_once: rows that are weighed together, about: 2 MiB an array.
    """

    pairs: tuple[Pair, ...]
    train_model: bool = True
    learning: bool = True
    known: frozenset[Objective] = frozenset()
    at_once: int = 2**18

    def __call__(self, log_w: Tensor, *, values: bool = True) -> RowWeights:
        """Values are the bound, the first objective's value and the effective sample size.

        All is computed in float64 whatever the log-weights are: v - v^2 subtracted from v leaves v^2 with an error of
        eps * v, which in float32 swamps v^2 once K is large. The arrays are small beside the decoder's rows; a dozen
        of them at K = 65,536 are not, so that they are made for some examples at a time.
        """
        examples = max(1, self.at_once // len(log_w))
        parts = [self._weights(part, values=values) for part in torch.split(log_w.detach(), examples, dim=1)]
        return parts[0] if len(parts) == 1 else RowWeights.joined(parts)

    def _weights(self, log_w: Tensor, *, values: bool) -> RowWeights:
        log_w = log_w.double()
        terms = {objective: objective.terms(log_w) for objective in dict.fromkeys(p.objective for p in self.pairs)}
        first = terms[self.pairs[0].objective]
        found = [pair.weights(terms[pair.objective]) for pair in self.pairs]
        # Pairs of one objective have the same; where one does not, by a fault of its own, the first one's is taken.
        models = {pair.objective: each.model for pair, each in reversed(list(zip(self.pairs, found, strict=True)))}
        if self.learning:
            found += self.pairs[0].estimator.derivatives(self.pairs[0].objective, first).values()
        wanted = [models[each] for each in terms if each not in self.known] if self.train_model else []
        numbers = [log_mean_exp(log_w), first.value, effective_sample_size(log_w)] if values else []
        return RowWeights(
            torch.stack(numbers) if values else log_w.new_empty(0, log_w.shape[1]),
            torch.stack(wanted) if wanted else log_w.new_empty(0, *log_w.shape),
            _stacked(found, "path") if any(pair.uses_path for pair in self.pairs) else None,
            _stacked(found, "score") if any(pair.uses_score for pair in self.pairs) else None,
        )


def _stacked(found: Sequence[Coefficients], name: str) -> Tensor:
    return torch.stack([getattr(each, name) for each in found])
