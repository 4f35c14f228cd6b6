"""Writing the page: where it may go, what is replaced, and what of a run cannot be read."""

import os
from pathlib import Path
from typing import Any

import pytest

from dregcli.app import report_html
from dregcli.app.report import make_report
from dregcli.app.report_html import check_target, write_html
from dregcli.errors import StoreWriteError, UsageError
from tests.support.report_page import ENVIRONMENT
from tests.support.store_study import add_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_run(tmp_path / "runs", environment=ENVIRONMENT)
    return tmp_path / "runs"


def write(store: Path, path: Path, **more: Any) -> str:
    nbytes = write_html(make_report([], runs_dir=store), (), path, time_to=None, argv=["dreg", "report"], **more)
    assert path.stat().st_size == nbytes
    return path.read_text(encoding="utf-8")


def test_a_file_is_replaced_when_the_new_one_is_whole(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    assert "<h1>Runs on digits</h1>" in write(store, path)
    path.write_text("mine")
    assert "<h1>Runs on digits</h1>" in write(store, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.html", "runs"], "nothing is left aside"

    def full(*_: object) -> None:
        what = "No space left on the disk"
        raise StoreWriteError(what, where="x", hint="choose: --runs-dir FOLDER")

    before = path.read_text()
    monkeypatch.setattr(report_html, "write_aside", full)
    with pytest.raises(StoreWriteError, match="No space left") as error:
        write(store, path)
    assert error.value.hint is not None
    assert "--html FILE" in error.value.hint
    assert path.read_text() == before


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "under a file", "no folder", "long"])
def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "report.html"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "file")
    elif kind == "under a file":
        path = tmp_path / "file" / "report.html"
    elif kind == "no folder":
        path = tmp_path / "no such" / "report.html"
    else:
        path = tmp_path / ("x" * 300)
    with pytest.raises(UsageError) as error:
        check_target(path)
    assert str(path) in str(error.value)
    assert error.value.hint is not None
    assert (tmp_path / "file").read_text() == "mine"
    if kind == "no folder":
        assert "mkdir -p" in error.value.hint
        assert f"'{path.parent}'" in error.value.hint


def test_what_cannot_be_read_is_left_out_and_told(store: Path, tmp_path: Path) -> None:
    run = add_run(store, seed=1, environment=ENVIRONMENT)
    run.add_label(note="gone")
    (run.path / "environment.json").write_text("{}")
    for label in (run.path / "labels").iterdir():
        label.write_text("{}")
    text = write(store, tmp_path / "report.html")
    assert "left out: environment of " in text
    assert "left out: labels of " in text
    assert "dreg runs rerun digits-iwae-dreg-k64/v002 --runs-dir" in text, "its settings are known"


def test_a_resumed_run_tells_both_commands(store: Path, tmp_path: Path) -> None:
    from dregcli.names import RunStatus
    from dregcli.store.runs import RunStore

    first = add_run(store, seed=2, status=RunStatus.INTERRUPTED, environment=ENVIRONMENT)
    again = {**ENVIRONMENT, "argv": ["dreg", "train", "--resume", "it's"], "threads": 16}
    writer = RunStore(store).reopen(first, environment=again)
    writer.finish(RunStatus.COMPLETED, {"step": 1000, "bound": {"test": -90.0}})
    text = write(store, tmp_path / "report.html")
    assert "typed to resume it" in text
    assert "dreg train --resume &#39;it&#39;&#34;&#39;&#34;&#39;s&#39;" in text
    assert "digits-iwae-dreg-k64/v002 (resumed)" in text
