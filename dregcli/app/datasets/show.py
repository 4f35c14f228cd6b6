"""Draw a picture of a data set that shows its content at a glance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.app.common.listener import Listener
from dregcli.app.datasets.status import check_known
from dregcli.app.planning.colours import as_rgb
from dregcli.commands import quoted
from dregcli.data.catalogue import load_dataset
from dregcli.data.dataset import Dataset
from dregcli.data.folders import WRITE_ELSEWHERE, figure_path, named
from dregcli.data.scan import chunks
from dregcli.errors import UsageError
from dregcli.filesystem import LOCAL, write_errors, write_exclusive, written_aside
from dregcli.names import DataKind, Split
from dregcli.report.figures.data import SHOWN, DataPicture, data_figure

_BINS: Final = 100


@dataclass(frozen=True)
class Shown:
    """A picture that was made.

    Attributes:
        dataset: the data set that the picture shows.
        split: the part that it shows.
        path: the file of the picture.
    """

    dataset: Dataset
    split: Split
    path: Path


def show_data(
    name: str, data_dir: Path, *, split: Split, convention: str | None, out: Path | None, listener: Listener
) -> Shown:
    """Draw some images, the mean image and the histogram of the values of a split.

    Args:
        name: the data set.
        data_dir: the data folder.
        split: the part to draw.
        convention: how to split the data set; None means its default.
        out: the file to write, which must not exist; None means a file in the data folder, which is replaced.
        listener: receives progress messages.

    Returns:
        The picture that was made.

    Raises:
        UsageError: no such data set or convention, or ``out`` exists.
        DatasetMissing: the data set has not been downloaded.
        DataCorrupt: the data set is damaged.
        StoreWriteError: the picture cannot be written.
    """
    check_known(name, data_dir)
    path = out or figure_path(name, named(data_dir), split, convention)
    if out is not None:
        _check_free(out)
    dataset = load_dataset(name, data_dir, convention)
    content = data_figure(_picture(dataset, split, listener))
    if out is not None:
        _create(out, content)
    else:
        with written_aside(LOCAL, path, hint=WRITE_ELSEWHERE) as (file, _):
            file.write(content)
    return Shown(dataset, split, path)


def _check_free(out: Path) -> None:
    # A link to a missing file also takes the name.
    if out.exists() or out.is_symlink():
        raise _taken(out)
    if not out.parent.is_dir():
        raise UsageError(
            what="the folder does not exist", where=str(out.parent), hint=quoted("mkdir", "-p", out.parent)
        )


def _create(out: Path, content: bytes) -> None:
    """Write a new file, and never over an existing one."""
    try:
        with write_errors(out, hint="name a FILE in a folder that you can write: --out FILE"):
            write_exclusive(LOCAL, out, content)
    except FileExistsError as error:
        raise _taken(out) from error


def _taken(out: Path) -> UsageError:
    return UsageError(what="the file exists already", where=str(out), hint="name another file with --out FILE")


def _picture(dataset: Dataset, split: Split, listener: Listener) -> DataPicture:
    """Collect what the figure shows in at most two passes, so that a mapped data set is never wholly in memory."""
    rows = dataset.splits[split]
    unit = 1.0 / dataset.levels
    low, high = np.inf, -np.inf
    total = np.zeros(dataset.pixels)
    grey = dataset.kind.is_bounded
    bins = _edges(dataset)
    counts = np.zeros(len(bins) - 1, np.int64)
    passes = 1 if grey else 2
    done = 0
    listener.begin("look", passes * len(rows), "examples")
    try:
        for turn in range(passes):
            if turn == 1:
                bins = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
                counts = np.zeros(_BINS, np.int64)
            for chunk in chunks(rows):
                if turn == 0:
                    total += chunk.sum(axis=0, dtype=np.float64)
                    low, high = min(low, float(chunk.min()) * unit), max(high, float(chunk.max()) * unit)
                if chunk.dtype == np.uint8:
                    counts += np.bincount(chunk.ravel(), minlength=len(counts))
                elif grey or turn == 1:
                    counts += np.histogram(chunk, bins=bins)[0]
                done += len(chunk)
                listener.update(done)
    finally:
        listener.end()
    shape = (dataset.channels, dataset.height, dataset.width)
    return DataPicture(
        name=dataset.name,
        kind=dataset.kind,
        split=split,
        convention=dataset.split_convention,
        counts={each: len(dataset.splits[each]) for each in Split},
        images=_shown((rows[:SHOWN].astype(np.float64) * unit).reshape(-1, *shape), low, high, dataset.kind),
        mean=_shown((total * (unit / len(rows))).reshape(shape), low, high, dataset.kind),
        low=low,
        high=high,
        edges=bins,
        histogram=counts,
    )


def _shown(images: NDArray[np.float64], low: float, high: float, kind: DataKind) -> NDArray[np.floating]:
    """Convert images (..., C, height, width) for the figure: grey stays as it is, others become red, green, blue."""
    if images.shape[-3] == 1:
        return images[..., 0, :, :]
    if not kind.is_bounded:
        # Real values have no fixed black and white: use the range of the data.
        images = (images - low) / (high - low if high > low else 1.0)
    return as_rgb(images)


def _edges(dataset: Dataset) -> NDArray[np.float64]:
    """Return the bin edges of a histogram of intensities: one bar per level, or a hundred bars."""
    if dataset.splits[Split.TRAIN].dtype == np.uint8:
        return (np.arange(dataset.levels + 2) - 0.5) / dataset.levels
    return np.linspace(0.0, 1.0, _BINS + 1)
