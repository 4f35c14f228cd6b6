"""Files that a user names for a result: what is replaced, and what never is."""

import os
from pathlib import Path

import pytest

from dregcli.app.common import written
from dregcli.app.common.written import folder_faults, target_faults, write_named
from dregcli.errors import StoreWriteError


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "table.csv"
    assert write_named(path, b"one") == 3
    assert write_named(path, b"two") == 3
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["table.csv"], "nothing is left aside"

    def full(*_: object) -> None:
        what = "No space left on the disk"
        raise StoreWriteError(what, where="x", hint="choose: --runs-dir FOLDER")

    monkeypatch.setattr(written, "write_aside", full)
    with pytest.raises(StoreWriteError, match="No space left") as error:
        write_named(path, b"three")
    assert error.value.hint is not None
    assert "FILE" in error.value.hint
    assert path.read_bytes() == b"two"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    assert target_faults({"html": link}) == []
    write_named(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("folder", "is a folder: name a file in it."),
        ("pipe", "is not a regular file"),
        ("under a file", "which is not a folder"),
        ("long", "cannot be the name of a file"),
    ],
)
def test_what_can_be_no_file_is_told_before_any_work(tmp_path: Path, kind: str, told: str) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "report.html"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "under a file":
        path = tmp_path / "file" / "deep" / "report.html"
    else:
        path = tmp_path / ("x" * 300)
    (fault,) = target_faults({"html": path})
    assert fault.field == "html"
    assert told in fault.message
    assert target_faults({"html": tmp_path / "no such" / "report.html"}) == [], "folders are made"


def test_one_file_for_two(tmp_path: Path) -> None:
    (fault,) = target_faults({"csv": tmp_path / "a", "latex": tmp_path / "b" / ".." / "a"})
    assert (fault.field, "is also the file of csv" in fault.message) == ("latex", True)


def test_a_folder_may_be_new_but_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert folder_faults("figures", tmp_path / "new") == folder_faults("figures", tmp_path) == []
    (fault,) = folder_faults("figures", tmp_path / "file")
    assert "is not a folder" in fault.message
