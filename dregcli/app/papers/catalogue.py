"""All published experiments, and how much of each is in a store."""

from dataclasses import dataclass
from pathlib import Path

from dregcli.app.papers.asking import ask
from dregcli.app.papers.kind import Asked, PaperRequest, State
from dregcli.app.papers.kinds import kind_of
from dregcli.errors import DregError
from dregcli.specs.papers.named import paper_names


@dataclass(frozen=True)
class Listed:
    """One experiment.

    Attributes:
        asked: the experiment, at its whole length.
        state: how much of it is done; None if this cannot be known.
        problem: why it cannot be known; None if it is known.
    """

    asked: Asked
    state: State | None
    problem: DregError | None = None


def list_papers(*, runs_dir: Path, data_dir: Path) -> list[Listed]:
    """Return all experiments that dreg brings along.

    Args:
        runs_dir: the store.
        data_dir: the data folder.
    """
    return [paper_state(name, runs_dir=runs_dir, data_dir=data_dir) for name in paper_names()]


def paper_state(word: str, *, runs_dir: Path, data_dir: Path) -> Listed:
    """Return one experiment, and how much of it is done.

    Raises:
        UsageError: there is no such experiment, or its file has faults.
    """
    asked = ask(PaperRequest(word), runs_dir=runs_dir, data_dir=data_dir, argv=[])
    try:
        return Listed(asked, kind_of(asked.paper).state(asked))
    except DregError as error:
        return Listed(asked, None, error)
