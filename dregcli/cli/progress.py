"""Progress of long work: bars on a terminal, and an occasional line elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from dregcli.wording import duration, number

_LINE_SECONDS = 10.0

_WITH_VALUES, _WITH_BAR = 80, 100
"""Widths of a terminal in characters from which there is room for the values of a task, and also for its bar."""


@dataclass
class _Task:
    name: str
    total: int | None
    unit: str
    id: TaskID | None = None
    started: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)
    first: int = 0

    def count(self, done: int) -> str:
        """Return the progress as text, without a total if it is unknown, as for some downloads."""
        total = f"/{self.total:,}" if self.total is not None else ""
        return f"{done:,}{total} {self.unit}"


class _Remaining(TimeRemainingColumn):
    """The time until a task ends: the time that the work itself expects, or else rich's own estimate."""

    def render(self, task: Task) -> Text:
        seconds: float | None = task.fields.get("expected", task.time_remaining)
        return Text("-" if seconds is None else duration(seconds), style="progress.remaining")


class _Bars:
    """The bars on a terminal, which are there as long as any task is open."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open = 0
        self.shown: Progress | None = None

    def add(self, task: _Task, description: str, *, done: int) -> None:
        """Add a bar for a task."""
        if self.shown is None:
            # Where there is little room, the count and the time are worth more than the bar and the values, and a
            # long name has two lines.
            width = self._console.width
            self.shown = Progress(
                TextColumn("{task.description:<16}", table_column=Column(no_wrap=False)),
                *([BarColumn(bar_width=24)] if width >= _WITH_BAR else []),
                TextColumn("{task.fields[count]}"),
                *([TextColumn("{task.fields[values]}", style="cyan")] if width >= _WITH_VALUES else []),
                TextColumn("ETA"),
                _Remaining(table_column=Column(no_wrap=True)),
                console=self._console,
                transient=True,
            )
            self.shown.start()
        self._open += 1
        task.id = self.shown.add_task(
            description, total=task.total, completed=done, count=task.count(done), values=""
        )

    def update(self, task: _Task, **fields: Any) -> None:  # noqa: ANN401 - what rich takes
        """Change a task's bar, if it has one."""
        if self.shown is not None and task.id is not None:
            self.shown.update(task.id, **fields)

    def remove(self, task: _Task) -> None:
        """Remove a task's bar, if it has one."""
        if self.shown is None or task.id is None:
            return
        self.shown.remove_task(task.id)
        self._open -= 1
        if not self._open:
            self.shown.stop()
            self.shown = None


class ProgressDisplay:
    """Shows nested tasks on a console, and beside them the tasks of other pieces of work.

    Args:
        console: the console to write to; it shows bars if it is a terminal.
        enabled: whether to show anything.
    """

    def __init__(self, console: Console, *, enabled: bool) -> None:
        self._console = console
        self._enabled = enabled
        self._tasks: list[_Task] = []
        self._bars = _Bars(console)
        self._expected: float | None = None
        self._of: ProgressDisplay | None = None
        self._label = ""
        self._beside: list[ProgressDisplay] = []

    def beside(self, label: str) -> "ProgressDisplay":
        """Return a display for one of several pieces of work: one line, with its label and its innermost task."""
        found = ProgressDisplay(self._console, enabled=self._enabled)
        found._bars, found._of, found._label = self._bars, self, f"{label}: "
        self._beside.append(found)
        return found

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Open a task inside the current one."""
        if self._label and self._tasks:
            self._bars.update(self._tasks[-1], visible=False)
        task = _Task(f"{self._label}{name}", total, unit, first=done)
        self._tasks.append(task)
        if self._enabled and self._console.is_terminal:
            self._bars.add(task, task.name, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Show that ``done`` units of the innermost task are finished."""
        task = self._tasks[-1]
        text = "  ".join(f"{key} {number(value)}" for key, value in (values or {}).items())
        self._bars.update(task, completed=done, count=task.count(done), values=text)
        is_line = self._enabled and task.id is None
        if is_line and time.monotonic() - task.shown > _LINE_SECONDS:
            task.shown = time.monotonic()
            eta = ""
            expected = (self._of or self)._expected
            if expected is not None and task is self._tasks[0] and self._of is None:
                eta = f"  ETA {duration(expected)}"
            elif task.total is not None and done > task.first:
                seconds = (task.shown - task.started) * (task.total - done) / (done - task.first)
                eta = f"  ETA {duration(seconds)}"
                eta += "" if expected is None else f", all runs {duration(expected)}"
            self._console.print(f"{task.name}: {task.count(done)}  {text}{eta}", highlight=False)

    def expect(self, seconds: float) -> None:
        """Show that the outermost task, and all that follows it, is expected to take so many seconds."""
        self._expected = seconds
        if self._tasks:
            self._bars.update(self._tasks[0], expected=seconds)

    def end(self) -> None:
        """Close the innermost task."""
        self._bars.remove(self._tasks.pop())
        if not self._tasks:
            self._expected = None
        elif self._label:
            self._bars.update(self._tasks[-1], visible=True)

    def close(self) -> None:
        """Close all tasks, for example when an error ends the work."""
        for each in self._beside:
            each.close()
        while self._tasks:
            self.end()
