"""Turns the arrays of a source into images: examples first, then channels, rows and columns, the right way up.

Every step returns a view of the array, without a copy in memory, except turning colours to grey.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.contract import Named, Source, pieces, said
from dregcli.data.scan import CHANNELS
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.names import Channels, DataKind, Flip

Shape = tuple[int, ...]

TO_GREY: Final = "colours were turned to grey (ITU-R 601 luma)"
_LUMA: Final = (19595, 38470, 7471)
"""Weights of red, green and blue, in 65,536ths: Pillow's weights, so that arrays and PNG files give the same grey."""
_WANTED: Final = "(N, pixels), (N, H, W), (N, H, W, C) or (N, C, H, W)"


def laid_out(array: NDArray[Any], named: Named, source: Source) -> NDArray[Any]:
    """Find examples and channels among the axes, and turn colours to grey where the user wants it.

    Args:
        array: the array as it is stored.
        named: name of the array, for messages.
        source: receives notes on what was assumed and done.

    Returns:
        (N, values), (N, H, W), or (N, C, H, W) where there are 3 or 4 channels.

    Raises:
        UsageError: the array has an unsupported number of axes, or their meaning is not clear.
    """
    request = source.request
    if request.transpose and array.ndim > 1:
        array = np.moveaxis(array, -1, 0)
        source.note("the examples were taken from the last axis")
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        what = f"{named} has the shape {said(array.shape)}, but examples have {_WANTED}, without an empty axis"
        labels = ": labels have one axis" * (array.ndim == 1)
        raise UsageError(what + labels, hint="reshape it and save it, or name another array with --key KEY")
    if not source.is_images:
        array = _channels_first(array, named, source)
    elif array.ndim == 4:
        # If all pictures are grey, one channel is enough, although the user wanted to keep colours.
        array = array if source.has_colours else array[:, 0]
        source.note(*["the colours were kept: 3 channels, red, green and blue"] * source.has_colours)
    if request.channels is Channels.KEEP and array.ndim < 4:
        source.note("the images have one channel, grey: there are no colours to keep")
    return array


def axes_note(array: NDArray[Any], source: Source) -> None:
    """Add a note where the last axis is the longest: the examples may lie along it, as in MATLAB's files.

    Image files are read one by one, so the question does not arise for them.
    """
    (count, *inner), last = array.shape[:-1], array.shape[-1]
    if not (source.request.transpose or source.is_images or len(inner) > 1 or last <= max(count, *inner, 0)):
        of = f" of {said((*inner, last))}; if the last axis is the examples" if inner else "; if they are columns"
        source.note(f"{said(array.shape)} was taken as {count} examples{of}, give --transpose")


def as_images(array: NDArray[Any], named: Named, source: Source, kind: DataKind) -> tuple[NDArray[Any], Shape]:
    """Find height and width, and transpose and mirror the images as the user wants.

    Args:
        array: the result of ``laid_out``.
        named: name of the array, for messages.
        source: receives notes on what was assumed and done.
        kind: kind of the values.

    Returns:
        The images, (N, ...), in the order channel after channel, each row by row; and (channels, height, width).

    Raises:
        UsageError: the user gives another size than the array has.
    """
    height, width = _size(array.shape, named, source, kind)
    request, channels = source.request, array.shape[1] if array.ndim == 4 else 1
    if not (request.transpose_images or request.flips):
        return array, (channels, height, width)
    if array.ndim == 2 and request.shape is None and height == 1:
        option = "--transpose-images" if request.transpose_images else "--flip"
        fault = Fault(option, f"turns images, but {width} values an example were taken as vectors")
        raise SpecError([fault], hint="give --shape HxW as well, such as --shape 28x28")
    images = array.reshape(len(array), channels, height, width)
    if request.transpose_images:
        images = images.swapaxes(2, 3)
        source.note(f"each image was transposed, rows became columns: {height} x {width} became {width} x {height}")
    if Flip.HORIZONTAL in request.flips:
        images = images[..., ::-1]
        source.note("each image was mirrored: left and right changed places")
    if Flip.VERTICAL in request.flips:
        images = images[..., ::-1, :]
        source.note("each image was mirrored: top and bottom changed places")
    return images, images.shape[1:]


