"""What the program says when the operating system refuses to write: what happened, where, and what to do next."""

import contextlib
import errno
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import StoreWriteError
from dregcli.filesystem.seam import FileSystem

_WHAT: Final[dict[int, str]] = {
    errno.ENOSPC: "No space left on the disk",
    errno.EDQUOT: "The disk quota is used up",
    errno.EACCES: "No permission to write here",
    errno.EPERM: "No permission to write here",
    errno.EROFS: "The file system is read-only",
    errno.EIO: "The device reports an input/output error",
    errno.ENOENT: "A file or folder vanished while it was written",
    errno.ENOTDIR: "Part of the path is a file, not a folder",
}
_FIRST: Final[dict[int, str]] = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EIO: "check the disk (dmesg)",
}
_ELSEWHERE: Final = "choose a folder you can write: --runs-dir FOLDER, or DREG_RUNS_DIR"

_LASTING: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Refusals that no waiting changes."""


@contextlib.contextmanager
def write_errors(path: Path, *, hint: str | None = None) -> Generator[None, None, None]:
    """Turns an OSError of the block into a StoreWriteError about ``path``.

    FileExistsError passes: to the callers that race for a name it is an answer, not a failure.

    Args:
        path: what is written.
        hint: how to write elsewhere; where it is not given, by ``--runs-dir``.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        code = error.errno or 0
        what = _WHAT.get(code, f"It cannot be written: {error.strerror or error}")
        if code in _FIRST:
            resume = f"continue a run: {command('train', '--resume', 'RUN')}"
            next_ = f"{_FIRST[code]}, then run the command again, or {hint or resume}"
        else:
            next_ = hint or _ELSEWHERE
        raise StoreWriteError(what, where=str(path), hint=next_) from error


def check_can_write(fs: FileSystem, folder: Path, *, hint: str | None = None) -> None:
    """Refuses a folder in which nothing can ever be made, by making an empty file and removing it: before any work.

    A full disk is let pass: it may have room by the time there is something to write.

    Args:
        fs: the seam.
        folder: which; where it is not there, the one above it that is, in which it would be made.
        hint: how to write elsewhere; where it is not given, by ``--runs-dir``.

    Raises:
        StoreWriteError: no permission, a read-only file system, or a file in the way.
    """
    nearest = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    temporary = nearest / f".writable.{secrets.token_hex(8)}.tmp"
    try:
        fs.write(temporary, b"")
        fs.remove(temporary)
    except OSError as error:
        with contextlib.suppress(OSError):
            fs.remove(temporary)
        if error.errno in _LASTING:
            raise StoreWriteError(_WHAT[error.errno], where=str(folder), hint=hint or _ELSEWHERE) from error
