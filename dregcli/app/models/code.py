"""The source code of a model: the class, the files that it consists of, and the digest that identifies them."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class CodeKind(StrEnum):
    """Where the class of a model is."""

    FILE = "file"
    """In a file of the user's, which a run captures together with the files beside it that it imports."""
    MODULE = "module"
    """In an installed package, of which a run keeps the version and the digests of files."""
    BUILT_IN = "built-in"
    """In dreg."""


@dataclass(frozen=True)
class Code:
    """The code of a model.

    Attributes:
        kind: where the class is.
        word: the model's word, as a spec has it.
        module: full name of the module; for a file its name without ``.py``.
        name: name of the class.
        folder: folder of the files; None for built-in code.
        files: contents of the source files, by their names relative to ``folder``, the file of the class first.
        place: the word with which a later command finds the code again: ``/folder/my_model.py:ConvVae``. None if the
            code came from a run, which keeps only a copy.
        distribution: name and version of the installed package.
    """

    kind: CodeKind
    word: str
    module: str
    name: str
    folder: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    place: str | None = None
    distribution: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def digest(self) -> str | None:
        """The SHA-256 that identifies the code; None for built-in code."""
        return digest_of(self.digests) if self.files else None

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by name."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}

    @property
    def main(self) -> str:
        """Name of the file with the class."""
        return next(iter(self.files))

    def path(self, name: str) -> Path:
        """Return the path of one of the files."""
        return (self.folder or Path()) / name

    def owns(self, path: str) -> bool:
        """Whether a file, by the path that a traceback shows, is one of these files."""
        return any(str(self.path(name)) == path for name in self.files)

    def document(self) -> dict[str, Any]:
        """Return the code as a JSON object, for another process."""
        files = {name: b64encode(content).decode("ascii") for name, content in self.files.items()}
        return {**vars(self), "folder": self.folder and str(self.folder), "files": files}

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "Code":
        """Return the code in a JSON object that ``document`` made."""
        found: dict[str, Any] = {**document, "kind": CodeKind(document["kind"])}
        found["folder"] = None if found["folder"] is None else Path(found["folder"])
        found["files"] = {name: b64decode(content) for name, content in document["files"].items()}
        return cls(**found)


def digest_of(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 of the names and the digests of all files, in any order."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
