"""Commands that draw less: drawing takes longer than all that small runs and diagnoses compute."""

from types import SimpleNamespace

import pytest

from dregcli.app.diagnosis import bias_report, variance_report
from dregcli.report.drawn import Drawn

NO_VARIANCE, NO_BIAS_CHECK = (SimpleNamespace(name=name, render=str.encode) for name in ("variance", "bias-check"))


def _no_variance(*_: object, **__: object) -> SimpleNamespace:
    return NO_VARIANCE


def _no_bias_check(*_: object, **__: object) -> SimpleNamespace:
    return NO_BIAS_CHECK


def _nothing(*_: object, **__: object) -> bytes:
    return b""


def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is kept in a figure's place, with its suffix as its content."""
    monkeypatch.setattr(variance_report, "variance_figure", _no_variance)
    monkeypatch.setattr(bias_report, "bias_figure", _no_bias_check)


def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed from the runs, but their files are empty."""
    monkeypatch.setattr(Drawn, "render", _nothing)
