"""The figure of a bias check is a PNG that nothing runs out of, however many pairs and long labels there are."""

import io
import math

import numpy as np
import pytest
from matplotlib import image

from dregcli.names import Verdict
from dregcli.report.drawn import DPI
from dregcli.report.figures.bias import BiasRow
from dregcli.report.figures.bias import bias_figure as drawn_figure
from dregcli.report.figures.sheet import COLUMN_MM, MM, Sheet

ENCODER = tuple(f"encoder.{i}.{part}" for i in range(3) for part in ("weight", "bias"))
BLOCKS = (*ENCODER, *(f"decoder.{i}.{part}" for i in range(3) for part in ("weight", "bias")))


def _row(pair: str, verdict: Verdict, t: float, blocks: tuple[str, ...] = ENCODER, critical: float = 5.0) -> BiasRow:
    return BiasRow(pair, verdict, {block: t + i / 10 for i, block in enumerate(blocks)}, critical)


def bias_figure(*arguments, title: str) -> bytes:
    return drawn_figure(*arguments, title=title).render(".png")


def _pixels(content: bytes) -> np.ndarray:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return image.imread(io.BytesIO(content))[..., :3]


def _has_colour(pixels: np.ndarray) -> bool:
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > 0.3).any())


@pytest.mark.parametrize("count", [1, 3, 11])
def test_nothing_runs_out_of_it(count: int) -> None:
    long = "iwae/dreg-cv:alpha=0.1717981,beta=0.6998072"
    rows = [_row(f"{long},{i}", Verdict.BIASED, 10.0**i, BLOCKS) for i in range(count)]
    pixels = _pixels(bias_figure(rows, BLOCKS, title="Bias check of bias-check-digits-iwae-dreg-k64/v001, step 1000"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 1.0).all(), "something touches the edge"
    assert abs(pixels.shape[1] - Sheet().width * DPI) < 2
    assert pixels.shape[0] < 2200


def test_colour_is_for_what_was_found() -> None:
    nothing = _row("iwae/dreg", Verdict.UNBIASED, 1.0)
    assert not _has_colour(_pixels(bias_figure([nothing], BLOCKS, title="t")))
    assert _has_colour(_pixels(bias_figure([nothing, _row("iwae/stl", Verdict.BIASED, 6.0)], BLOCKS, title="t")))
    together = _row("iwae/stl", Verdict.BIASED, 4.0)
    assert not _has_colour(_pixels(bias_figure([together], BLOCKS, title="t"))), "found along all blocks together"


def _blocks(drawn) -> list[list[str]]:
    return [[text.get_text() for text in axes.get_xticklabels()] for axes in drawn.figure.axes]


def test_blocks_without_anything_to_test_are_left_out_and_those_without_room_follow_below() -> None:
    rows = [_row("a", Verdict.UNBIASED, 1.0)] * 3
    assert _blocks(drawn_figure(rows, BLOCKS, title="t")) == [list(ENCODER)]
    whole = [_row("a", Verdict.UNBIASED, 1.0, BLOCKS)] * 3
    narrow = _blocks(drawn_figure(whole, BLOCKS, title="t", sheet=Sheet(COLUMN_MM / MM)))
    assert len(narrow) > 1
    assert [block for part in narrow for block in part] == list(BLOCKS)


@pytest.mark.parametrize("t", [0.0, -1e-9, 1e7, math.inf, -math.inf])
def test_any_t(t: float) -> None:
    pixels = _pixels(bias_figure([_row("iwae/dreg", Verdict.BIASED, t)], BLOCKS, title="t"))
    assert _has_colour(pixels) == (abs(t) > 5.0)


def test_the_same_content_is_the_same_bytes() -> None:
    rows = [_row("iwae/dreg", Verdict.UNBIASED, 1.0)]
    assert bias_figure(rows, BLOCKS, title="t") == bias_figure(rows, BLOCKS, title="t")
