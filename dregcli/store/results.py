"""Results of later commands: one file each, with a digest, never overwritten."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dregcli.filesystem import FileSystem, make_folders, write_aside, write_errors, write_new
from dregcli.store import documents, hdf5, layout
from dregcli.store.hdf5 import Array

ResultKind = Literal["evals", "bias", "variance"]
RESULT_KINDS: Final[tuple[ResultKind, ...]] = ("evals", "bias", "variance")

_SUFFIX: Final = ".h5"
_PARTIAL: Final = ".partial"
WRITTEN: Final = "written"
"""Among a result's attributes: when it was written, ISO 8601, UTC."""
DIGEST_SUFFIX: Final = ".sha256"


@dataclass(frozen=True)
class Result:
    """One stored result.

    Args:
        path: its file.
        attrs: what it says about itself and its summary values.
    """

    path: Path
    attrs: dict[str, Any]

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, read and verified anew.

        Raises:
            StoreCorrupt: the file is truncated or altered.
        """
        return hdf5.read(self.path, self.path.parent.name).arrays


def add_result(
    fs: FileSystem, folder: Path, kind: ResultKind, stem: str, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
) -> Path:
    """Writes ``evals/STEM.h5``, or ``STEM-2.h5`` ... where the name is taken.

    Raises:
        StoreWriteError: the disk refuses.
    """
    return add_file(fs, folder, kind, stem, _SUFFIX, hdf5.encode(kind, arrays=arrays, attrs=attrs))


def add_file(fs: FileSystem, folder: Path, subfolder: str, stem: str, suffix: str, content: bytes) -> Path:
    """Writes ``SUBFOLDER/STEM.suffix``, or ``STEM-2`` ... where the name is taken, and beside it its digest.

    The digest is there before the file: a file without one has lost it.

    Raises:
        ValueError: a name that could leave the folder, or a folder of the store's own.
        StoreWriteError: the disk refuses.
    """
    layout.check_folder(subfolder)
    layout.check_file_name(stem, suffix)
    make_folders(fs, folder / subfolder)

    def keep_digest(path: Path) -> None:
        write_aside(fs, digest_path(path), digest_line(path, content))

    own = suffix == _SUFFIX  # HDF5 files have their digest inside
    return write_new(fs, folder / subfolder, stem, suffix, content, ahead=None if own else keep_digest)


def digest_path(path: Path) -> Path:
    """Where the digest of a file lies that cannot hold its own."""
    return path.with_name(path.name + DIGEST_SUFFIX)


def digest_line(path: Path, content: bytes) -> bytes:
    """What it holds: a line as ``sha256sum`` writes it, and checks it."""
    return f"{documents.sha256(content)}  {path.name}\n".encode("ascii")


def check_digest(path: Path) -> None:
    """Compares a file with the digest beside it.

    Raises:
        StoreCorrupt: it is another, or one of the two is missing.
    """
    content = documents.read_bytes(path, limit=hdf5.SIZE_LIMIT)
    if documents.read_bytes(digest_path(path), limit=documents.SIZE_LIMIT) != digest_line(path, content):
        raise documents.corrupt(path, f"The file does not match {digest_path(path).name}")


def newest_file(folder: Path, subfolder: str, stem: str, suffix: str) -> bytes | None:
    """The content of the newest of ``STEM.suffix``, ``STEM-2.suffix`` ..., or None.

    Raises:
        StoreCorrupt: it does not match the digest beside it, naming it.
    """
    numbered = re.compile(rf"{re.escape(stem)}(?:-([0-9]+))?{re.escape(suffix)}", re.ASCII)
    found = [
        (int(match[1] or 1), name)
        for name in layout.entries(folder / subfolder)
        if (match := numbered.fullmatch(name))
    ]
    if not found:
        return None
    path = folder / subfolder / max(found)[1]
    check_digest(path)
    return documents.read_bytes(path, limit=hdf5.SIZE_LIMIT)


def put_partial(
    fs: FileSystem, folder: Path, kind: ResultKind, key: str, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
) -> None:
    """Keeps what is known so far of a result that is still being worked on, in place of what was known before.

    Raises:
        StoreWriteError: the disk refuses; what was known before is whole.
    """
    path = _partial_path(folder, kind, key)
    make_folders(fs, path.parent)
    write_aside(fs, path, hdf5.encode(kind, arrays=arrays, attrs=attrs))


def read_partial(folder: Path, kind: ResultKind, key: str) -> hdf5.Content | None:
    """What was known of an unfinished result, or None.

    Raises:
        StoreCorrupt: the file is truncated or altered.
    """
    path = _partial_path(folder, kind, key)
    return hdf5.read(path, kind) if path.exists() else None


def drop_partial(fs: FileSystem, folder: Path, kind: ResultKind, key: str) -> None:
    """Forgets an unfinished result, once the result itself is kept."""
    path = _partial_path(folder, kind, key)
    if path.exists():
        with write_errors(path), suppress(FileNotFoundError):  # another process at the same work may be quicker
            fs.remove(path)


def _partial_path(folder: Path, kind: ResultKind, key: str) -> Path:
    layout.check_file_name(key, _PARTIAL)
    return folder / kind / f"{key}{_PARTIAL}"


def read_results(folder: Path, kind: ResultKind) -> list[Result]:
    """All results of a kind, oldest first.

    Raises:
        StoreCorrupt: a file is truncated or altered, naming it.
    """
    paths = [folder / kind / name for name in layout.entries(folder / kind) if name.endswith(_SUFFIX)]
    found = [Result(path, hdf5.read(path, kind, with_arrays=False).attrs) for path in paths]
    return sorted(found, key=lambda result: (str(result.attrs.get(WRITTEN)), result.path.name))
