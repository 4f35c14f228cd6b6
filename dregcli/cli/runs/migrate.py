"""``dreg runs migrate``."""

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

EXAMPLES = """[bold]dreg runs migrate[/bold]

Another store:  [bold]dreg runs migrate --runs-dir old-runs[/bold]"""


def migrate(runs_dir: RunsDir = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Make a store of an older format one that this dreg writes; what is changed is backed up first."""
    from dregcli.app.runs.migrate import FORMAT_VERSION, migrate_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    root = runs_folder(runs_dir)
    found = migrate_runs(root)
    for reason in found.unreadable:
        terminal.warn(f"left as it is: {reason}")
    if as_json:
        terminal.result(
            {
                "store": str(root),
                "before": found.before,
                "format": FORMAT_VERSION,
                "migrated": [str(run.path) for run in found.migrated],
                "unreadable": list(found.unreadable),
                "backup": str(found.backup) if found.backup else None,
            }
        )
    elif found.backup is None:
        terminal.line(f"{root}/ has format {found.before} already: nothing to do")
    else:
        terminal.line(f"{root}/ has format {FORMAT_VERSION} now; runs migrated: {len(found.migrated)}")
        terminal.line(f"backup: {found.backup}/ has the files as they were")
