"""Numbers of a shorter experiment."""

import math
from collections.abc import Iterable, Mapping, Sequence


def whole(value: int, share: float, *, least: int = 1) -> int:
    """Return a share of a whole number, rounded, but at least ``least``; 0, which means never, stays 0."""
    return max(least, round(value * share)) if value else 0


def fewer_each(values: Iterable[int], share: float, *, least: int = 1) -> dict[int, int]:
    """Return a share of each whole number; see ``whole``. Different numbers stay different, in the same order."""
    found: dict[int, int] = {}
    last = -1
    for value in sorted(set(values)):
        found[value] = last = max(whole(value, share, least=min(least, value)), last + 1)
    return found


def fewer_seeds(seeds: Sequence[int], share: float, *, least: int = 1) -> tuple[int, ...]:
    """Return the first seeds: the root of the share of them."""
    return tuple(seeds[: max(min(least, len(seeds)), whole(len(seeds), math.sqrt(share)))])


def fewer_samples(least: Mapping[int, int], share: float, *, multiple: int = 1) -> dict[int, int]:
    """Return a smaller K for each K: the root of the share of it, as a multiple of ``multiple``.

    One sample stays one. More samples stay at least two, and different K stay different, in the same order.

    Args:
        least: the smallest number that may take a K's place, by K.
        share: share of the steps.
        multiple: the smaller K are multiples of it.
    """
    found: dict[int, int] = {}
    last = 0
    for k in sorted(least):
        if k == 1:
            new = 1
        else:
            new = max(2, least[k], round(k * math.sqrt(share)), last + 1)
            new = min(k, -(-new // multiple) * multiple)
        found[k] = last = new
    return found
