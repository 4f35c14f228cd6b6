"""``dreg runs rerun``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.cli.training.trained import show_trained

EXAMPLES = """Repeat a run:  [bold]dreg runs rerun mnist-iwae-dreg-k64/v001[/bold]

Compare the result:  [bold]dreg runs diff mnist-iwae-dreg-k64/v001 mnist-iwae-dreg-k64/v002[/bold]"""


@with_settings(("capture",), shown="the run's")
def rerun(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Run to repeat: a version, or a name for its newest completed version."),
    ],
    settings: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Name of the new run.", show_default="the same name")] = None,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a run again from its spec, as a new version, and show what differs in the environment."""
    from dregcli.app.models.request import CodeRequest
    from dregcli.app.runs.rerun import rerun as run_again

    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        result = run_again(
            run,
            name,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
            capture=settings.get("capture"),
            code=CodeRequest(model, trust=trust_code),
        )
    show_trained(terminal, result)
