"""What every kind of experiment can do; ``dregcli.app.papers.kinds`` has the table of kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.report.papers.outcome import Compared, Drawing
from dregcli.specs.papers.document import Paper
from dregcli.specs.papers.lines import Place as Entry
from dregcli.specs.papers.read import PaperFile

if TYPE_CHECKING:
    from dregcli.app.studies.outcome import StudyResult
    from dregcli.app.studies.preview import Preview


@dataclass(frozen=True)
class PaperRequest:
    """A request for a published experiment.

    Attributes:
        word: its name, or a user's own file.
        scale: the share of the paper's steps, more than 0 and at most 1.
        settings: options of the machine by field: ``device`` and ``threads``; None means not given.
        jobs: runs at once; None means 1.
        on: where runs are trained.
        at_once: number of runs that a cluster may train at once.
        slurm: settings of SLURM's jobs.
        ray_address: address of the Ray cluster.
        out: the folder for the figure and the results; None means ``papers/NAME``.
    """

    word: str
    scale: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    jobs: int | None = None
    on: Place = Place.LOCAL
    at_once: int | None = None
    slurm: Sequence[str] = ()
    ray_address: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Change:
    """What a scale changes: a name, and the values before and after, in words.

    ``is_main`` says whether it makes a result of another size, as the number of steps does.
    """

    name: str
    before: str
    after: str
    is_main: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Scaled:
    """A shorter version of an experiment.

    Attributes:
        paper: the experiment. Its published numbers are those of the paper, in the same order; the settings that
            they belong to are those of the shorter runs.
        changes: what is shorter.
    """

    paper: Paper
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Asked:
    """An experiment as it is asked for.

    Attributes:
        file: its file, with the whole experiment.
        scaled: the version to run.
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in runs.
    """

    file: PaperFile
    scaled: Scaled
    request: PaperRequest
    runs_dir: Path
    data_dir: Path
    argv: tuple[str, ...] = ()

    @property
    def paper(self) -> Paper:
        """The version to run."""
        return self.scaled.paper

    @property
    def out(self) -> Path:
        """The folder for the figure and the results."""
        return self.request.out or Path("papers") / self.file.name

    @property
    def is_shorter(self) -> bool:
        """Whether something is shorter than in the paper."""
        return bool(self.scaled.changes or self.paper.shorter)

    @property
    def stem(self) -> str:
        """Stem of the names of its files."""
        return self.file.name if self.request.scale == 1.0 else f"{self.file.name}-scale{self.request.scale}"


@dataclass(frozen=True)
class State:
    """How much of an experiment is there already: of so many pieces of work, so many are done."""

    done: int
    total: int
    unit: str
    length: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.done == self.total


@dataclass(frozen=True)
class Expected:
    """The time that an experiment will still take here.

    Attributes:
        seconds: the time.
        by: how it was measured, in words.
        besides: what comes on top; empty if nothing does.
    """

    seconds: float
    by: str
    besides: str = ""


@dataclass(frozen=True)
class Ran:
    """What a call has done: its exit code, and the study that it ran, if the experiment is one."""

    exit_code: int
    study: "StudyResult | None" = None


@dataclass(frozen=True)
class Made:
    """How results came about, for readers of a table.

    Attributes:
        versions: versions of dreg.
        processors: processors, and GPUs where they were used.
        hours: hours of what ``hours_of`` says.
        hours_of: what took these hours: all work, or the training steps alone, without evaluations.
        length: seeds and steps, in words.
    """

    versions: tuple[str, ...]
    processors: tuple[str, ...]
    hours: float
    hours_of: str
    length: str


class Kind(Protocol):
    """A kind of experiment."""

    def faults(self, paper: Paper) -> list[tuple[Entry, str]]:
        """Return the faults of a file that its form alone does not show, by their places in it."""
        ...

    def scaled(self, paper: Paper, share: float) -> Scaled:
        """Return a shorter version of an experiment.

        Args:
            paper: the experiment.
            share: share of the steps or replicates, more than 0 and less than 1.
        """
        ...

    def request_faults(self, request: PaperRequest) -> list[Fault]:
        """Return the options of a request that this kind cannot take."""
        ...

    def state(self, asked: Asked) -> State:
        """Return how much is there already.

        Raises:
            DregError: this cannot be known, for example because data are missing.
        """
        ...

    def preview(self, asked: Asked, listener: Listener) -> "Preview | None":
        """Return the runs, and which of them are there; None if the experiment has no runs."""
        ...

    def expected(self, asked: Asked) -> Expected | None:
        """Measure how long the missing work will take here; None if nothing is missing, or if this is not known."""
        ...

    def run(self, asked: Asked, listener: ListenerOfMany) -> Ran:
        """Do the missing work.

        Raises:
            Interrupted: a signal came; the same call continues.
            DregError: an error that concerns all work.
        """
        ...

    def results(self, asked: Asked) -> "Results":
        """Return the results that are there, without any further work."""
        ...


@dataclass(frozen=True)
class Results:
    """The results that are there.

    Attributes:
        drawings: the panels of the figure.
        compared: published numbers beside ours.
        made: how they came about; None if there are none.
        missing: what is missing, in words; empty if nothing is.
    """

    drawings: tuple[Drawing, ...]
    compared: tuple[Compared, ...]
    made: Made | None
    missing: str = ""
