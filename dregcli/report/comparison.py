"""Which numbers of which runs may be compared, and what comes of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from dregcli.describe import seen_as
from dregcli.names import RunStatus, Split
from dregcli.report.groups import Aggregate, Group, RunRow, aggregate, number
from dregcli.report.paired import Paired, all_pairs


@dataclass(frozen=True)
class Measure:
    """What a bound is of: two are compared where all of this is equal.

    Attributes:
        kind: ``evaluation`` by ``dreg eval``, or the ``final`` bound of training.
        split: of the data.
        k: samples per example.
        seed: of pixels and noise.
        examples: how many, where it is known.
        task: what is modelled.
        binarisation: how intensities become pixels.
        likelihood: of the pixels.
        split_hash: SHA-256 of the split's stored values; where it is not known, of all the data.
    """

    kind: Literal["evaluation", "final"]
    split: str
    k: int
    seed: int
    examples: int | None
    task: str
    binarisation: str
    likelihood: str
    split_hash: str

    @property
    def told(self) -> str:
        """In words."""
        what = "bound by dreg eval" if self.kind == "evaluation" else "final bound"
        few = f", {self.examples:,} examples" if self.examples is not None else ""
        return f"{self.split} {what} at K={self.k:,}{few}"

    @property
    def rank(self) -> tuple[int, int, int]:
        """What orders measures, the one that says most first."""
        splits = [Split.TEST.value, Split.VALID.value, Split.TRAIN.value]
        return splits.index(self.split), int(self.kind == "final"), -self.k


def measures_of(row: RunRow) -> dict[Measure, float]:
    """Every bound of a completed run that can be compared, nats per example.

    Of evaluations those of its last step, if they are numbers; of repeats the newest.
    """
    if row.status is not RunStatus.COMPLETED:
        return {}
    spec = row.spec
    of_run = seen_as(spec)
    found: dict[Measure, float] = {}
    for split in Split:
        if (value := row.bound(split)) is not None:
            key = Measure("final", split.value, spec["k"], spec["eval_seed"], None, *of_run, split_hash(row, split))
            found[key] = value
    for attrs in row.evals:
        if attrs["checkpoint"] == row.summary.get("step"):
            data = attrs.get("split_hash") or spec["data_checksum"]
            key = Measure("evaluation", attrs["split"], attrs["k"], attrs["seed"], attrs["n"], *of_run, data)
            if (value := number(attrs["value"])) is not None:
                found[key] = value
    return found


def split_hash(row: RunRow, split: Split) -> str:
    """Of a split's stored values, or of all the data where the run does not tell."""
    return row.split_hashes.get(split.value) or row.spec["data_checksum"]


_DECIDED: Final = ("higher", "lower")


@dataclass(frozen=True)
class Comparison:
    """Groups by one measure.

    Attributes:
        measure: what is compared.
        values: by group's key and seed, nats per example.
        pairs: every two of them.
        apart: groups that have no such number, and why in words.
    """

    measure: Measure
    values: Mapping[str, Mapping[int, float]]
    pairs: Sequence[Paired]
    apart: Mapping[str, str]

    @property
    def best(self) -> str:
        """The key of the group with the highest mean of those that the test finds no other higher than.

        Means may be over different seeds, of which some are luckier than others; so a group that no test is of is the
        best only where no group is tested.
        """
        lower = {pair.a if pair.verdict == "lower" else pair.b for pair in self.pairs if pair.verdict in _DECIDED}
        tested = {key for pair in self.pairs if pair.verdict != "untested" for key in (pair.a, pair.b)}
        candidates = [key for key in self.values if key in (tested or self.values) and key not in lower]
        return max(candidates or self.values, key=lambda key: self.of(key).mean)

    def of(self, key: str) -> Aggregate:
        """A group's numbers over its seeds."""
        found = aggregate([*self.values[key].values()], "larger")
        assert found is not None
        return found

    def against(self, key: str) -> list[Paired]:
        """Every other group less this one, in the order of the groups."""
        turned = [pair.turned() if pair.a == key else pair for pair in self.pairs if key in (pair.a, pair.b)]
        order = list(self.values)
        return sorted(turned, key=lambda pair: order.index(pair.a))

    @property
    def tests(self) -> int:
        """How many pairs share enough seeds to be tested."""
        return sum(pair.verdict != "untested" for pair in self.pairs)

    @property
    def untested(self) -> list[str]:
        """The keys of groups that share too few seeds with the best one."""
        return [pair.a for pair in self.against(self.best) if pair.verdict == "untested"]

    @property
    def cannot_be_told_from_best(self) -> set[str]:
        """The best group and those that the test has not found lower; empty where nothing was tested."""
        tested = [pair for pair in self.against(self.best) if pair.verdict != "untested"]
        return {self.best, *(pair.a for pair in tested if pair.verdict != "lower")} if tested else set()


