"""The files of arrays in a store: the orders of the tasks, what became of each task, and SLURM's ids.

An array is a folder ``.slurm/NAME``. It holds ``orders/0000.json`` and so on, one for each task; beside an order,
once its task was stopped, ``0000.starts.json``; ``array.json``, once SLURM has taken the array; and in ``jobs/`` the
files of submitit, with the logs.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dregcli.app.studies.repeats import key_of
from dregcli.app.studies.slurm.submitted import ARRAY_FILE, SLURM_FOLDER, subject
from dregcli.app.studies.worker import Order
from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, make_folders, write_aside, write_folder_aside
from dregcli.store import documents, layout
from dregcli.store.runs import RunStore

_ORDERS, _JOBS = "orders", "jobs"


@dataclass(frozen=True)
class Array:
    """The folder of an array."""

    home: Path

    @property
    def jobs(self) -> Path:
        """The folder of submitit, with the logs."""
        return self.home / _JOBS

    def record(self, fs: FileSystem, orders: Sequence[Order], jobs: Sequence[str]) -> None:
        """Keep which job has which order.

        Raises:
            StoreWriteError: the disk refuses.
        """
        found = {subject(*key_of(order.spec)): job for order, job in zip(orders, jobs, strict=True)}
        write_aside(fs, self.home / ARRAY_FILE, documents.seal({"jobs": found}))


def new_array(store: RunStore, orders: Sequence[Order]) -> tuple[Array, list[Path]]:
    """Write the orders of a new array.

    Returns:
        The array, and the file of each order.

    Raises:
        StoreFormatError: the store has another format.
        StoreWriteError: the disk refuses.
    """
    fs = store.fs
    layout.prepare_store(store.root, fs)
    root = store.root.absolute() / SLURM_FOLDER
    make_folders(fs, root)
    stamp = store.clock.now().strftime("%Y%m%d-%H%M%S")
    files = {f"{_ORDERS}/{place:04d}.json": documents.seal(order.document()) for place, order in enumerate(orders)}
    for number in count(1):
        array = Array(root / f"{stamp}-{number}")
        with suppress(FileExistsError):
            write_folder_aside(fs, array.home, files)
            return array, [array.home / name for name in files]
    raise AssertionError


def read_order(path: Path) -> Order:
    """Read the order of a task.

    Raises:
        StoreCorrupt: the file is altered, or the host does not see it.
    """
    return Order.parse(documents.unseal(path))


@dataclass(frozen=True)
class Starts:
    """How far the starts of a task have come.

    Args:
        step: the step of the run when its task was stopped last.
        idle: how many starts in a row have made no progress.
    """

    step: int = 0
    idle: int = 0

    def after(self, step: int) -> "Starts":
        """Return the same after one more start, which has stopped at a step."""
        return Starts(step, 0 if step > self.step else self.idle + 1)


def starts_of(path: Path) -> Starts:
    """Return how far the starts of the task with an order have come; nothing if this is not known."""
    with suppress(StoreCorrupt, TypeError):
        return Starts(**documents.unseal(_starts_file(path)))
    return Starts()


def keep_starts(fs: FileSystem, path: Path, starts: Starts) -> None:
    """Keep how far the starts of the task with an order have come.

    Raises:
        StoreWriteError: the disk refuses.
    """
    write_aside(fs, _starts_file(path), documents.seal({"step": starts.step, "idle": starts.idle}))


def _starts_file(path: Path) -> Path:
    return path.with_suffix(".starts.json")
