from pathlib import Path

import pytest

from dregcli.errors import StoreWriteError
from dregcli.names import RunStatus
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
