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


@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_of_all_runs_is_shown_beside_the_time_of_this_one(monkeypatch, terminal: bool) -> None:
    now = [0.0]
    monkeypatch.setattr("dregcli.cli.progress.time.monotonic", lambda: now[0])

    def begin(name: str, total: int, unit: str, done: int = 0) -> None:
        display.begin(name, total, unit, done=done)
        display._tasks[-1].started = display._tasks[-1].shown = now[0]

    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=terminal, width=120), enabled=True)
    begin("run 2 of 4", 4, "runs", done=1)
    begin("train", 100, "steps")
    display.expect(4000.0)
    now[0] = 20.0
    display.update(10)
    if terminal:
        assert display._bars.shown
        *_, times = display._bars.shown.make_tasks_table(display._bars.shown.tasks).columns
        assert str(next(iter(times.cells))) == "1 h 7 min"
    display.close()
    if not terminal:
        assert "train: 10/100 steps    ETA 3 min, all runs 1 h 7 min" in out.getvalue()
    # The next work has its own times.
    begin("evaluate", 100, "examples")
    now[0] = 40.0
    display.update(50)
    display.close()
    assert "all runs" not in out.getvalue().rpartition("evaluate")[2]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_on_a_narrow_terminal_the_count_and_the_time_stay_whole(width: int) -> None:
    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=True, width=width), enabled=True)
    display.begin("run 12 of 20: iwae/reparam, seed 4", 20, "runs", done=11)
    display.begin("train", 2000, "steps")
    display.expect(4000.0)
    display.update(10, {"bound": -90.123, "steps/s": 12.5})
    assert display._bars.shown
    display._bars.shown.refresh()
    display.close()
    shown = out.getvalue()
    assert "…" not in shown
    assert all(text in shown for text in ("seed 4", "11/20 runs", "10/2,000 steps", "1 h 7 min"))
    assert ("bound -90.12  steps/s 12.50" in shown, "━" in shown) == (width >= 80, width >= 100)


@pytest.mark.parametrize("terminal", [True, False])
def test_work_that_goes_on_at_once_has_one_line_each(monkeypatch, terminal: bool) -> None:
    now = [0.0]
    monkeypatch.setattr("dregcli.cli.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=terminal, width=120), enabled=True)
    display.begin("4 runs, 2 at once", 4, "runs")
    pieces = [display.beside(f"run {i}") for i in (1, 2)]
    for piece in pieces:
        piece.begin("train", 100, "steps")
        piece._tasks[-1].started = piece._tasks[-1].shown = 0.0
    display.expect(4000.0)
    now[0] = 20.0
    pieces[1].update(10, {"bound": -90.123})
    pieces[0].begin("evaluate", 8, "examples")
    if terminal:
        assert display._bars.shown
        shown = [task.description for task in display._bars.shown.tasks if task.visible]
        assert shown == ["4 runs, 2 at once", "run 2: train", "run 1: evaluate"]
    pieces[0].end()
    display.close()
    assert display._bars.shown is None
    assert all(piece._tasks == [] for piece in pieces)
    if not terminal:
        assert out.getvalue() == "run 2: train: 10/100 steps  bound -90.12  ETA 3 min, all runs 1 h 7 min\n"


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=True), enabled=False)
    display.begin("train", 10, "steps")
    display.update(1)
    display.beside("run 1").begin("train", 10, "steps")
    display.close()
    assert out.getvalue() == ""
