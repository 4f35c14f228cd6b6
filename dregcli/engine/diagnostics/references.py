"""The pairs that others are compared with: an unbiased pair of the same objective, which the model can take."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.engine.estimators import Estimator
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.reinforce import Reinforce
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.vimco import Vimco
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.engine.words import word_of
from dregcli.names import Promise

Takes = Callable[[Pair], bool]
"""Whether a model can be trained by a pair: without ``rsample`` a posterior takes only pairs without a path."""

_OF_COMPARISONS: Final = (Reparam(), Dreg(), Vimco(), Reinforce())
"""References of a bias check, the best one first: the derivative of the value itself, or what has the least noise."""

_OF_DIRECTIONS: Final = (Dreg(), Vimco(), Reparam(), Reinforce())
"""Pairs that show the direction of a gradient, those with the least noise first; rws has reparam alone if no latent
has a path, which then is its own update."""


@dataclass(frozen=True)
class Comparison:
    """A pair and the reference pair that it is compared with, with the same objective."""

    pair: Pair
    reference: Pair


def every_pair(_: Pair) -> bool:
    """Return True: a model whose latents all have ``rsample`` takes every pair."""
    return True


def comparison_of(pair: Pair, k: int, takes: Takes = every_pair) -> Comparison:
    """Compare a pair with the best reference that has another estimator.

    Where samples have a path, this is reparam, and dreg for reparam itself. Where none has, it is vimco, and
    reinforce for vimco itself. A pair without such a reference is its own one, with identical weights: so is rws's
    update without a path, which is not the derivative of anything that could be computed in another way.

    Args:
        pair: the pair to check.
        k: samples per example, K.
        takes: whether the model can be trained by a pair.
    """
    others = [each for each in _OF_COMPARISONS if type(each) is not type(pair.estimator)]
    return Comparison(pair, _first(pair.objective, map(pair.estimator.with_its_target, others), k, takes) or pair)


def without_reference(comparisons: Iterable[Comparison]) -> list[str]:
    """Return for each pair that would be compared with itself, in words, that nothing can be found out."""
    return [
        f"'{each.pair.word}' has nothing to be compared with: the model takes no other unbiased estimator of "
        f"'{word_of(each.pair.objective)}' at this K."
        for each in comparisons
        if each.pair == each.reference
    ]


def direction_of(objective: Objective, k: int, takes: Takes) -> Pair | None:
    """Return the unbiased pair with the least noise that shows the direction of an objective's gradient.

    Returns:
        The pair; None if the model takes no unbiased pair of the objective with k samples.
    """
    return _first(objective, _OF_DIRECTIONS, k, takes)


def own_direction_of(pair: Pair, k: int, takes: Takes) -> Pair | None:
    """Return the same for a pair's own target, which an estimator can give phi in the place of the objective's."""
    return _first(pair.objective, map(pair.estimator.with_its_target, _OF_DIRECTIONS), k, takes)


def directions_of(pairs: Sequence[Pair], k: int, takes: Takes) -> list[Pair]:
    """Return for each objective of some pairs the pair that shows its direction, or one of the pairs without it."""
    objectives = {pair.objective: pair for pair in reversed(pairs)}
    return [
        direction_of(each, k, takes) or objectives[each] for each in dict.fromkeys(pair.objective for pair in pairs)
    ]


def _first(objective: Objective, estimators: Iterable[Estimator], k: int, takes: Takes) -> Pair | None:
    for estimator in estimators:
        pair = Pair(objective, estimator)
        is_defined = estimator.refusal(objective) is None and k >= estimator.smallest_k(objective)
        if is_defined and pair.promise(k) is Promise.UNBIASED and takes(pair):
            return pair
    return None
