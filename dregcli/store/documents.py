"""JSON on disk: exact floats, valid JSON for NaN and infinity, a size limit on reading, and digests.

A sealed document contains the SHA-256 of its own content. A file is accepted only if it is, byte for byte, what this
module would write, so any changed byte is found. ``spec.json`` and ``environment.json`` are not sealed, because users
read and reuse them; ``run.json`` holds their digests.
"""

import hashlib
import json
import math
import stat
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from dregcli.errors import StoreCorrupt

# A document is read into memory as a whole; this limit is far above any real size (a diff is cut at 1 MB).
SIZE_LIMIT: Final = 16 * 1024 * 1024

_FLOAT: Final = "$float"
_DIGEST: Final = "digest"
_END: Final = b"\n}\n"


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Return a file's content; refuse a file larger than ``limit`` bytes before reading it.

    Raises:
        StoreCorrupt: the file is missing, unreadable, too large or not a plain file (reading a pipe could wait for
            ever).
    """
    with _readable(path, limit):
        return path.read_bytes()


def file_sha256(path: Path, *, limit: int) -> str:
    """Return the SHA-256 of a file without holding it in memory; it raises the errors of :func:`read_bytes`."""
    with _readable(path, limit), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(path: Path, limit: int) -> Generator[None]:
    """Refuse a file that is too large or no plain file, and turn errors of reading it into StoreCorrupt."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise corrupt(path, "This is not a plain file")
        if found.st_size > limit:
            what = f"The file is larger than allowed ({found.st_size:,} bytes; at most {limit:,})"
            raise corrupt(path, what)
        yield
    except FileNotFoundError as error:
        raise corrupt(path, "The file is missing") from error
    except PermissionError as error:
        what = "The file cannot be read: this user has no permission"
        raise StoreCorrupt(what, where=str(path), hint="make the file readable for this user") from error
    except OSError as error:
        raise corrupt(path, f"The file cannot be read: {error.strerror or error}") from error


def corrupt(path: Path, what: str) -> StoreCorrupt:
    """Return the error for a file of a run that is truncated, altered or missing."""
    hint = "restore this file from a backup, or remove the results that depend on it and compute them again"
    return StoreCorrupt(what, where=str(path), hint=hint)


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON: key order kept, floats exact, NaN and infinity as ``{"$float": "nan"}``.

    Raises:
        TypeError: JSON cannot hold a value.
    """
    # ASCII only: an argument that is not UTF-8 contains lone surrogates, which only survive as escapes.
    return (json.dumps(_plain(document), indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def decode(content: bytes, path: Path) -> dict[str, Any]:
    """Return the document in ``content``, which came from ``path``.

    Raises:
        StoreCorrupt: the content is not one JSON object; the error names the file.
    """
    try:
        document: Any = json.loads(content.decode("utf-8"), object_hook=_revive, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise corrupt(path, f"The file is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise corrupt(path, "The file does not hold a JSON object")
    return cast("dict[str, Any]", document)


def seal(document: Mapping[str, Any]) -> bytes:
    """Return a document with its own digest as the last key, for :func:`unseal` to read."""
    content = encode(document)
    return content[: -len(_END)] + _last_key(content)


def unseal(path: Path) -> dict[str, Any]:
    """Return the sealed document in a file, without its digest.

    Raises:
        StoreCorrupt: a byte differs from what was written; the error names the file.
    """
    return unseal_bytes(read_bytes(path, limit=SIZE_LIMIT), path)


def unseal_bytes(content: bytes, path: Path) -> dict[str, Any]:
    """Return the sealed document in ``content``, which came from ``path``.

    Raises:
        StoreCorrupt: a byte differs from what was written; the error names the file.
    """
    document = decode(content, path)
    document.pop(_DIGEST, None)
    length = len(_last_key(b""))
    # Bytes are compared, not keys: encoding again would take twenty times as long, and a list reads a thousand files.
    if content[-length:] != _last_key(content[:-length] + _END):
        raise corrupt(path, "The file's digest does not match its content")
    return document


def _last_key(content: bytes) -> bytes:
    """Return the end of a sealed document whose other keys are ``content``."""
    return f',\n  "{_DIGEST}": "{sha256(content)}"'.encode("ascii") + _END


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON values have any type
    # If numpy has not been imported, as in shell completion, the document cannot hold values of numpy.
    if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        if any(not isinstance(key, str) or key == _FLOAT for key in items):
            what = f"a document's keys must be strings other than '{_FLOAT}'"
            raise TypeError(what)
        return {key: _plain(inner) for key, inner in items.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in cast("Sequence[Any]", value)]
    return value


def _revive(found: dict[str, Any]) -> Any:  # noqa: ANN401
    return float(found[_FLOAT]) if found.keys() == {_FLOAT} else found


def _refuse(constant: str) -> Any:  # noqa: ANN401
    what = f"{constant} is not JSON"
    raise ValueError(what)
