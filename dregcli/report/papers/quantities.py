"""What a panel of trained models may show: quantities of runs at the end, or along training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dregcli.columns import TrackedColumn
from dregcli.names import Split
from dregcli.report.aggregate import Aggregate
from dregcli.report.evaluated import Evaluated
from dregcli.report.groups import Group, RunRow
from dregcli.report.series import Series, series

_NATS: Final = "nats per example (larger is better)"
_SPLITS: Final = {Split.TRAIN: "training", Split.VALID: "validation", Split.TEST: "test"}

_PARTS: Final = {"encoder": "posterior", "decoder": "model"}
"""Names of the networks in columns of metrics."""


@dataclass(frozen=True)
class Wanted:
    """The evaluation that counts.

    Attributes:
        split: the split.
        k: samples per example.
        n: number of examples.
    """

    split: Split
    k: int
    n: int


@dataclass(frozen=True)
class Quantity:
    """A quantity of trained models.

    Attributes:
        name: what it is called; ``{network}``, ``{split}`` and ``{k}`` stand for the network and the evaluation.
        unit: its unit, for an axis.
        is_log: whether its axis is logarithmic.
        at_end: returns the mean over seeds at the end of training, given the network and the evaluation.
        along: returns the course of one run along training, given the network; None if there is none.
        floor: returns the value of pure noise, given the network; None if there is none.
        needs_evaluation: whether it is the result of an evaluation after training.
        is_tracked: whether runs must track their estimator for it.
        split: the split of which runs must compute the bound; None if it is no bound of theirs. The bounds of two
            lines can be compared seed by seed.
    """

    name: str
    unit: str
    at_end: Callable[[Group, str, Wanted | None], Aggregate | None]
    along: Callable[[RunRow, str], Series | None] | None = None
    is_log: bool = False
    needs_evaluation: bool = False
    is_tracked: bool = False
    split: Split | None = None
    floor: Callable[[Group, str], float | None] = lambda _, __: None

    def called(self, network: str, wanted: Wanted | None) -> str:
        """Return its name."""
        of_evaluation = {} if wanted is None else {"split": _SPLITS[wanted.split], "k": f"{wanted.k:,}"}
        return self.name.format(network=network, **of_evaluation)


def evaluated(group: Group, wanted: Wanted | None) -> Evaluated | None:
    """Return the evaluation of a group that counts, at the end of each run's training; None if there is none."""
    return None if wanted is None else group.evaluated(wanted.split.value, wanted.k, 0, wanted.n)


def _bound(split: Split) -> Quantity:
    def course(row: RunRow, _: str) -> Series | None:
        return series(row.metrics, split, "bound")

    return Quantity(
        f"{_SPLITS[split]} bound",
        _NATS,
        lambda group, _, __: group.bound(split),
        None if split is Split.TEST else course,
        split=split,
    )


def _tracked(statistic: str) -> Quantity:
    def course(row: RunRow, network: str) -> Series | None:
        word = str(row.spec["estimator"])
        columns = (TrackedColumn(word, _PARTS[network], statistic, windowed).name for windowed in (True, False))
        found = (series(row.metrics, Split.TRAIN, column) for column in columns)
        return next((each for each in found if each is not None), None)

    def floor(group: Group, network: str) -> float | None:
        name = f"{_PARTS[network]}_{statistic}"
        return group.tracked_floor(f"{name}_window") or group.tracked_floor(name)

    def at_end(group: Group, network: str, _: Wanted | None) -> Aggregate | None:
        mine = group.tracked().get(str(group.spec["estimator"]), {})
        name = f"{_PARTS[network]}_{statistic}"
        return mine.get(f"{name}_window") or mine.get(name)

    words = {
        "variance": ("variance of the {network}'s gradient", "squared nats per squared unit"),
        "snr": ("SNR of the {network}'s gradient", "mean of |mean| / sd"),
    }
    return Quantity(*words[statistic], at_end, course, is_log=True, is_tracked=True, floor=floor)


def _log_likelihood(group: Group, _: str, wanted: Wanted | None) -> Aggregate | None:
    found = evaluated(group, wanted)
    return found.bound if found else None


def _active_units(group: Group, _: str, wanted: Wanted | None) -> Aggregate | None:
    found = evaluated(group, wanted)
    return found.active_units if found else None


QUANTITIES: Final[Mapping[str, Quantity]] = {
    "bound-train": _bound(Split.TRAIN),
    "bound-valid": _bound(Split.VALID),
    "bound-test": _bound(Split.TEST),
    "log-likelihood": Quantity("{split} log p(x) with {k} samples", _NATS, _log_likelihood, needs_evaluation=True),
    "active-units": Quantity(
        "active units of the {split} split", "number of latents", _active_units, needs_evaluation=True
    ),
    "variance": _tracked("variance"),
    "snr": _tracked("snr"),
}
"""By the word for ``y`` of a panel."""
