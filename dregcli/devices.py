"""Words for a device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``. Standard library only.

The number of a GPU says where a run is computed, not what: runs of ``cuda`` and of ``cuda:1`` repeat each other.
"""

import re
from enum import StrEnum
from typing import Final

from dregcli.names import nearest


class DeviceKind(StrEnum):
    """What computes: runs on different kinds are different experiments."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


WORDS: Final = "cpu, cuda, cuda:N or mps"
COMPLETED: Final = ("cpu", "cuda", "cuda:0", "cuda:1", "mps")
PATTERN: Final = r"cpu|cuda(:(0|[1-9][0-9]{0,3}))?|mps"


def checked_device(word: str, *more: str) -> str:
    """Return the word of a device if it is one.

    Args:
        word: the word.
        more: other words that are allowed, such as ``auto``.

    Raises:
        ValueError: it is none; the message names the valid words.
    """
    if word in more or re.fullmatch(PATTERN, word):
        return word
    near = nearest(word, (*more, *DeviceKind))
    meant = f" Did you mean '{near}'?" if near else ""
    message = f"must be {', '.join([*more, WORDS])}, got {word!r}.{meant}"
    raise ValueError(message)


def kind_of(word: str) -> str:
    """Return the kind of a device, one of ``DeviceKind``: that of ``cuda:1`` is ``cuda``."""
    return word.partition(":")[0]


def number_of(word: str) -> int | None:
    """Return the number of a GPU, 1 for ``cuda:1``; None if the word leaves it open."""
    number = word.partition(":")[2]
    return int(number) if number else None
