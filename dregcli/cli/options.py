"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dregcli.names import DatasetName, EstimatorName, LikelihoodName, ObjectiveName, Task

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


def _one_of(names: type[StrEnum]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


_SETTINGS: Final = {
    "dataset": f"{_one_of(DatasetName)}, or your own: `dreg data list`.",
    "objective": f"{_one_of(ObjectiveName)}; parameters as vr-iwae:alpha=0.3.",
    "estimator": f"{_one_of(EstimatorName)}; or a pair such as rws/dreg; see `dreg estimators`.",
    "k": "Samples per example.",
    "batch_size": "Examples per step.",
    "steps": "Optimisation steps.",
    "lr": "Adam's learning rate.",
    "seed": "Addresses every random number.",
    "eval_every": "Steps between validations; 0 is only at the end.",
    "checkpoint_every": (
        "Steps between checkpoints, beside the best, the last and one every 5 minutes; 0 is only those."
    ),
    "log_every": "Steps per row of metrics.",
    "eval_seed": "Of evaluation pixels and noise.",
    "task": f"{_one_of(Task)}: images, or one half given the other.",
    "likelihood": f"{_one_of(LikelihoodName)}.",
    "binarisation": "dynamic, static-seed:N, threshold:T or none: how intensities become pixels.",
    "split_convention": "dreg, burda or larochelle, where the data set has it: which published split.",
    "device": "auto, cpu or cuda.",
}
_METAVARS: Final = {
    "dataset": "NAME",
    "objective": "WORD",
    "estimator": "WORD",
    "binarisation": "WORD",
    "split_convention": "NAME",
}


def setting(field: str, default: str) -> Any:  # noqa: ANN401 - what typer.Option returns
    """The option of a field of the spec, for the commands that train.

    Args:
        field: its name in the spec.
        default: what holds where it is not given, in words; the command's own parameter defaults to None.
    """
    name = f"--{field.replace('_', '-')}"
    return typer.Option(name, help=_SETTINGS[field], metavar=_METAVARS.get(field), show_default=default)
