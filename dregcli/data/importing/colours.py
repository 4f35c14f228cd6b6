"""Which axis of an array holds the colours of a pixel, and how colours become grey."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.shapes import said
from dregcli.data.scan import CHANNELS
from dregcli.errors import UsageError
from dregcli.names import Channels

Shape = tuple[int, ...]

TO_GREY: Final = "colours were turned to grey (ITU-R 601 luma)"
_PIECE_VALUES: Final = 1 << 18
_LUMA: Final = (19595, 38470, 7471)
"""Weights of red, green and blue, in 65,536ths: Pillow's own, so that an array becomes grey as its PNG files do."""


def as_typed(shape: Shape) -> str:
    """A shape as it is typed on the command line."""
    return "x".join(map(str, shape))


def channels_first(
    array: NDArray[Any], *, asked: Shape | None, channels: Channels | None, named: str, where: str
) -> tuple[NDArray[Any], list[str]]:
    """A view of an array that has its channels, where there are several, before rows and columns.

    Args:
        array: examples first, of two to four axes.
        asked: what the user says of an example: H x W, or C x H x W, or H x W x C.
        channels: what is to be done with colours; None where the user does not say.
        named: the array, for messages.
        where: the source, for messages.

    Returns:
        (N, C, H, W) where there are 3 or 4 channels; otherwise (N, H, W) or (N, values). And what was assumed.

    Raises:
        UsageError: four axes without channels, several axes that could be channels, colours of which nobody says
            what becomes of them, or another shape than the user says.
    """
    if asked is not None and len(asked) == 3:
        found, note = _as_asked(array, asked, named, where)
    elif array.ndim == 4:
        found, note = _by_axis(array, channels, named, where)
    else:
        if channels is Channels.KEEP:
            _refuse_hidden(array, asked, named, where)
        return array, []
    if found.shape[1] == 1:
        return found[:, 0], []
    if channels is None:
        of_alpha = " and alpha" if found.shape[1] == 4 else ""
        raise UsageError(
            what=f"{named} is {said(array.shape)}. The {found.shape[1]} channels look like colours{of_alpha}, and it "
            "is not said what becomes of them",
            where=where,
            hint="give --channels keep to keep them, or --channels grey to turn them to grey",
        )
    if channels is Channels.GREY and found.shape[1] != 3:
        raise UsageError(
            what=f"{named} is {said(array.shape)}: {found.shape[1]} channels cannot be turned to grey, for the last "
            "one may be alpha",
            where=where,
            hint="give --channels keep, or save red, green and blue alone and import that",
        )
    return found, [note]


