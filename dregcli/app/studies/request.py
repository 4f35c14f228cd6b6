"""The request of ``dreg train``, before it is resolved."""

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
        options: options of the command line, by field of the spec, and ``epochs`` and ``seeds``; None means not
            given. ``estimator`` may be a list.
        name: name of the run, or of all runs of a study.
        preset: name of a preset.
        config: a file of options.
        resume: the run to continue, instead of a new one.
    """

    options: Mapping[str, Any]
    name: str | None = None
    preset: str | None = None
    config: Path | None = None
    resume: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """The given options; a list with a single estimator becomes that estimator."""
        return _plain(self.options)

    def read_config(self) -> dict[str, Any]:
        """Return the options in the config file; a list with a single estimator becomes that estimator.

        Raises:
            UsageError: the file cannot be read.
        """
        return _plain(read_config(self.config)) if self.config else {}

    def is_study(self, config: Mapping[str, Any]) -> bool:
        """Whether the request is for several runs: seeds, or more than one estimator.

        Args:
            config: the options from ``read_config``.
        """
        options, _ = merge_options(self.flags, config, self.preset)
        return options.seeds is not None or not isinstance(options.estimator, str)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    match options.get("estimator"):
        case [word]:
            return {**options, "estimator": word}
        case _:
            return dict(options)
