"""The figure of a data set is a PNG for every kind and shape, and nothing runs out of it."""

import io

import numpy as np
import pytest
from matplotlib import image

from dregcli.names import DataKind, Split
from dregcli.report.figures.data import DataPicture, data_figure

RANDOM = np.random.RandomState(0)
COUNTS = {Split.TRAIN: 50_000, Split.VALID: 10_000, Split.TEST: 10_000}


def picture(kind, shape, count=64, scale=1.0, shift=0.0, name="mine"):
    images = RANDOM.rand(count, *shape) * scale + shift
    if kind is DataKind.BINARY:
        images = np.round(images)
    edges = (
        np.array([-0.5, 0.5, 1.5]) if kind is DataKind.BINARY else np.linspace(images.min(), images.max() + 1e-9, 101)
    )
    return DataPicture(
        name=name,
        kind=kind,
        split=Split.TRAIN,
        convention="seed-0",
        counts=COUNTS,
        images=images,
        mean=images.mean(axis=0),
        low=float(images.min()),
        high=float(images.max()),
        edges=edges,
        histogram=np.histogram(images, bins=edges)[0],
    )


def pixels(content):
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return image.imread(io.BytesIO(content))[..., :3]


@pytest.mark.parametrize(
    ("kind", "shape", "count"),
    [
        (DataKind.BINARY, (28, 28), 64),
        (DataKind.BINARY, (1, 50), 64),
        (DataKind.INTENSITY, (1, 1), 1),
        (DataKind.INTENSITY, (50, 1), 64),
        (DataKind.REAL, (105, 30), 64),
        (DataKind.REAL, (20, 28), 1),
        (DataKind.REAL, (1, 9), 3),
    ],
)
def test_every_kind_and_shape(kind, shape, count):
    found = pixels(data_figure(picture(kind, shape, count)))
    assert found.shape == (768, 1320, 3)
    for edge in (found[0], found[-1], found[:, 0], found[:, -1]):
        assert (edge == 1.0).all(), "something touches the edge"


def coloured(found):
    return found.max(axis=2) - found.min(axis=2) > 0.3


def test_real_values_have_colours_by_their_signs():
    signed = pixels(data_figure(picture(DataKind.REAL, (8, 8), scale=2.0, shift=-1.0)))[:, :600]
    red, blue = ((signed[..., a] - signed[..., b] > 0.3).sum() for a, b in ((0, 2), (2, 0)))
    assert red > 10_000
    assert blue > 10_000
    positive = pixels(data_figure(picture(DataKind.REAL, (8, 8), shift=3.0)))[:, :600]
    green = (positive[..., 1] - positive[..., 0] > 0.2).sum()
    assert green > 10_000, "viridis"


def test_intensities_are_white_on_black():
    images = picture(DataKind.INTENSITY, (8, 8), scale=0.0)
    left = pixels(data_figure(images))[100:600, 100:600]
    assert (left[~coloured(left)] < 0.1).mean() > 0.95
    # The gaps between the images are no grey, so that no image runs into the next.
    assert coloured(left).mean() > 0.05


def test_a_long_name_stays_inside():
    found = pixels(data_figure(picture(DataKind.REAL, (8, 8), name="x" * 64)))
    assert (found[:, 0] == 1.0).all()
    assert (found[:, -1] == 1.0).all()


def test_the_same_content_is_the_same_bytes():
    shown = picture(DataKind.REAL, (8, 8))
    assert data_figure(shown) == data_figure(shown)
