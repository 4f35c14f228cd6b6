"""What a reader finds in a file before anything large is read: the arrays it offers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.columns import LeftOut
from dregcli.data.importing.scratch import Scratch

Read = Callable[[Scratch], NDArray[Any]]
"""Gives the values, in memory or as a map of a file: of shape (N, ...), examples first."""


@dataclass(frozen=True)
class Offer:
    """One array of a file.

    Attributes:
        key: its name in the file; empty where the file is one array.
        shape: as stored, and for MATLAB's files as MATLAB shows it; () where it is not known before it is read.
        dtype: in words.
        read: gives the values.
        refusal: why it cannot be taken, ending the sentence "it ..."; None where it can.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    read: Read
    refusal: str | None = None


@dataclass
class Found:
    """What a source is.

    Attributes:
        format: in words.
        where: its path, for messages.
        offers: its arrays.
        stamp: called after all was read: its size in bytes and SHA-256, held against a change on the way.
        notes: what was done to the values while they were read; grows as they are.
        is_images: whether the values are decoded pictures.
        is_text: whether it is a text of numbers, whose columns can be named.
        warnings: what may not be what the user wants; grows as the values are read.
        left_out: columns that did not become values; grows likewise.
    """

    format: str
    where: str
    offers: list[Offer]
    stamp: Callable[[], tuple[int, str]]
    notes: list[str] = field(default_factory=list[str])
    is_images: bool = False
    is_text: bool = False
    warnings: list[str] = field(default_factory=list[str])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])


def refused(key: str, refusal: str, shape: tuple[int, ...] = (), dtype: "np.dtype[Any] | str" = "") -> Offer:
    """An array that is there and cannot be taken."""

    def read(_: Scratch) -> NDArray[Any]:
        raise AssertionError(refusal)

    return Offer(key, shape, str(dtype), read, refusal)
