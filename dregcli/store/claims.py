"""Claims: which process makes the run of an experiment and a seed, so that no two processes make the same run.

A claim is a folder of the store, ``.claims/SUBJECT``, with numbered entries. An entry says that a process is about to
make the run, or names the run that was made, or says that the claim was given back. The newest entry is the one with
the highest number. These rules hold:

1. Exactly one process makes the entry with a number. Like a lease, an entry is a folder that is built under a
   temporary name with its content inside, and renamed: a rename onto a folder that is not empty fails, on any file
   system. (A plain mkdir would be as exclusive, but if its process died right after it, nobody would have the claim.)
2. An entry is never changed or removed, so that no number is made twice.
3. A process adds the entry after number n in two cases only. It made entry n itself, and now names its run, which it
   has written, or gives the claim back. Or entry n leaves the run to anybody: the claim was given back; the process
   of entry n is dead and left no run; or the run that entry n names is gone or has become another experiment.

So two processes never make the same run, without any lock. A process may see an older state, because a network disk
shows it the entries of some seconds ago: it tries to add a number that exists already, and fails. A process that was
taken for dead but lives cannot name its run, because the entry after its own exists, and it removes this run.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.commands import quoted
from dregcli.errors import RunStateError, StoreCorrupt
from dregcli.filesystem import make_folders, write_errors, write_folder_aside
from dregcli.filesystem.seam import FileSystem
from dregcli.store import documents, layout
from dregcli.store.lease import Lease, own_lease
from dregcli.store.records import Clock

_ENTRY_FILE: Final = "claim.json"


@dataclass(frozen=True)
class Entry:
    """One entry of a claim.

    Args:
        number: its number, from 1.
        maker: the process that makes or made the run; None if the claim was given back.
        run: the run that was made, ``NAME/v001``; None before.
    """

    number: int
    maker: Lease | None
    run: str | None


class Claim:
    """The right of this process to make the run of a subject; see :func:`take`.

    Args:
        fs: the seam through which the entries are written.
        folder: folder of the claim.
        number: number of this process's entry.
        clock: gives the times of its entries.
    """

    def __init__(self, fs: FileSystem, folder: Path, number: int, clock: Clock) -> None:
        self._fs, self._folder, self._number, self._clock = fs, folder, number, clock

    def name_run(self, run: str) -> None:
        """Say which run was made.

        Raises:
            RunStateError: this process was taken for dead, and another one makes the run.
            StoreWriteError: the disk refuses.
        """
        try:
            _add(self._fs, self._folder, _own(self._number + 1, run, self._clock))
        except FileExistsError as error:
            what = "Another process took this run over, because this one was not heard of for more than five minutes."
            hint = "run the same command again, to wait for that process"
            raise RunStateError(what, where=str(self._folder), hint=hint) from error

    def give_back(self) -> None:
        """Leave the run to any process, because this one could not make it; after the run was named, do nothing.

        Raises:
            StoreWriteError: the disk refuses.
        """
        with suppress(FileExistsError):  # the run is named, or another process has taken the claim over
            _add(self._fs, self._folder, Entry(self._number + 1, None, None))


def take(fs: FileSystem, root: Path, subject: str, after: Entry | None, clock: Clock) -> Claim:
    """Take a claim exclusively, to make a run at once.

    Args:
        fs: the seam through which the entry is written.
        root: folder of the store.
        subject: what the run is about, a name of a folder.
        after: the newest entry, which leaves the run to anybody; None if there is no entry.
        clock: gives the time of the entry.

    Raises:
        FileExistsError: another process was faster. Its entry may not be seen here yet.
        StoreFormatError: the store has another format.
        StoreWriteError: the disk refuses.
    """
    layout.prepare_store(root, fs)
    folder = folder_of(root, subject)
    make_folders(fs, folder)
    number = after.number + 1 if after else 1
    _add(fs, folder, _own(number, None, clock))
    return Claim(fs, folder, number, clock)


def newest(root: Path, subject: str) -> Entry | None:
    """Return the newest entry of a claim that this process can see; None if there is none.

    Raises:
        StoreCorrupt: the entry is altered.
    """
    folder = folder_of(root, subject)
    numbers = [int(name) for name in layout.entries(folder) if name.isdecimal()]
    if not numbers:
        return None
    path = folder / _name(max(numbers)) / _ENTRY_FILE
    try:
        document = documents.unseal(path)
        maker, run = document["maker"], document["run"]
        return Entry(
            max(numbers), None if maker is None else Lease.parse(maker), None if run is None else _checked(str(run))
        )
    except (StoreCorrupt, KeyError, TypeError, ValueError) as error:
        what = f"The claim of a run cannot be read: {error.what if isinstance(error, StoreCorrupt) else repr(error)}"
        hint = f"if no process is training this study, remove the claim: rm -r {quoted(folder)}"
        raise StoreCorrupt(what, where=str(path), hint=hint) from error


def is_gone(fs: FileSystem, path: Path) -> bool:
    """Whether a file or folder is not there, as the disk itself says it, whatever this host remembers of the disk.

    Only an operation that changes the disk is never answered from memory: a folder of this name is made and removed.

    Args:
        fs: the seam of the disk.
        path: the file or folder.

    Raises:
        FileExistsError: it is there, but this host does not see it yet.
        StoreWriteError: the disk refuses.
    """
    if path.exists():
        return False
    make_folders(fs, path.parent)
    with write_errors(path):
        fs.mkdir(path)
        fs.rmdir(path)
    return True


def folder_of(root: Path, subject: str) -> Path:
    """Return the folder of a claim."""
    return root / layout.CLAIMS_FOLDER / subject


def _own(number: int, run: str | None, clock: Clock) -> Entry:
    return Entry(number, own_lease(number, clock.now()), run)


def _add(fs: FileSystem, folder: Path, entry: Entry) -> None:
    content = {"maker": entry.maker.document() if entry.maker else None, "run": entry.run}
    write_folder_aside(fs, folder / _name(entry.number), {_ENTRY_FILE: documents.seal(content)})


def _checked(run: str) -> str:
    """Return the label of a run unchanged; raise ValueError if it could lead out of the store."""
    name, _, version = run.partition("/")
    if not layout.is_name(name) or layout.parse_version(version) is None:
        what = f"'{run}' is not a run of a store"
        raise ValueError(what)
    return run


def _name(number: int) -> str:
    return f"{number:04d}"
