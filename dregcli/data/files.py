"""The one place of this layer that writes: aside, fsync-ed, renamed, failures told as what, where and next."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dregcli.errors import StoreWriteError


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn an operating system's refusal to write ``path`` into an error the user can act on.

    Raises:
        StoreWriteError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        advice = "choose another folder with --data-dir FOLDER or DREG_DATA_DIR"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            advice = f"free some space, or {advice}"
        raise StoreWriteError(
            what=f"cannot write to the data folder: {error.strerror or error}", where=str(path), hint=advice
        ) from error


@contextmanager
def written_aside(path: Path) -> Generator[tuple[IO[bytes], Path]]:
    """Write ``path`` so that it is whole or absent, whatever happens on the way.

    The block writes to a file beside it and may read that back by its path after a flush; leaving the block
    without an error syncs it to the disk and renames it. Any error removes what was written and leaves an
    older ``path`` as it was.

    Yields:
        The open file and its path.

    Raises:
        StoreWriteError: the file system refuses.
    """
    # The process id keeps two downloads of the same file out of each other's way.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as out:
                yield out, part
                out.flush()
                os.fsync(out.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut, where the platform can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
