"""The figure of gradient variance is whole and the same for the same content, whatever the numbers."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dregcli.names import Network
from dregcli.report.drawn import Drawn, Suffix
from dregcli.report.figures.variance import PANELS, Curve
from dregcli.report.figures.variance import variance_figure as drawn_figure
from tests.support.artists import unwrapped

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


def test_the_same_content_is_the_same_bytes() -> None:
    one, two = (variance_figure(_curves(1)[:1], suffix=".svg") for _ in range(2))  # of one network: it is drawn twice
    assert one == two


def _names(drawn: Drawn, panel: int = 0) -> list[str]:
    return [unwrapped(text.get_text()) for text in drawn.figure.axes[panel].texts]


def test_curves_have_their_names_and_slopes_at_their_ends_and_no_legend() -> None:
    drawn = drawn_figure(_curves(2), title="t", floor=FLOOR)
    assert not drawn.figure.legends
    assert _names(drawn)[-1] == "decoder (-1.00)"
    assert "noise alone" in _names(drawn, 1)
    (axes, *_) = drawn.figure.axes
    colours = [text.get_color() for text in axes.texts]
    assert colours == [container.lines[0].get_color() for container in axes.containers]
    assert len(set(colours)) == 3, "the decoder has a colour of its own"


def test_equal_curves_are_one_line_with_both_names() -> None:
    curves = [
        _curve(f"iwae/{word}", Network.ENCODER, value) for word, value in (("dreg", 1.0), ("a", 2.0), ("b", 2.0))
    ]
    drawn = drawn_figure([*curves, _curve("iwae", Network.DECODER, 2.0)], title="t", floor=FLOOR)
    assert _names(drawn) == ["dreg (-1.00)", "a = b (-1.00)", "decoder (-1.00)"]
    assert len(drawn.figure.axes[0].containers) == 3


def test_without_a_choice_of_the_user_the_runs_pair_the_plain_one_and_the_three_best_are_drawn() -> None:
    values = {"reparam": 50.0, "a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0, "dreg-cv (learned)": 40.0, "e": 5.0}
    curves = [_curve(f"iwae/{word}", Network.ENCODER, value) for word, value in values.items()]
    drawn = drawn_figure(curves, title="t", floor=FLOOR, always=["iwae/dreg-cv", "iwae/reparam"])
    assert {name.partition(" ")[0] for name in _names(drawn)} == {"reparam", "c", "d", "e", "dreg-cv"}
    assert "Not drawn: 2 with more variance" in drawn.caption
    assert "iwae/a at K=16" in drawn.alt, "the words have all of them"
    assert len(_names(drawn_figure(curves, title="t", floor=FLOOR))) == len(values)


@pytest.mark.parametrize(("low", "high"), [(2e-4, 0.5), (0.002, 3000.0), (1e-9, 1.0), (3e-5, 9e-5)])
def test_the_numbers_of_an_axis_have_one_form(low: float, high: float) -> None:
    curve = _curve("a", Network.ENCODER)
    points = {name: [(1, low, low / 10), (4, high, high / 10)] for name in curve.points}
    drawn = drawn_figure([replace(curve, points=points)], title="t", floor=FLOOR)
    FigureCanvasAgg(drawn.figure).draw()
    shown = [text.get_text() for text in drawn.figure.axes[0].get_yticklabels() if text.get_text()]
    assert len(shown) > 1
    assert len({bool(re.search("10[⁻⁰-⁹¹²³]", text)) for text in shown}) == 1, shown
    assert not any("e" in text for text in shown)


def test_an_objective_is_named_only_if_the_encoders_curves_differ_in_it() -> None:
    decoders = [_curve("iwae", Network.DECODER), _curve("rws", Network.DECODER)]
    one = [_curve("iwae/dreg", Network.ENCODER, 2.0), *decoders]
    assert _names(drawn_figure(one, title="t", floor=FLOOR)) == ["dreg (-1.00)", "decoder (-1.00)"]
    two = [*one, _curve("rws/dreg", Network.ENCODER, 3.0)]
    names = _names(drawn_figure(two, title="t", floor=FLOOR))
    assert [name.replace("/ ", "/") for name in names] == [
        "iwae/dreg (-1.00)",
        "decoder, iwae = rws (-1.00)",
        "rws/dreg (-1.00)",
    ]
