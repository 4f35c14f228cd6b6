"""Find out which numbers of which runs may be compared, and compare them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from dregcli.describe import bound_k, seen_as
from dregcli.names import RunStatus, Split
from dregcli.report.groups import Aggregate, Group, RunRow, aggregate, number
from dregcli.report.paired import Paired, all_pairs


@dataclass(frozen=True)
class Measure:
    """The measure of a bound. Two bounds are compared only if all these attributes are equal.

    Attributes:
        kind: ``evaluation`` by ``dreg eval``, or the ``final`` bound of training.
        split: split of the data.
        k: samples per example.
        seed: evaluation seed, for pixels and noise.
        examples: number of examples; None where it is not known.
        task: what is modelled.
        binarisation: how intensities become pixels.
        likelihood: likelihood of the pixels.
        split_hash: SHA-256 of the split's stored values, or of all the data where the split's hash is not known.
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
    def text(self) -> str:
        """The measure in words."""
        what = "bound by dreg eval" if self.kind == "evaluation" else "final bound"
        few = f", {self.examples:,} examples" if self.examples is not None else ""
        return f"{self.split} {what} at K={self.k:,}{few}"

    @property
    def rank(self) -> tuple[int, int, int]:
        """Key that sorts measures, the most informative one first."""
        splits = [Split.TEST.value, Split.VALID.value, Split.TRAIN.value]
        return splits.index(self.split), int(self.kind == "final"), -self.k


def measures_of(row: RunRow) -> dict[Measure, float]:
    """Return every bound of a completed run that can be compared, nats per example.

    Evaluations count if they belong to the run's last step and are finite numbers. The newest of repeats counts.
    """
    if row.status is not RunStatus.COMPLETED:
        return {}
    spec = row.spec
    of_run, final_k = seen_as(spec), bound_k(spec)
    found: dict[Measure, float] = {}
    for split in Split:
        if (value := row.bound(split)) is not None:
            key = Measure("final", split.value, final_k, spec["eval_seed"], None, *of_run, split_hash(row, split))
            found[key] = value
    for attrs in row.evals:
        if attrs["checkpoint"] == row.summary.get("step"):
            data = attrs.get("split_hash") or spec["data_checksum"]
            key = Measure("evaluation", attrs["split"], attrs["k"], attrs["seed"], attrs["n"], *of_run, data)
            if (value := number(attrs["value"])) is not None:
                found[key] = value
    return found


def split_hash(row: RunRow, split: Split) -> str:
    """Return the SHA-256 of a split's stored values, or of all the data where the run did not record it."""
    return row.split_hashes.get(split.value) or row.spec["data_checksum"]


_DECIDED: Final = ("higher", "lower")


@dataclass(frozen=True)
class Comparison:
    """Groups compared by one measure.

    Attributes:
        measure: what is compared.
        values: bounds by the group's key and by seed, nats per example.
        pairs: every pair of these groups.
        apart: groups without such a bound, by key, with the reason in words.
    """

    measure: Measure
    values: Mapping[str, Mapping[int, float]]
    pairs: Sequence[Paired]
    apart: Mapping[str, str]

    @property
    def best(self) -> str:
        """Key of the best group: the highest mean among the groups that no test has found lower than another.

        Means may be over different seeds, and some seeds give higher bounds than others. So a group that was not
        tested is the best only if no group was tested.
        """
        lower = {pair.a if pair.verdict == "lower" else pair.b for pair in self.pairs if pair.verdict in _DECIDED}
        tested = {key for pair in self.pairs if pair.verdict != "untested" for key in (pair.a, pair.b)}
        candidates = [key for key in self.values if key in (tested or self.values) and key not in lower]
        return max(candidates or self.values, key=lambda key: self.of(key).mean)

    def of(self, key: str) -> Aggregate:
        """Aggregate a group's bounds over its seeds."""
        found = aggregate([*self.values[key].values()], "larger")
        assert found is not None
        return found

    def against(self, key: str) -> list[Paired]:
        """Return the pairs of every other group less this one, in the order of the groups."""
        turned = [pair.turned() if pair.a == key else pair for pair in self.pairs if key in (pair.a, pair.b)]
        order = list(self.values)
        return sorted(turned, key=lambda pair: order.index(pair.a))

    @property
    def tests(self) -> int:
        """Number of pairs that share enough seeds to be tested."""
        return sum(pair.verdict != "untested" for pair in self.pairs)

    @property
    def untested(self) -> list[str]:
        """Keys of the groups that share too few seeds with the best one."""
        return [pair.a for pair in self.against(self.best) if pair.verdict == "untested"]

    @property
    def cannot_be_told_from_best(self) -> set[str]:
        """Keys of the best group and of the groups that the test has not found lower; empty if nothing was tested."""
        tested = [pair for pair in self.against(self.best) if pair.verdict != "untested"]
        return {self.best, *(pair.a for pair in tested if pair.verdict != "lower")} if tested else set()


