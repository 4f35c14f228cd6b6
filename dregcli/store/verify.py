"""Checks every byte of a run: each file has a digest inside it, beside it, or in another file.

A *fault* is a file that differs from what was written, or that is missing. A *note* is a file that a killed writer
left, that was put aside as damaged earlier, or that has no digest, such as a file that dreg did not write.
"""

import math
from pathlib import Path

from dregcli.errors import DregError, StoreCorrupt
from dregcli.filesystem import is_temporary
from dregcli.names import RunStatus
from dregcli.store import claims, layout, log, metrics
from dregcli.store.records import RunInfo, read_info
from dregcli.store.run import Run
from dregcli.store.verify_folders import (
    FOLDERS,
    Finding,
    Findings,
    check_document,
    check_known,
    fault_of,
    other_folder,
)

__all__ = ["Finding", "verify_run", "verify_store"]


def verify_run(run: Run) -> list[Finding]:
    """Read and check every file of a run.

    A running writer replaces and removes files meanwhile, so findings are then checked a second time.
    """
    was_live = _is_live(run)  # checked first: the run may end, and merge its metrics, while they are read
    found = list(_with_unreadable(_run(run)))
    if found and was_live:
        again = _with_unreadable(_run(run))
        found = [each for each in again if each in found and (each.kind == "fault" or each.file.exists())]
    return found


def verify_store(root: Path) -> list[Finding]:
    """Check ``store.json`` and the newest entries of the claims."""
    found = list(fault_of(root / layout.STORE_FILE, lambda _: layout.check_store(root)))
    for subject in layout.entries(root / layout.CLAIMS_FOLDER):
        found += fault_of(claims.folder_of(root, subject), lambda _, of=subject: claims.newest(root, of))
    return found


def _is_live(run: Run) -> bool:
    try:
        return run.status() is RunStatus.RUNNING
    except DregError:
        return False


def _run(run: Run) -> Findings:
    path = run.path / layout.RUN_FILE
    if not path.exists():
        # A claim writes the two documents and the code of the model first; all other files come later.
        lost = any(
            not layout.is_document(name) and not is_temporary(name) and name != layout.CODE_FOLDER
            for name in layout.names_in(run.path)
        )
        what = "is missing" if lost else "was never written: the run was killed while it was claimed"
        yield Finding(path, "fault" if lost else "note", f"The file {what}")
        return
    yield from fault_of(path, read_info)
    try:
        info = read_info(path)
    except DregError:
        info = None
    for name in layout.names_in(run.path):
        yield from _with_unreadable(_entry(run, run.path / name, info))
    yield from _missing(run, info)


def _with_unreadable(found: Findings) -> Findings:
    """Yield the findings, and one more for a file or folder that cannot be read."""
    try:
        yield from found
    except StoreCorrupt as error:
        yield Finding(Path(error.where or ""), "fault", error.what)
    except OSError as error:  # of looking whether a file exists in a folder that this user may not enter
        yield Finding(Path(str(error.filename)), "fault", f"It cannot be read: {error.strerror}")


def _entry(run: Run, path: Path, info: RunInfo | None) -> Findings:
    """Check one file or folder at the top of a run."""
    name = path.name
    if name == layout.RUN_FILE and not path.is_symlink():
        return
    if path.is_symlink() or is_temporary(name):
        yield from check_known(path, None)
    elif name == layout.LOG_FILE:
        yield from _log(run, info)
    elif layout.is_document(name):
        yield from check_document(path, info)
    elif path.is_dir():
        yield from FOLDERS.get(name, other_folder)(path)
    else:
        yield from check_known(path, metrics.load if name == layout.METRICS_FILE else None)


def _log(run: Run, info: RunInfo | None) -> Findings:
    path = run.path / layout.LOG_FILE
    yield from fault_of(path, lambda _: log.unsealed(run.path, info) if info else None)
    if info and info.log and path.is_file() and path.stat().st_size > info.log.size:
        # The stored status: running if the writer died, and crashed after an export.
        if info.status in (RunStatus.RUNNING, RunStatus.CRASHED):
            yield Finding(path, "note", "Its last line came after the last digest: its writer was killed just then")
        else:
            yield Finding(path, "fault", "It is longer than it was when the run ended")
    if info and info.log is None:
        yield Finding(path, "note", "It has no digest: its writer was killed after its first line")


def _missing(run: Run, info: RunInfo | None) -> Findings:
    """Check for missing files and missing metrics."""
    named = [name for name in (info.digests if info else ()) if not (run.path / name).exists()]
    if info and info.log and not (run.path / layout.LOG_FILE).exists():
        named.append(layout.LOG_FILE)
    for name in named:
        yield Finding(run.path / name, "fault", "The file is missing")
    try:
        gaps, splits = metrics.missing_parts(run.path), metrics.read(run.path)
    except DregError:
        return  # a file of the metrics is damaged, which is reported already
    for name in gaps:
        yield Finding(run.path / layout.PARTS_FOLDER / name, "fault", "This part of the metrics is missing")
    if info and metrics.order(info.merged) > metrics.order(metrics.read_merged(run.path)[1]):
        yield Finding(run.path / layout.METRICS_FILE, "fault", "It is missing, or older than run.json says")
    for split, columns in splits.items():
        steps = columns[metrics.STEP]  # reading sorts them
        if twice := sorted(set(steps[1:][steps[1:] == steps[:-1]].tolist())):
            what = f"The metrics of '{split}' have step {twice[0]} twice: one of the files is a copy of another"
            yield Finding(run.path / layout.PARTS_FOLDER, "fault", what)
    for split, row in info.last.items() if info else ():
        step = row.get(metrics.STEP, math.nan)
        # A process that was killed while it rolled the run back has not updated run.json.
        if not (_has_row(splits, split, step) or _was_put_aside(run, split, step)):
            what = f"The metrics of '{split}' do not reach step {step}, which is the last step in run.json"
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