def _size(shape: Shape, named: Named, source: Source, kind: DataKind) -> tuple[int, int]:
    """Return height and width of an image."""
    asked = source.request.shape
    pixels = math.prod(shape[max(1, len(shape) - 2) :])
    # Three numbers were used already, when the channels were found.
    if asked is not None and len(asked) == 2:
        if math.prod(asked) != pixels:
            is_turned = source.request.transpose
            other = math.prod(shape[2:]) * shape[0] if is_turned else math.prod(shape[:-1])
            turn = (", or leave --transpose out" if is_turned else ", or --transpose") * (math.prod(asked) == other)
            what = f"--shape {_typed(asked)} is {math.prod(asked)} pixels, but {named} has {pixels} values an example"
            what += f" ({said(shape)})"
            raise UsageError(what, hint=f"give H and W whose product is {pixels}{turn}")
        if len(shape) > 2 and asked != shape[-2:]:
            what = f"--shape {_typed(asked)} contradicts {named}, whose images are {said(shape[-2:])}"
            raise UsageError(what, hint="leave --shape out")
        return asked[0], asked[1]
    if len(shape) > 2:
        return shape[-2], shape[-1]
    side = math.isqrt(pixels)
    if side * side == pixels and kind.is_bounded:
        source.note(f"{pixels} values were taken as images of {side} x {side} (--shape HxW changes that)")
        return side, side
    source.note(f"{pixels} values were taken as vectors, 1 x {pixels} (--shape HxW makes images of them)")
    return 1, pixels


def _channels_first(array: NDArray[Any], named: Named, source: Source) -> NDArray[Any]:
    """Return a view of an array, examples first, with its channels, if there are several, before rows and columns.

    Raises:
        UsageError: four axes have no channels, several axes could be the channels, the user does not say what to do
            with colours, or the user gives another shape.
    """
    asked, channels = source.request.shape, source.request.channels
    if asked is not None and len(asked) == 3:
        array, axis = _as_asked(array, asked, named)
    elif array.ndim == 4:
        axis = _channel_axis(array.shape, channels, named)
    else:
        if channels is Channels.KEEP:
            _refuse_hidden(array.shape, asked, named)
        return array
    found, shape = np.moveaxis(array, axis, 1), said(array.shape)
    count = found.shape[1]
    if count == 1:
        return found[:, 0]
    other = "save only red, green and blue and import that file"
    if channels is None:
        other = "--channels grey to turn them to grey" if count == 3 else other
        raise UsageError(
            what=f"{named} is {shape}. The {count} channels look like colours{' and alpha' * (count == 4)}, and "
            "dreg does not know whether to keep them",
            hint=f"give --channels keep to keep them, or {other}",
        )
    if channels is Channels.GREY and count != 3:
        raise UsageError(
            what=f"{named} is {shape}: {count} channels cannot be turned to grey, because the last one may be alpha",
            hint=f"give --channels keep, or {other}",
        )
    order = "the second axis, (N, C, H, W)" if axis == 1 else "the last axis, (N, H, W, C)"
    source.note(f"{shape} was taken as images with {count} channels along {order}")
    return _turned_grey(found, source) if channels is Channels.GREY else found


def _turned_grey(array: NDArray[Any], source: Source) -> NDArray[Any]:
    """Turn red, green and blue (N, 3, H, W) into grey (N, H, W), of the same type; booleans become floats."""
    native = array.dtype.newbyteorder("=")
    dtype = np.dtype(np.float32) if native == np.bool_ else native

    def luma(piece: NDArray[Any]) -> NDArray[Any]:
        wide = piece.astype(np.float64)
        red, green, blue = (weight * wide[:, i] for i, weight in enumerate(_LUMA))
        # Sums of 32-bit integers are exact, and a half is rounded up, as Pillow rounds it.
        if native.kind in "iu" and native.itemsize <= 4:
            return np.floor((red + green + blue + (1 << 15)) / (1 << 16))
        grey = (red + green + blue) / (1 << 16)
        return np.rint(grey) if native.kind in "iu" else grey

    content = (np.ascontiguousarray(luma(piece).astype(dtype)) for _, piece in pieces(array))
    source.note(TO_GREY)
    return source.scratch.array(content, (len(array), *array.shape[2:]), dtype)


