"""Any flipped byte, truncation or addition in any file of a run is found, and a sound run has no fault."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import write_new
from dregcli.names import RunStatus
from dregcli.store import archive_writer, documents, layout, results, verify
from dregcli.store.archive_writer import export_run
from dregcli.store.records import RunInfo
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import Finding, verify_run, verify_store
from tests.store.test_fault_matrix import bury
from tests.support.store_faults import CountingFileSystem, flip
from tests.support.store_runs import SPEC, claim, save, train


def _rich(root: Path) -> Run:
    """A run with a file of every kind: rolled back, resumed, prolonged, with results and labels."""
    fs = CountingFileSystem()
    writer = claim(root, fs=fs)
    writer.log("started")
    train(writer, 1, 10)
    save(writer, 10, best=True)
    train(writer, 11, 15)
    writer.flush()
    save(writer, 15)
    train(writer, 16, 17)
    writer.flush()
    writer.finish(RunStatus.INTERRUPTED, {"step": 17})
    store = RunStore(root, fs)
    writer = store.reopen(writer.run, spec={**SPEC, "steps": 99}, environment={"threads": 3})
    writer.roll_back(10)
    writer.log("resumed")
    train(writer, 11, 20)
    save(writer, 20)
    writer.finish(RunStatus.COMPLETED, {"step": 20})
    bury(writer.run)
    writer = store.reopen(writer.run, spec={**SPEC, "steps": 30})
    for step in (21, 22, 23):
        train(writer, step, step)
        writer.flush()
    run = writer.run
    run.add_result("evals", "test", arrays={"bound": np.arange(3.0)}, attrs={"k": 8})
    run.add_result("bias", "k8", arrays={"t": np.eye(2)}, attrs={"k": 8})
    run.put_partial("evals", "test-k9", arrays={"bound": np.arange(2.0)}, attrs={"k": 9})
    run.add_file("figures", "curves", ".png", b"\x89PNG" + bytes(range(100)))
    (run.path / layout.LABELS_FOLDER).mkdir()
    write_new(fs, run.path / layout.LABELS_FOLDER, "label", ".json", documents.seal({"tags_added": ["good"]}))
    bury(run)
    return run


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _rich(tmp_path_factory.mktemp("rich"))


def _faults(run: Run) -> list[Finding]:
    return [finding for finding in verify_run(run) if finding.kind == "fault"]


def test_a_sound_run_has_no_fault(rich: Run) -> None:
    assert verify_run(rich) == []
    kinds = {path.parent.name if path.parent != rich.path else path.name for path in _files(rich.path)}
    assert kinds >= {
        *("spec.json", "run.json", "environment.json", "environment-0002.json", "log.txt", "metrics.h5"),
        *("parts", "evals", "bias", "figures", "labels", "step-00000020", "0002", "0003"),
    }


def test_any_altered_byte_of_any_file_is_a_fault_of_that_file(rich: Run, tmp_path: Path) -> None:
    run = replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))
    files = list(_files(run.path))
    assert len(files) > 25
    for path in files:
        whole = path.read_bytes()
        size = len(whole)
        for position in {0, size // 2, size - 1}:
            flip(path, position)
            _assert_named(run, path, f"byte {position} of {size}")
            path.write_bytes(whole)
        for content in (b"", whole[:-1], whole + b"\n"):
            path.write_bytes(content)
            _assert_named(run, path, f"{len(content)} bytes instead of {size}")
        path.write_bytes(whole)
    assert verify_run(run) == []


def _assert_named(run: Run, path: Path, how: str) -> None:
    found = verify_run(run)
    # The digest of a figure speaks for both: which of the two was altered nobody can tell.
    about = {path, path.with_name(path.name.removesuffix(results.DIGEST_SUFFIX))}
    if path.name == layout.LOG_FILE and "instead" in how:
        # What follows the last digest is what a killed writer leaves.
        assert {finding.file for finding in found} & about, f"{path}: {how}"
        return
    assert {finding.file for finding in found if finding.kind == "fault"} & about, f"{path}: {how}"


def test_a_missing_file_is_a_fault(rich: Run, tmp_path: Path) -> None:
    run = replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))
    may_be_gone = ("evals", "bias", "figures", "labels", "rolled-back")
    for path in _files(run.path):
        if path.relative_to(run.path).parts[0] in may_be_gone:
            continue
        content = path.read_bytes()
        path.unlink()
        assert _faults(run), path
        path.write_bytes(content)
    assert verify_run(run) == []


def test_what_is_no_file_is_not_read(rich: Run, tmp_path: Path) -> None:
    run = replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))
    os.mkfifo(run.path / "evals" / "pipe.h5")
    (run.path / "figures" / "link.png").symlink_to("/dev/zero")
    (run.path / "spec.json").unlink()
    (run.path / "spec.json").symlink_to(rich.path / "spec.json")
    (run.path / "notes.txt").write_text("mine")
    (run.path / "parts" / ".0009-000001.h5.abcd.tmp").write_bytes(b"half")
    found = {finding.file.name: finding.kind for finding in verify_run(run)}
    assert found == {
        "pipe.h5": "fault",
        "link.png": "fault",
        "spec.json": "fault",
        "notes.txt": "note",
        ".0009-000001.h5.abcd.tmp": "note",
    }


def test_a_live_run_is_sound_while_it_is_written(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 5)
    writer.flush()
    assert verify_run(writer.run) == []


def test_the_store_file(tmp_path: Path) -> None:
    claim(tmp_path)
    assert verify_store(tmp_path) == []
    path = tmp_path / "store.json"
    for position in range(path.stat().st_size):
        flip(path, position)
        assert [finding.kind for finding in verify_store(tmp_path)] == ["fault"]
        flip(path, position)


def test_a_run_killed_while_it_was_claimed_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "x" / "v001").mkdir(parents=True)
    (finding,) = verify_run(RunStore(tmp_path).runs()[0])
    assert finding.kind == "note"


def _copied(run: Run, tmp_path: Path) -> Run:
    return replace(run, path=Path(shutil.copytree(run.path, tmp_path / "x" / "v001")))


def test_a_run_that_lost_its_state_is_no_run_that_was_never_started(rich: Run, tmp_path: Path) -> None:
    run = _copied(rich, tmp_path)
    (run.path / "run.json").unlink()
    for name in ("metrics.h5", "checkpoints", "parts", "evals"):
        assert [finding.what for finding in _faults(run)] == ["The file is missing"], name
        path = run.path / name
        path.unlink() if path.is_file() else shutil.rmtree(path)


def test_a_copy_of_a_file_beside_it_is_a_fault(rich: Run, tmp_path: Path) -> None:
    """Its digest is right, and every row of it would count twice."""
    run = _copied(rich, tmp_path)
    last = max((run.path / "parts").iterdir())
    shutil.copy(last, last.with_name("0009-000001.h5"))
    (finding,) = _faults(run)
    assert "step 23 twice" in finding.what


def test_a_file_s_name_alone_does_not_keep_anybody_busy(rich: Run, tmp_path: Path) -> None:
    run = _copied(rich, tmp_path)
    last = max((run.path / "parts").iterdir())
    last.rename(last.with_name("0003-999999999999999999.h5"))
    found = _faults(run)
    assert 1 < len(found) <= 101
    assert found[0].file.name == last.name


def test_a_last_row_that_is_none(rich: Run, tmp_path: Path) -> None:
    """Sealed, and yet not what dreg writes."""
    run = _copied(rich, tmp_path)
    for last in ({"train": {}}, {"train": {"step": "many"}}, {"train": {"step": None}}, {"x": {"step": 1.0}}):
        document = documents.unseal(rich.path / "run.json") | {"last": last}
        (run.path / "run.json").write_bytes(documents.seal(document))
        (finding,) = _faults(run)
        assert "which is the last step in run.json" in finding.what


def test_a_run_that_ends_while_it_is_read_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 5)
    writer.flush()
    ended = False
    missing = verify._missing

    def ending(run: Run, info: RunInfo | None) -> Iterator[Finding]:
        nonlocal ended
        if not ended:
            ended = True
            part = run.path / "parts" / "0001-000001.h5"
            writer.finish(RunStatus.COMPLETED, {})
            assert not part.exists()
            yield Finding(part, "fault", "The file is missing")
        yield from missing(run, info)

    monkeypatch.setattr(verify, "_missing", ending)
    assert verify_run(writer.run) == []


def test_a_folder_that_vanishes_while_it_is_read(rich: Run, tmp_path: Path) -> None:
    run = _copied(rich, tmp_path)
    found = verify._entry(run, run.path / "checkpoints", run.info())
    shutil.rmtree(run.path / "checkpoints")
    assert [finding.kind for finding in found] in ([], ["note"])
    assert layout.names_in(run.path / "checkpoints") == []


def test_work_that_another_command_ends_meanwhile_is_no_fault(
    rich: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes its state after the folder was listed; an export says that it must wait."""
    run, names_in, read = _copied(rich, tmp_path), layout.names_in, documents.read_bytes

    def names(folder: Path) -> list[str]:
        found = names_in(folder)
        if folder.name == "evals":
            run.drop_partial("evals", "test-k9")
        return found

    def content(path: Path, *, limit: int) -> bytes:
        if path.name == "model.json":
            run.drop_partial("evals", "test-k9")
        return read(path, limit=limit)

    with monkeypatch.context() as patch:
        patch.setattr(layout, "names_in", names)
        assert verify_run(run) == []
    monkeypatch.setattr(archive_writer, "verify_run", lambda _: [])
    monkeypatch.setattr(documents, "read_bytes", content)
    for force in (False, True):
        run.put_partial("evals", "test-k9", arrays={}, attrs={})
        with pytest.raises(StoreCorrupt, match="changed while it was exported") as caught:
            export_run(CountingFileSystem(), run, tmp_path / "run.zip", force=force)
        assert "export it again" in str(caught.value.hint)


def test_a_folder_in_the_place_of_a_figure_is_a_fault(rich: Run, tmp_path: Path) -> None:
    run = replace(rich, path=Path(shutil.copytree(rich.path, tmp_path / "x" / "v001")))
    (run.path / "figures" / "curves.png").unlink()
    (run.path / "figures" / "curves.png").mkdir()
    assert [finding.file.name for finding in _faults(run)] == ["curves.png"]
