"""``dreg runs show``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.cli.runs.list_ import ago, run_json
from dregcli.names import RunStatus, Split
from dregcli.parts import shown_word
from dregcli.wording import some_of, typed_list, with_error

if TYPE_CHECKING:
    from dregcli.app.runs.show import ShownRun

EXAMPLES = """Show a run:  [bold]dreg runs show mnist-iwae-dreg-k64[/bold]

Show a run as JSON, for a program:  [bold]dreg runs show mnist-iwae-dreg-k64/v001 --json[/bold]"""

_WIDEST = 18

Lines: TypeAlias = list[tuple[str, str]]
"""Lines of output: a name, and the text beside it."""


def show(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run to show: a version, or a name for its newest completed version.")
    ],
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show everything about a run: state, spec, results, notes, environment, and what to type next."""
    from dregcli.app.runs.show import show_run

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
        "holder": found.lease.holder if found.lease else None,
        "lease": found.lease.document() if found.lease else None,
        "failures": list(found.failures),
        "checkpoints": [
            {"step": each.step, "best": each.best, "bytes": each.nbytes, "fault": each.fault}
            for each in found.checkpoints
        ],
        "best": found.best,
        "code": {**found.code.about, "place": found.code.place} if found.code else None,
        "results": found.results,
        "notes": [{"time": each.time.isoformat(), "text": each.text} for each in found.notes],
        "environment": found.environment,
        "resumed": {str(generation): each for generation, each in found.resumed.items()},
        "log": str(found.log) if found.log else None,
        "bytes": found.nbytes,
        "damage": found.damage,
        "command": found.command,
        "repeat": found.repeat_command,
        "next": found.next_command,
    }


def _show(terminal: Terminal, found: "ShownRun") -> None:
    sections = [_state(found), _spec(found), _progress(found), [*_environment(found.environment), *_commands(found)]]
    for i, lines in enumerate(lines for lines in sections if lines):
        if i:
            terminal.line()
        for name, text in lines:
            # A note may have several lines, which must stay in their column.
            terminal.line(f"{name:<{_WIDEST}}{text}".replace("\n", "\n" + " " * _WIDEST))


def _state(found: "ShownRun") -> Lines:
    """Return the lines about the run's path, status, owner, times, size, tags, notes and failures."""
    listed, now = found.listed, datetime.now(UTC)
    status = listed.status.value
    if found.lease:
        is_running = listed.status is RunStatus.RUNNING
        heard = f", last sign of life {ago(now - found.lease.heartbeat)}" if is_running else ""
        status += f", {'written by' if is_running else 'last written by'} {found.lease.holder}{heard}"
    lines = [
        ("run", str(listed.run.path)),
        ("status", status),
        ("created", f"{listed.created:%Y-%m-%d %H:%M:%S} UTC ({ago(now - listed.created)})"),
        ("updated", f"{listed.updated:%Y-%m-%d %H:%M:%S} UTC ({ago(now - listed.updated)})"),
        ("size", bytes_in_words(found.nbytes)),
    ]
    if listed.tags:
        lines.append(("tags", " ".join(listed.tags)))
    lines += [("note", f"{each.time:%Y-%m-%d %H:%M} {each.text}") for each in found.notes]
    for failure in found.failures:
        lines.append(("failure", ", ".join(f"{name} {value}" for name, value in failure.items())))
    return lines


def _spec(found: "ShownRun") -> Lines:
    """Return the lines about the spec: one line for all defaults, and a line for each other setting."""
    said = {name: value for name, value in found.listed.spec.items() if value is not None and value not in ([], {})}
    defaults = [name for name in said if name in found.defaults]
    words = {
        name: shown_word(str(value)) if name in ("objective", "estimator") else _words(value)
        for name, value in said.items()
    }
    lines = [(name, text) for name, text in words.items() if name not in defaults]
    text = ", ".join(f"{name} {words[name]}" for name in defaults)
    code = [("code", _code(found))] if found.code else []
    return lines + code + ([("defaults", text)] if defaults else [])