def headline(
    groups: Sequence[Group], comparisons: Sequence[Comparison]
) -> tuple[Measure | None, dict[str, Aggregate]]:
    """Return the measure by which groups are listed, and the groups' numbers by key.

    They come from the first comparison, or from the only group. Several groups that cannot be compared are listed by
    their final test bounds, each at its own K. These bounds have no common measure, so the measure is then None.
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
    """Return the comparisons of two groups or more, the most informative one first.

    The order is: more groups, then the test split before valid and train, then evaluations before final bounds, then
    the larger K.
    """
    return [
        Comparison(measure, of_groups, all_pairs(of_groups), _apart(groups, measure, of_groups))
        for measure, of_groups in measured(groups).items()
        if len(of_groups) > 1
    ]


def measured(groups: Sequence[Group]) -> dict[Measure, dict[str, dict[int, float]]]:
    """Return every bound of every group by key and seed, nats per example; the most informative measure first."""
    found: dict[Measure, dict[str, dict[int, float]]] = {}
    for group in groups:
        for row in group.seeds():
            for measure, value in measures_of(row).items():
                found.setdefault(measure, {}).setdefault(group.key, {})[row.seed] = value
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0].rank)))


def _apart(groups: Sequence[Group], measure: Measure, of_groups: Mapping[str, Any]) -> dict[str, str]:
    return {group.key: why_not(group, measure) for group in groups if group.key not in of_groups}


def why_not(group: Group, measure: Measure) -> str:
    """Say why a group has no bound by this measure: how its most similar measure differs."""
    own = [each for row in group.seeds() for each in measures_of(row)]
    if not own:
        return "its runs have no bounds" if group.seeds() else "none of its runs is completed"
    nearest = min((_differing(each, measure) for each in own), key=len)
    return f"its bounds differ in {' and '.join(nearest)}"


_WORDS = {
    "kind": "kind (evaluated or final)",
    "split": "split",
    "k": "K",
    "seed": "evaluation seed",
    "examples": "number of examples",
    "task": "task",
    "binarisation": "binarisation",
    "likelihood": "likelihood",
    "split_hash": "data",
}


def _differing(a: Measure, b: Measure) -> list[str]:
    return [word for name, word in _WORDS.items() if getattr(a, name) != getattr(b, name)]


def labels(groups: Sequence[Group]) -> dict[str, str]:
    """Return short names of groups: objective, estimator, and the other settings that differ. All are different."""
    names = [name for name in differing_names(groups) if name not in ("objective", "estimator")]
    if "dataset" in names:  # other data sets always differ in these as well
        names = [name for name in names if name not in ("data_checksum", "split_convention")]
    found: dict[str, str] = {}
    for group in groups:
        settings = group.experiment
        pair = f"{settings['objective']}/{settings['estimator']}"
        found[group.key] = " ".join([pair, *(_shown(name, settings.get(name)) for name in names)])
    seen = Counter(found.values())
    return {key: f"{label} [{key[:6]}]" if seen[label] > 1 else label for key, label in found.items()}


def differing_names(groups: Sequence[Group]) -> list[str]:
    """Return the names of the settings in which the groups' experiments differ, in the order of a spec."""
    names = dict.fromkeys(name for group in groups for name in group.experiment)
    return [name for name in names if len({repr(group.experiment.get(name)) for group in groups}) > 1]


_SHORT = {"dataset": "", "k": "K", "batch_size": "batch", "latent_dim": "latents", "data_checksum": "data"}


def _shown(name: str, value: object) -> str:
    short = _SHORT.get(name, name.replace("_", "-"))
    words = value_in_words(name, value)
    return f"{short}={words}" if short else words


def value_in_words(name: str, value: object) -> str:
    """Return the value of a field of a spec as a short text."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, cast("list[object]", value))) or "none"
    if isinstance(value, Mapping):
        parent = cast("Mapping[str, object]", value)
        value = f"{parent.get('run')}@{parent.get('checkpoint')}" + ("-reset" if parent.get("reset_encoder") else "")
    if isinstance(value, float):
        value = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)[:8] if name == "data_checksum" else str(value)
