import os
import time
from pathlib import Path

import pytest

from dregcli.store.run import Run
from tests.crash.harness import VARIANTS, only_run, uninterrupted

PATIENCE = 300.0


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each variant that nobody disturbed; one process of the tests makes them for all."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return uninterrupted(tmp_path_factory.mktemp("uninterrupted"))
    folder = tmp_path_factory.getbasetemp().parent / "uninterrupted"  # which the processes of one call share
    done = folder / "done"
    try:
        folder.mkdir()
    except FileExistsError:
        return _awaited(folder, done)
    found = uninterrupted(folder)
    done.touch()
    return found


def _awaited(folder: Path, done: Path) -> dict[str, Run]:
    limit = time.monotonic() + PATIENCE
    while not done.exists():
        assert time.monotonic() < limit, "the other process did not make them"
        time.sleep(0.2)
    return {variant: only_run(folder / variant) for variant in VARIANTS}
