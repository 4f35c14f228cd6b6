"""Numbers at narrow axes do not overlap, and the largest K keeps its label."""

import pytest

from dregcli.report.drawn import Drawn
from dregcli.report.figures import ticks
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.sheet import COLUMN_MM, MM, Sheet
from tests.support.artists import overlapping

KS = [2**i for i in range(17)]


def drawn() -> Drawn:
    sheet = Sheet(COLUMN_MM / MM)
    figure = new_figure(sheet)
    steps, by_k = panels(figure, 1, 2)[0]
    steps.plot([0.0, 2_000_000.0], [0.0, 1.0])
    ticks.steps_axis(steps)
    by_k.plot(KS, range(len(KS)))
    ticks.ticks_at(by_k, KS)
    lay_out(figure, sheet, "t", below=Below())
    return Drawn("t", "t", "t", figure)


def test_numbers_do_not_overlap_and_the_largest_k_has_its_number() -> None:
    found = drawn()
    assert overlapping(found) == []
    by_k = [text.get_text() for text in found.figure.axes[1].get_xticklabels()]
    assert by_k[-1] == "65,536"
    assert len(by_k) > 2
    steps = [text.get_text() for text in found.figure.axes[0].get_xticklabels()]
    assert {"0", "2,000,000"} <= {*steps}


def test_without_thinning_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "_close", lambda *_: False)
    assert overlapping(drawn()) != []
