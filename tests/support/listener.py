"""A listener that remembers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Recorder:
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    begun: list[tuple[str, int | None, str, int]] = field(default_factory=list[tuple[str, int | None, str, int]])
    updates: list[tuple[int, Mapping[str, float]]] = field(default_factory=list[tuple[int, Mapping[str, float]]])
    expected: list[float] = field(default_factory=list[float])
    open_tasks: int = 0
    pieces: "dict[str, Recorder]" = field(default_factory=dict[str, "Recorder"])

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        self.begun.append((task, total, unit, done))
        self.open_tasks += 1

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        self.updates.append((done, values or {}))

    def expect(self, seconds: float) -> None:
        self.expected.append(seconds)

    def end(self) -> None:
        self.open_tasks -= 1

    def beside(self, label: str) -> "Recorder":
        """Return a recorder of the tasks of one of several pieces of work."""
        return self.pieces.setdefault(label, Recorder())
