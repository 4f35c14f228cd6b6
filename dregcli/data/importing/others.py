"""IDX, and MATLAB's .mat up to version 7: the strict readers of the catalogue, for a user's file."""

import mmap
from typing import Any, Final, cast

from numpy.typing import NDArray

from dregcli.data.formats.idx import parse_idx_values
from dregcli.data.formats.mat import mat_variables, parse_mat
from dregcli.data.importing.limits import HARMLESS_BYTES, MOST_RATIO
from dregcli.data.importing.offers import Offer, refused
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.scratch import Scratch
from dregcli.errors import DataCorrupt

_LARGEST_MAT: Final = 4 << 30
"""Such files are unpacked in memory; MATLAB itself writes larger ones as version 7.3."""


def idx_offers(plain: Plain) -> list[Offer]:
    """The one array of an IDX file, mapped where it lies.

    Raises:
        DataCorrupt: the header promises other than the file has.
    """
    content = mmap.mmap(plain.stream.fileno(), 0, access=mmap.ACCESS_READ)
    values = parse_idx_values(cast("Any", content), where=plain.where)
    return [Offer("", values.shape, str(values.dtype), lambda _: values)]


def mat_offers(plain: Plain) -> list[Offer]:
    """The variables of a .mat file of versions 4 to 7.

    Raises:
        DataCorrupt: it is damaged, truncated or a bomb.
    """
    if plain.size > _LARGEST_MAT:
        raise DataCorrupt(
            what=f"a .mat file of {plain.size:,} bytes is more than can be unpacked in memory",
            where=plain.where,
            hint="save it in MATLAB with -v7.3, or from Python as .npy",
        )
    plain.stream.seek(0)
    content = plain.stream.read()
    limit = min(max(HARMLESS_BYTES, MOST_RATIO * plain.size), _LARGEST_MAT)

    def offer(name: str) -> Offer:
        def read(_: Scratch) -> NDArray[Any]:
            return parse_mat(content, names=[name], where=plain.where, limit=limit)[name]

        variable = variables[name]
        if not variable.is_numeric:
            return refused(name, f"is MATLAB's {variable.kind}, not an array of numbers", variable.shape)
        if 0 in variable.shape:
            return refused(name, "is empty", variable.shape, variable.kind)
        return Offer(name, variable.shape, variable.kind, read)

    variables = mat_variables(content, where=plain.where, limit=limit)
    return [offer(name) for name in variables]
