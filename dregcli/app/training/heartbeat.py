"""Keep the heartbeat of a run fresh, whatever its process is at: a step, an evaluation, a compilation."""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from dregcli.errors import RunStateError, StoreWriteError
from dregcli.store.writer import FLUSH_SECONDS, RunWriter

_SECONDS: Final = FLUSH_SECONDS
"""Time between two beats."""


@contextmanager
def heartbeat(writer: RunWriter) -> Generator[None]:
    """Refresh the heartbeat of a run in a thread of its own until the block ends.

    A process that cannot see this one, such as one on another host, knows only the heartbeat. Without the thread it
    would take over a run whose process is at one batch, or compiles, for longer than the heartbeat's limit.

    Args:
        writer: writer of the run.
    """
    ended = threading.Event()

    def beat() -> None:
        # If another process has taken the run over, the next write in the block says so.
        with suppress(RunStateError):
            while not ended.wait(_SECONDS):
                with suppress(StoreWriteError):
                    writer.beat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
