"""A run carried to another store and back, and archives that mean harm."""

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dregcli.errors import DregError, RunStateError, StoreCorrupt, StoreFormatError, StoreWriteError, UsageError
from dregcli.names import RunStatus
from dregcli.store import archive as archives
from dregcli.store import documents, layout
from dregcli.store.archive import entry, import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from tests.store.test_fault_matrix import bury
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
    there = import_run(store, archive)
    assert (there.run.label, there.is_new, len(store.runs())) == ("digits/v001", False, 2)
    assert (first.same, first.is_new, again.is_new) == ((), True, True)
    assert [run.label for run in again.same] == ["digits/v001"]
    for found in (first.run, again.run):
        assert _contents(found) == _contents(rich)
        assert replace(found.info(), status=rich.status()) == rich.info()
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
    with pytest.raises(StoreCorrupt, match="is damaged, so it is not exported") as caught:
        export_run(FS, damaged, target)
    assert caught.value.where == str(damaged.path / "metrics.h5")
    assert not target.exists()
    target.write_text("mine")
    with pytest.raises(UsageError, match="This file exists already"):
        export_run(FS, rich, target)
    assert target.read_text() == "mine"


def test_a_full_disk_leaves_nothing(rich: Run, archive: Path, tmp_path: Path) -> None:
    def exporting(number: int) -> bool:
        folder = tmp_path / f"e{number}"
        folder.mkdir()
        try:
            export_run(FailingFileSystem(number, lasting=True), rich, folder / "run.zip")
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
        manifest["files"][name] = entry(content, 0)

    return change


def _state(**fields: object) -> Callable[[Members, dict[str, Any]], None]:
    """Another ``run.json``, sealed, with the right digest in the manifest."""

    def change(members: Members, manifest: dict[str, Any]) -> None:
        (at,) = [i for i, (info, _) in enumerate(members) if info.filename == "run.json"]
        document = documents.unseal_bytes(members[at][1], Path("run.json")) | fields
        members[at] = (members[at][0], documents.seal(document))
        manifest["files"]["run.json"] = entry(members[at][1], 0)

    return change


def _without(name: str) -> Callable[[Members, dict[str, Any]], None]:
    def change(members: Members, manifest: dict[str, Any]) -> None:
        members[:] = [each for each in members if each[0].filename != name]
        del manifest["files"][name]

    return change


def _time_out_of_range(_: Members, manifest: dict[str, Any]) -> None:
    manifest["files"]["spec.json"]["modified_ns"] = 10**30


def _set(**fields: object) -> Callable[[Members, dict[str, Any]], None]:
    return lambda _, manifest: manifest.update(fields)


def _swap(members: Members, manifest: dict[str, Any]) -> None:
    """Another spec, with the right digest in the manifest."""
    (at,) = [i for i, (info, _) in enumerate(members) if info.filename == "spec.json"]
    members[at] = (members[at][0], b"{}\n")
    manifest["files"]["spec.json"] = entry(b"{}\n", 0)


FOREVER = {
    **{"generation": 9, "pid": 1, "host": "elsewhere", "boot_id": None, "process_start": None},
    "heartbeat": "9999-01-01T00:00:00+00:00",
}


