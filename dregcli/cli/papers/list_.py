"""``dreg paper list``."""

from typing import TYPE_CHECKING, Any

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.wording import counted, listed

if TYPE_CHECKING:
    from dregcli.app.papers.catalogue import Listed

EXAMPLES = """List the experiments:  [bold]dreg paper list[/bold]

Run one of them, much shorter:  [bold]dreg paper run tucker2018-toy --scale 0.05[/bold]"""


def list_(
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the published experiments that one command repeats, how long they are, and how much is done."""
    from dregcli.app.papers.catalogue import list_papers

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = list_papers(runs_dir=runs_folder(runs_dir), data_dir=data_folder_if_any(data_dir))
    if as_json:
        terminal.result({"papers": [_json(each) for each in found]})
        return
    rows = [
        [each.asked.file.name, _done(each), _length(each), each.asked.paper.title, each.asked.paper.reference]
        for each in found
    ]
    terminal.table(["name", "done", "whole length", "what", "reference"], rows)
    unknown: dict[tuple[str, str | None], list[str]] = {}
    for each in found:
        if each.problem:
            unknown.setdefault((each.problem.what, each.problem.hint), []).append(each.asked.file.name)
    for (what, hint), names in unknown.items():
        terminal.line(f"how much is done of {listed(names)} is not known: {what}")
        if hint:
            terminal.line("  next: " + hint.replace("\n", "\n  "))


def _done(each: "Listed") -> str:
    state = each.state
    return "not known" if state is None else f"{state.done} of {counted(state.total, state.unit)}"


def _length(each: "Listed") -> str:
    return each.state.length if each.state else "-"


def _json(each: "Listed") -> dict[str, Any]:
    asked, state = each.asked, each.state
    return {
        "name": asked.file.name,
        "title": asked.paper.title,
        "reference": asked.paper.reference,
        "place": asked.paper.place,
        "state": vars(state) if state else None,
        "problem": {"what": each.problem.what, "next": each.problem.hint} if each.problem else None,
    }
