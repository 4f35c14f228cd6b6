"""Comparisons along one setting: pairs of groups that differ in this setting alone.

The comparison of a section tests every pair of its groups. Where groups differ in several settings, such as K and the
estimator, a reader asks for fewer pairs: the estimators at each K, and the numbers of samples for each estimator.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dregcli.commands import command
from dregcli.report.comparison import Comparison, Measure, compare, measured, shown_first, why_not
from dregcli.report.groups import Group
from dregcli.report.labels import named_settings
from dregcli.report.paired import Paired, judged_together
from dregcli.report.sections import ReportSection
from dregcli.report.settings import setting_name
from dregcli.report.tables import Cell, Column, Table, table_of_pairs
from dregcli.wording import listed

_OF_MEASURES: Final = ("eval_k", "eval_seed")
"""Settings that change how a bound is measured, but not the training: bounds are compared only if they agree."""

_OF_DATA: Final = ("dataset", "data_checksum", "split_convention", "task", "binarisation", "likelihood")
"""Settings along which no bounds can be compared, because they say what is modelled."""

_FAMILY: Final = " of all tables along a setting"

_OTHERS: Final = "The table of all pairs of groups adjusts p for its own tests, so that its verdicts may differ."

_MODEL: Final = ("model", "model_digest", "model_before", "model_options")
"""Settings of a model, besides those that only some models have."""


@dataclass(frozen=True)
class Line:
    """Groups that differ in one setting alone.

    Attributes:
        groups: the groups, two at least, each with another value of the setting.
        comparison: their most informative comparison, of those with a tested pair if there are any; None if they have
            no bound of the same measure.
        pairs: its pairs, with verdicts that hold for all lines of a report together.
    """

    groups: tuple[Group, ...]
    comparison: Comparison | None
    pairs: tuple[Paired, ...] = ()


@dataclass(frozen=True)
class Along:
    """All lines along one setting.

    Attributes:
        setting: name of the setting, such as ``k``.
        lines: the lines; each has other values of the other settings.
        tests: number of tests for which the p-values of a report's lines are adjusted together.
    """

    setting: str
    lines: tuple[Line, ...]
    tests: int = 0

    @property
    def name(self) -> str:
        """The name of the setting as a label shows it, such as ``K``."""
        return setting_name(self.setting)


def along_settings(sections: Sequence[ReportSection], of_models: Collection[str]) -> list[Along]:
    """Return the comparisons along each setting; none where the sections' own comparisons are the same.

    A line may cross sections along the model, because bounds of different models on the same pixels can be compared.

    Args:
        sections: the sections of a report.
        of_models: settings that only some models have: they differ together with the model.
    """
    groups = [group for section in sections for group in section.groups]
    found = [Along(name, tuple(lines)) for name in axes_of(groups) if (lines := lines_along(groups, name, of_models))]
    lines = [line for each in found for line in each.lines]
    if len(lines) == 1 and any(len(lines[0].groups) == len(section.groups) for section in sections):
        keys = {group.key for group in lines[0].groups}
        if any(keys == {group.key for group in section.groups} for section in sections):
            return []
    judged = iter(judged_together([pair for line in lines if line.comparison for pair in line.comparison.pairs]))
    tests = sum(line.comparison.tests for line in lines if line.comparison)

    def with_verdicts(line: Line) -> Line:
        return replace(line, pairs=tuple(next(judged) for _ in line.comparison.pairs)) if line.comparison else line

    return [Along(each.setting, tuple(map(with_verdicts, each.lines)), tests) for each in found]


def axes_of(groups: Sequence[Group]) -> list[str]:
    """Return the settings in which groups differ and along which bounds can be compared."""
    differing = [
        name for name in ("objective", "estimator") if len({str(group.experiment[name]) for group in groups}) > 1
    ]
    names, _ = named_settings(groups)
    return [*differing, *(name for name in names if name not in (*_OF_MEASURES, *_OF_DATA, "parent"))]


def lines_along(groups: Sequence[Group], setting: str, of_models: Collection[str] = ()) -> list[Line]:
    """Return the lines along a setting.

    Args:
        groups: the groups.
        setting: a setting of ``axes_of``.
        of_models: settings that differ together with the model.
    """
    names, _ = named_settings(groups)
    follow = {setting, *_OF_MEASURES}
    if setting == "model":
        follow |= {name for name in names if name in of_models or name.split(".")[0] in _MODEL}
    fixed = [name for name in ("objective", "estimator", "parent", *_OF_DATA, *names) if name not in follow]
    found: dict[str, dict[str, Group]] = {}
    for group in groups:
        key = repr([group.experiment.get(name) for name in fixed])
        # Of groups that differ in the measure alone, the first stands for them.
        found.setdefault(key, {}).setdefault(repr(group.experiment.get(setting)), group)
    every = [tuple(members.values()) for members in found.values() if len(members) > 1]
    return [Line(members, _comparison(members)) for members in every]


def _comparison(members: Sequence[Group]) -> Comparison | None:
    """Return the most informative comparison in which a pair is tested, or else the most informative one."""
    shown = shown_first(compare(members))
    return shown[-1] if shown else None


def along_table(found: Along, labels: Mapping[str, str]) -> Table:
    """Return a table of the pairs along one setting, and why some groups are not compared.

    Args:
        found: the comparisons.
        labels: labels of all groups of the report, by key.
    """
    compared = [(line.comparison.measure, line) for line in found.lines if line.comparison]
    measures = list(dict.fromkeys(measure for measure, _ in compared))
    title = f"along {found.name}, all else equal, paired over seeds"
    if len(measures) == 1:
        title += f": {measures[0].text}"
    pairs = [pair for _, line in compared for pair in line.pairs]
    table = table_of_pairs(title, labels, pairs, tests=found.tests, family=_FAMILY)
    if len(measures) > 1:
        table = _with_measures(table, [measure for measure, line in compared for _ in line.pairs])
    others = [_OTHERS] if table.notes else []
    return replace(table, notes=(*table.notes, *others, *_not_compared(found, labels)))


def _with_measures(table: Table, measures: Sequence[Measure]) -> Table:
    columns = (table.columns[0], Column("bound", numeric=False), *table.columns[1:])
    rows = ((row[0], Cell(measure.text), *row[1:]) for row, measure in zip(table.rows, measures, strict=True))
    return replace(table, columns=columns, rows=tuple(rows))


def _not_compared(found: Along, labels: Mapping[str, str]) -> list[str]:
    """Name the groups of the lines that have no bound of the same measure, with the reason."""
    notes: list[str] = []
    for line in found.lines:
        if line.comparison:
            apart = line.comparison.apart
        else:
            first, *others = line.groups
            measure = next(iter(measured([first])), None)
            apart = {each.key: why_not(each, measure) for each in others} if measure else {}
        with_ = [labels[group.key] for group in line.groups if group.key not in apart]
        notes += [f"Not compared with {listed(with_)}: {labels[key]}, because {why}." for key, why in apart.items()]
    if any(" differ in K" in note for note in notes):
        notes.append(
            f"Evaluations give all runs a bound at the same K: {command('eval', 'NAME', 'NAME', '--k', 'K')}"
        )
    return notes
