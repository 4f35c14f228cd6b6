"""What cannot be kept is not computed: a disk that refuses is asked first."""

import errno
from pathlib import Path

import pytest

from dregcli.app.diagnosis import subject as bias_subject
from dregcli.app.diagnosis import variance
from dregcli.app.evaluation import evaluate
from dregcli.app.sampling import sample
from dregcli.filesystem import LocalFileSystem, check_can_write
from dregcli.store import archive_writer
from tests.support.cli import SMALL, run


def test_nothing_is_computed_that_could_not_be_kept(capsys, ready, monkeypatch, tmp_path: Path) -> None:
    found = ready(*SMALL, name="t")
    before = sorted(found.path.rglob("*"))
    values = tmp_path / "x.csv"
    values.write_text("\n".join("0,1,1,0" for _ in range(40)))

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def work(*_: object, **__: object) -> None:
        pytest.fail("something was computed")

    # Root may write into a folder whatever its permissions say, so that the disk itself has to refuse.
    monkeypatch.setattr(LocalFileSystem, "write", refuse)
    monkeypatch.setattr(LocalFileSystem, "mkdir", refuse)
    for module, name in (
        (sample, "load_checkpoint"),
        (evaluate, "load_checkpoint"),
        (bias_subject, "load_checkpoint"),
        (variance, "toy_problem"),
        (archive_writer, "verify_run"),
    ):
        monkeypatch.setattr(module, name, work)
    monkeypatch.setattr("dregcli.app.reporting.report.make_report", work)
    monkeypatch.setattr("dregcli.app.datasets.import_.import_data", work)
    elsewhere = tmp_path / "elsewhere"
    for words in (
        ["sample", "t"],
        ["eval", "t", "--k", 2],
        ["bias-check", "t"],
        ["variance", "t"],
        ["variance", "--toy", "--out", elsewhere],
        ["runs", "tag", "t", "--add", "x"],
        ["runs", "note", "t", "x"],
        ["runs", "export", "t", tmp_path / "x.zip"],
        ["report", "--html", elsewhere / "x.html"],
        ["report", "--csv", elsewhere / "x.csv"],
        ["report", "--latex", elsewhere / "x.tex"],
        ["report", "--figures", elsewhere],
        ["data", "import", values, "--name", "mine", "--data-dir", elsewhere],
    ):
        outcome = run(capsys, *words)
        assert outcome.code == 16, (words, outcome.err)
        assert "The file system is read-only" in outcome.err, words
        assert "\nnext: " in outcome.err, words
    assert sorted(found.path.rglob("*")) == before


def test_a_file_in_place_of_a_folder_is_found_before_any_work(capsys, ready, monkeypatch) -> None:
    found = ready(*SMALL, name="t")
    (found.path / "figures").write_text("")
    monkeypatch.setattr(sample, "load_checkpoint", lambda *_: pytest.fail("something was computed"))
    outcome = run(capsys, "sample", "t")
    assert (outcome.code, str(found.path / "figures") in outcome.err) == (16, True)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_may_have_room_by_then(monkeypatch, tmp_path: Path, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr(LocalFileSystem, "write", refuse)
    check_can_write(LocalFileSystem(), tmp_path)
