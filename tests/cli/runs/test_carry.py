"""``dreg runs export``, ``import``, ``rm`` and ``gc`` of what is damaged, odd or there already."""

import os
import sys
from pathlib import Path

import pytest

from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.support.cli import Outcome, run
from tests.support.store_faults import flip
from tests.support.store_runs import SPEC, claim, save, train


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for _ in range(2):
        writer = claim(root, "x")
        writer.log("started")
        train(writer, 1, 3)
        save(writer, 3)
        writer.finish(RunStatus.COMPLETED, {"step": 3})
    return root


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str], root: Path):
    def call(*words: object) -> Outcome:
        return run(capsys, "runs", *words, "--runs-dir", root)

    return call


def test_an_import_says_that_the_run_is_here_already(runs, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    exported = runs("export", "x/v001", file, "--json")
    nothing = {"files": 0, "contents": [], "names_only": 0, "model": [], "diff_lines": 0, "diff_lines_redacted": 0}
    size = file.stat().st_size
    assert exported.json == {"run": f"{root}/x/v001", "file": str(file), "bytes": size, "captured": nothing}
    before = sorted(root.rglob("*"))
    there = runs("import", file)
    assert there.code == 0
    assert there.out.startswith(f"x/v001 is here already, as {root}/x/v001: nothing was imported\n")
    said = {"run": f"{root}/x/v001", "origin": "x/v001", "imported": False, "same_as": [f"{root}/x/v001"]}
    assert runs("import", file, "--json").json == {**said, "faults": []}
    assert sorted(root.rglob("*")) == before
    # A name makes a copy.
    again = runs("import", file, "--name", "y", "--json")
    said = {"run": f"{root}/y/v001", "origin": "x/v001", "imported": True, "same_as": [f"{root}/x/v001"]}
    assert again.json == {**said, "faults": []}
    # Of several that have everything, the run of the same name is named.
    assert runs("import", file, "--name", "a").code == 0
    assert runs("import", file).out.startswith(f"x/v001 is here already, as {root}/x/v001: ")


@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_a_run_that_lacks_something_of_the_file_is_imported_beside_it(runs, root: Path, tmp_path: Path, harm) -> None:
    """The copy in the file is then the better one: it was evaluated later, or this one is damaged."""
    file = tmp_path / "x.zip"
    runs("export", "x/v001", file)
    metrics = root / "x" / "v001" / "metrics.h5"
    if harm == "gone":
        metrics.unlink()
    else:
        flip(metrics, 700)
    found = runs("import", file)
    assert found.out.startswith(f"imported x/v001 as {root}/x/v003\n")
    assert "had the same run already: x/v001" in found.err


def test_an_export_says_what_it_carries_of_the_source_and_warns_of_what_may_be_secret(
    runs, root: Path, tmp_path: Path
) -> None:
    texts = {"exp.py": "x = 1\n", "conf.yaml": "password: hunter2\n", ".env": "A=1\n"}
    old = {
        "commit": "c0",
        "diff": "+x = 1\n+password = 'a'\n",
        "untracked": [*texts, "x.png"],
        "untracked_text": texts,
    }
    new = {**old, "diff": "+x = 1\n", "diff_redacted": 1, "untracked_text": {"exp.py": "x = 1\n"}}
    for name, environment in (("old", {"git": old}), ("new", {"capture": "source", "git": new})):
        writer = RunStore(root).claim(name, spec=SPEC, environment=environment)
        writer.finish(RunStatus.COMPLETED, {"step": 0})
    carried = runs("export", "old", tmp_path / "old.zip")
    assert (
        "from the source tree: a diff of 2 lines; the names of 1 untracked file without contents; the conte"
        in carried.out
    )
    assert "the run contains conf.yaml, .env, which may hold passwords or keys: look at" in carried.err
    assert "the run's diff has lines that may be passwords or keys" in carried.err
    carried = runs("export", "new", tmp_path / "new.zip", "--json")
    expected = {
        "files": 4,
        "contents": ["exp.py"],
        "names_only": 3,
        "model": [],
        "diff_lines": 1,
        "diff_lines_redacted": 1,
    }
    assert carried.json["captured"] == expected
    assert "warning" not in carried.err
    assert runs("show", "old", "--json").json["environment"]["git"] == old


def test_a_damaged_run_is_exported_only_with_force(runs, root: Path, tmp_path: Path) -> None:
    file, damaged = tmp_path / "x.zip", root / "x" / "v002" / "log.txt"
    flip(damaged, 3)
    refused = runs("export", "x/v002", file)
    assert refused.code == 20
    assert f"where: {damaged}" in refused.err
    assert "export it all the same with --force; see all faults: dreg runs verify " in refused.err
    (damaged.parent / "environment.json").unlink()
    forced = runs("export", "x/v002", file, "--force")
    assert forced.code == 0
    assert f"warning: {damaged}: The file does not match the digest in run.json" in forced.err
    for words, label in (((), "x/v002"), (("--name", "y"), "y/v001")):
        found = runs("import", file, *words)
        assert found.code == 0
        assert f"warning: {root}/{label}/log.txt was damaged when the run was exported\n" in found.err
        assert f"/{label}/environment.json was damaged when the run was exported, and it is not in the" in found.err
        assert runs("verify", label).code == 1


@pytest.mark.parametrize("name", ["pipe", "folder", "/dev/zero", "x" * 300, "nothing.zip"])
def test_what_is_no_archive_is_refused_at_once(runs, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    refused = runs("import", tmp_path / name)
    assert refused.code == 20
    assert "next:" in refused.err


def test_a_run_that_never_began_has_nothing_to_export(runs, root: Path, tmp_path: Path) -> None:
    (root / "z" / "v001").mkdir(parents=True)
    refused = runs("export", "z/v001", tmp_path / "z.zip")
    assert refused.code == 14
    assert "nothing to export" in refused.err
    assert runs("rm", "z", "--yes").code == 0


def test_a_damaged_run_can_be_removed_and_keeps_nobody_from_cleaning_up(runs, root: Path) -> None:
    assert runs("rm", "x/v002", "--yes").code == 0
    flip(root / "x" / "v001" / "run.json", 20)
    gone = runs("gc", "--yes", "--json")
    assert gone.code == 0
    assert [Path(path).name for path in gone.json["paths"]] == ["x--v002--1"]
    told = runs("rm", "x")
    assert "x/v001 (unreadable, " in told.err
    assert runs("rm", "x", "--yes").code == 0
    assert RunStore(root).runs() == []
    assert claim(root, "x").run.version == 3


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "1e300", "week"])
def test_a_number_of_days_that_is_none(runs, days: str) -> None:
    assert runs("gc", "--older-than", days).code == 2


def test_gc_asks_nobody_when_nobody_is_there(runs) -> None:
    runs("rm", "x/v001", "--yes")
    refused = runs("gc")
    assert refused.code == 2
    assert "dreg runs gc --yes" in refused.err
    assert runs("gc", "--dry-run").out.startswith("not removed: 1 item, ")
    assert runs("rm", "--restore", "x/v001").code == 0


def test_who_started_from_a_run_is_named_before_it_goes(runs, root: Path) -> None:
    for spec in ({"parent": {"run": "x/v001", "step": 3}}, {"parent": ["what", "is", "this"]}):
        RunStore(root).claim("child", spec=spec, environment={}).finish(RunStatus.COMPLETED, {})
    gone = runs("rm", "x/v001", "--yes")
    assert gone.code == 0
    assert "child/v001 started from x/v001" in gone.err


def test_without_tensorboard_it_says_what_to_install(runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    refused = runs("export", "x", "--tensorboard", tmp_path / "logs")
    assert refused.code == 2
    assert "next:  in your clone of dreg: pip install -e '.[tensorboard]'" in refused.err
    assert not (tmp_path / "logs").exists()
