"""The layout of a figure: a title, a grid of axes, and below the axes a legend that covers nothing.

Matplotlib's own layouts measure everything many times, which takes longer than drawing. This layout measures once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from textwrap import fill
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_CHARACTERS: Final = 13.0
"""Number of small characters that fit into an inch."""

_JOINT: Final = "\u200b"
"""Mark of a place where a word may be broken."""

_PAD: Final = 0.12
"""Space between the parts of a figure, inches."""


def new_figure(width: float) -> Figure:
    """Return an empty figure with a width in inches; ``lay_out`` sets its height."""
    return Figure(figsize=(width, width / 2.0))


def panels(figure: Figure, rows: int, columns: int, *, shared: bool = False) -> list[list[Axes]]:
    """Return axes, row by row. With ``shared``, a row shares its vertical axis, and all share the horizontal axis."""
    found: Any = figure.subplots(
        rows, columns, squeeze=False, sharey="row" if shared else "none", sharex="all" if shared else "none"
    )
    return [[*row] for row in found]


def wrapped(text: str, width: float, *, size: float = 1.0) -> str:
    """Break text into lines that fit into a width in inches; ``size`` is the letters' size relative to small ones."""
    return _filled(text, max(12, int(_CHARACTERS * width / size)))


def _filled(text: str, fitting: int) -> str:
    """Break text into lines of at most this many characters; words with parameters break after commas."""
    loose = re.sub(r"([,/])(?=\S)", f"\\1{_JOINT} ", text)
    lines = "\n".join(fill(line, fitting, break_on_hyphens=False) for line in loose.splitlines())
    return lines.replace(f"{_JOINT} ", "").replace(_JOINT, "")


@dataclass(frozen=True)
class _Room:
    """The space that labels need around axes, inches."""

    left: float
    right: float
    above: float
    below: float

    def __or__(self, other: "_Room") -> "_Room":
        return _Room(*(max(a, b) for a, b in zip(astuple(self), astuple(other), strict=True)))


_ROUGH: Final = _Room(0.8, 0.1, 0.2, 0.5)


def lay_out(
    figure: Figure, title: str, *, height: float, entries: Mapping[str, Artist] | None = None, caption: str = ""
) -> None:
    """Put a title above the axes and a legend or a caption below them, and make room for both.

    Args:
        figure: figure whose axes form a grid, all drawn and labelled; it keeps its width.
        title: title of the figure.
        height: height of each of the axes, inches.
        entries: handle of each label of the legend.
        caption: sentences that explain the figure, shown above the legend's entries.
    """
    width = float(figure.get_size_inches()[0])
    head = figure.text(0.5, 1.0, wrapped(title, width, size=1.4), ha="center", va="top", fontsize="large")
    foot: Any = _legend(figure, entries, caption, width) if entries else _caption(figure, caption, width)
    renderer = FigureCanvasAgg(figure).get_renderer()
    of_head, of_foot = (each.get_window_extent(renderer).height / figure.dpi for each in (head, foot))
    # The space that an axis needs depends a little on its length, so first place the axes roughly.
    _place(figure, [_ROUGH for _ in figure.axes], height, of_head, of_foot)
    _place(figure, [_room(axes, renderer, figure.dpi) for axes in figure.axes], height, of_head, of_foot)
    head.set_y(1.0 - _PAD / float(figure.get_size_inches()[1]))


def _place(figure: Figure, rooms: Sequence[_Room], height: float, head: float, foot: float) -> None:
    """Place the axes in their grid with the room that each row and column needs, and set the figure's height."""
    width = float(figure.get_size_inches()[0])
    of_rows, of_columns = dict[int, _Room](), dict[int, _Room]()
    for axes, room in zip(figure.axes, rooms, strict=True):
        i, j = _cell(axes)
        of_rows[i], of_columns[j] = room | of_rows.get(i, room), room | of_columns.get(j, room)
    around = sum(each.left + each.right + 2.0 * _PAD for each in of_columns.values())
    across = (width - around) / len(of_columns)
    total = 2.0 * _PAD + head + foot + sum(height + each.above + each.below + 2.0 * _PAD for each in of_rows.values())
    figure.set_size_inches(width, total)
    tops, lefts = dict[int, float](), dict[int, float]()
    y, x = total - _PAD - head, 0.0
    for i, room in sorted(of_rows.items()):
        tops[i] = y - room.above - _PAD
        y = tops[i] - height - room.below - _PAD
    for j, room in sorted(of_columns.items()):
        lefts[j] = x + room.left + _PAD
        x = lefts[j] + across + room.right + _PAD
    for axes in figure.axes:
        i, j = _cell(axes)
        axes.set_position((lefts[j] / width, (tops[i] - height) / total, across / width, height / total))


def _cell(axes: Axes) -> tuple[int, int]:
    spec = axes.get_subplotspec()
    assert spec is not None
    return spec.rowspan.start, spec.colspan.start


def _room(axes: Axes, renderer: Any, dpi: float) -> _Room:  # noqa: ANN401 - matplotlib's
    box = axes.get_window_extent(renderer)
    # Among axes that share an axis, only the outer ones have labels.
    labelled = [axis for axis, side in ((axes.xaxis, "bottom"), (axes.yaxis, "left")) if _labelled(axis, side)]
    around = [each for axis in labelled if (each := axis.get_tightbbox(renderer)) is not None]
    title = axes.title.get_window_extent(renderer).height if axes.get_title() else 0.0
    left = max((box.x0 - each.x0 for each in around), default=0.0)
    right = max((each.x1 - box.x1 for each in around), default=0.0)
    above = max((each.y1 - box.y1 for each in around), default=0.0)
    below = max((box.y0 - each.y0 for each in around), default=0.0)
    needed = _Room(*(max(0.0, each) / dpi for each in (left, right, above, below)))
    return replace(needed, above=needed.above + title / dpi)


def _labelled(axis: Any, side: str) -> bool:  # noqa: ANN401 - matplotlib's
    return bool(axis.get_tick_params().get(f"label{side}", True))


def _caption(figure: Figure, caption: str, width: float) -> Any:  # noqa: ANN401 - a Text
    # The empty line makes the space below the caption.
    return figure.text(0.5, 0.0, f"{wrapped(caption, width)}\n", ha="center", va="bottom", fontsize="small")


def _legend(figure: Figure, entries: Mapping[str, Artist], caption: str, width: float) -> Any:  # noqa: ANN401 - a Legend
    fitting = int(_CHARACTERS * width)
    labels = [_filled(label, fitting - 8) for label in entries]
    longest = max(len(line) for label in labels for line in label.splitlines())
    return figure.legend(
        [*entries.values()],
        labels,
        loc="lower center",
        ncols=max(1, min(len(labels), fitting // (longest + 8))),
        fontsize="small",
        frameon=False,
        borderpad=0.0,
        borderaxespad=1.0,
        title=wrapped(caption, width - 0.5),
        title_fontsize="small",
        handlelength=3.2,
    )
