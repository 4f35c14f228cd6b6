"""Which axes of an array are examples, rows and columns."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import UsageError
from dregcli.names import DataKind

Size = tuple[int, int]
"""Height and width."""

_WANTED = "(N, pixels), (N, H, W), (N, H, W, C) or (N, C, H, W)"


def said(shape: tuple[int, ...]) -> str:
    """A shape as messages show it."""
    return " x ".join(str(size) for size in shape)


def examples_first(array: NDArray[Any], *, transpose: bool) -> NDArray[Any]:
    """The array with its examples along the first axis; from the last one where the user says so."""
    return np.moveaxis(array, -1, 0) if transpose and array.ndim > 1 else array


def check_axes(array: NDArray[Any], *, named: str, where: str) -> None:
    """Refuse what cannot be examples of one image or vector each.

    Raises:
        UsageError: another number of axes, or none along one of them.
    """
    shape = array.shape
    if array.ndim == 1:
        what = f"{named} has one axis, of {shape[0]} values: labels have that shape, examples have {_WANTED}"
        raise UsageError(what, where=where, hint="name another array with --key KEY")
    if array.ndim not in (2, 3, 4):
        raise UsageError(
            what=f"{named} has {array.ndim} axes ({said(shape)}), not {_WANTED}",
            where=where,
            hint="reshape it and save it",
        )
    if 0 in shape:
        raise UsageError(
            what=f"{named} is empty: {said(shape)}", where=where, hint="name another array with --key KEY"
        )


def image_size(
    shape: tuple[int, ...],
    *,
    asked: Size | None,
    kind: DataKind,
    named: str,
    where: str,
    transposed: bool = False,
) -> tuple[Size, list[str]]:
    """Height and width of an image, and what had to be assumed.

    Args:
        shape: of the array, examples first: (N, values), (N, H, W) or (N, C, H, W).
        asked: what the user says.
        kind: what the values are.
        named: the array, for messages.
        where: the source, for messages.
        transposed: whether the examples were taken from the last axis.

    Raises:
        UsageError: the user says other than the array has.
    """
    pixels = math.prod(shape[max(1, len(shape) - 2) :])
    if asked is not None and asked[0] * asked[1] != pixels:
        other = math.prod(shape[2:]) * shape[0] if transposed else math.prod(shape[:-1])
        turn = ", or leave --transpose out" if transposed else ", or --transpose"
        raise UsageError(
            what=f"--shape {asked[0]}x{asked[1]} is {asked[0] * asked[1]} pixels, and {named} has {pixels} values an "
            f"example ({said(shape)})",
            where=where,
            hint=f"give H and W whose product is {pixels}{turn if asked[0] * asked[1] == other else ''}",
        )
    if len(shape) > 2:
        height, width = shape[-2], shape[-1]
        if asked not in (None, (height, width)):
            raise UsageError(
                what=f"--shape {asked[0]}x{asked[1]} contradicts {named}, whose images are {height} x {width}",
                where=where,
                hint="leave --shape out",
            )
        return (height, width), []
    if asked is not None:
        return asked, []
    side = math.isqrt(pixels)
    if side * side == pixels and kind is not DataKind.REAL:
        return (side, side), [f"{pixels} values were taken as images of {side} x {side} (--shape HxW says otherwise)"]
    notes = [f"{pixels} values were taken as vectors, 1 x {pixels} (--shape HxW makes images of them)"]
    side = math.isqrt(pixels // 3)
    if side > 1 and 3 * side * side == pixels:
        notes.append(
            f"{pixels} is 3 x {side} x {side}: if these are images in colour, give --channels keep --shape "
            f"3x{side}x{side} (channel after channel) or {side}x{side}x3 (pixel by pixel)"
        )
    root = math.isqrt(pixels - 1) if pixels > 1 else 0
    if root > 1 and root * root == pixels - 1:
        notes.append(
            f"{pixels} is {root} x {root} + 1: if the first or the last value is a label, leave it out before or, of "
            f"a text, while it is imported: --labels 1 or --labels {pixels}"
        )
    return (1, pixels), notes
