"""The figure of a data set: some of its images, their mean, and a histogram of its values, as PNG."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dregcli.names import DataKind, Split
from dregcli.report.figures.style import COLOURS

SHOWN: Final = 64
"""Images in the grid."""

_FEW_BARS: Final = 20
"""Most levels that are drawn as separate bars."""

_MOST_ASPECT: Final = 4.0
"""Ratio of an image's sides above which it is drawn as a curve, because its pixels would form a thin line."""


@dataclass(frozen=True, kw_only=True)
class DataPicture:
    """The content of the figure of one split.

    Attributes:
        name: name of the data set.
        kind: kind of its values.
        split: the split.
        convention: split convention.
        counts: number of examples in every split.
        images: first n images, shape (n, height, width), or (n, height, width, 3) in [0, 1] with colours; n is at
            most ``SHOWN``.
        mean: mean image, shape (height, width) or (height, width, 3).
        low: smallest value of the split.
        high: largest value of the split.
        edges: edges of the histogram's bars.
        histogram: number of values in each bar.
    """

    name: str
    kind: DataKind
    split: Split
    convention: str
    counts: Mapping[Split, int]
    images: NDArray[np.floating]
    mean: NDArray[np.floating]
    low: float
    high: float
    edges: NDArray[np.float64]
    histogram: NDArray[np.int64]


def data_figure(picture: DataPicture) -> bytes:
    """Return the figure as PNG. Intensities are white on black; real values have a colour scale with a bar."""
    height, width = picture.mean.shape[:2]
    coloured = picture.mean.ndim > 2
    figure = Figure(figsize=(11.0, 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(2, 2, width_ratios=[1.3, 1.0], height_ratios=[1.15, 1.0])
    grid = figure.add_subplot(layout[:, 0])
    above, below = figure.add_subplot(layout[0, 1]), figure.add_subplot(layout[1, 1])
    shown = len(picture.images)
    of_all = f"the first {shown} of {picture.counts[picture.split]:,}"
    if max(height, width) > _MOST_ASPECT * min(height, width) and not coloured:
        _curves(grid, picture)
        grid.set_title(f"Examples: {of_all}", fontsize="medium")
        _mean_curve(above, picture)
    else:
        drawn = grid.imshow(_mosaic(picture.images), **_scale(picture, picture.images))
        grid.set_axis_off()
        grid.set_title(f"Examples: {of_all}", fontsize="medium")
        if picture.kind is DataKind.REAL and not coloured:
            figure.colorbar(drawn, ax=grid, shrink=0.7, label="value")
        mean = above.imshow(picture.mean, **_scale(picture, picture.mean[None]))
        above.set_axis_off()
        if not coloured:
            figure.colorbar(mean, ax=above, label=_unit(picture.kind))
    above.set_title(f"Mean of the {picture.split} split", fontsize="medium")
    _histogram(below, picture)
    counts = ", ".join(f"{split} {picture.counts[split]:,}" for split in Split)
    figure.suptitle(
        f"{picture.name}, {picture.split} split: {picture.kind}, {height} x {width}{' in colour' * coloured}  "
        f"({counts}; splits: {picture.convention})",
        fontsize="medium",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "dreg"})
    return buffer.getvalue()


def _unit(kind: DataKind) -> str:
    return {
        DataKind.BINARY: "value, 0 (black) or 1 (white)",
        DataKind.INTENSITY: "intensity, 0 (black) to 1 (white)",
        DataKind.REAL: "value",
    }[kind]


def _scale(picture: DataPicture, values: NDArray[np.floating]) -> dict[str, Any]:
    """Return the colour scale: black to white for intensities. For real values of both signs it diverges about 0.

    Images with colours are shown in their own colours, whatever the scale is.
    """
    if picture.kind is not DataKind.REAL:
        name, low, high = "gray", 0.0, 1.0
    else:
        low, high = float(values.min()), float(values.max())
        name = "viridis"
        if low < 0.0 < high:
            name, high = "RdBu_r", max(-low, high)
            low = -high
    # The gaps between the images have a colour that no image has.
    colours = colormaps[name].with_extremes(bad=COLOURS[5] if name == "gray" else "#4D4D4D")
    return {"cmap": colours, "vmin": low, "vmax": high, "interpolation": "nearest"}


def _mosaic(images: NDArray[np.floating]) -> Any:  # noqa: ANN401 - a masked array, for which NumPy has no types
    """Arrange the images in rows and columns, with gaps that have no colour."""
    count, height, width = images.shape[:3]
    has_colours = images.ndim > 3
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    gap = max(1, min(height, width) // 14)
    # A fourth channel makes the gaps between coloured images transparent.
    depth = (4,) if has_colours else ()
    whole = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *depth), 0.0 if has_colours else np.nan
    )
    for i, image in enumerate(images):
        top, start = (i // columns) * (height + gap), (i % columns) * (width + gap)
        place = whole[top : top + height, start : start + width]
        if has_colours:
            place[..., :3], place[..., 3] = image, 1.0
        else:
            place[...] = image
    return whole if has_colours else np.ma.masked_invalid(whole)


def _curves(axes: Axes, picture: DataPicture) -> None:
    """Draw vectors as curves. The first ones have colours; the others are thin and grey."""
    few = picture.images.reshape(len(picture.images), -1)
    positions = np.arange(few.shape[1])
    for i, values in enumerate(few):
        strong = i < len(COLOURS)
        axes.plot(
            positions,
            values,
            color=COLOURS[i] if strong else "#8A8A8A",
            linewidth=1.2 if strong else 0.5,
            alpha=0.9 if strong else 0.25,
            zorder=2 if strong else 1,
            marker="o" if few.shape[1] <= 16 else None,
            markersize=3.5,
        )
    _position_axis(axes, picture)


def _mean_curve(axes: Axes, picture: DataPicture) -> None:
    mean = picture.mean.ravel()
    marker = "o" if mean.size <= 16 else None
    axes.plot(np.arange(mean.size), mean, color=COLOURS[0], linewidth=1.4, marker=marker, markersize=3.5)
    _position_axis(axes, picture)


def _position_axis(axes: Axes, picture: DataPicture) -> None:
    axes.set_xlabel("position in the vector")
    axes.set_ylabel("value" if picture.kind is DataKind.REAL else "intensity")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)


def _histogram(axes: Axes, picture: DataPicture) -> None:
    if len(picture.histogram) <= _FEW_BARS:
        middles, width = (picture.edges[:-1] + picture.edges[1:]) / 2.0, picture.edges[1] - picture.edges[0]
        axes.bar(middles, picture.histogram, width=0.8 * width, color=COLOURS[0])
        if picture.kind is DataKind.BINARY:
            axes.set_xticks(middles)
    else:
        axes.stairs(picture.histogram, picture.edges, fill=True, color=COLOURS[0])
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2.0 * max(1, int(picture.histogram.max())))
    axes.set_xlabel(_unit(picture.kind))
    axes.set_ylabel("values (log scale)")
    axes.set_title(
        f"All values of the {picture.split} split: {picture.low:.4g} to {picture.high:.4g}", fontsize="medium"
    )
    axes.grid(visible=True, axis="y", alpha=0.3)
