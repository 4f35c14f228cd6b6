"""Where things are in a figure: a title, a grid of axes, and below them a legend that hides nothing.

Matplotlib's own layouts measure everything many times over, which takes longer than to draw it; here it is once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_CHARACTERS: Final = 13.0
"""Small ones that fit into an inch."""

_PAD: Final = 0.12
"""Between what is apart, inches."""


def new_figure(width: float) -> Figure:
    """An empty figure, so many inches wide; ``lay_out`` gives it its height."""
    return Figure(figsize=(width, width / 2.0))


def panels(figure: Figure, rows: int, columns: int, *, shared: bool = False) -> list[list[Axes]]:
    """Axes, row by row; with ``shared`` those of a row have one vertical axis, and all one horizontal one."""
    found: Any = figure.subplots(
        rows, columns, squeeze=False, sharey="row" if shared else "none", sharex="all" if shared else "none"
    )
    return [[*row] for row in found]


def wrapped(text: str, width: float, *, size: float = 1.0) -> str:
    """In lines that fit into so many inches; ``size`` is that of the letters, 1 of small ones."""
    fitting = max(12, int(_CHARACTERS * width / size))
    return "\n".join(fill(line, fitting) for line in text.splitlines())


@dataclass(frozen=True)
class _Room:
    """What axes need around them, inches, and where they are in the grid."""

    axes: Axes
    row: int
    column: int
    left: float
    right: float
    above: float
    below: float


def lay_out(
    figure: Figure, title: str, *, height: float, entries: Mapping[str, Artist] | None = None, caption: str = ""
) -> None:
    """Put a title above the axes, a legend or a caption below them, and make room for it all.

    Args:
        figure: whose axes are a grid, all drawn and labelled; it keeps its width.
        title: of the whole.
        height: of each of the axes, inches.
        entries: the handle of each label of the legend.
        caption: what is drawn how, in a sentence or more; above the legend's entries.
    """
    width = float(figure.get_size_inches()[0])
    head = figure.text(0.5, 1.0, wrapped(title, width, size=1.4), ha="center", va="top", fontsize="large")
    foot: Any = _legend(figure, entries, caption, width) if entries else _caption(figure, caption, width)
    renderer = FigureCanvasAgg(figure).get_renderer()
    rooms = [_room(axes, renderer) for axes in figure.axes]
    columns, rows = range(max(each.column for each in rooms) + 1), range(max(each.row for each in rooms) + 1)
    left, right = (
        [max(getattr(each, side) for each in rooms if each.column == j) + _PAD for j in columns]
        for side in ("left", "right")
    )
    above, below = (
        [max(getattr(each, side) for each in rooms if each.row == i) + _PAD for i in rows]
        for side in ("above", "below")
    )
    of_head, of_foot = (each.get_window_extent(renderer).height / figure.dpi for each in (head, foot))
    total = of_head + sum(above) + len(rows) * height + sum(below) + of_foot + 2.0 * _PAD
    across = (width - sum(left) - sum(right)) / len(columns)
    figure.set_size_inches(width, total)
    head.set_y(1.0 - _PAD / total)
    for each in rooms:
        i, j = each.row, each.column
        x = sum(left[: j + 1]) + sum(right[:j]) + j * across
        top = total - _PAD - of_head - sum(above[: i + 1]) - sum(below[:i]) - i * height
        each.axes.set_position((x / width, (top - height) / total, across / width, height / total))


def _room(axes: Axes, renderer: Any) -> _Room:  # noqa: ANN401 - matplotlib's
    spec, box = axes.get_subplotspec(), axes.get_window_extent(renderer)
    assert spec is not None
    title = [axes.title.get_window_extent(renderer)] if axes.get_title() else []
    # Of axes that share, the outer ones alone have labels.
    labelled = [axis for axis, side in ((axes.xaxis, "bottom"), (axes.yaxis, "left")) if _labelled(axis, side)]
    around = [each for axis in labelled if (each := axis.get_tightbbox(renderer)) is not None]
    dpi = axes.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    sides = {
        "left": max((box.x0 - each.x0 for each in around), default=0.0),
        "right": max((each.x1 - box.x1 for each in around), default=0.0),
        "above": sum(each.height for each in title),
        "below": max((box.y0 - each.y0 for each in around), default=0.0),
    }
    return _Room(
        axes, spec.rowspan.start, spec.colspan.start, **{side: max(0.0, each) / dpi for side, each in sides.items()}
    )


def _labelled(axis: Any, side: str) -> bool:  # noqa: ANN401 - matplotlib's
    return bool(axis.get_tick_params().get(f"label{side}", True))


def _caption(figure: Figure, caption: str, width: float) -> Any:  # noqa: ANN401 - a Text
    text = wrapped(caption, width)
    return figure.text(0.5, 0.0, f"{text}\n", ha="center", va="bottom", fontsize="small", linespacing=1.3)


def _legend(figure: Figure, entries: Mapping[str, Artist], caption: str, width: float) -> Any:  # noqa: ANN401 - a Legend
    fitting = int(_CHARACTERS * width)
    labels = [fill(label, fitting - 8) for label in entries]
    longest = max(len(line) for label in labels for line in label.splitlines())
    return figure.legend(
        [*entries.values()],
        labels,
        loc="lower center",
        ncols=max(1, min(len(labels), fitting // (longest + 8))),
        fontsize="small",
        frameon=False,
        borderpad=0.0,
        title=wrapped(caption, width - 0.5),
        title_fontsize="small",
        handlelength=3.2,
    )
