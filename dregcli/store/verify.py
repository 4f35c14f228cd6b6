"""Every byte of a run against what its writer said it is: each file has a digest inside, beside it, or in another.

A *fault* is a file that is not what was written, or missing. A *note* is what a killed writer leaves, what was put
aside as damaged before, and what nobody vouches for, such as files that are not dreg's.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dregcli.errors import DregError, StoreCorrupt
from dregcli.names import RunStatus
from dregcli.store import checkpoints, documents, hdf5, layout, lease, log, metrics, results
from dregcli.store.filesystem import is_temporary
from dregcli.store.records import RunInfo, read_info
from dregcli.store.run import Run

RESULT_KINDS: Final = ("evals", "bias")

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


def verify_run(run: Run) -> list[Finding]:
    """Reads every file of a run.

    A living writer replaces and removes files meanwhile: what does not hold is looked at again.
    """
    was_live = _is_live(run)  # asked first: it may end, and merge its metrics, while they are read
    found = list(_run(run))
    if found and was_live:
        found = [each for each in _run(run) if each in found and (each.kind == "fault" or each.file.exists())]
    return found


def verify_store_file(root: Path) -> list[Finding]:
    """``store.json``."""
    return list(_fault_of(root / layout.STORE_FILE, lambda: layout.store_format(root)))


def _is_live(run: Run) -> bool:
    try:
        return run.status() is RunStatus.RUNNING
    except DregError:
        return False


def _fault_of(path: Path, read: Read) -> Findings:
    """What is wrong with a file, by reading it."""
    try:
        read()
    except DregError as error:  # its place is a file: this one, or one inside
        yield Finding(Path(error.where or path), "fault", error.what)


def _run(run: Run) -> Findings:
    path = run.path / layout.RUN_FILE
    if not path.exists():
        # Claiming writes the two documents first; all else comes after it.
        lost = any(not layout.is_document(name) and not is_temporary(name) for name in _names(run.path))
        what = "is missing" if lost else "was never written: the run was killed while it was claimed"
        yield Finding(path, "fault" if lost else "note", f"The file {what}")
        return
    yield from _fault_of(path, lambda: read_info(path))
    try:
        info = read_info(path)
    except DregError:
        info = None
    for name in _names(run.path):
        yield from _told(_entry(run, run.path / name, info))
    yield from _missing(run, info)


def _told(found: Findings) -> Findings:
    """The findings, and a folder that cannot be read as one more."""
    try:
        yield from found
    except StoreCorrupt as error:
        yield Finding(Path(error.where or ""), "fault", error.what)


def _names(folder: Path) -> list[str]:
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


def _entry(run: Run, path: Path, info: RunInfo | None) -> Findings:
    """What lies at the top of a run."""
    name = path.name
    if path.is_symlink():
        yield Finding(path, "fault", "This is a link: what it leads to is not part of the run")
    elif is_temporary(name):
        yield Finding(path, "note", "A writer that was killed left it; dreg runs gc removes it")
    elif name == layout.RUN_FILE:
        return
    elif name == layout.LOG_FILE:
        yield from _log(run, info)
    elif name == layout.METRICS_FILE:
        yield from _fault_of(path, lambda: metrics.load(path))
    elif layout.is_document(name):
        yield from _document(path, info)
    elif path.is_dir():
        yield from _FOLDERS.get(name, _other_folder)(run, path)
    else:
        yield Finding(path, "note", "This file is not dreg's")


def _log(run: Run, info: RunInfo | None) -> Findings:
    path = run.path / layout.LOG_FILE
    yield from _fault_of(path, lambda: log.unsealed(run.path, info) if info else None)
    if info and info.log and path.is_file() and path.stat().st_size > info.log.size:
        # As written: a dead writer's run says running, and crashed once it was exported.
        if info.status in (RunStatus.RUNNING, RunStatus.CRASHED):
            yield Finding(path, "note", "Its last line came after the last digest: its writer was killed just then")
        else:
            yield Finding(path, "fault", "It is longer than it was when the run ended")
    if info and info.log is None:
        why = "the run is of an older format" if info.version < 2 else "its writer was killed after its first line"
        yield Finding(path, "note", f"It has no digest: {why}")


def _document(path: Path, info: RunInfo | None) -> Findings:
    """``spec.json`` or an environment: its digest is in ``run.json``."""
    digests = info.digests.get(path.name, ()) if info else ()
    if not digests:
        yield Finding(path, "note", "run.json has no digest of it: its writer was killed before that")
        return

    def read() -> None:
        content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        if documents.sha256(content) not in digests:
            raise documents.corrupt(path, "The file does not match the digest in run.json")

    yield from _fault_of(path, read)


def _missing(run: Run, info: RunInfo | None) -> Findings:
    """Files that must be there."""
    named = [name for name in (info.digests if info else ()) if not (run.path / name).exists()]
    if info and info.log and not (run.path / layout.LOG_FILE).exists():
        named.append(layout.LOG_FILE)
    for name in named:
        yield Finding(run.path / name, "fault", "The file is missing")
    try:
        gaps, splits = metrics.missing_parts(run.path), metrics.read(run.path)
    except DregError:
        return  # a file of the metrics is at fault, and told
    for name in gaps:
        yield Finding(run.path / layout.PARTS_FOLDER / name, "fault", "This part of the metrics is missing")
    if info and info.merged > metrics.read_merged(run.path)[1]:
        yield Finding(run.path / layout.METRICS_FILE, "fault", "It is missing, or older than run.json says")
    for split, columns in splits.items():
        steps = columns[metrics.STEP]  # sorted, by reading
        if twice := sorted(set(steps[1:][steps[1:] == steps[:-1]].tolist())):
            what = f"The metrics of '{split}' have step {twice[0]} twice: one of the files is a copy of another"
            yield Finding(run.path / layout.PARTS_FOLDER, "fault", what)
    for split, row in info.last.items() if info else ():
        step = row.get(metrics.STEP, math.nan)
        # A process that was killed while it rolled the run back has not told run.json yet.
        if not (_has_row(splits, split, step) or _was_put_aside(run, split, step)):
            what = f"The metrics of '{split}' do not reach step {step}, which run.json knows of"
            yield Finding(run.path / layout.PARTS_FOLDER, "fault", what)


def _has_row(splits: metrics.Splits, split: str, step: float) -> bool:
    return split in splits and step in splits[split][metrics.STEP].tolist()


def _was_put_aside(run: Run, split: str, step: float) -> bool:
    for path in (run.path / layout.ROLLED_BACK_FOLDER).glob("*/*.h5"):
        try:
            if _has_row(metrics.load(path), split, step):
                return True
        except DregError:
            continue
    return False


def _parts(_: Run, folder: Path) -> Findings:
    for name in _names(folder):
        path = folder / name
        is_part = name in metrics.part_names(folder.parent)
        yield from _known(path, (lambda path=path: metrics.load(path)) if is_part else None)


def _known(path: Path, read: Read | None) -> Findings:
    """One file or folder of a folder, by reading it; without ``read`` it is nothing that dreg writes."""
    if path.is_symlink():
        yield Finding(path, "fault", "This is a link: what it leads to is not part of the run")
    elif is_temporary(path.name):
        yield Finding(path, "note", "A writer that was killed left it; dreg runs gc removes it")
    elif read is not None:
        yield from _fault_of(path, read)
    else:
        yield Finding(path, "note", "This file is not dreg's")


def _checkpoints(_: Run, folder: Path) -> Findings:
    yield from _checkpoints_of(folder.parent)


def _checkpoints_of(run: Path) -> Findings:
    home = run / layout.CHECKPOINTS_FOLDER
    for name in _names(home):
        path, step = home / name, layout.parse_step(name)
        yield from _known(path, None if step is None else lambda path=path: checkpoints.check_folder(path))
        if step is not None and path.is_dir():
            for inner in _names(path):
                if inner not in checkpoints.FILES:
                    yield Finding(path / inner, "note", "This file is not dreg's")


def _leases(run: Run, folder: Path) -> Findings:
    for name in _names(folder):
        read: Read = lambda name=name: lease.read_lease(run.path, int(name))  # noqa: E731
        yield from _known(folder / name, read if name.isdecimal() else None)


def _labels(_: Run, folder: Path) -> Findings:
    for name in _names(folder):
        path = folder / name
        yield from _known(path, (lambda path=path: documents.unseal(path)) if name.endswith(_SEALED) else None)


def _hdf5_results(_: Run, folder: Path) -> Findings:
    for name in _names(folder):
        path = folder / name
        read: Read = lambda path=path: hdf5.read(path, folder.name)  # noqa: E731
        yield from _known(path, read if name.endswith(_HDF5) else None)


def _other_folder(run: Run, folder: Path) -> Findings:
    """Figures and other files, each with its digest beside it."""
    old = (info := _info(run)) is not None and info.version < 2
    names = _names(folder)
    for name in names:
        path = folder / name
        if name.endswith(results.DIGEST_SUFFIX):
            if name.removesuffix(results.DIGEST_SUFFIX) not in names:
                yield Finding(path, "note", "The file that it is the digest of is gone, or was never finished")
        elif path.is_dir() and not path.is_symlink() and not results.digest_path(path).exists():
            yield Finding(path, "note", "This folder is not dreg's")
        elif old and not results.digest_path(path).exists():
            yield Finding(path, "note", "It has no digest: the run is of an older format")
        else:
            yield from _known(path, lambda path=path: results.check_digest(path))


def _info(run: Run) -> RunInfo | None:
    try:
        return read_info(run.path / layout.RUN_FILE)
    except DregError:
        return None


def _rolled_back(run: Run, folder: Path) -> Findings:
    for name in _names(folder):
        aside, reason = folder / name, name.partition("-")[2]
        if not aside.is_dir() or reason in _PUT_ASIDE_DAMAGED:
            yield Finding(aside, "note", "It was put aside because it was damaged")
            continue
        for inner in _names(aside):
            yield from _put_aside(run, aside / inner)


def _put_aside(run: Run, path: Path) -> Findings:
    """One file or checkpoint that was rolled back."""
    if path.name == layout.SPEC_FILE:
        yield from _document(path, _info(run))
    elif path.is_dir() and layout.parse_step(path.name) is not None:
        yield from _fault_of(path, lambda: checkpoints.check_folder(path))
    else:
        yield from _known(path, (lambda: metrics.load(path)) if path.name.endswith(_HDF5) else None)


_FOLDERS: Final[dict[str, Callable[[Run, Path], Findings]]] = {
    layout.PARTS_FOLDER: _parts,
    layout.CHECKPOINTS_FOLDER: _checkpoints,
    layout.LEASES_FOLDER: _leases,
    layout.ROLLED_BACK_FOLDER: _rolled_back,
    layout.LABELS_FOLDER: _labels,
    **dict.fromkeys(RESULT_KINDS, _hdf5_results),
}