def turned_grey(array: NDArray[Any], scratch: Scratch, *, where: str) -> NDArray[Any]:
    """Red, green and blue as one grey value each, piece by piece.

    Args:
        array: (N, 3, H, W).
        scratch: where the result lies.
        where: the source, for messages.

    Returns:
        (N, H, W), of the same type; of booleans 32-bit floats.
    """
    native = array.dtype.newbyteorder("=")
    dtype = np.dtype(np.float32) if native == np.bool_ else native
    step = max(1, _PIECE_VALUES // max(1, array[:1].size))

    def pieces() -> Iterator[NDArray[Any]]:
        for first in range(0, len(array), step):
            yield np.ascontiguousarray(_luma(np.asarray(array[first : first + step])).astype(dtype))

    return scratch.array(pieces(), (len(array), *array.shape[2:]), dtype, where=where)


def _luma(piece: NDArray[Any]) -> NDArray[Any]:
    red, green, blue = _LUMA
    if piece.dtype.kind in "iu" and piece.dtype.itemsize <= 4:
        wide = piece.astype(np.int64)
        return (red * wide[:, 0] + green * wide[:, 1] + blue * wide[:, 2] + (1 << 15)) >> 16
    wide = piece.astype(np.float64)
    grey = (red * wide[:, 0] + green * wide[:, 1] + blue * wide[:, 2]) / (1 << 16)
    return np.rint(grey) if piece.dtype.kind in "iu" else grey


def _as_asked(array: NDArray[Any], asked: Shape, named: str, where: str) -> tuple[NDArray[Any], str]:
    """What the user's three numbers say."""
    example = array.shape[1:]
    if array.ndim == 4:
        for axis, view in _views(array):
            if view.shape[1:] == asked:
                return view, _told(array.shape, view.shape[1], axis)
        if asked == example and asked[2] in CHANNELS:
            view = np.moveaxis(array, 3, 1)
            return view, _told(array.shape, view.shape[1], 3)
    # Only axes that are cut further: to put axes together would copy what may be larger than the memory.
    elif _cuts(example) <= _cuts(asked) and math.prod(example) == math.prod(asked):
        view = array.reshape(len(array), *asked)
        if asked[0] in CHANNELS:
            return view, f"the values of an example were taken channel after channel, {said(asked)}"
        return np.moveaxis(view, 3, 1), f"the values of an example were taken pixel by pixel, {said(asked)}"
    raise UsageError(
        what=f"--shape {as_typed(asked)} is {math.prod(asked)} values, and {named} is {said(array.shape)}, with "
        f"{math.prod(example)} values an example"
        if math.prod(asked) != math.prod(example)
        else f"--shape {as_typed(asked)} contradicts {named}, which is {said(array.shape)}",
        where=where,
        hint="give C, H and W of an example" + _last_hint(array.shape),
    )


def _cuts(shape: Shape) -> set[int]:
    """How many values lie within each axis and all axes before it."""
    return {math.prod(shape[: i + 1]) for i in range(len(shape))}


def _by_axis(array: NDArray[Any], channels: Channels | None, named: str, where: str) -> tuple[NDArray[Any], str]:
    """The axis whose size is a number of channels, if there is one alone."""
    views = _views(array)
    if channels is not Channels.KEEP:
        # An axis of one has always been a grey image's, the last one before the second.
        for axis, view in reversed(views):
            if view.shape[1] == 1:
                return view, _told(array.shape, 1, axis)
    # Three are colours before four are: small images of four rows are not rare, and alpha is.
    likely = [(axis, view) for axis, view in views if view.shape[1] == 3] or views
    if len(likely) == 1:
        ((axis, view),) = likely
        return view, _told(array.shape, view.shape[1], axis)
    shape = said(array.shape)
    if not views:
        raise UsageError(
            what=f"{named} is {shape}: four axes must be (N, H, W, C) or (N, C, H, W), where C is 1, 3 or 4",
            where=where,
            hint="save it so" + _last_hint(array.shape),
        )
    choices = dict.fromkeys(f"--shape {as_typed(view.shape[1:])}" for _, view in views)
    if len(choices) == 1:
        choices = {f"{next(iter(choices))} where the channels are the second axis": None}
    raise UsageError(
        what=f"{named} is {shape}: both the second axis and the last one could be the channels",
        where=where,
        hint=f"say which it is, as channels x height x width: {' or '.join(choices)}",
    )


def _views(array: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
    """The array with its channels second, for each axis that could be these; with the axis."""
    return [(axis, np.moveaxis(array, axis, 1)) for axis in (1, 3) if array.shape[axis] in CHANNELS]


def _told(shape: Shape, channels: int, axis: int) -> str:
    order = "the second axis, (N, C, H, W)" if axis == 1 else "the last axis, (N, H, W, C)"
    return f"{said(shape)} was taken as images with {channels} channels along {order}"


def _last_hint(shape: Shape) -> str:
    if shape[-1] > max(shape[:-1]):
        return "; or if the examples are the last axis, give --transpose"
    return ""


def _refuse_hidden(array: NDArray[Any], asked: Shape | None, named: str, where: str) -> None:
    """Refuse to guess where colours are kept, and values that may be colours lie in one row."""
    example = array.shape[1:]
    values = math.prod(example)
    size = asked if asked is not None and len(asked) == 2 else (math.isqrt(values // 3),) * 2
    if values % 3 or size[0] * size[1] * 3 != values or (array.ndim == 3 and 3 not in example):
        return
    raise UsageError(
        what=f"{named} has {values:,} values an example ({said(array.shape)}), and it is not clear where colours are",
        where=where,
        hint=f"give --shape {as_typed((3, *size))} where they lie channel after channel, --shape "
        f"{as_typed((*size, 3))} where they lie pixel by pixel, or leave --channels out where there are none",
    )