HARMFUL = {
    "out of the folder": (_add("../evil"), "'../evil' cannot be a file of a run"),
    "out of it further in": (_add("evals/../../../evil"), "cannot be a file"),
    "absolute": (_add("/tmp/evil"), "cannot be a file"),
    "another system's": (_add("..\\evil"), "cannot be a file"),
    "a drive": (_add("C:/evil"), "cannot be a file"),
    "hidden": (_add(".ssh/config"), "cannot be a file"),
    "a place with other case": (
        _add("model/Place.json"),
        "'model/Place.json' says where code lies on another machine",
    ),
    "a place of code": (_add("model/place.json"), "'model/place.json' says where code lies on another machine"),
    "too deep": (_add("a/b/c/d/e"), "cannot be a file"),
    "a link": (_add("figures/link", b"/etc/passwd", external_attr=0o120777 << 16), "not a plain file"),
    "a device": (_add("figures/device", b"", external_attr=0o020666 << 16), "not a plain file"),
    "compressed": (_add("figures/bomb", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED), "is compressed"),
    "twice": (_add("spec.json"), "occurs twice"),
    "twice but for case": (_add("SPEC.json"), "occurs twice"),
    "a folder that is a file": (_add("spec.json/x"), "inside a path that is a file"),
    "a file that is a folder": (_add("evals"), "inside a path that is a file"),
    "not in the manifest": (
        lambda members, _: members.append((zipfile.ZipInfo("evals/y.h5"), b"")),
        "its files are not the files in its manifest",
    ),
    "not in the archive": (
        lambda _, manifest: manifest["files"].update({"evals/z.h5": entry(b"", 0)}),
        "its files are not the files in its manifest",
    ),
    "without its manifest": (lambda members, _: members.insert(0, members[1]), "first member is not a manifest"),
    "other content": (_swap, "spec.json: The file does not match"),
    "a file less": (_without("checkpoints/step-00000020/state.json"), "state.json: The file is missing"),
    "without its state": (_without("run.json"), "run.json: The file is missing"),
    "no files": (lambda _, manifest: manifest.pop("files"), "cannot be read"),
    "a time that is none": (_time_out_of_range, "cannot be read"),
    "of another kind": (_set(**{"encoding-type": "evals"}), "not have the type 'archive'"),
    "newer": (_set(**{"encoding-version": "2"}), "encoding-version 2"),
    "of a newer store": (_set(format=99), "format 99"),
    "with a name that cannot be": (_set(run="../evil/v001"), "cannot be the name"),
    "as if it were written": (_state(status="running", lease=FOREVER), "being written"),
    "as if it were resumed": (_add("leases/0009/holder.json", documents.seal(FOREVER)), "being written"),
    "a time without its offset": (_state(updated="2020-01-01T00:00:00"), "offset from UTC is missing"),
}


@pytest.mark.parametrize("what", HARMFUL)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_means_harm_does_none(archive: Path, tmp_path: Path, what: str) -> None:
    root = tmp_path / "deep" / "store"
    change, why = HARMFUL[what]
    harmful = _altered(archive, tmp_path / "harmful.zip", change)
    with pytest.raises((StoreCorrupt, StoreFormatError, UsageError), match=re.escape(why)) as caught:
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


@pytest.mark.parametrize("name", ["nothing.zip", "", "text.zip", "empty.zip", "pipe", "/dev/zero", "text.zip/x"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.zip").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(StoreCorrupt):
        import_run(RunStore(tmp_path / "store"), tmp_path / name)
    assert not (tmp_path / "store").exists()


def test_too_little_room_is_told_before_anything_is_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=archive.stat().st_size // 2)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreWriteError, match="No space left"):
        import_run(RunStore(tmp_path / "store"), archive)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["store.json"]


@pytest.fixture
def copied(rich: Run, tmp_path: Path) -> Run:
    return replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))


def test_results_keep_their_order(copied: Run, tmp_path: Path) -> None:
    """The newest of two results is the one that counts; by name or by its file's time it could come first."""
    written = [copied.add_result("evals", "test", arrays={}, attrs={"k": k}) for k in (9, 8)]
    for time, path in enumerate(reversed([copied.path / "evals" / "test.h5", *written])):
        os.utime(path, ns=(time, time))
    export_run(FS, copied, tmp_path / "run.zip")
    found = import_run(RunStore(tmp_path / "store", CountingFileSystem()), tmp_path / "run.zip").run
    assert [result.path.name for result in found.results("evals")] == ["test.h5", "test-2.h5", "test-3.h5"]


def test_a_lease_that_was_never_used_stays_behind(copied: Run, tmp_path: Path) -> None:
    """Who died when it had just taken it would be alive elsewhere, for five minutes."""
    late = copied.path / "leases" / "0004"
    shutil.copytree(copied.path / "leases" / "0003", late)
    (late / "holder.json").write_bytes(documents.seal(FOREVER | {"generation": 4, "heartbeat": "2026-01-01T00:00Z"}))
    export_run(FS, copied, tmp_path / "run.zip")
    found = import_run(RunStore(tmp_path / "store", CountingFileSystem()), tmp_path / "run.zip").run
    assert layout.entries(found.path / "leases") == ["0002", "0003"]


def test_files_that_are_not_dreg_s(copied: Run, tmp_path: Path) -> None:
    (copied.path / "notes.txt").write_text("mine")
    (copied.path / ".hidden").write_text("mine")
    told = {(note.file.name, note.what.partition(":")[0]) for note in export_run(FS, copied, tmp_path / "run.zip")}
    assert (".hidden", "It is left out") in told
    found = import_run(RunStore(tmp_path / "store", CountingFileSystem()), tmp_path / "run.zip").run
    assert (found.path / "notes.txt").read_text() == "mine"
    (copied.path / "Notes.txt").write_text("mine too")
    with pytest.raises(StoreCorrupt, match="occurs twice"):
        export_run(FS, copied, tmp_path / "other.zip")
    assert not (tmp_path / "other.zip").exists()