def _as_asked(array: NDArray[Any], asked: Shape, named: Named) -> tuple[NDArray[Any], int]:
    """Return the array with four axes and the number of the channel axis, by the user's three numbers."""
    example = array.shape[1:]
    # Axes are only split: joining axes would copy the array, which may be larger than the memory.
    if array.ndim < 4 and math.prod(example) == math.prod(asked) and _cuts(example) <= _cuts(asked):
        return array.reshape(len(array), *asked), 1 if asked[0] in CHANNELS else 3
    for axis in (1, 3) if array.ndim == 4 else ():
        is_so = asked == _moved(example, axis) or (axis == 3 and asked == example)
        if is_so and example[axis - 1] in CHANNELS:
            return array, axis
    raise UsageError(
        what=f"--shape {_typed(asked)} contradicts {named}, which is {said(array.shape)}: "
        f"{math.prod(example)} values an example, not {math.prod(asked)} in that order",
        hint=f"give channels, height and width of an example{_last_hint(array.shape)}",
    )


def _cuts(shape: Shape) -> set[int]:
    """Return the number of values within the first axis, the first two axes, and so on."""
    return {math.prod(shape[: i + 1]) for i in range(len(shape))}


def _moved(example: Shape, axis: int) -> Shape:
    """Return the shape of an example with its channels (``axis`` of the array) first."""
    return example if axis == 1 else (example[2], *example[:2])


def _channel_axis(shape: Shape, channels: Channels | None, named: Named) -> int:
    """Return the axis whose size is a number of channels, if only one axis fits."""
    axes = [axis for axis in (3, 1) if shape[axis] in CHANNELS]
    # An axis of size 1 means grey images; the last axis is tried before the second. Size 3 is preferred to size 4,
    # because images of four rows are more common than alpha.
    single = [axis for axis in axes if shape[axis] == 1 and channels is not Channels.KEEP][:1]
    likely = single or [axis for axis in axes if shape[axis] == 3] or axes
    if len(likely) == 1:
        return likely[0]
    if not axes:
        raise UsageError(
            what=f"{named} is {said(shape)}: four axes are (N, H, W, C) or (N, C, H, W), where C is 1, 3 or 4",
            hint=f"save it in one of these shapes{_last_hint(shape)}",
        )
    choices = dict.fromkeys(f"--shape {_typed(_moved(shape[1:], axis))}" for axis in (1, 3))
    where = " if the channels are the second axis" if len(choices) == 1 else ""
    raise UsageError(
        what=f"{named} is {said(shape)}: both the second axis and the last one could be the channels",
        hint=f"give the shape as channels x height x width: {' or '.join(choices)}{where}",
    )


def _last_hint(shape: Shape) -> str:
    return "; or, if the last axis is the examples, give --transpose" if shape[-1] > max(shape[:-1]) else ""


def _refuse_hidden(shape: Shape, asked: Shape | None, named: Named) -> None:
    """Refuse to guess the layout of colours where the user wants to keep them and an example may hold some."""
    values = math.prod(shape[1:])
    size = asked or (math.isqrt(values // 3),) * 2
    if math.prod(size) * 3 == values and (len(shape) == 2 or 3 in shape[1:]):
        raise UsageError(
            what=f"{named} has {values:,} values an example ({said(shape)}), and it is not clear how colours are "
            "stored in them",
            hint=f"give --shape {_typed((3, *size))} if they are stored channel after channel, --shape "
            f"{_typed((*size, 3))} if they are stored pixel by pixel, or leave --channels out if there are none",
        )


def _typed(shape: Shape) -> str:
    """Return a shape as it is typed on the command line."""
    return "x".join(map(str, shape))
