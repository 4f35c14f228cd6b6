"""No test touches the user's runs or data, nor leaves global state behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests run in as many processes as there are cores, each with torch's threads: they must not spin while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DREG_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("DREG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    yield
    # Commands set the process up for themselves, denormals flushed; other tests want every float there is.
    torch.set_flush_denormal(False)
