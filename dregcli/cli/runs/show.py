"""``dreg runs show``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, bytes_in_words, with_error
from dregcli.cli.runs.list_ import ago, run_json

if TYPE_CHECKING:
    from dregcli.app.runs_show import ShownRun

EXAMPLES = """[bold]dreg runs show mnist-iwae-dreg-k64[/bold]

For a program:  [bold]dreg runs show mnist-iwae-dreg-k64/v001 --json[/bold]"""

_WIDEST = 18


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A version, or a name, which means its newest version.")],
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show all there is to know of a run: state, spec, results, notes, environment, and what to type next."""
    from dregcli.app.runs_show import show_run

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = show_run(run, runs_dir=runs_folder(runs_dir), listener=terminal)
    for line in found.damage:
        terminal.warn(f"damaged: {line}")
    if as_json:
        terminal.result(_as_json(found))
    else:
        _show(terminal, found)


def _as_json(found: "ShownRun") -> dict[str, Any]:
    return {
        **run_json(found.listed),
        "summary": found.listed.summary,
        "holder": found.holder,
        "failures": list(found.failures),
        "checkpoints": found.checkpoints,
        "best": found.best,
        "results": found.results,
        "notes": [{"time": each.time.isoformat(), "text": each.text} for each in found.notes],
        "environment": found.environment,
        "resumed": {str(generation): each for generation, each in found.resumed.items()},
        "bytes": found.nbytes,
        "damage": found.damage,
        "command": found.command,
        "next": found.next_command,
    }


def _show(terminal: Terminal, found: "ShownRun") -> None:
    listed, now = found.listed, datetime.now(UTC)

    def line(name: str, text: object) -> None:
        terminal.line(f"{name:<{_WIDEST}}{text}")

    line("run", listed.run.path)
    writer = f", {'written by' if listed.status == 'running' else 'last written by'} {found.holder}"
    line("status", f"{listed.status.value}{writer if found.holder else ''}")
    line("created", f"{listed.created:%Y-%m-%d %H:%M:%S} UTC ({ago(now - listed.created)})")
    line("updated", f"{listed.updated:%Y-%m-%d %H:%M:%S} UTC ({ago(now - listed.updated)})")
    line("size", bytes_in_words(found.nbytes))
    if listed.tags:
        line("tags", " ".join(listed.tags))
    for each in found.notes:
        line("note", f"{each.time:%Y-%m-%d %H:%M} {each.text}")
    for failure in found.failures:
        line("failure", ", ".join(f"{name} {value}" for name, value in failure.items()))
    terminal.line()
    for name, value in listed.spec.items():
        if value is not None and value != []:
            line(name, _words(value))
    terminal.line()
    line("step", f"{listed.step if listed.step is not None else '-'} of {listed.spec.get('steps', '-')}")
    marked = [f"{step} (best)" if step == found.best else str(step) for step in found.checkpoints]
    line("checkpoints", ", ".join(marked) or "none")
    for split, row in listed.last.items():
        line(f"last {split}", ", ".join(f"{name} {_words(value)}" for name, value in row.items()))
    for split in ("train", "valid", "test"):
        bounds = listed.summary.get("bounds", {}).get(split)
        if bounds:
            line(f"bound {split}", f"{with_error(bounds['value'], bounds['stderr'])} nats, {bounds['n']:,} examples")
    for file, attrs in found.results.items():
        line("result", f"{file}: {_result(attrs)}")
    terminal.line()
    for name, text in _environment(found.environment):
        line(name, text)
    if found.resumed:
        line("resumed", f"{len(found.resumed)} times")
    if found.command:
        line("typed", found.command)
    line("next", found.next_command)


def _result(attrs: Mapping[str, Any]) -> str:
    """What a result says of itself: the verdicts of a bias check, the numbers of an evaluation."""
    if isinstance(checked := attrs.get("results"), list):
        rows = cast("list[dict[str, Any]]", checked)
        return ", ".join(f"{row.get('objective')}/{row.get('estimator')} {row.get('verdict')}" for row in rows)
    plain = {name: value for name, value in attrs.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{name} {_words(value)}" for name, value in plain.items())


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ",".join(map(str, cast("list[object]", value)))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in cast("Mapping[str, object]", value).items())
    return str(value)


def _environment(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of an environment that people look for."""
    packages, git, cpu = (cast("dict[str, Any]", content.get(name) or {}) for name in ("packages", "git", "cpu"))
    found: list[tuple[str, str]] = []
    versions = [f"{name} {packages[name]}" for name in ("dreg", "torch", "numpy") if packages.get(name)]
    if versions:
        found.append(("versions", ", ".join(versions)))
    if git:
        found.append(
            ("git", f"{git['commit'][:12]}{'' if git['clean'] else ', with changes (see environment.json)'}")
        )
    if cpu:
        found.append(("machine", f"{content.get('hostname')}: {cpu.get('model')}, {content.get('threads')} threads"))
    return found
