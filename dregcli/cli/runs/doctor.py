"""``dreg runs doctor``."""

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

EXAMPLES = """Check the store:  [bold]dreg runs doctor[/bold]

Exit code: 0 the store is reliable, 1 the store has a fault."""

_CHECK_SAYS_NO = 1
_STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red"}


def doctor(runs_dir: RunsDir = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check a store: format, disk, space, runs, clocks and leftovers; for each problem, show what to type."""
    from dregcli.app.runs.doctor import Health, examine

    terminal = Terminal(as_json=as_json, quiet=quiet)
    checks = examine(runs_dir=runs_folder(runs_dir))
    healthy = all(check.health is not Health.FAULT for check in checks)
    if as_json:
        found = [{"check": c.name, "health": c.health.value, "what": c.what, "next": c.hint or None} for c in checks]
        terminal.result({"healthy": healthy, "checks": found})
    else:
        rows = [[check.name, check.health.value, check.what] for check in checks]
        styles = [{1: _STYLES[check.health.value]} for check in checks]
        terminal.table(["check", "health", "found"], rows, styles=styles)
        for check in checks:
            for line in check.hint.splitlines():
                terminal.line(f"{check.name}: {line}")
    raise typer.Exit(0 if healthy else _CHECK_SAYS_NO)
