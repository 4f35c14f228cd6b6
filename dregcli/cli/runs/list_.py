"""``dreg runs list``."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.commands import command
from dregcli.names import RunStatus
from dregcli.parts import shown_word
from dregcli.wording import with_error

if TYPE_CHECKING:
    from dregcli.app.runs.list_ import ListedRun, RunList, UnreadableRun

EXAMPLES = """List all runs:  [bold]dreg runs list[/bold]

List the best runs first:  [bold]dreg runs list --sort test --reverse --limit 10[/bold]

List the runs that stopped early:  [bold]dreg runs list --status crashed --status interrupted[/bold]

Sort by a metric:  [bold]dreg runs list --dataset mnist --sort valid.ess[/bold]"""

STYLES = {
    RunStatus.COMPLETED: "green",
    RunStatus.RUNNING: "cyan",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.CRASHED: "red",
    RunStatus.FAILED: "red",
}
_UNREADABLE_STYLE: Final = "bold red"

_COLUMNS = (
    "run",
    "status",
    "test",
    "valid",
    "seed",
    "step",
    "estimator",
    "objective",
    "K",
    "data",
    "updated",
    "tags",
)


def list_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names or versions to list. Without NAME: all.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="List only runs of this data set.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="List only runs of this objective, with any parameters.")
    ] = None,
    estimator: Annotated[
        str | None, typer.Option(help="List only runs of this estimator, or of a pair such as rws/dreg.")
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help=f"List only runs with this status: {', '.join(RunStatus)} or unreadable. Give it several times "
            "to list runs with any of them."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="List only runs with this tag. Give it several times to list runs with all of them."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Sort by created, updated, name, status, step, seconds, a split (by its bound), or a metric such "
            "as valid.ess.",
            show_default="created",
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="List the largest or newest first.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="List at most N runs.")] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the runs of a store, with status and bounds."""
    from dregcli.app.runs.list_ import Wanted, list_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    root = runs_folder(runs_dir)
    wanted = Wanted(
        names or (), dataset, objective, estimator, status or (), tag or (), sort, reverse=reverse, limit=limit
    )
    found = list_runs(wanted, runs_dir=root)
    for each in found.unreadable:
        what = f"{each.run.label} cannot be read: {each.error.what} ({each.error.where})"
        terminal.warn(f"{what}; see  {command('runs', 'verify', each.run.label)}")
    for row in found.rows:
        if row.damage:
            what = f"the tags of {row.run.label} cannot be read: {row.damage.what} ({row.damage.where})"
            terminal.warn(f"{what}; see  {command('runs', 'verify', row.run.label)}")
    if as_json:
        listed = [run_json(row) for row in found.rows] + [_unreadable_json(each) for each in found.damaged]
        terminal.result({"runs": listed, "of": found.of})
    elif not found.of:
        start = command("train", "--estimator", "dreg", "--objective", "iwae")
        terminal.line(f"There are no runs in {root}/ yet; start one:  {start}")
    elif not found.rows and not found.damaged:
        terminal.line(f"None of the {found.of} runs in {root}/ matches these options.")
    else:
        _show(terminal, found)


def run_json(row: "ListedRun") -> dict[str, Any]:
    """Return all that the list knows about a run, as JSON."""
    return {
        "run": str(row.run.path),
        "name": row.run.name,
        "version": row.run.version,
        "status": row.status.value,
        "created": row.created.isoformat(),
        "updated": row.updated.isoformat(),
        "step": row.step,
        "seconds": row.seconds,
        "spec": row.spec,
        "bound": {split: row.bound(split) for split in ("train", "valid", "test")},
        "last": row.last,
        "tags": list(row.tags),
    }


def _unreadable_json(row: "UnreadableRun") -> dict[str, Any]:
    """Return the JSON of a run that cannot be read: most values are unknown."""
    known = {"run": str(row.run.path), "name": row.run.name, "version": row.run.version, "status": "unreadable"}
    unknown = dict.fromkeys(("created", "updated", "step", "seconds"))
    nothing: dict[str, Any] = {"spec": {}, "bound": dict.fromkeys(("train", "valid", "test")), "last": {}, "tags": []}
    return {**known, **unknown, **nothing, "error": {"what": row.error.what, "where": row.error.where}}


def _show(terminal: Terminal, found: "RunList") -> None:
    now = datetime.now(UTC)
    rows = [_cells(row, now) for row in found.rows]
    rows += [[each.run.label, "unreadable", *["-"] * (len(_COLUMNS) - 3), ""] for each in found.damaged]
    # The column of tags is left out if it is empty.
    shown = [i for i, name in enumerate(_COLUMNS) if name != "tags" or any(row[i] for row in rows)]
    styles = [STYLES[row.status] for row in found.rows] + [_UNREADABLE_STYLE] * len(found.damaged)
    terminal.table(
        [_COLUMNS[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        styles=[{1: style} for style in styles],
    )
    if len(rows) < found.of:
        terminal.note(f"{len(rows)} of {found.of} runs")


def _cells(row: "ListedRun", now: datetime) -> list[str]:
    spec = row.spec
    done, steps = row.step, spec.get("steps")
    return [
        row.run.label,
        row.status.value,
        *(with_error(row.bound(split), None) for split in ("test", "valid")),
        str(spec.get("seed", "-")),
        f"{done if done is not None else '-'}/{steps if steps is not None else '-'}",
        *(shown_word(str(spec.get(field, "-"))) for field in ("estimator", "objective")),
        *(str(spec.get(field, "-")) for field in ("k", "dataset")),
        ago(now - row.updated),
        " ".join(row.tags),
    ]


def ago(age: timedelta) -> str:
    """Format an age in words, such as ``5 min ago``."""
    seconds = age.total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
