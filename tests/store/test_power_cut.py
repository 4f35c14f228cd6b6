"""What a power cut leaves: a rename may be on the disk before the content that was written ahead of it.

So content must be brought to the disk (fsync) before it gets its real name, and the folder's entries after that. No
test can cut the power; instead a file system notes what has not been brought to the disk yet.
"""

from pathlib import Path

import pytest

from dregcli.filesystem import LocalFileSystem, is_temporary
from dregcli.store import trash
from dregcli.store.archive import import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.store.test_fault_matrix import ACTS, _dead


class Cache(LocalFileSystem):
    """Knows which files and folders have changes that are only in memory."""

    def __init__(self) -> None:
        self.unsaved: set[Path] = set()

    def _changed(self, path: Path, *, content: bytes = b"") -> None:
        if content:
            self.unsaved.add(path)
        if not is_temporary(path.name):
            self.unsaved.add(path.parent)

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self._changed(path)

    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self._changed(path, content=content)

    def append(self, path: Path, content: bytes) -> None:
        super().append(path, content)
        self._changed(path, content=content)

    def sync(self, path: Path) -> None:
        self.unsaved.discard(path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        unsaved = {path for path in self.unsaved if path.is_relative_to(source)}
        self.unsaved -= unsaved
        if is_temporary(target.name):  # it is being removed
            return
        assert not unsaved, f"{target.name} gets its name before its content is on the disk"
        self._changed(target)
        self._changed(source)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.unsaved.discard(path)

    def rmdir(self, path: Path) -> None:
        super().rmdir(path)
        self.unsaved.discard(path)


def _export(store: RunStore, run: Run) -> None:
    export_run(store.fs, run, store.root.parent / "run.zip")


def _carried(store: RunStore) -> None:
    export_run(store.fs, _dead(store), store.root.parent / "run.zip")


def _import(store: RunStore, _: None) -> None:
    import_run(store, store.root.parent / "run.zip", name="again")


def _there_and_back(store: RunStore, run: Run) -> None:
    trash.remove(store.fs, run)
    trash.restore(store.fs, store.root, run.key)


def _label(store: RunStore, run: Run) -> None:
    Run(run.path, store.fs).add_label(add=["good"], note="a note")


OTHERS = {
    "export": (_dead, _export),
    "import": (_carried, _import),
    "trash": (_dead, _there_and_back),
    "label": (_dead, _label),
}
EVERY = {name: (act.prepare, act.do) for name, act in ACTS.items()} | OTHERS


@pytest.mark.parametrize("name", EVERY)
def test_content_is_on_the_disk_before_its_name_and_its_name_before_the_act_ends(tmp_path: Path, name: str) -> None:
    prepare, act = EVERY[name]
    cache = Cache()
    store = RunStore(tmp_path / "runs", cache)
    subject = prepare(store)
    cache.unsaved.clear()
    act(store, subject)
    assert cache.unsaved == set()


def test_what_is_not_brought_to_the_disk_is_caught(tmp_path: Path) -> None:
    cache = Cache()
    cache.write(tmp_path / ".x.tmp", b"x")
    with pytest.raises(AssertionError, match="before its content"):
        cache.rename(tmp_path / ".x.tmp", tmp_path / "x")
    cache.write(tmp_path / ".y.tmp", b"y")
    cache.sync(tmp_path / ".y.tmp")
    cache.rename(tmp_path / ".y.tmp", tmp_path / "y")
    assert cache.unsaved == {tmp_path}
