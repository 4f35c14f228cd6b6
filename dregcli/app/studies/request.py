"""The request of ``dreg train``, before it is resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.specs.axes import Grid, grid_of, with_single_values
from dregcli.specs.config import read_config
from dregcli.specs.presets import read_preset
from dregcli.specs.sweep import read_sweep


@dataclass(frozen=True)
class Files:
    """The options in the files of a request. A list of one value is this value.

    Attributes:
        config: options of the config file; empty without one.
        preset: options of the preset; empty without one.
        faults: a fault if there is no such preset.
        sweep: options of each table of a sweep; None without a sweep.
    """

    config: Mapping[str, Any]
    preset: Mapping[str, Any]
    faults: Sequence[Fault] = ()
    sweep: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class TrainRequest:
    """A request to train.

    Attributes:
        options: options of the command line, by field of the spec, and ``epochs`` and ``seeds``; None means not
            given. Several values of an option are a list, as in a config file.
        name: name of the run, or of all runs of a study.
        preset: name of a preset, or a file.
        config: a file of options.
        sweep: a file of tables of options, each of which describes some runs of a study.
        tables: such tables themselves, in place of their file; None if there are none.
        shared: options that all tables share, in place of a config file.
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
    sweep: Path | None = None
    tables: Sequence[Mapping[str, Any]] | None = None
    shared: Mapping[str, Any] = field(default_factory=dict[str, Any])
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
        """The given options; a list of one value is this value."""
        return with_single_values(self.options)

    def read_files(self) -> Files:
        """Read the config file, the preset and the sweep.

        Raises:
            UsageError: a file cannot be read.
        """
        preset, faults = read_preset(self.preset)
        config = read_config(self.config) if self.config else self.shared
        tables = read_sweep(self.sweep) if self.sweep else self.tables
        sweep = None if tables is None else [with_single_values(each) for each in tables]
        return Files(with_single_values(config), with_single_values(preset), faults, sweep)

    def grids(self, files: Files) -> list[Grid]:
        """Return the options with several values: one grid, or one for each table of a sweep.

        Options of the command line are stronger than a table, which is stronger than the other files.

        Args:
            files: the options from ``read_files``.
        """
        tables: Sequence[Mapping[str, Any]] = [{}] if files.sweep is None else files.sweep
        return [grid_of([self.flags, each, files.config, files.preset]) for each in tables]

    def is_study(self, files: Files) -> bool:
        """Whether the request is for several runs: seeds, an option with several values, or a sweep.

        Args:
            files: the options from ``read_files``.
        """
        (grid, *_) = self.grids(files)
        which = (each for layer in grid.layers for each in ("seeds", "seed") if layer.get(each) is not None)
        return files.sweep is not None or next(which, None) == "seeds" or bool(grid.axes or grid.faults)
