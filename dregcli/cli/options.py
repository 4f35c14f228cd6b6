"""Options that several commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from dregcli.commands import remember_data_dir, remember_runs_dir
from dregcli.names import (
    Backward,
    Capture,
    DatasetName,
    LikelihoodName,
    ModelName,
    Precision,
    Task,
    split_word,
)
from dregcli.parts import known_words

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

# Of what is diagnosed: a run's model, or one that is trained for it.
Objective = Annotated[
    str | None,
    typer.Option("--objective", metavar="WORD", help="Of estimators named alone.", show_default="the run's, or iwae"),
]
Examples = Annotated[int, typer.Option("--examples", help="Training examples to look at, drawn by the seed.")]
OfDataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Without RUN: what the model is trained on.", show_default="digits"),
]
OfTask = Annotated[
    str | None, typer.Option("--task", help="Without RUN: what the model is of.", show_default="generative")
]


def _one_of(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


_OBJECTIVES, _ESTIMATORS = known_words()

_SETTINGS: Final = {
    "dataset": f"{_one_of(DatasetName)}, or your own: `dreg data list`.",
    "objective": f"{_one_of(_OBJECTIVES)}; parameters as vr-iwae:alpha=0.3.",
    "estimator": f"{_one_of(_ESTIMATORS)}; or a pair such as rws/dreg; see `dreg estimators`.",
    "k": "Samples per example.",
    "batch_size": "Examples per step.",
    "steps": "Optimisation steps.",
    "lr": "Adam's learning rate.",
    "seed": "Addresses every random number.",
    "eval_every": "Steps between validations; 0 is only at the end.",
    "checkpoint_every": (
        "Steps between checkpoints, beside the best, the last and one every 5 minutes; 0 is only those."
    ),
    "keep_last": "Newest checkpoints that are kept, beside the best.",
    "capture": (
        f"{_one_of(Capture)}: what the run keeps of dreg's source tree. Only the commit; the diff too, and "
        "names and digests of untracked files; what is in untracked source files too. Never passwords and keys."
    ),
    "log_every": "Steps per row of metrics.",
    "eval_seed": "Of evaluation pixels and noise.",
    "task": f"{_one_of(Task)}: images, or one half given the other.",
    "model": f"{_one_of(ModelName)}, whose log p(x) is known exactly.",
    "likelihood": f"{_one_of(LikelihoodName)}.",
    "binarisation": "dynamic, static-seed:N, threshold:T or none: how intensities become pixels.",
    "split_convention": "dreg, burda or larochelle, where the data set has it: which published split.",
    "device": "auto, cpu or cuda.",
    "backward": f"auto, {_one_of(Backward)}: the gradient over all rows, or over a random few of them, unbiased too.",
    "screen_inflation": "Growth of the gradient's variance that screening may cost, up to 1.",
    "screen_precision": f"{_one_of(Precision)}: of the matrix products of screening's first pass.",
    "k_chunk": "Samples at once, a multiple of 16, or auto: less memory for more time.",
    "compile": "auto, on or off: torch.compile for the likelihood's arithmetic; auto is where it pays.",
    "track_estimators": "Log gradient variance and SNR of these too: words with commas, such as stl,rws/dreg.",
}
_METAVARS: Final = {
    "dataset": "NAME",
    "objective": "WORD",
    "estimator": "WORD",
    "binarisation": "WORD",
    "split_convention": "NAME",
    "k_chunk": "N|auto",
    "track_estimators": "WORDS",
}


Text = TypeVar("Text", str, str | None)


def number_or_word(text: Text) -> int | Text:
    """A whole number as one; any other text as it is, for the use case to refuse with all other faults."""
    try:
        return text if text is None else int(text)
    except ValueError:
        return text


def setting(field: str, default: str | None = None, *, more: str = "") -> Any:  # noqa: ANN401 - what typer.Option returns
    """The option of a field of the spec.

    Args:
        field: its name in the spec.
        default: what holds where it is not given, in words, where the command's own parameter defaults to None.
        more: what else its help says in one command.
    """
    name = f"--{field.replace('_', '-')}"
    help_ = f"{_SETTINGS[field]} {more}".rstrip()
    return typer.Option(name, help=help_, metavar=_METAVARS.get(field), show_default=default or True)
