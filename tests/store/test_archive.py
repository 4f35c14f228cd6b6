"""A run carried to another store and back, and archives that mean harm."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dregcli.errors import DregError, RunStateError, StoreCorrupt, StoreFormatError, StoreWriteError, UsageError
from dregcli.names import RunStatus
from dregcli.store import documents
from dregcli.store.archive import export_run, import_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from tests.store.test_verify import _rich
from tests.support.store_faults import CountingFileSystem, FailingFileSystem, every, flip, temporaries
from tests.support.store_runs import claim

FS = CountingFileSystem()


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _rich(tmp_path_factory.mktemp("rich"))


@pytest.fixture(scope="module")
def archive(rich: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "run.zip"
    assert export_run(FS, rich, path) == []
    return path


def _contents(run: Run) -> dict[str, bytes]:
    paths = (path for path in run.path.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


def test_a_run_comes_back_whole(rich: Run, archive: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "elsewhere", CountingFileSystem())
    first, again = import_run(store, archive), import_run(store, archive, name="other")
    assert (first.run.label, again.run.label, first.origin) == ("digits/v001", "other/v001", "digits/v001")
    assert import_run(store, archive).run.label == "digits/v002"
    for found in (first.run, again.run):
        assert _contents(found) == _contents(rich)
        assert replace(found.info(), status=rich.status()) == replace(rich.info(), version=found.info().version)
        assert verify_run(found) == []
        assert found.load_checkpoint("last").step == 20
    # There nobody can look for its writer, and it is crashed all the same.
    assert first.run.status() is RunStatus.CRASHED
    assert store.reopen(first.run).run.status() is RunStatus.RUNNING


def test_equal_runs_make_equal_archives(rich: Run, archive: Path, tmp_path: Path) -> None:
    export_run(FS, rich, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_what_is_not_exported(rich: Run, tmp_path: Path) -> None:
    target = tmp_path / "run.zip"
    with pytest.raises(RunStateError, match="is being written by process"):
        export_run(FS, claim(tmp_path / "runs").run, target)
    damaged = replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))
    flip(damaged.path / "metrics.h5", 700)
    with pytest.raises(StoreCorrupt, match="exported whole") as caught:
        export_run(FS, damaged, target)
    assert caught.value.where == str(damaged.path / "metrics.h5")
    assert not target.exists()
    target.write_text("mine")
    with pytest.raises(UsageError, match="such a file already"):
        export_run(FS, rich, target)
    assert target.read_text() == "mine"


def test_a_full_disk_leaves_nothing(rich: Run, archive: Path, tmp_path: Path) -> None:
    def exporting(number: int) -> bool:
        folder = tmp_path / f"e{number}"
        folder.mkdir()
        try:
            export_run(FailingFileSystem(number), rich, folder / "run.zip")
        except StoreWriteError:
            assert [path for path in folder.iterdir() if path.suffix != ".zip"] == []
            return True
        return False

    def importing(number: int) -> bool:
        root = tmp_path / f"i{number}"
        try:
            import_run(RunStore(root, FailingFileSystem(number)), archive)
        except StoreWriteError:
            assert [run for run in RunStore(root).runs() if verify_run(run)] == []
            assert not temporaries(root)
            return True
        return False

    assert every(100, exporting) >= 4
    assert every(400, importing) > 60


Members = list[tuple[zipfile.ZipInfo, bytes]]


def _altered(archive: Path, target: Path, change: Callable[[Members, dict[str, Any]], None]) -> Path:
    """The archive with a change, its manifest sealed again."""
    with zipfile.ZipFile(archive) as opened:
        members = [(info, opened.read(info)) for info in opened.infolist()]
    manifest = documents.unseal_bytes(members[0][1], archive)
    change(members, manifest)
    members[0] = (members[0][0], documents.seal(manifest))
    with zipfile.ZipFile(target, "w") as written:
        for info, content in members:
            written.writestr(info, content)
    return target


def _add(name: str, content: bytes = b"x", **fields: int) -> Callable[[Members, dict[str, Any]], None]:
    def change(members: Members, manifest: dict[str, Any]) -> None:
        info = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        members.append((info, content))
        manifest["files"][name] = {"size": len(content), "sha256": documents.sha256(content)}

    return change


def _set(**fields: object) -> Callable[[Members, dict[str, Any]], None]:
    return lambda _, manifest: manifest.update(fields)


def _swap(members: Members, manifest: dict[str, Any]) -> None:
    """Another spec, with the right digest in the manifest."""
    (at,) = [i for i, (info, _) in enumerate(members) if info.filename == "spec.json"]
    members[at] = (members[at][0], b"{}\n")
    manifest["files"]["spec.json"] = {"size": 3, "sha256": documents.sha256(b"{}\n")}


HARMFUL = {
    "out of the folder": _add("../evil"),
    "out of it further in": _add("evals/../../../evil"),
    "absolute": _add("/tmp/evil"),
    "another system's": _add("..\\evil"),
    "a drive": _add("C:/evil"),
    "hidden": _add(".ssh/config"),
    "too deep": _add("a/b/c/d/e"),
    "a link": _add("figures/link", b"/etc/passwd", external_attr=0o120777 << 16),
    "a device": _add("figures/device", b"", external_attr=0o020666 << 16),
    "compressed": _add("figures/bomb", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED),
    "twice": _add("spec.json"),
    "twice but for case": _add("SPEC.json"),
    "not in the manifest": lambda members, _: members.append((zipfile.ZipInfo("evals/y.h5"), b"")),
    "not in the archive": lambda _, manifest: manifest["files"].update({"evals/z.h5": {"size": 0, "sha256": ""}}),
    "without its manifest": lambda members, _: members.insert(0, members[1]),
    "other content": _swap,
    "no files": lambda _, manifest: manifest.pop("files"),
    "of another kind": _set(**{"encoding-type": "evals"}),
    "newer": _set(**{"encoding-version": "2"}),
    "of a newer store": _set(format=99),
    "with a name that cannot be": _set(run="../evil/v001"),
}


@pytest.mark.parametrize("what", HARMFUL)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_means_harm_does_none(archive: Path, tmp_path: Path, what: str) -> None:
    root = tmp_path / "deep" / "store"
    harmful = _altered(archive, tmp_path / "harmful.zip", HARMFUL[what])
    with pytest.raises((StoreCorrupt, StoreFormatError, UsageError)) as caught:
        import_run(RunStore(root, CountingFileSystem()), harmful)
    assert caught.value.hint
    left = [path.name for path in tmp_path.rglob("*") if path != harmful and path.is_file()]
    assert set(left) <= {"store.json"}
    assert not temporaries(tmp_path)


def test_the_alteration_alone_does_no_harm(archive: Path, tmp_path: Path) -> None:
    """Else the test before would show nothing."""
    same = _altered(archive, tmp_path / "same.zip", lambda _, __: None)
    assert import_run(RunStore(tmp_path / "store", CountingFileSystem()), same).run.version == 1


def test_any_flipped_byte_or_truncation_of_an_archive_is_refused_or_harmless(
    rich: Run, archive: Path, tmp_path: Path
) -> None:
    whole, path = archive.read_bytes(), tmp_path / "altered.zip"
    steps = range(0, len(whole), max(1, len(whole) // 150))
    for number, content in enumerate([*(_flipped(whole, at) for at in steps), *(whole[:at] for at in steps)]):
        path.write_bytes(content)
        store = RunStore(tmp_path / f"s{number}", CountingFileSystem())
        try:
            found = import_run(store, path).run
        except DregError:
            assert not temporaries(store.root)
            continue
        assert _contents(found) == _contents(rich)  # a byte that means nothing, of a time or an attribute
        shutil.rmtree(store.root)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", ["nothing.zip", "", "text.zip", "empty.zip"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(StoreCorrupt):
        import_run(RunStore(tmp_path / "store"), tmp_path / name)
    assert not (tmp_path / "store").exists()
