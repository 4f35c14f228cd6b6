"""Read the word of ``--model``: a built-in model, a class in a file or a package, or an entry point's name."""

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from dregcli.errors import Fault, SpecError
from dregcli.names import ModelName, nearest
from dregcli.specs.models import PROGRAMS, is_network

GROUP: Final = "dreg.models"
"""The group of entry points in which an installed package announces its models."""

_WAYS: Final = "Or name a class of your own: FILE.py:Class, or package.module:Class."


@dataclass(frozen=True)
class ClassInFile:
    """A class in a file.

    Attributes:
        path: the file, absolute.
        name: name of the class.
    """

    path: Path
    name: str

    @property
    def word(self) -> str:
        """The word as a spec has it: without the folder, which another machine does not have."""
        return f"{self.path.name}:{self.name}"


@dataclass(frozen=True)
class ClassInModule:
    """A class in an installed package.

    Attributes:
        module: full name of the module.
        name: name of the class.
        word: the word as a spec has it.
        is_built_in: whether the module is part of dreg.
    """

    module: str
    name: str
    word: str
    is_built_in: bool = False


def read_word(word: str) -> ClassInFile | ClassInModule:
    """Return the class that a word for ``--model`` means. Its file need not exist, and nothing is imported.

    Args:
        word: any word except those of ``ModelName``.

    Raises:
        SpecError: no model has this name, or the word names a file without a class.
    """
    if word in PROGRAMS:
        module, _, name = PROGRAMS[word].partition(":")
        return ClassInModule(module, name, word, is_built_in=True)
    before, colon, name = word.rpartition(":")
    if colon and before and _is_class_name(name):
        if _is_file(before):
            return ClassInFile(absolute(before), name)
        if all(part.isidentifier() for part in before.split(".")):
            return ClassInModule(before, name, word)
        raise SpecError(
            _fault(f"'{before}' is neither a Python file, which ends with .py, nor the name of a module.")
        )
    if _is_file(word) or (colon and _is_file(before)):
        raise SpecError(
            _fault(f"name the class in the file too, such as --model {before or word}:ConvVae, got '{word}'.")
        )
    points = {point.name: point for point in _entry_points()}
    if word in points:
        module, _, attribute = points[word].value.partition(":")
        return ClassInModule(module.strip(), attribute.partition("[")[0].strip(), word)
    raise SpecError(_fault(_unknown(word, [*ModelName, *PROGRAMS, *points])))


def absolute(path: str) -> Path:
    """Return a path as the user means it: ``~`` is the home folder, and it begins at the current folder."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - a link keeps its own folder


def check_word(word: str) -> None:
    """Refuse a word that can mean no model; see ``read_word``."""
    if not is_network(word):
        read_word(word)


def _is_file(text: str) -> bool:
    """Whether a text names a file, which need not exist."""
    return text.endswith(".py") or "/" in text or os.sep in text or text.startswith("~")


def _is_class_name(text: str) -> bool:
    return text.isidentifier()


def _entry_points() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _unknown(word: str, names: list[str]) -> str:
    near = nearest(word, names)
    meant = f" Did you mean '{near}'?" if near else ""
    return f"no model is called '{word}'.{meant} Known: {', '.join(names)}. {_WAYS}"


def _fault(message: str) -> list[Fault]:
    return [Fault("model", message)]
