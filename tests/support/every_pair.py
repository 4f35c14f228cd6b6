"""Every pair of objective and estimator at the settings that are worth checking."""

from collections.abc import Iterable, Iterator

import torch

from dregcli.engine.estimators import ESTIMATORS
from dregcli.engine.objectives import OBJECTIVES
from dregcli.engine.pairs import Pair


def checked_pairs(k: int) -> Iterator[Pair]:
    """Yield every pair at every setting worth checking with ``k`` samples."""
    for objective in (setting for entry in OBJECTIVES.values() for setting in entry.settings(k)):
        for estimator in (setting for entry in ESTIMATORS.values() for setting in entry.settings()):
            pair = Pair(objective, estimator)
            if not pair.faults(k):
                yield pair


def pairs_of_different_weights(k: int, pairs: Iterable[Pair] | None = None) -> list[Pair]:
    """Return the first of all pairs that have the same weights: an executor sees nothing else of a pair.

    Args:
        k: samples per example.
        pairs: the pairs; all checked ones if they are not given.
    """
    log_w = 2.0 * torch.linspace(-4.0, 5.0, 7 * k, dtype=torch.float64).sin().reshape(k, -1)
    found: dict[tuple[object, ...], Pair] = {}
    for pair in checked_pairs(k) if pairs is None else pairs:
        terms, c = pair.at(log_w)
        arrays = torch.cat([c.model, c.path, c.score, terms.dmodel]).mul(1e9).round() + 0.0
        used = pair.uses_path, pair.uses_score, bool(pair.estimator.learned)
        found.setdefault((used, arrays.numpy().tobytes()), pair)
    return list(found.values())
