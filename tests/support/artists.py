"""What a figure shows, read back from its artists."""

import io
from itertools import combinations

import numpy as np
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

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


def pixels(content: bytes) -> np.ndarray:
    """Of a PNG, (height, width, 3) in [0, 1]."""
    return image.imread(io.BytesIO(content))[..., :3]


def touched(content: bytes) -> bool:
    """Whether anything runs out of a PNG: a pixel of its edge is not white."""
    shown = pixels(content)
    return not all((edge == 1.0).all() for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]))


def overlapping(drawn: Drawn) -> list[tuple[str, str]]:
    """Texts, legends and axes that cover one another."""
    renderer = FigureCanvasAgg(drawn.figure).get_renderer()
    drawn.figure.draw(renderer)
    labels = [label for axes in drawn.figure.axes for label in (axes.xaxis.label, axes.yaxis.label, axes.title)]
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in drawn.figure.texts if text.get_text()}
    boxes |= {
        f"{i} {text.get_text()}": text.get_window_extent(renderer) for i, text in enumerate(labels) if text.get_text()
    }
    boxes |= {f"legend {i}": each.get_window_extent(renderer) for i, each in enumerate(drawn.figure.legends)}
    boxes |= {f"axes {i}": each.get_window_extent(renderer) for i, each in enumerate(drawn.figure.axes)}
    inner = {name: box.padded(-1.0) for name, box in boxes.items()}  # an edge may be shared
    return [(a, b) for a, b in combinations(inner, 2) if inner[a].overlaps(inner[b])]
