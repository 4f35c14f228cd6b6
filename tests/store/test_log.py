from pathlib import Path

import pytest

from dregcli.errors import StoreWriteError
from dregcli.names import RunStatus
from dregcli.store.verify import verify_run
from tests.support.store_faults import FailingFileSystem
from tests.support.store_runs import claim


def test_lines_are_appended_with_their_time(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.log("started")
    writer.log("two\nlines\n")
    first, second, third = (writer.run.path / "log.txt").read_text().splitlines()
    assert first.endswith("+00:00 started")
    assert second.endswith(" two")
    assert third == "    lines"


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    fs = FailingFileSystem(0)
    writer = claim(tmp_path, fs=fs)
    fs.at = fs.count + 1
    with pytest.raises(StoreWriteError, match="No space") as caught:
        writer.log("x" * 100)
    assert caught.value.where == str(writer.run.path / "log.txt")


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.CRASHED])
def test_a_run_cannot_finish_as_what_is_no_end(tmp_path: Path, status: RunStatus) -> None:
    writer = claim(tmp_path)
    with pytest.raises(ValueError, match="cannot finish"):
        writer.finish(status, {})
    assert writer.run.status() is RunStatus.RUNNING


def test_a_line_that_was_cut_is_no_fault_when_the_run_has_ended(tmp_path: Path) -> None:
    """Half of a line is on the disk, and no digest covers it: without that the run could not be exported."""
    fs = FailingFileSystem(0)
    writer = claim(tmp_path, fs=fs)
    writer.log("started")
    fs.at = fs.count + 1
    with pytest.raises(StoreWriteError):
        writer.log("x" * 100)
    writer.finish(RunStatus.INTERRUPTED, {})
    assert verify_run(writer.run) == []
    with (writer.run.path / "log.txt").open("ab") as file:
        file.write(b"added by hand\n")
    assert [finding.what for finding in verify_run(writer.run)] == ["It is longer than it was when the run ended"]


def test_the_end_of_a_run_does_not_hide_that_its_log_was_altered(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.log("started")
    path = writer.run.path / "log.txt"
    path.write_bytes(path.read_bytes().replace(b"started", b"stopped") + b"one more line\n")
    writer.finish(RunStatus.INTERRUPTED, {})
    assert "does not match the digest" in verify_run(writer.run)[0].what
