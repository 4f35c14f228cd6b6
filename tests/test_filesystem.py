import errno
import threading
from pathlib import Path

import pytest

from dregcli import filesystem
from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, LocalFileSystem
from tests.support.store_faults import FailingFileSystem, every, temporaries

FAULTS = [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO]


@pytest.mark.parametrize("error", FAULTS)
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, error: int) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"old")

    def attempt(number: int) -> bool:
        fs = FailingFileSystem(number, error)
        try:
            filesystem.write_aside(fs, path, b"new content")
        except StoreWriteError:
            # The last operation is the folder's fsync, when the new file is there already.
            assert path.read_bytes() == (b"new content" if "rename" in fs.operations[: number - 1] else b"old")
            assert not temporaries(tmp_path)
            return True
        return False

    assert every(10, attempt) == 4
    assert path.read_bytes() == b"new content"


@pytest.mark.parametrize("error", FAULTS)
def test_a_failed_stream_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, error: int) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(b"old")
    hints: list[str] = []

    def attempt(number: int) -> bool:
        fs = FailingFileSystem(number, error)
        try:
            with filesystem.written_aside(fs, path, hint="somewhere else") as (out, _):
                out.write(b"new ")
                out.write(b"content")
        except StoreWriteError as failed:
            hints.append(str(failed.hint))
            assert path.read_bytes() == (b"new content" if "rename" in fs.operations[: number - 1] else b"old")
            assert not temporaries(tmp_path)
            return True
        return False

    assert every(10, attempt) == 4
    assert path.read_bytes() == b"new content"
    assert all(hint.endswith("somewhere else") for hint in hints)


def test_what_a_writer_of_bytes_holds_is_not_taken_for_a_dead_ones(tmp_path: Path) -> None:
    """A writer of bytes locks nothing, so that no writer of a stream may take its temporary for a dead one's."""

    def meanwhile(temporary: Path) -> None:
        filesystem.remove_dead_asides(LOCAL, tmp_path / "x")
        assert temporary.exists()

    filesystem.write_aside(LOCAL, tmp_path / "x", b"x", check=meanwhile)


def test_a_file_that_was_not_there_is_never_written_over(tmp_path: Path) -> None:
    filesystem.write_exclusive(LOCAL, tmp_path / "x", b"first")
    with pytest.raises(FileExistsError):
        filesystem.write_exclusive(LOCAL, tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
    with pytest.raises(OSError, match="No space"):
        filesystem.write_exclusive(FailingFileSystem(1), tmp_path / "y", b"half of it")
    assert not (tmp_path / "y").exists()


def test_each_fault_has_its_own_words(tmp_path: Path) -> None:
    said: set[str] = set()
    for error in FAULTS:
        with pytest.raises(StoreWriteError) as caught:
            filesystem.write_aside(FailingFileSystem(1, error), tmp_path / "x", b"x")
        assert caught.value.where == str(tmp_path / "x")
        assert caught.value.hint
        said.add(caught.value.what)
    assert len(said) == len(FAULTS)
    assert "No space left on the disk" in said


def test_a_failed_check_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def check(written: Path) -> None:
        assert written.read_bytes() == b"new"
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        filesystem.write_aside(LOCAL, path, b"new", check=check)
    assert path.read_bytes() == b"old"
    assert not temporaries(tmp_path)


def test_racing_writers_of_one_name_all_keep_their_file(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    paths: list[tuple[Path, bytes]] = []

    def write(number: int) -> None:
        content = f"content {number}".encode()
        barrier.wait()
        paths.extend((filesystem.write_new(LOCAL, tmp_path, "x", ".h5", content), content) for _ in range(5))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path for path, _ in paths}) == 40
    assert all(path.read_bytes() == content for path, content in paths)
    assert not temporaries(tmp_path)


def test_a_name_held_by_a_dead_writer_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".x.h5.tmp").write_bytes(b"torn")
    assert filesystem.write_new(LOCAL, tmp_path, "x", ".h5", b"whole").name == "x-2.h5"


def test_a_folder_is_not_built_over_another(tmp_path: Path) -> None:
    filesystem.write_folder_aside(LOCAL, tmp_path / "a", {"x": b"first"})
    with pytest.raises(FileExistsError):
        filesystem.write_folder_aside(LOCAL, tmp_path / "a", {"x": b"second"})
    assert (tmp_path / "a" / "x").read_bytes() == b"first"
    assert not temporaries(tmp_path)


def test_a_half_removed_folder_does_not_keep_its_name(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        folder = tmp_path / "a"
        filesystem.write_folder_aside(LOCAL, folder, {"x": b"1", "y": b"2"})
        try:
            filesystem.discard(FailingFileSystem(number, errno.EIO), folder)
        except StoreWriteError:
            assert not folder.exists() or len(list(folder.iterdir())) == 2
            filesystem.sweep(LOCAL, tmp_path)
            if folder.exists():
                filesystem.discard(LOCAL, folder)
            return True
        return False

    assert every(10, attempt) == 4
    assert not list(tmp_path.iterdir())


class Nfs(LocalFileSystem):
    """A network disk: a removed file that is still open gets another name, which cannot be removed meanwhile."""

    def remove(self, path: Path) -> None:
        if path.name.startswith(".nfs"):
            raise OSError(errno.EBUSY, "is open")
        path.rename(path.with_name(".nfs0001"))


def test_a_folder_in_which_a_file_is_still_read_is_removed_later(tmp_path: Path) -> None:
    folder = tmp_path / "step-00000001"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    filesystem.discard(Nfs(), folder)
    filesystem.sweep(Nfs(), tmp_path)
    (left,) = temporaries(tmp_path)
    assert not folder.exists()
    assert [each.name for each in left.iterdir()] == [".nfs0001"]
    filesystem.sweep(LOCAL, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(StoreWriteError, match="is a file, not a folder"):
        filesystem.make_folders(LOCAL, tmp_path / "runs")
    with pytest.raises(StoreWriteError):
        filesystem.make_folders(LOCAL, tmp_path / "runs" / "digits")


def test_files_and_folders_are_synced_for_real(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    LOCAL.sync(tmp_path / "x")
    LOCAL.sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        LOCAL.sync(tmp_path / "gone")
