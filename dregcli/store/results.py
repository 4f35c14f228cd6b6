"""Results of later commands: one file for each result, with a digest, never overwritten."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dregcli.filesystem import FileSystem, write_aside, write_errors, write_new
from dregcli.store import documents, hdf5, layout
from dregcli.store.hdf5 import Array

ResultKind = Literal["evals", "bias", "variance"]
RESULT_KINDS: Final[tuple[ResultKind, ...]] = ("evals", "bias", "variance")

_SUFFIX: Final = ".h5"
_PARTIAL: Final = ".partial"
WRITTEN: Final = "written"
"""The attribute with the time at which a result was written, ISO 8601, UTC."""
DIGEST_SUFFIX: Final = ".sha256"


@dataclass(frozen=True)
class Result:
    """One stored result.

    Args:
        path: the file of the result.
        attrs: its description and summary values.
    """

    path: Path
    attrs: dict[str, Any]

    def arrays(self) -> dict[str, Array]:
        """Read and verify the arrays again; return them by name.

        Raises:
            StoreCorrupt: the file is truncated or altered.
        """
        return hdf5.read(self.path, self.path.parent.name).arrays


def add_result(
    fs: FileSystem, folder: Path, kind: ResultKind, stem: str, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
) -> Path:
    """Write ``evals/STEM.h5``, or ``STEM-2.h5`` ... where the name is taken.

    Raises:
        StoreWriteError: the disk refuses.
    """
    return add_file(fs, folder, kind, stem, _SUFFIX, hdf5.encode(kind, arrays=arrays, attrs=attrs))


def add_file(fs: FileSystem, folder: Path, subfolder: str, stem: str, suffix: str, content: bytes) -> Path:
    """Write ``SUBFOLDER/STEM.suffix``, or ``STEM-2`` ... where the name is taken, and its digest beside it.

    The digest is written before the file, so a file without a digest has lost it.

    Raises:
        ValueError: the name could leave the folder, or the store uses the folder itself.
        StoreWriteError: the disk refuses, or the run was removed.
    """
    layout.check_folder(subfolder)
    layout.check_file_name(stem, suffix)
    layout.make_home(fs, folder / subfolder)

    def keep_digest(path: Path) -> None:
        write_aside(fs, digest_path(path), digest_line(path, documents.sha256(content)))

    own = suffix == _SUFFIX  # HDF5 files contain their own digest
    return write_new(fs, folder / subfolder, stem, suffix, content, ahead=None if own else keep_digest)


def digest_path(path: Path) -> Path:
    """Return the path of the digest of a file that cannot contain its own digest."""
    return path.with_name(path.name + DIGEST_SUFFIX)


def digest_line(path: Path, digest: str) -> bytes:
    """Return the content of a digest file: a line in the format of ``sha256sum``, which can check it."""
    return f"{digest}  {path.name}\n".encode("ascii")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of a run.

    Raises:
        StoreCorrupt: the file cannot be read.
    """
    return documents.file_sha256(path, limit=hdf5.SIZE_LIMIT)


def check_digest(path: Path) -> None:
    """Compare a file with the digest beside it.

    Raises:
        StoreCorrupt: they do not match, or one of the two files is missing.
    """
    digest = file_sha256(path)
    if documents.read_bytes(digest_path(path), limit=documents.SIZE_LIMIT) != digest_line(path, digest):
        raise documents.corrupt(path, f"The file does not match {digest_path(path).name}")


def newest_file(folder: Path, subfolder: str, stem: str, suffix: str) -> bytes | None:
    """Return the content of the newest of ``STEM.suffix``, ``STEM-2.suffix`` ..., or None.

    Raises:
        StoreCorrupt: the file does not match the digest beside it; the error names it.
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
    """Store the unfinished state of a result, replacing its earlier state.

    Raises:
        StoreWriteError: the disk refuses; the earlier state is undamaged.
    """
    path = _partial_path(folder, kind, key)
    layout.make_home(fs, path.parent)
    write_aside(fs, path, hdf5.encode(kind, arrays=arrays, attrs=attrs))


def read_partial(folder: Path, kind: ResultKind, key: str) -> hdf5.Content | None:
    """Return the stored state of an unfinished result, or None.

    Raises:
        StoreCorrupt: the file is truncated or altered.
    """
    path = _partial_path(folder, kind, key)
    return hdf5.read(path, kind) if path.exists() else None


def drop_partial(fs: FileSystem, folder: Path, kind: ResultKind, key: str) -> None:
    """Remove the state of an unfinished result, after the result itself was written."""
    path = _partial_path(folder, kind, key)
    if path.exists():
        with write_errors(path), suppress(FileNotFoundError):  # another process may have removed it
            fs.remove(path)


def _partial_path(folder: Path, kind: ResultKind, key: str) -> Path:
    layout.check_file_name(key, _PARTIAL)
    return folder / kind / f"{key}{_PARTIAL}"


def read_results(folder: Path, kind: ResultKind) -> list[Result]:
    """Return all results of a kind, oldest first.

    Raises:
        StoreCorrupt: a file is truncated or altered; the error names it.
    """
    paths = [folder / kind / name for name in layout.entries(folder / kind) if name.endswith(_SUFFIX)]
    found = [Result(path, hdf5.read(path, kind, with_arrays=False).attrs) for path in paths]
    return sorted(found, key=lambda result: (str(result.attrs.get(WRITTEN, "")), result.path.name))
