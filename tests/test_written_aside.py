"""Writing aside: whole or absent, whoever else writes, and nothing left of those that were killed."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import write_cache
from dregcli.data.dataset import Dataset
from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, LocalFileSystem, asides, is_at, remove_dead_asides, written_aside
from dregcli.names import Split

KILLED = """
import os, signal, sys
from pathlib import Path
from dregcli.filesystem import LOCAL, written_aside
with written_aside(LOCAL, Path(sys.argv[1])) as (out, _):
    out.write(b"half")
    out.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path: Path) -> Path:
    """What a writer leaves that is killed while it writes."""
    before = set(path.parent.iterdir())
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_two_writers_of_one_process_do_each_other_no_harm(tmp_path):
    path = tmp_path / "file"
    with written_aside(LOCAL, path) as (one, part):
        one.write(b"one ")
        with written_aside(LOCAL, path) as (two, other):
            assert part != other
            two.write(b"two")
        assert path.read_bytes() == b"two"
        one.write(b"and more")
    assert path.read_bytes() == b"one and more"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_data_set_leave_a_whole_one(tmp_path):
    random = np.random.RandomState(0)
    splits = {split: random.randint(0, 256, (400, 784)).astype(np.uint8) for split in Split}
    sets = [
        Dataset.build(
            name="same", height=28, width=28, levels=255, splits=splits, split_convention="dreg", source=source
        )
        for source in ("a", "b" * 5000)
    ]
    failures: list[BaseException] = []

    def write(dataset):
        try:
            for _ in range(8):
                write_cache(dataset, tmp_path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(each,)) for each in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert read_cache("same", tmp_path).checksum == sets[0].checksum
    assert [path.name for path in tmp_path.iterdir()] == ["same.h5"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_file_may_be_read_by_whom_a_plain_new_one_may(tmp_path, umask):
    before = os.umask(umask)
    try:
        with written_aside(LOCAL, tmp_path / "file") as (out, _):
            out.write(b"x")
        (tmp_path / "plain").write_bytes(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"older")
    left, other = killed_writer(path), killed_writer(tmp_path / "other")
    assert left.name.startswith(".file.")
    assert left.suffix == ".tmp"
    assert left.read_bytes() == b"half"
    assert path.read_bytes() == b"older"
    for name in (".file.tmp", ".file.123.tmp", "file.0123456789abcdef.tmp"):
        (tmp_path / name).write_bytes(b"not ours")
    with written_aside(LOCAL, path) as (out, _):
        out.write(b"newer")
    names = {".file.tmp", ".file.123.tmp", "file.0123456789abcdef.tmp", "file", other.name}
    assert {each.name for each in tmp_path.iterdir()} == names


def test_a_living_writers_is_never_removed(tmp_path):
    with written_aside(LOCAL, tmp_path / "file") as (out, part):
        remove_dead_asides(LOCAL, tmp_path / "file")
        assert is_at(out, part)
        out.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_file_that_is_taken_away_before_it_is_locked_is_not_written_to(tmp_path, monkeypatch):
    """Another writer may take it for a dead one's."""
    real, removed = asides.lock_own, []

    def late(handle):
        if not removed:
            removed.append(handle.name)
            Path(handle.name).unlink()
        real(handle)

    monkeypatch.setattr(asides, "lock_own", late)
    with written_aside(LOCAL, tmp_path / "file") as (out, part):
        assert is_at(out, part)
        assert str(part) not in removed
        out.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


class _OneName(LocalFileSystem):
    """A disk on which a file has one name."""

    def link(self, source, target):
        raise OSError(errno.EPERM, "not permitted")


@pytest.mark.parametrize("fs", [LOCAL, _OneName()])
def test_of_several_writers_at_once_one_gets_a_new_name(tmp_path, fs):
    def ended(first, second):
        with first as (out, _):
            out.write(b"1")
            with second as (other, _):
                other.write(b"2")

    path = tmp_path / "file"
    ended(written_aside(fs, path), written_aside(fs, path))
    assert path.read_bytes() == b"1"
    path.unlink()
    with pytest.raises(FileExistsError):
        ended(written_aside(fs, path, new=True), written_aside(fs, path, new=True))
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr("fcntl.flock", none)
    with written_aside(LOCAL, tmp_path / "file") as (out, part):
        remove_dead_asides(LOCAL, tmp_path / "file")
        assert is_at(out, part)
        out.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_older_file_alone(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"older")

    def broken_off():
        with written_aside(LOCAL, path) as (out, _):
            out.write(b"half")
            raise error

    with pytest.raises((StoreWriteError, KeyboardInterrupt)):
        broken_off()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]
