"""Commands that draw less: drawing takes longer than all that small runs and diagnoses compute."""

from types import SimpleNamespace
from typing import Any

import pytest

from dregcli.app.diagnosis import bias_report, variance_report
from dregcli.report.drawn import Drawn

NO_VARIANCE, NO_BIAS_CHECK = (SimpleNamespace(name=name, render=str.encode) for name in ("variance", "bias-check"))


def _variance_figure(*_: Any, **__: Any) -> SimpleNamespace:
    return NO_VARIANCE


def _bias_figure(*_: Any, **__: Any) -> SimpleNamespace:
    return NO_BIAS_CHECK


def _nothing(*_: Any, **__: Any) -> bytes:
    return b""


def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is kept in a figure's place, with its suffix as its content."""
    monkeypatch.setattr(variance_report, "variance_figure", _variance_figure)
    monkeypatch.setattr(bias_report, "bias_figure", _bias_figure)


def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed from the runs, but their files are empty."""
    monkeypatch.setattr(Drawn, "render", _nothing)
