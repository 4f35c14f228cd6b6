"""Every pair of objective and estimator at the settings that are worth checking."""

from collections.abc import Iterator

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
