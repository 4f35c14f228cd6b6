"""The layout of a figure: a title, a grid of axes, and below the axes a legend that covers nothing.

Matplotlib's own layouts measure everything many times, which takes longer than drawing. This layout measures once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any, Final, Literal

from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from dregcli.report.drawn import PLAIN_TEXT
from dregcli.report.figures import ends
from dregcli.report.figures.ends import End
from dregcli.report.figures.letters import text_width, wrapped
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.ticks import settle, thin_out

_HANDLE, _BETWEEN = 2.8, 2.0
"""Length of a legend's lines, and space between its columns, in multiples of the letters' size."""

_PAD: Final = 0.9
"""Space between the parts of a figure, in multiples of the letters' size."""

_FLAT: Final = 0.62
"""Height of axes without a height of their own, as a share of their width."""

_LOWEST, _HIGHEST = 11.0, 22.0
"""Least and largest height of such axes, in multiples of the letters' size."""


def new_figure(sheet: Sheet) -> Figure:
    """Return an empty figure of the sheet's width; ``lay_out`` sets its height."""
    return Figure(figsize=(sheet.width, sheet.width / 2.0))


def panels(
    figure: Figure, rows: int, columns: int, *, shared: Literal["row", "col"] | None = None
) -> list[list[Axes]]:
    """Return axes, row by row. With ``shared``, a row or column shares its vertical axis, and all the horizontal."""
    found: Any = figure.subplots(
        rows, columns, squeeze=False, sharey=shared or "none", sharex="all" if shared else "none"
    )
    return [[*row] for row in found]


