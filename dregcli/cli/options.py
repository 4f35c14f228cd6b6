"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.commands import remember_data_dir, remember_runs_dir
from dregcli.names import split_word

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no notes.")]


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
        help="Folder of the runs; a run given by its path needs no --runs-dir.",
        envvar="DREG_RUNS_DIR",
        show_default="runs",
        callback=_runs_dir,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of the data sets.",
        envvar="DREG_DATA_DIR",
        show_default="the platform's cache folder",
        callback=_data_dir,
    ),
]


def _split(word: str) -> str:
    return split_word(word)


def split_option(help_: str) -> Any:  # noqa: ANN401 - what typer.Option returns
    """Return the option ``--split``, which also accepts common names such as validation, val and dev."""
    return typer.Option("--split", help=help_, metavar="SPLIT", callback=_split)


Checkpoint = Annotated[str, typer.Option("--checkpoint", help="Checkpoint of RUN to use: last, best or a step.")]

# Options of the commands that diagnose the model of a run, or a model that they train first.
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="WORD",
        help="Objective for the estimators that you name without one.",
        show_default="the run's, or iwae",
    ),
]
Examples = Annotated[int, typer.Option("--examples", help="Number of training examples, selected by --seed.")]

# Options of every command that builds the model of a run.
RunModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="WORD",
        help="Code of the model, if it is a class of your own: FILE.py:Class, or package.module:Class.",
        show_default="the code of the run, where it was",
    ),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the copy of the model's code that RUN keeps; read it first.")
]
