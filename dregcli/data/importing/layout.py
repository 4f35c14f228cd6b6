"""From the arrays of a source to images: examples first, then channels, rows and columns, the right way up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.colours import TO_GREY, channels_first, turned_grey
from dregcli.data.importing.keys import Parts
from dregcli.data.importing.kinds import Conversion
from dregcli.data.importing.offers import Found
from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.shapes import check_axes, examples_first, image_size, said
from dregcli.data.importing.survey import chunks_of
from dregcli.data.importing.turning import turned
from dregcli.errors import UsageError
from dregcli.names import Channels, Split

Arrays = Mapping[Split | None, NDArray[Any]]


@dataclass
class Laid:
    """Arrays whose axes are known.

    Attributes:
        arrays: (N, values), (N, H, W), or where there are 3 or 4 channels (N, C, H, W).
        notes: what was assumed and done.
        warnings: what may not be what the user wants.
    """

    arrays: dict[Split | None, NDArray[Any]]
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Images:
    """Arrays of images of one size.

    Attributes:
        arrays: (N, ...), whose values in order are those of the images, channel after channel, each row by row.
        channels: values of a pixel.
        height: rows.
        width: columns.
        notes: what was assumed and done.
    """

    arrays: Arrays
    channels: int
    height: int
    width: int
    notes: list[str]


def lay_out(stored: Arrays, parts: Parts, request: ImportRequest, found: Found, scratch: Scratch) -> Laid:
    """Find examples and channels among the axes, and turn colours to grey where that is wanted.

    Args:
        stored: as the source has them.
        parts: what they are.
        request: what is asked for.
        found: the source.
        scratch: where grey images lie.

    Raises:
        UsageError: axes that cannot be, or of which it is not clear what they are.
    """
    laid = Laid({split: examples_first(array, transpose=request.transpose) for split, array in stored.items()})
    for split, array in laid.arrays.items():
        check_axes(array, named=named(split, parts), where=found.where)
    colour_notes: list[str] = []
    if found.is_images:
        laid.arrays = _without_empty_colours(laid.arrays)
        if any(array.ndim == 4 for array in laid.arrays.values()):
            colour_notes = ["the colours were kept: 3 channels, red, green and blue"]
    else:
        for split, array in laid.arrays.items():
            laid.arrays[split], notes = channels_first(
                array, asked=request.shape, channels=request.channels, named=named(split, parts), where=found.where
            )
            colour_notes += notes
    for split, array in laid.arrays.items():
        if array.ndim == 4 and request.channels is Channels.GREY:
            laid.arrays[split] = turned_grey(array, scratch, where=found.where)
            colour_notes.append(TO_GREY)
    if request.channels is Channels.KEEP and all(array.ndim < 4 for array in laid.arrays.values()):
        colour_notes.append("there is one channel, grey: no colours were found to be kept")
    laid.notes = [*_axes_notes(laid.arrays, request, found), *dict.fromkeys(colour_notes)]
    laid.warnings = _turn_warnings(stored, request)
    return laid


def as_images(laid: Laid, parts: Parts, request: ImportRequest, chosen: Conversion, where: str) -> Images:
    """Find height and width, and turn the images as the user wants.

    Args:
        laid: the arrays.
        parts: what they are.
        request: what is asked for.
        chosen: what the values are.
        where: the source, for messages.

    Raises:
        UsageError: the arrays have images of different sizes, or other ones than the user says.
    """
    arrays: dict[Split | None, NDArray[Any]] = {}
    shapes: dict[Split | None, tuple[int, int, int]] = {}
    notes: list[str] = []
    for split, array in laid.arrays.items():
        size, told = image_size(
            array.shape,
            asked=request.size,
            kind=chosen.kind,
            named=named(split, parts),
            where=where,
            transposed=request.transpose,
        )
        arrays[split], size, done = turned(array, size, request, where=where)
        shapes[split] = (array.shape[1] if array.ndim == 4 else 1, *size)
        notes += [note for note in (*told, *done) if note not in notes]
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{split} {said(each[1:] if each[0] == 1 else each)}" for split, each in shapes.items())
        raise UsageError(
            what=f"the splits have examples of different sizes: {told}", where=where, hint="import one of them"
        )
    return Images(arrays, *next(iter(shapes.values())), notes)


def named(split: Split | None, parts: Parts) -> str:
    """An array, for messages."""
    key = parts[split].key
    return f"the array '{key}'" if key else "the array"


def _without_empty_colours(arrays: dict[Split | None, NDArray[Any]]) -> dict[Split | None, NDArray[Any]]:
    """Pictures that are all grey as such, although their colours were to be kept."""
    if any(array.ndim < 4 or _has_colours(array) for array in arrays.values()):
        return arrays
    return {split: array[:, 0] for split, array in arrays.items()}


def _has_colours(array: NDArray[Any]) -> bool:
    """Whether red, green and blue differ anywhere; over at the first piece where they do."""
    for _, values in chunks_of(array):
        red, green, blue = np.split(values, 3, axis=1)
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return True
    return False


def _axes_notes(arrays: Arrays, request: ImportRequest, found: Found) -> list[str]:
    if request.transpose:
        return ["the examples were taken from the last axis"]
    first = next(iter(arrays.values()))
    if first.ndim == 2 and first.shape[0] < first.shape[1]:
        return [f"{said(first.shape)} was taken as {first.shape[0]} examples; if they are columns, give --transpose"]
    for array in arrays.values():
        # MATLAB's images lie so; images themselves come one by one, and have no axis to turn.
        if array.ndim == 3 and array.shape[2] > max(array.shape[:2]) and not found.is_images:
            shape = array.shape
            return [
                f"{said(shape)} was taken as {shape[0]} examples of {said(shape[1:])}; if the examples are the last "
                "axis, give --transpose"
            ]
    return []


def _turn_warnings(stored: Arrays, request: ImportRequest) -> list[str]:
    """A warning where --transpose seems to be meant for the images and not for the examples."""
    for array in stored.values():
        shape = array.shape
        if request.transpose and array.ndim > 2 and shape[0] > max(shape[1:]):
            return [
                f"--transpose took {shape[-1]} examples of {said(shape[:-1])} from the last axis of {said(shape)}: "
                "to turn each of the images, give --transpose-images in its place"
            ]
    return []
