"""What a figure shows, read back from its artists."""

import io

import numpy as np
from matplotlib import image
from matplotlib.axes import Axes
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
    vertices = band.get_paths()[0].vertices
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
