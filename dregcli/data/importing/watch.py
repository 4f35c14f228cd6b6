"""Who is told how far an import is. An ``app.listener.Listener`` is one."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Watch(Protocol):
    """Someone who watches."""

    def begin(self, task: str, total: int | None, unit: str) -> None:
        """A task of ``total`` units begins."""
        ...

    def update(self, done: int) -> None:
        """It has ``done`` units."""
        ...

    def end(self) -> None:
        """It ends."""
        ...


@contextmanager
def watched(watch: Watch, task: str, total: int | None, unit: str) -> Generator[Watch]:
    """A task that ends however the block does."""
    watch.begin(task, total, unit)
    try:
        yield watch
    finally:
        watch.end()
