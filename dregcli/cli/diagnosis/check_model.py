"""``dreg check-model``."""

from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any
from dregcli.cli.diagnosis.check_result import show
from dregcli.cli.options import DataDir, Json, Quiet
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.defaults import DIAGNOSED_EXAMPLES

EXAMPLES = """Check a class of your own:  \
[bold]dreg check-model my_model.py:ConvVae --dataset mnist[/bold]

With options of its constructor:  \
[bold]dreg check-model my_model.py:ConvVae --model-option latent_dim=16 --json[/bold]

Exit code: 0 no fault was found, 1 a fault was found, 2 the model does not fit the contract, or an option is wrong."""

_FIELDS = ("model_options", "dataset", "split_convention", "binarisation", "seed", "device", "threads")


@with_settings(_FIELDS)
def check_model(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Class of your own: FILE.py:Class, or package.module:Class."),
    ],
    settings: dict[str, Any],
    examples: Annotated[
        int, typer.Option("--examples", help="Number of training examples in the batch.")
    ] = DIAGNOSED_EXAMPLES,
    max_seconds: Annotated[
        float, typer.Option(help="Time limit of the comparison of two estimators in seconds; 0 leaves it out.")
    ] = 15.0,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a model of your own before it is trained, and find faults that would make its numbers wrong silently."""
    from dregcli.app.diagnosis.check_model import CheckRequest
    from dregcli.app.diagnosis.check_model import check_model as check

    request = CheckRequest(model, settings, examples=examples, seconds=max_seconds)
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        report = check(request, data_dir=data_folder_if_any(data_dir), listener=terminal)
    if as_json:
        terminal.result(report.as_json())
    else:
        show(terminal, report)
    raise typer.Exit(report.exit_code)
