"""The sections on where runs come from: their specs, data, environments and commands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from dregcli.describe import described
from dregcli.report.groups import Group, RunRow
from dregcli.report.html.view import Command, CommandList, Section
from dregcli.report.settings import differing_names, value_in_words
from dregcli.report.tables import Cell, Column, Table, run_cells, run_columns
from dregcli.wording import counted

OPEN_COMMANDS: Final = 10
"""Most runs whose commands are shown at once; for more runs they are folded."""

MOST_NAMED: Final = 8
"""Most runs with the most common value that are named; of more runs only the number is shown."""

_RUN: Final = Column("run", numeric=False)
_GROUP: Final = Column("group", numeric=False)


@dataclass(frozen=True)
class Origin:
    """The parts of a run that a reader needs to repeat it, and that no comparison needs.

    Attributes:
        commands: the command as it was typed, and commands that repeat the run.
        environments: environments captured at the start and at each resume, with nested names joined by dots.
        tags: tags of the run.
        notes: notes on the run, the oldest first.
    """

    commands: tuple[Command, ...]
    environments: tuple[Mapping[str, Any], ...]
    tags: tuple[str, ...]
    notes: tuple[str, ...]


def specs(groups: Sequence[Group], labels: Mapping[str, str]) -> Section:
    """Return the section on settings: the ones that differ between groups, and the shared ones."""
    names = differing_names(groups)
    shared = [name for name in groups[0].experiment if name not in names]
    rows = [
        (
            Cell(labels[group.key]),
            *(_value(name, group.experiment.get(name)) for name in names),
            Cell(", ".join(str(row.seed) for row in group.seeds()) or "-"),
        )
        for group in groups
    ]
    numeric = {name: all(isinstance(group.experiment.get(name), int | float) for group in groups) for name in names}
    columns = (_GROUP, *(Column(_flag(name), numeric[name]) for name in names), Column("seeds", numeric=False))
    different = Table(
        f"{'settings that differ between groups, and ' if names else ''}the seeds that count", columns, tuple(rows)
    )
    same = tuple((Cell(_flag(name)), _value(name, groups[0].experiment[name])) for name in shared)
    columns = (Column("setting", numeric=False), Column("value", numeric=False))
    title = f"{counted(len(shared), 'setting')} that all groups share" if len(groups) > 1 else "all settings"
    return Section(
        "specs", "Settings", tables=(different, *_data(groups, labels)), folded=(Table(title, columns, same),)
    )


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _value(name: str, value: object) -> Cell:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Cell("-" if value is None else value_in_words(name, value), number)


def _data(groups: Sequence[Group], labels: Mapping[str, str]) -> list[Table]:
    """Return a table of the data with the digests of their splits, shortened as in the terminal, and the groups."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for group in groups:
        hashes = next((_hashes(row) for row in group.rows if _hashes(row)), ())
        found.setdefault((described(group.spec), hashes), []).append(labels[group.key])
    splits = list(dict.fromkeys(split for _, hashes in found for split, _ in hashes))
    rows = [
        (Cell(what), *(Cell(dict(hashes).get(split, "-")[:12]) for split in splits), Cell(_who(names, len(groups))))
        for (what, hashes), names in found.items()
    ]
    columns = [Column("data", numeric=False), *(Column(f"SHA-256 of {split}", numeric=False) for split in splits)]
    return [Table("data", (*columns, Column("groups", numeric=False)), tuple(rows))]


def _hashes(row: RunRow) -> tuple[tuple[str, str], ...]:
    found = row.summary.get("split_hashes")
    if not isinstance(found, Mapping):
        return ()
    return tuple((str(split), str(digest)) for split, digest in cast("Mapping[str, object]", found).items())


def _who(names: Sequence[str], of: int) -> str:
    return "all" if len(names) == of else ", ".join(names)


def runs(
    groups: Sequence[Group], labels: Mapping[str, str], origins: Mapping[str, Origin], *, time_to: float | None
) -> Section:
    """Return the section with every run, and with tags and notes if any run has some."""
    texts: dict[str, dict[str, str]] = {
        "tags": {path: ", ".join(origin.tags) for path, origin in origins.items()},
        "notes": {path: "\n".join(origin.notes) for path, origin in origins.items()},
    }
    texts = {name: of_runs for name, of_runs in texts.items() if any(of_runs.values())}
    rows = [
        (
            Cell(row.label),
            Cell(labels[group.key]),
            *run_cells(row, time_to=time_to),
            *(Cell(of_runs[row.path] or "-") for of_runs in texts.values()),
        )
        for group in groups
        for row in group.rows
    ]
    columns = (_RUN, _GROUP, *run_columns(time_to), *(Column(name, numeric=False) for name in texts))
    return Section("runs", "Runs", tables=(Table("bounds in nats per example", columns, tuple(rows)),))


