"""``dreg runs verify``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.wording import counted

if TYPE_CHECKING:
    from dregcli.app.runs.replay import Replay

EXAMPLES = """Verify all runs:  [bold]dreg runs verify[/bold]

Verify some runs:  [bold]dreg runs verify mnist-iwae-dreg-k64 digits-iwae-dreg-k64/v002[/bold]

Train the first 200 steps again, and compare bit by bit:  \
[bold]dreg runs verify mnist-iwae-dreg-k64 --replay 200[/bold]

Exit code: 0 nothing has changed, 1 a file or a replayed metric differs."""

_CHECK_SAYS_NO = 1


def verify(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Names or versions to verify. Without RUN: all runs."),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train the first N steps of one run again, and compare the metrics."),
    ] = None,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every byte of the files of runs against their digests, and list files that were changed or lost."""
    from dregcli.app.runs.verify import verify_runs

    root, replayed = runs_folder(runs_dir), None
    if replay is not None and len(runs or []) != 1:
        what = f"--replay needs exactly one run; {len(runs or [])} given."
        raise UsageError(what, hint=command("runs", "verify", "RUN", "--replay", str(replay)))
    if replay is None and (model is not None or trust_code):
        option = "--model" if model is not None else "--trust-code"
        what = f"{option} only applies with --replay: to verify files, no code is run."
        raise UsageError(what, hint=command("runs", "verify", *(runs or [])))
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        found = verify_runs(runs or [], runs_dir=root, listener=terminal)
        if runs and replay is not None and not found.of("fault"):
            from dregcli.app.models.request import CodeRequest
            from dregcli.app.runs.replay import replay as replay_run  # torch, which reading files does not need

            code = CodeRequest(model, trust=trust_code)
            data = data_folder_if_any(data_dir)
            replayed = replay_run(runs[0], replay, runs_dir=root, data_dir=data, listener=terminal, code=code)
    faults, notes = found.of("fault"), found.of("note")
    if as_json:
        findings = [{"file": str(each.file), "kind": each.kind, "what": each.what} for each in found.findings]
        replay_json = {"replay": _replay_json(replayed) if replayed else None} if replay is not None else {}
        terminal.result({"runs": len(found.runs), "sound": not faults, "findings": findings, **replay_json})
    else:
        for each in faults:
            terminal.line(f"fault: {each.file}: {each.what}")
        for each in notes:
            terminal.note(f"note: {each.file}: {each.what}")
        verdict = counted(len(faults), "fault") if faults else "no file has changed since it was written"
        terminal.line(f"{counted(len(found.runs), 'run')}: {verdict}")
        if replayed:
            _show_replay(terminal, replayed)
    if replay is not None and replayed is None:
        sound = [run for run in found.runs if not any(each.file.is_relative_to(run.path) for each in faults)]
        words = command("runs", "verify", sound[-1].label, "--replay", str(replay)) if sound else ""
        another = f". To replay a version whose files are whole: {words}" if sound else ""
        terminal.warn(f"nothing was replayed, because files have changed or are missing{another}")
    raise typer.Exit(_CHECK_SAYS_NO if faults or (replayed and replayed.differences) else 0)


def _replay_json(found: "Replay") -> dict[str, Any]:
    return {
        "run": str(found.run.path),
        "steps": found.steps,
        "rows": found.rows,
        "differences": [asdict(each) for each in found.differences],
        "environment": found.differing,
    }


def _show_replay(terminal: Terminal, found: "Replay") -> None:
    rows = " and ".join(f"{count} of {split}" for split, count in found.rows.items())
    if not found.differences:
        terminal.line(f"replayed {found.steps} steps of {found.run.label}: rows {rows} are the same to the last bit")
        return
    first, count = found.differences[0], len(found.differences)
    terminal.line(
        f"replayed {found.steps} steps of {found.run.label}: {count} numbers differ, in rows {rows}; "
        f"first {first.split} {first.column} at step {first.step}: {first.stored!r}, now {first.replayed!r}"
    )
    if found.differing:
        terminal.line(f"environment settings that differ now: {', '.join(found.differing)}")
