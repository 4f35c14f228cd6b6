"""``dreg runs verify``."""

from typing import Annotated

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

EXAMPLES = """All runs:  [bold]dreg runs verify[/bold]

Some:  [bold]dreg runs verify mnist-iwae-dreg-k64 digits-iwae-dreg-k64/v002[/bold]

Exit code: 0 all is as it was written, 1 something is not."""

_CHECK_SAYS_NO = 1


def verify(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names or versions; all.")] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every byte of every file of runs against its digest; name what was altered, cut or is missing."""
    from dregcli.app.runs_verify import verify_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    try:
        found = verify_runs(runs or [], runs_dir=runs_folder(runs_dir), listener=terminal)
    finally:
        terminal.close()
    faults, notes = found.of("fault"), found.of("note")
    if as_json:
        findings = [{"file": str(each.file), "kind": each.kind, "what": each.what} for each in found.findings]
        terminal.result({"runs": len(found.runs), "sound": not faults, "findings": findings})
    else:
        for each in faults:
            terminal.line(f"fault: {each.file}: {each.what}")
        for each in notes:
            terminal.note(f"note: {each.file}: {each.what}")
        count = f"{len(found.runs)} run{'s' if len(found.runs) != 1 else ''}"
        told = (
            f"{len(faults)} fault{'s' if len(faults) != 1 else ''}" if faults else "every file is as it was written"
        )
        terminal.line(f"{count}: {told}")
    raise typer.Exit(_CHECK_SAYS_NO if faults else 0)
