"""Names of curves right of the axes, at the curves' ends, in place of a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.text import Text

from dregcli.report.figures.sheet import Sheet

_LEADER: Final = 1.1
"""Length of the line from a curve's end to its name, in multiples of the letters' size."""

_SPACE: Final = 1.15
"""Distance between the middles of two names, in multiples of their height."""


@dataclass(frozen=True)
class End:
    """The right end of a curve.

    Attributes:
        label: name of the curve, in lines that are short enough.
        colour: colour of the curve.
        y: value of the curve at its right end.
    """

    label: str
    colour: str
    y: float


def added(axes: Axes, ends: Sequence[End], sheet: Sheet) -> list[Text]:
    """Add the names to axes; ``spread`` places them."""
    return [
        axes.text(1.0, 0.5, end.label, fontsize=sheet.small, color=end.colour, ha="left", va="center", clip_on=False,
                  linespacing=1.0)
        for end in ends
    ]  # fmt: skip


def width(texts: Sequence[Text], renderer: Any, dpi: float, sheet: Sheet) -> float:  # noqa: ANN401 - matplotlib's
    """Return the space that the names need right of the axes, inches."""
    return _LEADER * sheet.em + max((each.get_window_extent(renderer).width / dpi for each in texts), default=0.0)


def height(texts: Sequence[Text], renderer: Any, dpi: float) -> float:  # noqa: ANN401 - matplotlib's
    """Return the height that the names need above one another, inches."""
    return sum(_SPACE * each.get_window_extent(renderer).height / dpi for each in texts)


def spread(axes: Axes, ends: Sequence[End], texts: Sequence[Text], renderer: Any, sheet: Sheet) -> None:  # noqa: ANN401
    """Place the names so near to their curves' ends as they can be without overlaps, with lines to the ends."""
    box = axes.get_window_extent(renderer)
    wanted = [min(max((axes.transData.transform((1.0, end.y))[1] - box.y0) / box.height, 0.0), 1.0) for end in ends]
    sizes = [_SPACE * text.get_window_extent(renderer).height / box.height for text in texts]
    order = sorted(range(len(ends)), key=lambda i: wanted[i])
    places = _apart([wanted[i] for i in order], [sizes[i] for i in order])
    across = _LEADER * sheet.em * axes.figure.dpi / box.width
    for i, place in zip(order, places, strict=True):
        texts[i].set_transform(axes.transAxes)
        texts[i].set_position((1.0 + across, place))
        axes.plot(
            [1.0, 1.0 + 0.8 * across],
            [wanted[i], place],
            transform=axes.transAxes,
            color=ends[i].colour,
            linewidth=0.6,
            clip_on=False,
            label=f"_to {ends[i].label}",
        )


def _apart(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return places in ascending order, near the wanted ones, whose sizes do not overlap.

    Names that would overlap form a block around the mean of their wanted places; blocks that touch become one.
    """
    blocks: list[list[int]] = []
    for i in range(len(wanted)):
        blocks.append([i])
        while len(blocks) > 1 and _low(blocks[-1], wanted, sizes) < _high(blocks[-2], wanted, sizes):
            last = blocks.pop()
            blocks[-1] += last
    places: list[float] = []
    for block in blocks:
        y = _low(block, wanted, sizes)
        for i in block:
            places.append(y + 0.5 * sizes[i])
            y += sizes[i]
    return places


def _low(block: Sequence[int], wanted: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the lower end of a block, which stays within the axes as far as it fits."""
    size = sum(sizes[i] for i in block)
    middle = sum(wanted[i] for i in block) / len(block)
    return max(min(middle - 0.5 * size, 1.0 + 0.5 * sizes[block[-1]] - size), -0.5 * sizes[block[0]])


def _high(block: Sequence[int], wanted: Sequence[float], sizes: Sequence[float]) -> float:
    return _low(block, wanted, sizes) + sum(sizes[i] for i in block)
