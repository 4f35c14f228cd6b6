"""What lies in each folder of a run, against what its writer said it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dregcli.commands import command
from dregcli.errors import DregError
from dregcli.filesystem import is_temporary
from dregcli.store import checkpoints, documents, hdf5, layout, lease, metrics, results
from dregcli.store.records import RunInfo, read_info
from dregcli.store.run import Run

RESULT_KINDS: Final = ("evals", "bias", "variance")

_SEALED: Final = ".json"
_HDF5: Final = (".h5", ".partial")
_PUT_ASIDE_DAMAGED: Final = ("corrupt", "log")


@dataclass(frozen=True)
class Finding:
    """Something about one file.

    Attributes:
        file: which.
        kind: a fault, or a note.
        what: one sentence.
    """

    file: Path
    kind: Literal["fault", "note"]
    what: str


Findings = Iterator[Finding]
Read = Callable[[], object]


def fault_of(path: Path, read: Read) -> Findings:
    """What is wrong with a file, by reading it."""
    try:
        read()
    except DregError as error:  # its place is a file: this one, or one inside
        yield Finding(Path(error.where or path), "fault", error.what)


def names_in(folder: Path) -> list[str]:
    """All names in a folder, temporaries too; none of one that a living writer has just removed.

    Raises:
        StoreCorrupt: the folder cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise documents.corrupt(folder, f"The folder cannot be read: {error.strerror or error}") from error


def check_document(path: Path, info: RunInfo | None) -> Findings:
    """``spec.json`` or an environment: its digest is in ``run.json``."""
    digests = info.digests.get(path.name, ()) if info else ()
    if not digests:
        yield Finding(path, "note", "run.json has no digest of it: its writer was killed before that")
        return

    def read() -> None:
        content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        if documents.sha256(content) not in digests:
            raise documents.corrupt(path, "The file does not match the digest in run.json")

    yield from fault_of(path, read)


def _parts(_: Run, folder: Path) -> Findings:
    for name in names_in(folder):
        path = folder / name
        is_part = name in metrics.part_names(folder.parent)
        yield from check_known(path, (lambda path=path: metrics.load(path)) if is_part else None)


def check_known(path: Path, read: Read | None) -> Findings:
    """One file or folder of a folder, by reading it; without ``read`` it is nothing that dreg writes."""
    if path.is_symlink():
        yield Finding(path, "fault", "This is a link: what it leads to is not part of the run")
    elif is_temporary(path.name):
        yield Finding(path, "note", f"A writer that was killed left it; remove it: {command('runs', 'gc')}")
    elif read is not None:
        yield from fault_of(path, read)
    else:
        yield Finding(path, "note", "This file is not dreg's")


def _checkpoints(_: Run, folder: Path) -> Findings:
    yield from _checkpoints_of(folder.parent)


def _checkpoints_of(run: Path) -> Findings:
    home = run / layout.CHECKPOINTS_FOLDER
    for name in names_in(home):
        path, step = home / name, layout.parse_step(name)
        yield from check_known(path, None if step is None else lambda path=path: checkpoints.check_folder(path))
        if step is not None and path.is_dir():
            for inner in names_in(path):
                if inner not in checkpoints.FILES:
                    yield Finding(path / inner, "note", "This file is not dreg's")


def _leases(run: Run, folder: Path) -> Findings:
    for name in names_in(folder):
        read: Read = lambda name=name: lease.read_lease(run.path, int(name))  # noqa: E731
        yield from check_known(folder / name, read if name.isdecimal() else None)


def _labels(_: Run, folder: Path) -> Findings:
    for name in names_in(folder):
        path = folder / name
        yield from check_known(path, (lambda path=path: documents.unseal(path)) if name.endswith(_SEALED) else None)


def _hdf5_results(_: Run, folder: Path) -> Findings:
    for name in names_in(folder):
        path = folder / name
        read: Read = lambda path=path: hdf5.read(path, folder.name)  # noqa: E731
        yield from check_known(path, read if name.endswith(_HDF5) else None)


def other_folder(_: Run, folder: Path) -> Findings:
    """Figures and other files, each with its digest beside it."""
    names = names_in(folder)
    for name in names:
        path = folder / name
        if name.endswith(results.DIGEST_SUFFIX):
            if name.removesuffix(results.DIGEST_SUFFIX) not in names:
                yield Finding(path, "note", "The file that it is the digest of is gone, or was never finished")
        elif path.is_dir() and not path.is_symlink() and not results.digest_path(path).exists():
            yield Finding(path, "note", "This folder is not dreg's")
        else:
            yield from check_known(path, lambda path=path: results.check_digest(path))


def _info(run: Run) -> RunInfo | None:
    try:
        return read_info(run.path / layout.RUN_FILE)
    except DregError:
        return None


def _rolled_back(run: Run, folder: Path) -> Findings:
    for name in names_in(folder):
        aside, reason = folder / name, name.partition("-")[2]
        if not aside.is_dir() or reason in _PUT_ASIDE_DAMAGED:
            yield Finding(aside, "note", "It was put aside because it was damaged")
            continue
        for inner in names_in(aside):
            yield from _put_aside(run, aside / inner)


def _put_aside(run: Run, path: Path) -> Findings:
    """One file or checkpoint that was rolled back."""
    if path.name == layout.SPEC_FILE:
        yield from check_document(path, _info(run))
    elif path.is_dir() and layout.parse_step(path.name) is not None:
        yield from fault_of(path, lambda: checkpoints.check_folder(path))
    else:
        yield from check_known(path, (lambda: metrics.load(path)) if path.name.endswith(_HDF5) else None)


FOLDERS: Final[dict[str, Callable[[Run, Path], Findings]]] = {
    layout.PARTS_FOLDER: _parts,
    layout.CHECKPOINTS_FOLDER: _checkpoints,
    layout.LEASES_FOLDER: _leases,
    layout.ROLLED_BACK_FOLDER: _rolled_back,
    layout.LABELS_FOLDER: _labels,
    **dict.fromkeys(RESULT_KINDS, _hdf5_results),
}
