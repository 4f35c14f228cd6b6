"""The request of ``dreg train``, before it is resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.specs.config import read_config
from dregcli.specs.presets import read_preset
from dregcli.specs.resolve import merge_options
from dregcli.words import split_list


@dataclass(frozen=True)
class Files:
    """The options in the files of a request.

    Attributes:
        config: options of the config file; empty without one.
        preset: options of the preset; empty without one.
        faults: a fault if there is no such preset.
    """

    config: Mapping[str, Any]
    preset: Mapping[str, Any]
    faults: Sequence[Fault] = ()


@dataclass(frozen=True)
class TrainRequest:
    """A request to train.

    Attributes:
        options: options of the command line, by field of the spec, and ``epochs`` and ``seeds``; None means not
            given. ``estimator`` may be a list.
        name: name of the run, or of all runs of a study.
        preset: name of a preset, or a file.
        config: a file of options.
        resume: the run to continue, instead of a new one.
        end: whether the run to continue ends at its last checkpoint.
        trust_code: whether the copy of the model's code that the run to continue keeps may be run.
        jobs: number of runs of a study at once, each in a process of its own; None if not given, which means 1.
        on: where the runs are trained.
        at_once: number of runs that a cluster may train at once; None if not given.
        slurm: settings of SLURM's jobs, ``NAME=VALUE`` each.
        ray_address: address of the Ray cluster; None if not given.
    """

    options: Mapping[str, Any]
    name: str | None = None
    preset: str | None = None
    config: Path | None = None
    resume: str | None = None
    end: bool = False
    trust_code: bool = False
    jobs: int | None = None
    on: Place = Place.LOCAL
    at_once: int | None = None
    slurm: Sequence[str] = ()
    ray_address: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """The given options; a list with a single estimator becomes that estimator."""
        return _plain(self.options)

    def read_files(self) -> Files:
        """Read the config file and the preset; a list with a single estimator becomes that estimator.

        Raises:
            UsageError: a file cannot be read.
        """
        preset, faults = read_preset(self.preset)
        return Files(_plain(read_config(self.config)) if self.config else {}, _plain(preset), faults)

    def is_study(self, files: Files) -> bool:
        """Whether the request is for several runs: seeds, or more than one estimator.

        Args:
            files: the options from ``read_files``.
        """
        options, _ = merge_options(self.flags, files.config, files.preset)
        return options.seeds is not None or not isinstance(options.estimator, str)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    match options.get("estimator"):
        case [word]:
            return {**options, "estimator": word}
        case str(text) if len(words := split_list(text)) > 1:
            return {**options, "estimator": words}
        case _:
            return dict(options)
