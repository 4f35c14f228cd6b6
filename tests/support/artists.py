"""What a figure shows, read back from its artists."""

import io
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text

from dregcli.report.drawn import Drawn


def line(axes: Axes, label: str) -> Line2D:
    """The one line with this label."""
    (found,) = [each for each in axes.lines if each.get_label() == label]
    return found


def lines(axes: Axes, beginning: str) -> dict[str, Line2D]:
    """Lines by label."""
    return {str(each.get_label()): each for each in axes.lines if str(each.get_label()).startswith(beginning)}


def xy(found: Line2D) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def bands(axes: Axes) -> dict[str, PolyCollection]:
    """Filled bands by the label of their line."""
    return {
        str(each.get_label()).removeprefix("_band "): each
        for each in axes.collections
        if isinstance(each, PolyCollection) and str(each.get_label()).startswith("_band ")
    }


def ends(band: PolyCollection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a band is, and its lower and upper end there."""
    vertices = np.asarray(band.get_paths()[0].vertices)
    x = np.unique(vertices[:, 0])
    there = [vertices[vertices[:, 0] == each, 1] for each in x]
    return x, np.array([each.min() for each in there]), np.array([each.max() for each in there])


def legend(drawn: Drawn) -> list[str]:
    """The entries of the one legend, unwrapped."""
    (found,) = drawn.figure.legends
    return [text.get_text().replace("\n", " ") for text in found.get_texts()]


def unwrapped(text: str) -> str:
    """A label without its line breaks."""
    return " ".join(text.split())


def pixels(content: bytes) -> np.ndarray:
    """Of a PNG, (height, width, 3) in [0, 1]."""
    return image.imread(io.BytesIO(content))[..., :3]


def touched(content: bytes) -> bool:
    """Whether anything runs out of a PNG: a pixel of its edge is not white."""
    shown = pixels(content)
    return not all((edge == 1.0).all() for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]))


def _tick_labels(axis: Any) -> list[Text]:
    """The labels that an axis shows."""
    if not axis.get_visible():
        return []
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis._update_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_visible()]


def _words(drawn: Drawn) -> list[tuple[Axes | None, Text]]:
    """All texts that a figure shows, each with the axes that it lies inside, if any."""
    figure = drawn.figure
    found: list[tuple[Axes | None, Text]] = [(None, each) for each in figure.texts]
    for legend in figure.legends:
        found += [(None, each) for each in (*legend.get_texts(), legend.get_title())]
    for axes in figure.axes:
        found += [(None, each) for each in (axes.xaxis.label, axes.yaxis.label, axes.title)]
        beside = [
            each for each in axes.texts if each.get_position()[0] > 1.0 and each.get_transform() == axes.transAxes
        ]
        found += [(None if each in beside else axes, each) for each in axes.texts]
        found += [(axes, label) for axis in (axes.xaxis, axes.yaxis) for label in _tick_labels(axis)]
    # The box of a slanted text is much larger than the text.
    return [(axes, each) for axes, each in found if each.get_text().strip() and each.get_rotation() % 90 == 0]


def overlapping(drawn: Drawn) -> list[tuple[str, str]]:
    """Texts that cover one another or axes, or that run out of the figure."""
    renderer = FigureCanvasAgg(drawn.figure).get_renderer()
    drawn.figure.draw(renderer)
    words = [(axes, each.get_text(), each.get_window_extent(renderer).padded(-0.5)) for axes, each in _words(drawn)]
    frames = [(axes, axes.get_window_extent(renderer).padded(-1.0)) for axes in drawn.figure.axes]
    whole = drawn.figure.bbox.padded(1.0)
    faults = [(a, b) for (_, a, one), (_, b, two) in combinations(words, 2) if one.overlaps(two)]
    faults += [
        (a, "axes") for own, a, box in words for axes, frame in frames if own is not axes and box.overlaps(frame)
    ]
    faults += [("axes", "axes") for (_, one), (_, two) in combinations(frames, 2) if one.overlaps(two)]
    corners = [(text, box.get_points()) for _, text, box in words]
    return faults + [
        (a, "the edge") for a, (low, high) in corners if not (whole.contains(*low) and whole.contains(*high))
    ]