def _code(found: "ShownRun") -> str:
    """Return in words what the run keeps of the code of its model, and where the code was."""
    assert found.code is not None
    files = [f"model/{name}" for name in found.code.files]
    kept = some_of(files) if files else "digests of a package's files"
    place = f", from {found.code.place}" if found.code.place else ", which came from elsewhere"
    return f"{kept}{place}"


def _progress(found: "ShownRun") -> Lines:
    """Return the lines about steps, checkpoints, metrics, bounds and results."""
    listed = found.listed
    lines = [("step", f"{listed.step if listed.step is not None else '-'} of {listed.spec.get('steps', '-')}")]
    for each in found.checkpoints:
        marks = ", best" if each.best else ""
        lines.append(
            ("checkpoint", f"step {each.step}, {each.fault or 'whole'}, {bytes_in_words(each.nbytes)}{marks}")
        )
    for split, row in listed.last.items():
        lines.append((f"last {split}", ", ".join(f"{name} {_words(value)}" for name, value in row.items())))
    step = listed.summary.get("final_step", listed.summary.get("step"))
    of_step = "" if step is None else f", step {step}"
    for split in Split:
        bounds = _mapping(_mapping(listed.summary.get("bounds")).get(split.value))
        if isinstance(value := bounds.get("value"), float):
            said = with_error(value, stderr if isinstance(stderr := bounds.get("stderr"), float) else None)
            lines.append((f"bound {split}", f"{said} nats, {bounds.get('n')} examples{of_step}"))
    return lines + [("result", f"{file}: {_result(attrs)}") for file, attrs in found.results.items()]


def _commands(found: "ShownRun") -> Lines:
    """Return the lines about the log, the typed command, and the commands to type next."""
    lines: Lines = []
    if found.resumed:
        lines.append(("resumed", f"{len(found.resumed)} times" if len(found.resumed) > 1 else "once"))
    known = [("log", found.log), ("typed", found.command), ("repeat", found.repeat_command)]
    return [*lines, *((name, str(text)) for name, text in known if text), ("next", found.next_command)]


def _result(attrs: Mapping[str, Any]) -> str:
    """Summarise a result: the verdicts of a bias check, or the numbers of an evaluation."""
    if isinstance(summary := attrs.get("summary"), str):
        return summary
    if isinstance(checked := attrs.get("results"), list):
        rows = cast("list[dict[str, Any]]", checked)
        pairs = [shown_word(f"{row.get('objective')}/{row.get('estimator')}") for row in rows]
        return ", ".join(f"{pair} {row.get('verdict')}" for pair, row in zip(pairs, rows, strict=True))
    value, stderr = attrs.get("value"), attrs.get("stderr")
    if isinstance(value, float) and (stderr is None or isinstance(stderr, float)):
        asked = ", ".join(f"{name} {attrs[name]}" for name in ("k", "n", "seed", "checkpoint") if name in attrs)
        return f"{with_error(value, stderr)} nats, {attrs.get('split')}, {asked}"
    plain = {name: value for name, value in attrs.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{name} {_words(value)}" for name, value in plain.items())


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return typed_list(cast("list[object]", value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in cast("Mapping[str, object]", value).items())
    return str(value)


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping unchanged, and an empty one for other values, which another program may have written."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _environment(content: Mapping[str, Any]) -> Lines:
    """Return the most useful lines about an environment."""
    packages, git, cpu = (_mapping(content.get(name)) for name in ("packages", "git", "cpu"))
    found: Lines = []
    versions = [f"{name} {packages[name]}" for name in ("dreg", "torch", "numpy") if packages.get(name)]
    if versions:
        found.append(("versions", ", ".join(versions)))
    if git:
        found.append(
            ("git", f"{git.get('commit')}{'' if git.get('clean') else ', with changes (see environment.json)'}")
        )
    if cpu:
        threads = f"{content.get('threads')} thread{'' if content.get('threads') == 1 else 's'}"
        found.append(("machine", f"{content.get('hostname')}: {cpu.get('model')}, {threads}"))
    return found
