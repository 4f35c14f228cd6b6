"""A benchmark as a command: what is missing is told as ``dreg`` tells it."""

from collections.abc import Callable

from dregcli.errors import DregError
from tests.benchmarks.support.workers import WorkerFailed


def run(main: Callable[[], None]) -> None:
    """Run it; of dreg's own errors, and of a worker's, the message alone is shown."""
    try:
        main()
    except (DregError, WorkerFailed) as error:
        raise SystemExit(str(error)) from error
