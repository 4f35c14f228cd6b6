"""The figure of gradient variance is whole and the same for the same content, whatever the numbers."""

import io
import math

import numpy as np
from matplotlib import image

from dregcli.names import Network
from dregcli.report.drawn import Suffix
from dregcli.report.figures.variance import PANELS, Curve
from dregcli.report.figures.variance import variance_figure as drawn_figure

FLOOR = 0.04


def variance_figure(curves: list[Curve], *, suffix: Suffix) -> bytes:
    return drawn_figure(curves, title="t", floor=FLOOR).render(suffix)


def _curve(label: str, network: Network, value: float = 1.0) -> Curve:
    points = {name: [(k, value / k, 0.1 * value / k) for k in (1, 4, 16)] for name in (*PANELS, "dsnr_floor")}
    return Curve(label, network, points, {"variance": -1.0})


def _curves(count: int) -> list[Curve]:
    long = "iwae/dreg-cv:alpha=0.1717981,beta=0.6998072"
    return [_curve(f"{long},{i}", Network.ENCODER, 1.3**i) for i in range(count)] + [_curve("iwae", Network.DECODER)]


def test_nothing_runs_out_of_it() -> None:
    content = variance_figure(_curves(11), suffix=".png")
    pixels: np.ndarray = image.imread(io.BytesIO(content))[..., :3]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 1.0).all(), "something touches the edge"


def test_any_value() -> None:
    curves = [_curve(f"{value}", Network.ENCODER, value) for value in (0.0, math.nan, 1e-12, 1e6)]
    assert variance_figure(curves[:2], suffix=".png").startswith(b"\x89PNG")
    assert variance_figure(curves, suffix=".png").startswith(b"\x89PNG")


def test_an_snr_near_the_floor_has_no_bar_and_no_number() -> None:
    noise, signal = (_curve(name, Network.ENCODER, 16 * snr) for name, snr in (("noise", 0.05), ("signal", 0.3)))
    drawn = drawn_figure([noise, signal], title="t", floor=FLOOR)
    assert "noise at K=16: variance 0.05, SNR at the floor" in drawn.alt
    assert "signal at K=16: variance 0.3, SNR 0.3" in drawn.alt
    bars = [each.lines[2][0].get_segments()[-1] for each in drawn.figure.axes[1].containers]
    assert [float(bar[1][1] - bar[0][1]) > 0.0 for bar in bars] == [False, True]


def test_the_same_content_is_the_same_bytes_and_slopes_are_in_the_legend() -> None:
    one, two = (variance_figure(_curves(1)[:1], suffix=".svg") for _ in range(2))  # of one network: it is drawn twice
    assert one == two
    assert Curve("iwae/dreg", Network.ENCODER, {}, {"variance": -2.9, "snr": 0.5}).legend == (
        "iwae/dreg   var -2.90, SNR +0.50"
    )
    assert _curve("a", Network.ENCODER).legend == "a   var -1.00"