def panel_grid(figure: Figure, sheet: Sheet, count: int, *, least: float) -> list[Axes]:
    """Return this many axes, in as many columns as the sheet has room for; see ``Sheet.columns``."""
    columns = sheet.columns(count, least)
    rows = -(-count // columns)
    columns = -(-count // rows)  # as few columns as these rows allow, so that few places stay empty
    every = [axes for row in panels(figure, rows, columns) for axes in row]
    for axes in every[count:]:
        axes.remove()
    return every[:count]


@dataclass(frozen=True)
class _Room:
    """The space that labels need around axes, inches."""

    left: float
    right: float
    above: float
    below: float

    def __or__(self, other: "_Room") -> "_Room":
        return _Room(*(max(a, b) for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Below:
    """What stands below the axes.

    Attributes:
        entries: handle of each label of the legend.
        caption: sentences that explain the figure, shown above the legend's entries.
    """

    entries: Mapping[str, Artist] = field(default_factory=dict[str, Artist])
    caption: str = ""


@rc_context(PLAIN_TEXT)
def lay_out(
    figure: Figure,
    sheet: Sheet,
    title: str,
    *,
    below: Below,
    height: float | None = None,
    shape: float | None = None,
    labels: Mapping[Axes, Sequence[End]] | None = None,
) -> None:
    """Put a title above the axes and a legend or a caption below them, and make room for both.

    Args:
        figure: figure whose axes form a grid, all drawn and labelled; it keeps its width.
        sheet: the paper that the figure is drawn for.
        title: title of the figure.
        below: what stands below the axes.
        height: height of each of the axes, inches; None means that their width decides.
        shape: height of each of the axes as a multiple of their width; None means flat, within limits.
        labels: names of curves that stand right of the axes.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # of what was drawn before this function
    every, named = figure.axes, labels or {}
    for axes in every:
        _letters(axes, sheet)
    head: Any = None
    if sheet.caption:
        words_above = wrapped(title, sheet.width - 2.0 * sheet.em, sheet.large)
        head = figure.text(0.5, 1.0, words_above, ha="center", va="top", fontsize=sheet.large)
    foot = _foot(figure, below, sheet)
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    of_head, of_foot = (_height(each, renderer, figure) for each in (head, foot))
    texts = {axes: ends.added(axes, of_axes, sheet) for axes, of_axes in named.items()}
    right = {axes: ends.width(each, renderer, figure.dpi, sheet) for axes, each in texts.items()}
    tall = max((ends.height(each, renderer, figure.dpi) for each in texts.values()), default=0.0)
    # The words around axes, and the number of ticks, depend on the length of the axes: place them roughly first.
    rough = {axes: _Room(5.4 * sheet.em, max(sheet.em, right.get(axes, 0.0)), 1.6 * sheet.em, 3.6 * sheet.em)
             for axes in every}  # fmt: skip
    grid = _Grid(figure, sheet, of_head, of_foot, height, shape, tall)
    words = {label: label.get_text() for axes in every for label in _labels(axes)}
    grid.place(rough)
    for axes in every:
        settle(axes)
    for _ in range(2):
        for axes in every:
            _fit_words(axes, words, sheet)
            thin_out(axes, renderer)
        rooms = {axes: _room(axes, renderer, figure.dpi) for axes in every}
        grid.place({axes: replace(room, right=max(room.right, right.get(axes, 0.0))) for axes, room in rooms.items()})
    for axes, of_axes in texts.items():
        ends.spread(axes, named[axes], of_axes, renderer, sheet)
    if head is not None:
        head.set_y(1.0 - 0.5 * _PAD * sheet.em / float(figure.get_size_inches()[1]))


def _height(part: Any, renderer: Any, figure: Figure) -> float:  # noqa: ANN401 - matplotlib's
    return 0.0 if part is None else float(part.get_window_extent(renderer).height / figure.dpi)


def _labels(axes: Axes) -> tuple[Text, Text, Text]:
    return axes.title, axes.xaxis.label, axes.yaxis.label


def _letters(axes: Axes, sheet: Sheet) -> None:
    """Give all words of axes, and their lines and marks, the sizes of the sheet."""
    axes.tick_params(labelsize=sheet.small, pad=0.3 * sheet.points)
    for label in _labels(axes):
        label.set_fontsize(sheet.points)
    scale = sheet.points / 10.0
    for line in axes.lines:
        line.set_linewidth(scale * line.get_linewidth())
        line.set_markersize(scale * line.get_markersize())


def _fit_words(axes: Axes, words: Mapping[Text, str], sheet: Sheet) -> None:
    """Break the title and the labels of axes into lines that are hardly longer than the axes."""
    box = axes.get_window_extent()
    dpi = axes.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    across, down = box.width / dpi, box.height / dpi
    for label, length in zip(_labels(axes), (across, across, down), strict=True):
        label.set_text(wrapped(words[label], length + sheet.em, sheet.points))


@dataclass(frozen=True)
class _Grid:
    """The grid of a figure's axes, between its title and what stands below.

    Attributes:
        figure: the figure.
        sheet: the paper that it is drawn for.
        head: height of the title, inches.
        foot: height of what stands below the axes, inches.
        height: height of each of the axes, inches, or None.
        shape: height of each of the axes as a multiple of their width, or None.
        least: least height of each of the axes, inches.
    """

    figure: Figure
    sheet: Sheet
    head: float
    foot: float
    height: float | None
    shape: float | None
    least: float

    def place(self, rooms: Mapping[Axes, _Room]) -> None:
        """Place the axes with the room that each row and column needs, and set the figure's height."""
        width, pad = self.sheet.width, _PAD * self.sheet.em
        of_rows, of_columns = dict[int, _Room](), dict[int, _Room]()
        for axes, room in rooms.items():
            i, j = _cell(axes)
            of_rows[i], of_columns[j] = room | of_rows.get(i, room), room | of_columns.get(j, room)
        around = sum(each.left + each.right + 2.0 * pad for each in of_columns.values())
        across = max(0.2, (width - around) / len(of_columns))
        em = self.sheet.em
        free = max(self.least, min(_FLAT * across, _HIGHEST * em), _LOWEST * em)
        height = self.height or (self.shape * across if self.shape else free)
        total = 2.0 * pad + self.head + self.foot
        total += sum(height + each.above + each.below + 2.0 * pad for each in of_rows.values())
        self.figure.set_size_inches(width, total)
        tops, lefts = dict[int, float](), dict[int, float]()
        y, x = total - pad - self.head, 0.0
        for i, room in sorted(of_rows.items()):
            tops[i] = y - room.above - pad
            y = tops[i] - height - room.below - pad
        for j, room in sorted(of_columns.items()):
            lefts[j] = x + room.left + pad
            x = lefts[j] + across + room.right + pad
        for axes in rooms:
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


def _foot(figure: Figure, below: Below, sheet: Sheet) -> Any:  # noqa: ANN401 - a Legend, a Text or None
    caption = wrapped(below.caption, sheet.width - 2.0 * sheet.em, sheet.small) if sheet.caption else ""
    if not below.entries:
        # The empty line makes the space below the caption.
        text: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": sheet.small}
        return figure.text(0.5, 0.0, f"{caption}\n", **text) if caption else None
    around = (_HANDLE + 0.8 + _BETWEEN) * sheet.small / 72.0
    labels = [wrapped(label, sheet.width - around, sheet.small) for label in below.entries]
    longest = max(text_width(label, sheet.small) for label in labels)
    return figure.legend(
        [*below.entries.values()],
        labels,
        loc="lower center",
        ncols=max(1, min(len(labels), int((sheet.width - sheet.em) / (longest + around)))),
        fontsize=sheet.small,
        frameon=False,
        borderpad=0.0,
        borderaxespad=1.0,
        title=caption,
        title_fontsize=sheet.small,
        handlelength=_HANDLE,
        handletextpad=0.8,
        columnspacing=_BETWEEN,
    )
