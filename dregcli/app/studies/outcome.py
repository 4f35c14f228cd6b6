"""What a study has come to: the outcome of each of its runs, and its exit code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.app.common.on_disk import run_versions
from dregcli.app.reporting.report import Report
from dregcli.errors import DregError
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec
from dregcli.store.records import RunInfo
from dregcli.store.run import Run

UNFINISHED: Final = 5
"""The exit code of a study that is not complete although no run failed: this process itself is writing a run."""

GO_ON: Final = "run the same command again to continue the study"


@dataclass(frozen=True)
class Failure:
    """Why a run of a study has no results. It does not keep the error, whose traceback would keep a whole model."""

    what: str
    where: str | None
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, error: DregError) -> "Failure":
        """Return the parts of an error that are shown."""
        return cls(error.what, error.where, error.hint, error.exit_code)

    def __str__(self) -> str:
        where = f"\n  where: {self.where}" if self.where else ""
        return f"{self.what}{where}" + (f"\n  next:  {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class StudyRun:
    """The outcome of one run of a study.

    Attributes:
        spec: spec of the run.
        run: the run; None if it failed before it was claimed.
        info: state of the run when the study ended.
        skipped: whether this process did not train it: it was done before, or another process trained it.
        failure: why it has no results; None if it has results, or another process is training it.
        shared: whether another process has trained it, or is training it, since the study began here.
        held: whether another process was training it when this outcome was noted.
        queued: the cluster's job, in words, that will train it; None if there is none.
    """

    spec: RunSpec
    run: Run | None
    info: RunInfo | None
    skipped: bool
    failure: Failure | None
    shared: bool = False
    held: bool = False
    queued: str | None = None


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes:
        runs: one entry for each combination, in the order of the study.
        report: report on these runs; None if there is no run.
        runs_dir: the store of the runs.
        labels: of each run what tells it from the others, such as ``iwae/dreg K=16, seed 2``.
        handed_over: whether this command has only handed the runs over to a cluster, and does not wait for them.
    """

    runs: tuple[StudyRun, ...]
    report: Report | None
    runs_dir: Path
    labels: tuple[str, ...]
    handed_over: bool = False

    @property
    def words(self) -> list[str]:
        """Words that name the completed runs alone: a name if they are all its versions, else the versions."""
        versions: dict[str, list[str]] = {}
        for each in self.runs:
            if each.run and each.info and each.info.status is RunStatus.COMPLETED:
                versions.setdefault(each.run.name, []).append(each.run.key)
        every = run_versions(self.runs_dir)
        return [
            word
            for name, keys in versions.items()
            for word in ([name] if len(keys) == len(every.get(name, ())) else keys)
        ]

    @property
    def exit_code(self) -> int:
        """The exit code of the first failure, also of an earlier call; 0 if all are completed, whoever did it.

        It is 0, too, if the missing runs wait for a cluster.
        """
        failed = next((each.failure.exit_code for each in self.runs if each.failure), None)
        if failed is not None:
            return failed
        if self.handed_over:
            return 0
        return 0 if all(each.info and each.info.status is RunStatus.COMPLETED for each in self.runs) else UNFINISHED
