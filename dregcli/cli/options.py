"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes.")]
RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", help="Where runs are kept.", envvar="DREG_RUNS_DIR", show_default="runs"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where data sets are kept.",
        envvar="DREG_DATA_DIR",
        show_default="the platform's cache folder",
    ),
]