def headline(
    groups: Sequence[Group], comparisons: Sequence[Comparison]
) -> tuple[Measure | None, dict[str, Aggregate]]:
    """What groups are told by, and their numbers by key: of the first comparison, or the only group's own.

    Of several groups that do not compare it is the final test bound, each at its own K, which is no one measure.
    """
    if comparisons:
        first = comparisons[0]
        return first.measure, {key: first.of(key) for key in first.values}
    if len(groups) == 1:
        for measure, of_groups in measured(groups).items():
            found = aggregate([*of_groups[groups[0].key].values()], "larger")
            return measure, {groups[0].key: found} if found else {}
    finals = {group.key: group.bound(Split.TEST) for group in groups}
    return None, {key: found for key, found in finals.items() if found is not None}


def compare(groups: Sequence[Group]) -> list[Comparison]:
    """Comparisons of two groups or more, the one that says most first.

    That is the one of most groups; of these evaluations before final bounds, the test split before others, and the
    largest K.
    """
    return [
        Comparison(measure, of_groups, all_pairs(of_groups), _apart(groups, measure, of_groups))
        for measure, of_groups in measured(groups).items()
        if len(of_groups) > 1
    ]


def measured(groups: Sequence[Group]) -> dict[Measure, dict[str, dict[int, float]]]:
    """Every bound of every group by key and seed, nats per example; the measure that says most first."""
    found: dict[Measure, dict[str, dict[int, float]]] = {}
    for group in groups:
        for row in group.seeds():
            for measure, value in measures_of(row).items():
                found.setdefault(measure, {}).setdefault(group.key, {})[row.seed] = value
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0].rank)))


def _apart(groups: Sequence[Group], measure: Measure, of_groups: Mapping[str, Any]) -> dict[str, str]:
    return {group.key: why_not(group, measure) for group in groups if group.key not in of_groups}


def why_not(group: Group, measure: Measure) -> str:
    """Why a group has no number of this measure: by what its nearest one differs."""
    own = [each for row in group.seeds() for each in measures_of(row)]
    if not own:
        return "no run of it is completed"
    nearest = min((_differing(each, measure) for each in own), key=len)
    return f"it has other {' and '.join(nearest)}"


_WORDS = {
    "kind": "bounds (evaluated or final)",
    "split": "splits",
    "k": "K",
    "seed": "evaluation seed",
    "examples": "examples",
    "task": "task",
    "binarisation": "binarisation",
    "likelihood": "likelihood",
    "split_hash": "data",
}


def _differing(a: Measure, b: Measure) -> list[str]:
    return [word for name, word in _WORDS.items() if getattr(a, name) != getattr(b, name)]


def labels(groups: Sequence[Group]) -> dict[str, str]:
    """Short names of groups: objective and estimator, and what else they differ in; no two are the same."""
    names = [name for name in differing_names(groups) if name not in ("objective", "estimator")]
    if "dataset" in names:  # and so of course they do in these
        names = [name for name in names if name not in ("data_checksum", "split_convention")]
    found: dict[str, str] = {}
    for group in groups:
        of = group.experiment
        found[group.key] = " ".join(
            [f"{of['objective']}/{of['estimator']}", *(_told(name, of.get(name)) for name in names)]
        )
    seen = Counter(found.values())
    return {key: f"{label} [{key[:6]}]" if seen[label] > 1 else label for key, label in found.items()}


def differing_names(groups: Sequence[Group]) -> list[str]:
    """What the groups' experiments differ in, in the order of a spec."""
    names = dict.fromkeys(name for group in groups for name in group.experiment)
    return [name for name in names if len({repr(group.experiment.get(name)) for group in groups}) > 1]


_SHORT = {"dataset": "", "k": "K", "batch_size": "batch", "latent_dim": "latents", "data_checksum": "data"}


def _told(name: str, value: object) -> str:
    short = _SHORT.get(name, name.replace("_", "-"))
    words = value_in_words(name, value)
    return f"{short}={words}" if short else words


def value_in_words(name: str, value: object) -> str:
    """The value of a field of a spec, as short as can be."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, cast("list[object]", value))) or "none"
    if isinstance(value, Mapping):
        parent = cast("Mapping[str, object]", value)
        value = f"{parent.get('run')}@{parent.get('checkpoint')}" + ("-reset" if parent.get("reset_encoder") else "")
    if isinstance(value, float):
        value = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)[:8] if name == "data_checksum" else str(value)
