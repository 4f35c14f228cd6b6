"""Checks the contents of each folder of a run against their digests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dregcli.commands import command
from dregcli.errors import DregError
from dregcli.filesystem import is_temporary
from dregcli.store import checkpoints, code, documents, hdf5, layout, lease, metrics, results
from dregcli.store.records import RunInfo, read_info

_HDF5: Final = (".h5", ".partial")
_PUT_ASIDE_DAMAGED: Final = ("corrupt", "log")


@dataclass(frozen=True)
class Finding:
    """One finding about one file.

    Attributes:
        file: the file.
        kind: a fault, or a note.
        what: the finding, one sentence.
    """

    file: Path
    kind: Literal["fault", "note"]
    what: str


Findings = Iterator[Finding]
Read = Callable[[Path], object]


def fault_of(path: Path, read: Read) -> Findings:
    """Read a file, and yield its fault if it has one."""
    try:
        read(path)
    except DregError as error:  # error.where is this file, or one inside this folder
        yield Finding(Path(error.where or path), "fault", error.what)


def check_document(path: Path, info: RunInfo | None) -> Findings:
    """Check ``spec.json`` or an environment, whose digest is in ``run.json``."""
    if info is None:
        yield Finding(path, "note", "It cannot be checked: its digest is in run.json, which cannot be read")
        return
    digests = info.digests.get(path.name, ())
    if not digests:
        yield Finding(path, "note", "run.json has no digest of this file: its writer was killed before that")
        return

    def read(path: Path) -> None:
        content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        if documents.sha256(content) not in digests:
            raise documents.corrupt(path, "The file does not match the digest in run.json")

    yield from fault_of(path, read)


def check_known(path: Path, read: Read | None) -> Findings:
    """Check one file or folder by reading it; without ``read`` it is one that dreg does not write."""
    if path.is_symlink():
        yield Finding(path, "fault", "This is a link: its target is not part of the run")
    elif is_temporary(path.name):
        when = f"when it is an hour old: {command('runs', 'gc')}"
        yield Finding(path, "note", f"A writer that was killed left this file; remove it {when}")
    elif read is not None:
        yield from fault_of(path, read)
    else:
        yield Finding(path, "note", "dreg did not write this file")


def _files(is_ours: Callable[[str], object], read: Read) -> Callable[[Path], Findings]:
    """Return a check of a folder of files, each verified by ``read``; files with other names are notes."""

    def check(folder: Path) -> Findings:
        for name in layout.names_in(folder):
            found = list(check_known(folder / name, read if is_ours(name) else None))
            if not layout.is_gone(folder / name):  # else a command has ended its unfinished work meanwhile
                yield from found

    return check


def _checkpoints(folder: Path) -> Findings:
    for name in layout.names_in(folder):
        path, is_ours = folder / name, layout.parse_step(name) is not None
        yield from check_known(path, checkpoints.check_folder if is_ours else None)
        if is_ours and path.is_dir():
            for inner in layout.names_in(path):
                if inner not in checkpoints.FILES:
                    yield Finding(path / inner, "note", "dreg did not write this file")


def other_folder(folder: Path) -> Findings:
    """Check a folder of figures and other files, each with its digest beside it."""
    names = layout.names_in(folder)
    for name in names:
        path = folder / name
        if name.endswith(results.DIGEST_SUFFIX):
            if name.removesuffix(results.DIGEST_SUFFIX) not in names:
                yield Finding(path, "note", "The file with this digest is gone, or was never finished")
        elif path.is_dir() and not path.is_symlink() and not results.digest_path(path).exists():
            yield Finding(path, "note", "dreg did not write this folder")
        else:
            yield from check_known(path, results.check_digest)


def _code(folder: Path) -> Findings:
    """Check the source code of the model; ``folder`` lies in the run, or two levels deeper if it was put aside."""
    run = folder.parents[2] if folder.parents[1].name == layout.ROLLED_BACK_FOLDER else folder.parent
    try:
        digests = read_info(run / layout.RUN_FILE).digests.get(code.MANIFEST_NAME, ())
    except DregError:
        digests = None
    kept = list(fault_of(folder, code.read))
    if not kept and digests is not None:
        kept = list(fault_of(folder, lambda _: code.check_manifest(folder, digests)))
    yield from kept
    if kept:
        return
    known = {code.MANIFEST, layout.PLACE_FILE, *code.read(folder).files}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            yield from check_known(path, None)


def _rolled_back(folder: Path) -> Findings:
    for name in layout.names_in(folder):
        aside, reason = folder / name, name.partition("-")[2]
        if not aside.is_dir() or reason in _PUT_ASIDE_DAMAGED:
            yield Finding(aside, "note", "It was put aside because it was damaged")
            continue
        for inner in layout.names_in(aside):
            yield from _put_aside(aside / inner, run=folder.parent)


def _put_aside(path: Path, *, run: Path) -> Findings:
    """Check one file or checkpoint that was rolled back."""
    if path.name == layout.SPEC_FILE:
        try:
            info = read_info(run / layout.RUN_FILE)
        except DregError:
            info = None
        yield from check_document(path, info)
    elif path.is_dir() and path.name == layout.CODE_FOLDER:
        yield from _code(path)
    elif path.is_dir() and layout.parse_step(path.name) is not None:
        yield from fault_of(path, checkpoints.check_folder)
    else:
        yield from check_known(path, metrics.load if path.name.endswith(_HDF5) else None)


FOLDERS: Final[dict[str, Callable[[Path], Findings]]] = {
    layout.PARTS_FOLDER: _files(metrics.is_part, metrics.load),
    layout.CHECKPOINTS_FOLDER: _checkpoints,
    layout.LEASES_FOLDER: _files(str.isdecimal, lease.read_lease),
    layout.ROLLED_BACK_FOLDER: _rolled_back,
    layout.CODE_FOLDER: _code,
    layout.LABELS_FOLDER: _files(lambda name: name.endswith(".json"), documents.unseal),
    **dict.fromkeys(
        results.RESULT_KINDS,
        _files(lambda name: name.endswith(_HDF5), lambda path: hdf5.read(path, path.parent.name)),
    ),
}
