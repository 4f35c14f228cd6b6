"""No test touches the user's runs or data, nor leaves global state behind."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests run in as many processes as there are cores: with more than one thread of torch in each they would wait for
# each other. Set before torch is imported, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _imports_are_not_garbage() -> Iterator[None]:
    """Keep the objects of imported modules out of collections of garbage.

    Training collects garbage once at its start. In a process of tests that would visit a million objects each time.
    """
    gc.collect()
    gc.freeze()
    unfreeze, gc.unfreeze = gc.unfreeze, lambda: None
    yield
    gc.unfreeze = unfreeze
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DREG_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("DREG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    yield
    # Commands set the process up for themselves, denormals flushed; other tests want every float there is.
    torch.set_flush_denormal(False)
