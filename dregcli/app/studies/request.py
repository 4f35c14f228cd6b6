"""What ``dreg train`` was asked for, as it was asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.specs.config import read_config
from dregcli.specs.resolve import merge_options


@dataclass(frozen=True)
class TrainRequest:
    """A request to train.

    Attributes:
        options: given on the command line, by field of the spec, and ``epochs`` and ``seeds``; None where not given.
            ``estimator`` may be a list.
        name: the run's name, in a study that of all runs.
        preset: settings by name.
        config: a file of options.
        resume: the run to go on with, instead of a new one.
    """

    options: Mapping[str, Any]
    name: str | None = None
    preset: str | None = None
    config: Path | None = None
    resume: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """The options given; a list of one estimator is that one."""
        return _plain(self.options)

    def read_config(self) -> dict[str, Any]:
        """The options in the config file; a list of one estimator is that one.

        Raises:
            UsageError: it cannot be read.
        """
        return _plain(read_config(self.config)) if self.config else {}

    def is_study(self, config: Mapping[str, Any]) -> bool:
        """Whether several runs are asked for: seeds, or more than one estimator.

        Args:
            config: what ``read_config`` gave.
        """
        options, _ = merge_options(self.flags, config, self.preset)
        return options.seeds is not None or not isinstance(options.estimator, str)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    match options.get("estimator"):
        case [word]:
            return {**options, "estimator": word}
        case _:
            return dict(options)
