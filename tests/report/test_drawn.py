"""A figure for a dark page has light words on a transparent page; drawing it leaves the figure as it was."""

import io
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from dregcli.names import Network, Verdict
from dregcli.report.drawn import SUFFIXES, Drawn
from dregcli.report.figures import style
from dregcli.report.figures.bias import BiasRow, bias_figure
from dregcli.report.figures.bounds import bound_figure
from tests.support.report_rows import grouped, run_row

PAGES = {False: (1.0, 1.0, 1.0), True: to_rgb("#161616")}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    rows = [run_row(seed, estimator=word) for word in ("dreg", "stl") for seed in range(2)]
    found = bound_figure(grouped(rows)[3], "step")
    assert found is not None
    return found


def _pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), float) / 255.0


def _brightness(colour: tuple[float, float, float]) -> float:
    parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _contrast(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    low, high = sorted((_brightness(a), _brightness(b)))
    return (high + 0.05) / (low + 0.05)


def test_a_dark_figure_is_transparent_with_light_words(drawn: Drawn) -> None:
    light, dark = (_pixels(drawn.render(".png", dark=dark)) for dark in (False, True))
    assert light.shape == dark.shape
    assert (light[..., 3] == 1.0).all()
    assert (light[0, 0, :3] == 1.0).all()
    assert dark[0, 0, 3] == 0.0
    assert (dark[..., 3] == 0.0).mean() > 0.5
    shown = dark[dark[..., 3] > 0.95][:, :3]
    assert not (shown.max(axis=1) < 0.3).any(), "nothing is black"
    assert (shown.min(axis=1) > 0.85).sum() > 1000, "the words are light"


def test_no_colour_of_a_light_page_stays_on_a_dark_one(drawn: Drawn) -> None:
    svg = drawn.render(".svg", dark=True).decode()
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
    assert used
    assert not used & {"#000000", "#ffffff", *(colour.lower() for colour in style.COLOURS)}
    # Letters without a colour of their own would be black.
    groups = re.findall(r'<g id="text_[0-9]+">.*?</g>\s*</g>', svg, re.DOTALL)
    assert groups
    assert all("fill: #e6e6e6" in each for each in groups)


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_of_a_curve_can_be_seen_on_both_pages(network: Network, dark: bool) -> None:
    from dregcli.report.drawn import _dark

    for i in range(len(style.COLOURS)):
        own = to_rgb(style.network_look(network, i).colour)
        colour = _dark(own)[:3] if dark else own
        assert _contrast(colour, PAGES[dark]) > (4.5 if dark else 2.0), (network, i)


def test_drawing_for_a_dark_page_changes_nothing_of_the_light_figure(drawn: Drawn) -> None:
    row = BiasRow("iwae/stl", Verdict.BIASED, {"encoder.0.weight": 7.0, "encoder.0.bias": 1.0}, 5.0)
    small = bias_figure([row], ["encoder.0.weight", "encoder.0.bias"], title="t")
    for each, suffixes in ((drawn, [".svg"]), (small, SUFFIXES)):
        before = {suffix: each.render(suffix) for suffix in suffixes}
        dark = {suffix: each.render(suffix, dark=True) for suffix in suffixes}
        assert {suffix: each.render(suffix) for suffix in suffixes} == before
        assert all(dark[suffix] != before[suffix] for suffix in suffixes)


def test_no_curve_of_a_network_has_a_colour_of_another_one() -> None:
    colours = [{style.network_look(network, i).colour for i in range(20)} for network in Network]
    assert len(set[str]().union(*colours)) == sum(map(len, colours))
