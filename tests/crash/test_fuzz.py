"""Sixteen mutations in every run of the tests; ``python -m tests.crash --mutations 2000`` for more."""

from pathlib import Path

import pytest

from dregcli.cli import main as boundary
from tests.crash import fuzz as fuzzer

MUTATIONS = 16


def test_altered_files_do_no_harm(tmp_path: Path) -> None:
    found = fuzzer.fuzz(tmp_path, MUTATIONS, seed=0)
    assert found.faults == []
    assert found.mutations > MUTATIONS // 2
    assert {code.rpartition(" ")[2] for code in found.codes} >= {"0", "1", "20"}


def test_a_reader_that_believes_what_it_reads_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: a verification that finds nothing, as one that skips digests would."""
    monkeypatch.setattr("dregcli.app.runs.verify.verify_run", lambda _: [])
    assert any("runs verify found nothing" in fault for fault in fuzzer.fuzz(tmp_path, 4, seed=0).faults)
    assert boundary.UNEXPECTED == fuzzer.UNEXPECTED
