"""JSON on disk: exact floats, valid JSON for NaN and infinity, bounded reading, digests.

A sealed document carries the SHA-256 of its own content, and a file is accepted only when it is byte for byte what
this module would write, so that any flipped byte is found. ``spec.json`` and ``environment.json`` stay plain, since
users read and reuse them; ``run.json`` holds their digests.
"""

import hashlib
import json
import math
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from dregcli.errors import StoreCorrupt

# A document is read into memory whole; this is far above any real one (an environment's diff is capped at 1 MB).
SIZE_LIMIT: Final = 16 * 1024 * 1024

_FLOAT: Final = "$float"
_DIGEST: Final = "digest"
_END: Final = b"\n}\n"


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path, *, limit: int) -> bytes:
    """A file's content, refused before it is read when it is larger than ``limit`` bytes.

    Raises:
        StoreCorrupt: missing, unreadable, too large or no plain file: a pipe would keep its reader waiting for ever.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise corrupt(path, "This is not a plain file")
        if found.st_size > limit:
            what = f"The file is larger than it can rightly be ({found.st_size:,} bytes; at most {limit:,})"
            raise corrupt(path, what)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise corrupt(path, "The file is missing") from error
    except OSError as error:
        raise corrupt(path, f"The file cannot be read: {error.strerror or error}") from error


def corrupt(path: Path, what: str) -> StoreCorrupt:
    """The error for a file of a run that is truncated, altered or gone."""
    return StoreCorrupt(
        what, where=str(path), hint="restore this file from a backup, or remove what depends on it and run that again"
    )


def encode(document: Mapping[str, Any]) -> bytes:
    """A document as JSON: key order kept, floats exact, NaN and infinity as ``{"$float": "nan"}``.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    # ASCII only: an argument that was not UTF-8 arrives with lone surrogates, and those survive only escaped.
    return (json.dumps(_plain(document), indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def decode(content: bytes, path: Path) -> dict[str, Any]:
    """The document in ``content``, which came from ``path``.

    Raises:
        StoreCorrupt: not one JSON object, naming the file.
    """
    try:
        document: Any = json.loads(content.decode("utf-8"), object_hook=_revive, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise corrupt(path, f"The file is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise corrupt(path, "The file does not hold a JSON object")
    return cast("dict[str, Any]", document)


def seal(document: Mapping[str, Any]) -> bytes:
    """A document with its own digest as the last key, to be read by :func:`unseal`."""
    content = encode(document)
    return content[: -len(_END)] + _last_key(content)


def unseal(path: Path) -> dict[str, Any]:
    """The sealed document in a file, without its digest.

    Raises:
        StoreCorrupt: any byte differs from what was written, naming the file.
    """
    return unseal_bytes(read_bytes(path, limit=SIZE_LIMIT), path)


def unseal_bytes(content: bytes, path: Path) -> dict[str, Any]:
    """The sealed document in ``content``, which came from ``path``.

    Raises:
        StoreCorrupt: any byte differs from what was written, naming the file.
    """
    document = decode(content, path)
    document.pop(_DIGEST, None)
    length = len(_last_key(b""))
    # Byte for byte, not key by key: encoding it again would take twenty times as long, and a list has a thousand.
    if content[-length:] != _last_key(content[:-length] + _END):
        raise corrupt(path, "The file's digest does not match its content")
    return document


def _last_key(content: bytes) -> bytes:
    """How a sealed document ends whose other keys are ``content``."""
    return f',\n  "{_DIGEST}": "{sha256(content)}"'.encode("ascii") + _END


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON values are what they are
    # Where nobody has imported numpy, as where a shell completes words, there is no value of numpy either.
    if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        if any(not isinstance(key, str) or key == _FLOAT for key in items):
            what = f"a document's keys are strings other than '{_FLOAT}'"
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
