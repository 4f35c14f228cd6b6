"""The folder ``model/`` of a run: the source code of the user's own model, with the digest of every file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dregcli.errors import DregError
from dregcli.filesystem import FileSystem, move, write_aside, write_folder_aside
from dregcli.store import documents, layout

MANIFEST: Final = "manifest.json"
MANIFEST_NAME: Final = f"{layout.CODE_FOLDER}/{MANIFEST}"
"""The name by which ``run.json`` holds the digest of the manifest."""

_KIND: Final = "code"
_PLACE_KIND: Final = "place"
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class CapturedCode:
    """The code of a run's model.

    Attributes:
        about: description of the code, as plain JSON values.
        files: contents of the captured files by name, with ``/`` between folders; empty for an installed package.
        place: where the code lies on this machine; None if the run came from another one.
    """

    about: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)
    place: str | None

    def manifest(self) -> bytes:
        """Return the content of the manifest."""
        files = {
            name: {"size": len(content), "sha256": documents.sha256(content)} for name, content in self.files.items()
        }
        return documents.seal({"encoding-type": _KIND, "encoding-version": "1", **self.about, "files": files})


def write(fs: FileSystem, run: Path, code: CapturedCode) -> None:
    """Write the code of a run, which has none yet.

    Raises:
        StoreWriteError: the disk refuses; nothing is left.
    """
    files = {**code.files, MANIFEST: code.manifest()}
    if code.place is not None:
        files[layout.PLACE_FILE] = _place_content(code.place)
    write_folder_aside(fs, run / layout.CODE_FOLDER, files)


def replace(fs: FileSystem, run: Path, code: CapturedCode) -> None:
    """Write code in place of the code of a run, which is put aside in ``rolled-back/``; of equal code only its place.

    Raises:
        StoreWriteError: the disk refuses.
    """
    home = run / layout.CODE_FOLDER
    if _has(home, code):
        if code.place is not None:
            write_aside(fs, home / layout.PLACE_FILE, _place_content(code.place))
        return
    if home.exists():
        move(fs, home, layout.put_aside(fs, run, "model") / home.name)
    write(fs, run, code)


def _has(home: Path, code: CapturedCode) -> bool:
    """Whether a folder holds some code, undamaged."""
    try:
        return read(home).files == code.files and (home / MANIFEST).read_bytes() == code.manifest()
    except (DregError, OSError):
        return False


def _place_content(place: str) -> bytes:
    return documents.seal({"encoding-type": _PLACE_KIND, "encoding-version": "1", "place": place})


def read(folder: Path) -> CapturedCode:
    """Read and verify the code of a run.

    Args:
        folder: the folder with the manifest.

    Raises:
        StoreCorrupt: a file is missing or altered; the error names it.
        StoreFormatError: the manifest has another version.
    """
    path = folder / MANIFEST
    about = documents.unseal(path)
    layout.check_encoding(about, _KIND, path)
    files: dict[str, bytes] = {}
    try:
        for name, said in about.pop("files").items():
            if not layout.is_code_name(name):
                raise documents.corrupt(path, f"'{name}' cannot be the name of a captured file")
            content = documents.read_bytes(folder / name, limit=_MOST_BYTES)
            if len(content) != said["size"] or documents.sha256(content) != said["sha256"]:
                raise documents.corrupt(folder / name, "The captured file does not match the digest in its manifest")
            files[name] = content
    except (KeyError, TypeError, AttributeError) as error:
        raise documents.corrupt(path, f"The manifest is incomplete: {error!r}") from error
    return CapturedCode(about, files, _place(folder / layout.PLACE_FILE))


def _place(path: Path) -> str | None:
    if not path.exists():
        return None
    document = documents.unseal(path)
    layout.check_encoding(document, _PLACE_KIND, path)
    if not isinstance(place := document.get("place"), str):
        raise documents.corrupt(path, "The file holds no place")
    return place


def check_manifest(folder: Path, digests: tuple[str, ...]) -> None:
    """Compare a manifest with the digests in ``run.json``.

    Raises:
        StoreCorrupt: it has another digest.
    """
    content = documents.read_bytes(folder / MANIFEST, limit=documents.SIZE_LIMIT)
    if documents.sha256(content) not in digests:
        raise documents.corrupt(folder / MANIFEST, "The file does not match the digest in run.json")
