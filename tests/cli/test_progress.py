"""Progress on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from dregcli.cli.progress import ProgressDisplay


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("total", [100, None])
def test_tasks_nest_and_may_have_no_total(terminal: bool, total: int | None) -> None:
    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=terminal, width=100), enabled=True)
    display.begin("train", total, "steps", done=5)
    display.update(10, {"bound": -90.123})
    display.begin("evaluate", total, "examples")
    display.update(3)
    display.close()
    shown = out.getvalue()
    assert ("10/100 steps" in shown) == (terminal and total is not None)
    assert ("bound -90.12" in shown) == terminal


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=True), enabled=False)
    display.begin("train", 10, "steps")
    display.update(1)
    display.close()
    assert out.getvalue() == ""
