"""Diagnoses that draw no figure: drawing takes longer than all that small diagnoses compute."""

from types import SimpleNamespace

import pytest

from dregcli.app.diagnosis import bias_report, variance_report

NO_VARIANCE, NO_BIAS_CHECK = (SimpleNamespace(name=name, render=str.encode) for name in ("variance", "bias-check"))


def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is kept in a figure's place, with its suffix as its content."""
    monkeypatch.setattr(variance_report, "variance_figure", lambda *_, **__: NO_VARIANCE)
    monkeypatch.setattr(bias_report, "bias_figure", lambda *_, **__: NO_BIAS_CHECK)
