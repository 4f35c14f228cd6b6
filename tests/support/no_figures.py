"""Commands that draw less: drawing takes longer than all that small runs and diagnoses compute."""

from types import SimpleNamespace

import pytest

from dregcli.app.diagnosis import bias_report, variance_report
from dregcli.report.drawn import Drawn

NO_VARIANCE, NO_BIAS_CHECK = (SimpleNamespace(name=name, render=str.encode) for name in ("variance", "bias-check"))


def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is kept in a figure's place, with its suffix as its content."""
    monkeypatch.setattr(variance_report, "variance_figure", lambda *_, **__: NO_VARIANCE)
    monkeypatch.setattr(bias_report, "bias_figure", lambda *_, **__: NO_BIAS_CHECK)


def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed from the runs, but their files are empty."""
    monkeypatch.setattr(Drawn, "render", lambda *_, **__: b"")
