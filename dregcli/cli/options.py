"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.commands import remember_data_dir, remember_runs_dir
from dregcli.names import (
    split_word,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes.")]


def _runs_dir(given: Path | None) -> Path | None:
    remember_runs_dir(given)
    return given


def _data_dir(given: Path | None) -> Path | None:
    remember_data_dir(given)
    return given


RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        help="Where runs are kept; the path of a run finds its own store.",
        envvar="DREG_RUNS_DIR",
        show_default="runs",
        callback=_runs_dir,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where data sets are kept.",
        envvar="DREG_DATA_DIR",
        show_default="the platform's cache folder",
        callback=_data_dir,
    ),
]


def _split(word: str) -> str:
    return split_word(word)


def split_option(help_: str) -> Any:  # noqa: ANN401 - what typer.Option returns
    """The option of a split, which may be called what people call it: validation, val, dev."""
    return typer.Option("--split", help=help_, metavar="SPLIT", callback=_split)


Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="last, best or a step of RUN.")]

# Options of commands that diagnose the model of a run, or one that is trained for it.
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="WORD",
        help="Objective of estimators that are named without one.",
        show_default="the run's, or iwae",
    ),
]
Examples = Annotated[int, typer.Option("--examples", help="Training examples to look at, drawn by the seed.")]
