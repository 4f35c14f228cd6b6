"""Figures in a folder of the user: the program replaces its own files, and no other file."""

from pathlib import Path

import pytest

from dregcli.app.reporting.own_files import LIST, OwnFiles
from dregcli.errors import StoreWriteError
from dregcli.filesystem import write_aside


def figures(content: bytes) -> dict[str, dict[str, bytes]]:
    return {"a": {".png": content, ".svg": content}, "b": {".png": content, ".svg": content}}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LIST}


def test_own_files_are_replaced(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"three"):
        written = OwnFiles(tmp_path / "new").write(figures(content))
        assert written["a"] == [tmp_path / "new" / "a.png", tmp_path / "new" / "a.svg"]
        assert files(tmp_path / "new") == dict.fromkeys(["a.png", "a.svg", "b.png", "b.svg"], content)


def test_files_of_others_are_left_alone_and_new_ones_have_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(b"mine")
    (tmp_path / "b-2.png").mkdir()
    OwnFiles(tmp_path).write(figures(b"one"))
    assert (tmp_path / "a.svg").read_bytes() == b"mine"
    assert not (tmp_path / "a.png").exists(), "files of one figure have one name"
    (tmp_path / "b.png").write_bytes(b"edited")
    (tmp_path / "a-2.png").unlink()
    (tmp_path / "a-2.png").symlink_to(tmp_path / "a-2.svg")
    written = OwnFiles(tmp_path).write(figures(b"two"))
    assert [path.name for path in written["a"]] == ["a-3.png", "a-3.svg"], "a link is nobody's own file"
    assert [path.name for path in written["b"]] == ["b-3.png", "b-3.svg"]
    assert (tmp_path / "b.png").read_bytes() == b"edited"
    assert OwnFiles(tmp_path).write(figures(b"three"))["a"] == written["a"], "from then on, the numbered ones are own"


def test_a_call_that_is_stopped_leaves_files_that_the_next_one_replaces(tmp_path: Path, monkeypatch) -> None:
    from dregcli.app.reporting import own_files

    OwnFiles(tmp_path).write(figures(b"one"))

    def stops(fs, path: Path, content: bytes) -> None:
        if path.name == "b.png":
            raise StoreWriteError("The disk is full.", where=str(path))
        write_aside(fs, path, content)

    monkeypatch.setattr(own_files, "write_aside", stops)
    with pytest.raises(StoreWriteError):
        OwnFiles(tmp_path).write(figures(b"two"))
    monkeypatch.undo()
    assert files(tmp_path)["a.png"] == b"two"
    assert files(tmp_path)["b.png"] == b"one"
    OwnFiles(tmp_path).write(figures(b"three"))
    assert files(tmp_path) == dict.fromkeys(["a.png", "a.svg", "b.png", "b.svg"], b"three")


@pytest.mark.parametrize("content", [b"mine", b"{}", b"[1]", b'{"files written by dreg": 3}'])
def test_a_list_that_is_something_else_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIST).write_bytes(content)
    with pytest.raises(StoreWriteError, match="not a list of figures") as found:
        OwnFiles(tmp_path)
    assert "name another folder" in str(found.value.hint)
    assert (tmp_path / LIST).read_bytes() == content