def test_a_target_that_is_a_link_and_a_run_with_nothing_in_it(rich: Run, tmp_path: Path) -> None:
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        export_run(FS, rich, tmp_path / "link.zip")
    (tmp_path / "runs" / "y" / "v001").mkdir(parents=True)
    with pytest.raises(RunStateError, match="nothing to export"):
        export_run(FS, RunStore(tmp_path / "runs").runs()[0], tmp_path / "run.zip")
    with pytest.raises(StoreWriteError, match="name too long"):
        export_run(FS, rich, tmp_path / ("n" * 300))


def test_a_damaged_run_travels_where_that_is_asked_for(copied: Run, tmp_path: Path) -> None:
    flip(copied.path / "metrics.h5", 700)
    (copied.path / "checkpoints" / "step-00000010" / "state.json").unlink()
    told = export_run(FS, copied, tmp_path / "run.zip", force=True)
    damaged = ["checkpoints/step-00000010/state.json", "metrics.h5"]
    assert sorted(str(each.file.relative_to(copied.path)) for each in told if each.kind == "fault") == damaged
    store = RunStore(tmp_path / "store", CountingFileSystem())
    found = import_run(store, tmp_path / "run.zip")
    assert list(found.faults) == damaged
    assert found.run.load_checkpoint("last").step == 20
    more = _altered(tmp_path / "run.zip", tmp_path / "more.zip", _swap)
    with pytest.raises(StoreCorrupt, match="The file does not match"):
        import_run(store, more)


def test_the_readable_rest_of_a_run_travels_whatever_cannot_be_read(
    rich: Run, copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is not verified, and what others need, such as rows; but without ``run.json`` there is no run."""
    (copied.path / "spare").write_text("mine")
    names = ("bias", "spare", "spec.json", "metrics.h5", "parts/0003-000003.h5")
    read, names_in = documents.read_bytes, layout.names_in
    for number, name in enumerate(names):
        gone = copied.path / name

        def refused(path: Path, *, limit: int, gone: Path = gone) -> bytes:
            if path == gone:
                raise StoreCorrupt("no permission", where=str(path), hint="ask")
            return read(path, limit=limit)

        def unlisted(folder: Path, gone: Path = gone) -> list[str]:
            if folder == gone:
                raise StoreCorrupt("no permission", where=str(folder))
            return names_in(folder)

        target = tmp_path / f"{number}.zip"
        with monkeypatch.context() as patch:
            patch.setattr(documents, "read_bytes", refused)
            patch.setattr(layout, "names_in", unlisted)
            with pytest.raises(StoreCorrupt, match=r"no permission|The folder cannot be read") as caught:
                export_run(FS, copied, target)
            assert "--force" in str(caught.value.hint)
            told = export_run(FS, copied, target, force=True)
        assert gone in [each.file for each in told if each.what.startswith("It is left out: ")]
        found = import_run(RunStore(tmp_path / str(number), CountingFileSystem()), target)
        assert name in found.faults
        rest = {each: content for each, content in _contents(copied).items() if not f"{each}/".startswith(f"{name}/")}
        assert _contents(found.run) == rest
    flip(copied.path / "run.json", 100)
    with pytest.raises(StoreCorrupt) as caught:
        export_run(FS, copied, tmp_path / "none.zip", force=True)
    assert "copy the folder as it is" in str(caught.value.hint)


def test_a_killed_writer_s_last_line_travels_too(tmp_path: Path) -> None:
    """It came after the last digest, and the run reads as crashed elsewhere: still no fault."""
    run = claim(tmp_path / "runs").run
    (run.path / "log.txt").write_text("the line that it was killed after")
    bury(run)
    export_run(FS, run, tmp_path / "run.zip")
    found = import_run(RunStore(tmp_path / "store", CountingFileSystem()), tmp_path / "run.zip").run
    assert found.status() is RunStatus.CRASHED
    writer = claim(tmp_path / "runs", "y")
    writer.log("started")
    CountingFileSystem().append(writer.run.path / "log.txt", b"the line that it was killed after")
    bury(writer.run)
    export_run(FS, writer.run, tmp_path / "y.zip")
    found = import_run(RunStore(tmp_path / "store", CountingFileSystem()), tmp_path / "y.zip").run
    assert [finding.kind for finding in verify_run(found)] == ["note"]
