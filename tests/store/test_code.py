"""The folder ``model/`` of a run: written whole, verified byte by byte, exported without its place."""

import zipfile
from pathlib import Path

import pytest

from dregcli.errors import StoreCorrupt
from dregcli.names import RunStatus
from dregcli.store.archive import import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.code import CapturedCode
from dregcli.store.runs import Run, RunStore
from dregcli.store.verify import verify_run

FILES = {"my_model.py": b"import parts\n", "parts/__init__.py": b"", "parts/deep/_blocks.py": b"x = 1\n"}
CODE = CapturedCode({"word": "my_model.py:Vae", "kind": "file"}, FILES, "/home/me/my_model.py:Vae")


def _ended(root: Path, code: CapturedCode | None = CODE) -> Run:
    writer = RunStore(root).claim("own", spec={"seed": 0}, environment={}, code=code)
    writer.log("a line")
    writer.finish(RunStatus.INTERRUPTED, {})
    return writer.run


def test_what_was_captured_is_read_back_and_nothing_is_found_amiss(tmp_path) -> None:
    run = _ended(tmp_path)
    found = run.code()
    assert found is not None
    assert (found.files, found.place, found.about["word"]) == (FILES, CODE.place, "my_model.py:Vae")
    assert (run.path / "model/parts/deep/_blocks.py").read_bytes() == b"x = 1\n"
    assert verify_run(run) == []
    assert _ended(tmp_path, None).code() is None


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "place.json"])
def test_a_changed_file_is_found_and_never_read(tmp_path, name: str) -> None:
    run = _ended(tmp_path)
    path = run.path / "model" / name
    path.write_bytes(path.read_bytes() + b"\n")
    (finding,) = verify_run(run)
    assert (finding.kind, finding.file) == ("fault", path)
    with pytest.raises(StoreCorrupt):
        run.code()


def test_a_missing_file_a_missing_folder_and_one_too_many_are_found(tmp_path) -> None:
    run = _ended(tmp_path)
    (run.path / "model/more.py").write_text("x")
    (finding,) = verify_run(run)
    assert (finding.kind, finding.file.name) == ("note", "more.py")
    (run.path / "model/more.py").unlink()
    (run.path / "model/my_model.py").unlink()
    assert [(each.kind, each.file.name) for each in verify_run(run)] == [("fault", "my_model.py")]
    (run.path / "model").rename(tmp_path / "elsewhere")
    assert [(each.kind, each.file.name) for each in verify_run(run)] == [("fault", "manifest.json")]
    with pytest.raises(StoreCorrupt):
        run.code()


def test_other_files_under_a_manifest_of_their_own_are_found(tmp_path) -> None:
    """A folder that fits its own manifest, but is not the one that run.json names."""
    run, other = _ended(tmp_path), _ended(tmp_path, CapturedCode({}, {"my_model.py": b"evil\n"}, None))
    (run.path / "model").rename(tmp_path / "aside")
    (other.path / "model").rename(run.path / "model")
    assert [each.what for each in verify_run(run)] == ["The file does not match the digest in run.json"]
    with pytest.raises(StoreCorrupt):
        run.code()


def test_other_code_replaces_the_code_of_a_run_and_the_former_stays(tmp_path) -> None:
    run = _ended(tmp_path)
    other = CapturedCode(CODE.about, {"my_model.py": b"y = 2\n"}, "/elsewhere/my_model.py:Vae")
    RunStore.of(run).reopen(run, code=other).finish(RunStatus.INTERRUPTED, {})
    found = run.code()
    assert found is not None
    assert (found.files, found.place) == (other.files, other.place)
    assert (run.path / "rolled-back/0001-model/model/parts/deep/_blocks.py").exists()
    assert verify_run(run) == []
    (run.path / "rolled-back/0001-model/model/my_model.py").write_text("")
    assert [each.kind for each in verify_run(run)] == ["fault"]


def test_equal_code_at_another_place_only_changes_the_place(tmp_path) -> None:
    run = _ended(tmp_path)
    moved = CapturedCode(CODE.about, FILES, "/moved/my_model.py:Vae")
    RunStore.of(run).reopen(run, code=moved).finish(RunStatus.INTERRUPTED, {})
    found = run.code()
    assert found is not None
    assert found.place == moved.place
    assert not (run.path / "rolled-back").exists()
    RunStore.of(run).reopen(run, code=CapturedCode(CODE.about, FILES, None)).finish(RunStatus.INTERRUPTED, {})
    assert (run.path / "model/place.json").exists()


def test_an_archive_carries_the_code_but_not_its_place(tmp_path) -> None:
    run = _ended(tmp_path / "a")
    other = CapturedCode(CODE.about, {"my_model.py": b"y = 2\n"}, "/elsewhere/my_model.py:Vae")
    RunStore.of(run).reopen(run, code=other).finish(RunStatus.INTERRUPTED, {})
    export_run(run.fs, run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as opened:
        names = opened.namelist()
    assert "rolled-back/0001-model/model/parts/deep/_blocks.py" in names
    assert not any("place.json" in name for name in names)
    imported = import_run(RunStore(tmp_path / "b"), tmp_path / "run.zip").run
    found = imported.code()
    assert found is not None
    assert (found.files, found.place) == (other.files, None)
    assert verify_run(imported) == []


def test_a_run_killed_while_it_was_claimed_may_have_its_code_already(tmp_path) -> None:
    run = _ended(tmp_path)
    for path in run.path.iterdir():
        if path.name != "model":
            path.unlink() if path.is_file() else None
    assert [each.kind for each in verify_run(run) if each.file.name == "run.json"] == ["note"]
