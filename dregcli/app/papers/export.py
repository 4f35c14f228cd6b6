"""Write the results of an experiment for a repository: a small JSON file, the figure, a page, a user's own file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dregcli.app.common.listener import Listener
from dregcli.app.papers.kind import Asked, Made, Results
from dregcli.app.papers.kinds import kind_of
from dregcli.app.papers.run import figure_of, results_as_json
from dregcli.app.papers.scaling import in_a_sentence
from dregcli.app.papers.showing import NO_NUMBERS
from dregcli.errors import RunNotFound, UsageError
from dregcli.filesystem import LOCAL, make_folders, write_aside
from dregcli.report.drawn import Drawn
from dregcli.report.papers.tables import differences_table, pairs_table, panel_table
from dregcli.report.tables import Table
from dregcli.wording import listed, shell_command


@dataclass(frozen=True)
class Exported:
    """The files that were written."""

    files: tuple[Path, ...]
    missing: str


def export_paper(asked: Asked, folder: Path, listener: Listener) -> Exported:
    """Write the results that are there; nothing is run. Files of an earlier export are replaced.

    Args:
        asked: the experiment.
        folder: the folder, which is made if it is missing.
        listener: receives a warning if results are missing.

    Raises:
        RunNotFound: there are no results at all.
        UsageError: a file with one of the names is there, and no earlier export.
        StoreWriteError: a file cannot be written.
    """
    results = kind_of(asked.paper).results(asked)
    if results.made is None:
        what = f"There are no results of '{asked.request.word}' yet."
        raise RunNotFound(what, where=str(asked.runs_dir), hint=_command_of(asked, asked.request.word))
    if results.missing:
        listener.warn(f"{results.missing}: the table says so; the same command again writes all of it")
    make_folders(LOCAL, folder)
    content = {**results_as_json(asked, results), "command": _for_others(asked)}
    drawn = figure_of(asked, results)
    contents = {
        ".json": json.dumps(content, indent=1, allow_nan=False).encode() + b"\n",
        ".md": page(asked, results, drawn).encode(),
    }
    contents |= {".png": drawn.render(".png")} if drawn else {}
    files = {folder / f"{asked.stem}{suffix}": each for suffix, each in contents.items()}
    own = folder / asked.file.path.name
    if asked.file.is_own and not (own.exists() and own.samefile(asked.file.path)):
        files[own] = asked.file.text.encode()  # without it nobody else could run the command
    _refuse_others(files, folder, asked.file.name)
    for path, each in files.items():
        write_aside(LOCAL, path, each)
    return Exported(tuple(files), results.missing)


def _refuse_others(files: Mapping[Path, bytes], folder: Path, name: str) -> None:
    """Refuse to replace files where no JSON file says that an export of this experiment wrote into the folder."""
    others = [path for path, content in files.items() if path.exists() and not _holds(path, content)]
    if others and not any(_is_export(each, name) for each in folder.glob("*.json")):
        what = "Files with these names are there already, and no earlier export of this experiment wrote them."
        where = ", ".join(map(str, others))
        raise UsageError(what, where=where, hint="name another folder with --to, or move these files away")


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _is_export(path: Path, name: str) -> bool:
    """Whether a file is the JSON of an export of an experiment, at any scale."""
    if not path.name.startswith(name):
        return False
    try:
        content: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    found = cast("dict[str, object]", content) if isinstance(content, dict) else {}
    return "compared" in found and found.get("paper") == name


def _command_of(asked: Asked, word: str) -> str:
    """Return the command that runs an experiment, whose name or file is ``word``."""
    scale = [] if asked.request.scale == 1.0 else ["--scale", str(asked.request.scale)]
    return shell_command(["dreg", "paper", "run", word, *scale])


def _for_others(asked: Asked) -> str:
    """Return the command without places of this machine; a user's own file lies beside the page."""
    return _command_of(asked, asked.file.path.name if asked.file.is_own else asked.file.name)


def page(asked: Asked, results: Results, drawn: Drawn | None) -> str:
    """Return the page: what was run, how, the figure and the tables."""
    paper, made = asked.paper, results.made
    assert made is not None
    label = ", shorter than the paper" if asked.is_shorter else ""
    parts = [
        f"# {paper.title}{label}",
        f"{paper.reference}, {paper.place}. {paper.what}",
        *([in_a_sentence(asked.scaled, asked.request.scale)] if asked.is_shorter else []),
        *([f"**Not complete: {results.missing}.**"] if results.missing else []),
        # The mark tells the tests of dreg's own pages not to run the command.
        f"<!-- not run: takes {_hours(made)} -->\n```sh\n{_for_others(asked)}\n```",
        f"dreg {listed(made.versions)} on {listed(made.processors)}: {_hours(made)}; {made.length}.",
        *([f"In what our runs differ: {' '.join(paper.ours)}"] if paper.ours else []),
        *([f"![{drawn.alt}]({asked.stem}.png)"] if drawn else []),
        *([_table(differences_table(results.compared))] if results.compared else [NO_NUMBERS]),
        *(
            _table(table(each))
            for each in results.drawings
            for table, is_shown in ((panel_table, each.lines), (pairs_table, each.pairs))
            if is_shown
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _hours(made: Made) -> str:
    time = f"{made.hours:.1f} hours" if made.hours >= 0.1 else f"{60.0 * made.hours:.1f} minutes"
    return f"{time} of {made.hours_of}"


def _table(table: Table) -> str:
    lines = [
        [column.name for column in table.columns],
        ["---"] * len(table.columns),
        *([cell.text for cell in row] for row in table.rows),
    ]
    rows = ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *rows, *(f"\n{note}" for note in table.notes)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
