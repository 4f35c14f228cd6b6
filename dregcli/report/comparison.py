"""Find out which numbers of which runs may be compared, and compare them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from dregcli.describe import bound_k, seen_as
from dregcli.names import RunStatus, Split
from dregcli.report.aggregate import Aggregate, aggregate, number
from dregcli.report.evaluated import Evaluated
from dregcli.report.groups import Group, RunRow
from dregcli.report.paired import Paired, all_pairs


@dataclass(frozen=True)
class Measure:
    """The measure of a bound. Two bounds are compared only if all these attributes are equal.

    Attributes:
        kind: ``evaluation`` by ``dreg eval``, or the ``final`` bound of training.
        split: split of the data.
        k: samples per example.
        seed: evaluation seed, for pixels and noise.
        examples: number of examples, from the start of the split; None where it is not known.
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
    def seen(self) -> tuple[str, ...]:
        """The split and its pixels: measures with equal values differ at most in K, seed, kind and examples."""
        return self.split, self.task, self.binarisation, self.likelihood, self.split_hash


def measures_of(row: RunRow) -> dict[Measure, float]:
    """Return every bound of a completed run that can be compared, nats per example.

    Evaluations count if they are finite numbers, of the weights at the end of training. The newest of repeats
    counts.
    """
    if row.status is not RunStatus.COMPLETED:
        return {}
    spec = row.spec
    of_run, final_k = seen_as(spec), bound_k(spec)
    found: dict[Measure, float] = {}
    for split in Split:
        if (value := row.bound(split)) is not None:
            examples, data = row.examples(split), split_hash(row, split)
            key = Measure("final", split.value, final_k, spec["eval_seed"], examples, *of_run, data)
            found[key] = value
    for attrs in row.evals_at_end:
        data = attrs.get("split_hash") or spec["data_checksum"]
        key = Measure("evaluation", attrs["split"], attrs["k"], attrs["seed"], attrs["n"], *of_run, data)
        if (value := number(attrs["value"])) is not None:
            found[key] = value
    return found


def evaluated_by(group: Group, measure: Measure | None) -> Evaluated | None:
    """Return the evaluations whose bounds a table shows by this measure; None if it shows final bounds."""
    if measure is None or measure.kind == "final" or measure.examples is None:
        return None
    return group.evaluated(measure.split, measure.k, measure.seed, measure.examples)


def split_hash(row: RunRow, split: Split) -> str:
    """Return the SHA-256 of a split's stored values, or of all the data where the run did not record it."""
    return row.split_hashes.get(split.value) or row.spec["data_checksum"]


_DECIDED: Final = ("higher", "lower")

_SPLITS: Final = (Split.TEST.value, Split.VALID.value, Split.TRAIN.value)
"""Splits, the most informative one first."""


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


def shown_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons that every reader should see.

    They are the first one, and, if no pair is tested in it, the next one in which a pair is tested.
    """
    tested = [each for each in comparisons if each.tests]
    return [*comparisons[:1], *tested[:1]] if tested and not comparisons[0].tests else [*comparisons[:1]]


def compare(groups: Sequence[Group]) -> list[Comparison]:
    """Return the comparisons of two groups or more, the most informative one first; see ``measured``."""
    return [
        Comparison(measure, of_groups, all_pairs(of_groups), _apart(groups, measure, of_groups))
        for measure, of_groups in measured(groups).items()
        if len(of_groups) > 1
    ]


def measured(groups: Sequence[Group]) -> dict[Measure, dict[str, dict[int, float]]]:
    """Return every bound of every group by key and seed, nats per example; the most informative measure first.

    An evaluation of a part of a split comes after every comparison by an evaluation of more examples. Then the order
    is: more groups; the test split before valid and train; the whole split before a part of it; evaluations before
    final bounds; more examples; the larger K.
    """
    found: dict[Measure, dict[str, dict[int, float]]] = {}
    for group in groups:
        for row in group.seeds():
            for measure, value in measures_of(row).items():
                found.setdefault(measure, {}).setdefault(group.key, {})[row.seed] = value
    most: dict[tuple[str, ...], int] = {}
    most_evaluated: dict[tuple[str, ...], int] = {}
    for measure, of_groups in found.items():
        examples = measure.examples or 0
        most[measure.seen] = max(examples, most.get(measure.seen, 0))
        if measure.kind == "evaluation" and len(of_groups) >= min(2, len(groups)):
            most_evaluated[measure.seen] = max(examples, most_evaluated.get(measure.seen, 0))

    def place(measure: Measure) -> tuple[bool, int, int, bool, bool, int, int]:
        examples = measure.examples or most[measure.seen]  # a final bound without a number is over the whole split
        return (
            measure.kind == "evaluation" and examples < most_evaluated.get(measure.seen, 0),
            -len(found[measure]),
            _SPLITS.index(measure.split),
            examples < most[measure.seen],
            measure.kind == "final",
            -examples,
            -measure.k,
        )

    return {measure: found[measure] for measure in sorted(found, key=place)}


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
