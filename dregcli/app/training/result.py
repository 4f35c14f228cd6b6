"""The result of a finished run."""

from dataclasses import dataclass
from typing import Any

from dregcli.app.planning.words import short_words
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run."""

    run: Run
    spec: RunSpec
    summary: dict[str, Any]

    @property
    def pair(self) -> str:
        """Objective and estimator in their shortest words."""
        return "/".join(short_words(self.spec).values())
