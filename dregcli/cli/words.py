"""Values that a shell can complete, by the parameter of an option or an argument."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import typer
from typer.models import ParameterInfo

from dregcli.devices import COMPLETED as DEVICES
from dregcli.names import (
    CONVENTIONS,
    Backward,
    Capture,
    Channels,
    DataKind,
    DatasetName,
    FinalEval,
    Flip,
    LikelihoodName,
    ModelName,
    Precision,
    RunStatus,
    Split,
    Task,
)
from dregcli.specs.models import PROGRAMS

Command = TypeVar("Command", bound=Callable[..., Any])
Words = Callable[[typer.Context, str], Iterable[str]]
"""Returns the possible values; Typer leaves out all that do not begin like the typed word."""


def _runs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs; if only one name fits, its versions, too."""
    from dregcli.app.common.on_disk import run_versions
    from dregcli.app.common.places import runs_folder

    versions = run_versions(runs_folder(_folder(context, "runs_dir")))
    name, slash, _ = incomplete.partition("/")
    left = [each for each in versions if (each == name if slash else each.startswith(name))]
    return [*left, *(f"{left[0]}/{version}" for version in versions[left[0]])] if len(left) == 1 else left


def _datasets(context: typer.Context, incomplete: str) -> list[str]:
    """Return the data sets of the catalogue and the data sets on disk."""
    return list(dict.fromkeys([*DatasetName, *_files(context, incomplete)]))


def _files(context: typer.Context, incomplete: str) -> list[str]:
    """Return the data sets on disk."""
    from dregcli.app.common.on_disk import dataset_names
    from dregcli.app.common.places import data_folder_if_any

    return dataset_names(data_folder_if_any(_folder(context, "data_dir")))


def _presets(context: typer.Context, incomplete: str) -> list[str]:
    from dregcli.specs.presets import PRESETS

    return list(PRESETS)


def _papers(context: typer.Context, incomplete: str) -> list[str]:
    from dregcli.specs.papers.named import paper_names

    return paper_names()


def _objectives(context: typer.Context, incomplete: str) -> list[str]:
    from dregcli.parts import known_words

    return _listed(known_words()[0], incomplete)


def _estimators(context: typer.Context, incomplete: str) -> list[str]:
    from dregcli.parts import known_words

    return _listed(known_words()[1], incomplete)


def _listed(words: Iterable[str], incomplete: str) -> list[str]:
    """Return words that may end a list with commas: only the last one is completed."""
    before = "".join(incomplete.rpartition(",")[:2])
    return [before + word for word in words]


def _folder(context: typer.Context, option: str) -> Path | None:
    """Return the folder of an option or its variable; ``~`` is expanded, because no shell has done this yet."""
    found = context.params.get(option)
    return Path(found).expanduser() if found else None


def _any_of(*words: str) -> Words:
    def given(context: typer.Context, incomplete: str) -> list[str]:
        return _listed(words, incomplete)

    return given


_WORDS: Final[dict[str, Words]] = {
    **dict.fromkeys(("run", "runs", "resume", "a", "b"), _runs),
    "runs export words": _runs,
    "runs list names": _runs,
    "dataset": _datasets,
    "data show name": _datasets,
    **dict.fromkeys(("paper show name", "paper run name", "paper export name"), _papers),
    "data verify names": _datasets,
    "data rm names": _files,
    "datasets": _any_of(*DatasetName),
    "preset": _presets,
    "objective": _objectives,
    "estimator": _estimators,
    "track_estimators": _estimators,
    "task": _any_of(*Task),
    "check-model model": _any_of(*PROGRAMS),
    "model": _any_of(*ModelName, *PROGRAMS),
    "likelihood": _any_of(*LikelihoodName),
    "binarisation": _any_of("dynamic", "static-seed:0", "threshold:0.5", "none"),
    "split_convention": _any_of(*CONVENTIONS),
    "split": _any_of(*Split),
    "checkpoint": _any_of("last", "best"),
    "device": _any_of("auto", *DEVICES),
    "bias-check backward": _any_of(*Backward),
    "backward": _any_of("auto", *Backward),
    "screen_precision": _any_of(*Precision),
    "k_chunk": _any_of("auto"),
    "eval_every": _any_of("auto"),
    "final_eval": _any_of(*FinalEval),
    "threads": _any_of("auto"),
    "compile": _any_of("auto", "on", "off"),
    "capture": _any_of(*Capture),
    "method": _any_of("ais"),
    "status": _any_of(*RunStatus, "unreadable"),
    "kind": _any_of(*DataKind),
    "channels": _any_of(*Channels),
    "flip": _any_of(*Flip),
}
"""By parameter; or by command and parameter, if the same name has another meaning in other commands."""


def with_words(command: Command, typed: str) -> Command:
    """Add the values for completion to the options and arguments of a command.

    Args:
        command: the function of the command; the declarations of its parameters are changed in place.
        typed: the words that the user types for the command.
    """
    for name, parameter in inspect.signature(command).parameters.items():
        words = _WORDS.get(f"{typed} {name}", _WORDS.get(name))
        for declared in get_args(parameter.annotation):
            if words and isinstance(declared, ParameterInfo):
                declared.autocompletion = words
    return command
