"""Images that lie on their side or are mirrored, turned as the user says: views, of which nothing is in memory."""

from typing import Any

from numpy.typing import NDArray

from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.shapes import Size, said
from dregcli.errors import Fault, SpecError
from dregcli.names import Flip


def turned(
    array: NDArray[Any], size: Size, request: ImportRequest, *, where: str
) -> tuple[NDArray[Any], Size, list[str]]:
    """The images of an array as the user wants them: rows and columns change places first, then mirrors.

    Args:
        array: (N, values), (N, H, W) or (N, C, H, W).
        size: H and W.
        request: what is asked for.
        where: the source, for messages.

    Returns:
        A view of the array, its new height and width, and what was done.

    Raises:
        SpecError: the values are vectors, which have neither rows nor columns.
    """
    if not (request.transpose_images or request.flips):
        return array, size, []
    if array.ndim == 2 and request.shape is None and size[0] == 1:
        option = "--transpose-images" if request.transpose_images else "--flip"
        message = f"turns images, and {size[1]} values an example were taken as vectors"
        raise SpecError([Fault(option, message)], where=where, hint="give --shape HxW as well, such as --shape 28x28")
    images, notes = array.reshape(len(array), -1, *size) if array.ndim < 4 else array, list[str]()
    if request.transpose_images:
        images = images.swapaxes(2, 3)
        became = "" if size[0] == size[1] else f": {said(size)} became {said(size[::-1])}"
        notes.append(f"each image was turned, its rows became its columns{became}")
        size = size[1], size[0]
    if Flip.HORIZONTAL in request.flips:
        images = images[..., ::-1]
        notes.append("each image was mirrored: left and right changed places")
    if Flip.VERTICAL in request.flips:
        images = images[..., ::-1, :]
        notes.append("each image was mirrored: top and bottom changed places")
    return images, size, notes
