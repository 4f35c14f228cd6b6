"""Progress of long work: bars on a terminal, and an occasional line elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

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


class ProgressDisplay:
    """Shows nested tasks on a console.

    Args:
        console: the console to write to; it shows bars if it is a terminal.
        enabled: whether to show anything.
    """

    def __init__(self, console: Console, *, enabled: bool) -> None:
        self._console = console
        self._enabled = enabled
        self._tasks: list[_Task] = []
        self._bars: Progress | None = None
        self._expected: float | None = None

    def begin(self, name: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Open a task inside the current one."""
        task = _Task(name, total, unit, first=done)
        self._tasks.append(task)
        if not self._enabled or not self._console.is_terminal:
            return
        if self._bars is None:
            # Where there is little room, the count and the time are worth more than the bar and the values, and a
            # long name has two lines.
            width = self._console.width
            self._bars = Progress(
                TextColumn("{task.description:<16}", table_column=Column(no_wrap=False)),
                *([BarColumn(bar_width=24)] if width >= _WITH_BAR else []),
                TextColumn("{task.fields[count]}"),
                *([TextColumn("{task.fields[values]}", style="cyan")] if width >= _WITH_VALUES else []),
                TextColumn("ETA"),
                _Remaining(table_column=Column(no_wrap=True)),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        task.id = self._bars.add_task(name, total=total, completed=done, count=task.count(done), values="")

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Show that ``done`` units of the innermost task are finished."""
        task = self._tasks[-1]
        text = "  ".join(f"{key} {number(value)}" for key, value in (values or {}).items())
        if self._bars is not None and task.id is not None:
            self._bars.update(task.id, completed=done, count=task.count(done), values=text)
        elif self._enabled and time.monotonic() - task.shown > _LINE_SECONDS:
            task.shown = time.monotonic()
            eta = ""
            if task.total is not None and done > task.first:
                seconds = (task.shown - task.started) * (task.total - done) / (done - task.first)
                eta = f"  ETA {duration(seconds)}"
            if self._expected is not None:
                eta += f", all runs {duration(self._expected)}"
            self._console.print(f"{task.name}: {task.count(done)}  {text}{eta}", highlight=False)

    def expect(self, seconds: float) -> None:
        """Show that the outermost task, and all that follows it, is expected to take so many seconds."""
        self._expected = seconds
        if self._bars is not None and self._tasks[0].id is not None:
            self._bars.update(self._tasks[0].id, expected=seconds)

    def end(self) -> None:
        """Close the innermost task."""
        task = self._tasks.pop()
        if not self._tasks:
            self._expected = None
        if self._bars is not None:
            if task.id is not None:
                self._bars.remove_task(task.id)
            if not self._tasks:
                self._bars.stop()
                self._bars = None

    def close(self) -> None:
        """Close all tasks, for example when an error ends the work."""
        while self._tasks:
            self.end()