def environments(groups: Sequence[Group], origins: Mapping[str, Origin]) -> Section:
    """Return the section on environments: first the values that differ between runs, then the common ones."""
    of_runs = [
        (row.label if i == 0 else f"{row.label} (resumed)", values)
        for group in groups
        for row in group.rows
        for i, values in enumerate(origins[row.path].environments)
    ]
    if not of_runs:
        return Section("environment", "Environment")
    in_words = [(label, environment_in_words(values)) for label, values in of_runs]
    same: list[tuple[Cell, ...]] = []
    different: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(name for _, words in in_words for name in words):
        who: dict[str, list[str]] = {}
        for label, words in in_words:
            who.setdefault(words.get(name, "not captured"), []).append(label)
        most = max(who, key=lambda value: len(who[value]))
        if len(who) == 1:
            same.append((Cell(name), Cell(most)))
        else:
            different += [
                (Cell(name), Cell(value), Cell(_others(labels) if value == most else _together(labels)))
                for value, labels in who.items()
            ]
    columns = (Column("name", numeric=False), Column("value", numeric=False))
    tables = [Table("what differs between runs", (*columns, _RUN), tuple(different))] if different else []
    title = "the same in all runs" if len(in_words) > 1 else "environment"
    tables += [Table(title, columns, tuple(same))] if same else []
    return Section("environment", "Environment", tables=tuple(tables))


def _others(labels: Sequence[str]) -> str:
    """Name the runs with the most common value, or count them if they are many: the other runs are all named."""
    return _together(labels) if len(labels) <= MOST_NAMED else f"the other {len(labels):,} runs"


def _together(labels: Sequence[str]) -> str:
    """Join labels of runs as ``a/v001, v002; b/v001``."""
    versions: dict[str, list[str]] = {}
    for label in labels:
        name, _, version = label.rpartition("/")
        versions.setdefault(name, []).append(version)
    return "; ".join(f"{name}/{', '.join(of_name)}" for name, of_name in versions.items())


_NAMES: Final = {
    "python.version": "Python",
    "platform": "platform",
    "cpu.model": "processor",
    "cpu.usable_cores": "cores that could be used",
    "threads": "threads",
    "device": "device",
    "gpu.": "GPU ",
    "git.commit": "git commit",
    "packages.": "",
    "libraries.": "",
    "variables.": "",
}
"""The shown parts of an environment, by the beginning of their names, with words for the reader.

Names of hosts and folders are not shown, because a page is passed on.
"""

_PLACES: Final = ("variables.DREG_",)


def environment_in_words(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of an environment that numbers may depend on, by name.

    Args:
        values: the captured environment, with nested names joined by dots and digests in place of long texts.
    """
    found: dict[str, str] = {}
    for beginning, words in _NAMES.items():
        for name, value in values.items():
            whole = name == beginning or (beginning.endswith(".") and name.startswith(beginning))
            if whole and value is not None and not name.startswith(_PLACES):
                text = " ".join(str(value).split())
                found[words + name.removeprefix(beginning)] = text.split(" ")[0] if name == "python.version" else text
        if beginning == "git.commit" and beginning in values:
            found["changes to the commit"] = _changes(values)
    return found


def _changes(values: Mapping[str, Any]) -> str:
    """Say how the working tree differed from the commit, if it did."""
    if values.get("git.clean"):
        return "none"
    parts = [f"diff of {values['git.diff']}"] if values.get("git.diff") else []
    files, digest = "git.untracked_files.", ".sha256"
    parts += [
        f"new file {name.removeprefix(files).removesuffix(digest)} of SHA-256 {str(value)[:12]}"
        for name, value in values.items()
        if name.startswith(files) and name.endswith(digest) and value is not None
    ]
    return "uncommitted: " + ("; ".join(parts) or "untracked files")


def commands(groups: Sequence[Group], labels: Mapping[str, str], origins: Mapping[str, Origin]) -> Section:
    """Return the section with the commands that repeat each run."""
    many = sum(len(group.rows) for group in groups) > OPEN_COMMANDS
    lists = tuple(
        CommandList(
            f"{labels[group.key]}: {counted(len(group.rows), 'run')}",
            tuple((row.label, origins[row.path].commands) for row in _ordered(group.rows)),
            folded=many,
        )
        for group in groups
    )
    lead = (
        "Commands are shown as they were typed. dreg runs rerun trains a run again from the settings that the run "
        "captured, whatever the defaults are by then, and reports what has changed in the environment.",
    )
    return Section("commands", "Commands to repeat each run", lead, commands=lists)


def _ordered(rows: Iterable[RunRow]) -> list[RunRow]:
    return sorted(rows, key=lambda row: (row.seed, row.label))
