"""``dreg runs migrate``."""

import shutil
from pathlib import Path

from tests.store.test_migrate import OLD
from tests.support.cli import SMALL, run


def test_what_an_old_store_refuses_is_what_migration_allows(capsys, tmp_path: Path) -> None:
    root = Path(shutil.copytree(OLD, tmp_path / "runs"))
    train = ("train", *SMALL, "--name", "new", "--runs-dir", root, "--json")
    refused = run(capsys, *train)
    assert refused.code == 17
    assert refused.json["error"]["next"].startswith(f"dreg runs migrate --runs-dir {root}")
    done = run(capsys, "runs", "migrate", "--runs-dir", root)
    assert done.code == 0
    assert "has format 2 now; runs migrated: 3" in done.out
    assert f"backup: {root}/.backups/format-1/" in done.out
    assert run(capsys, *train).code == 0
    again = run(capsys, "runs", "migrate", "--runs-dir", root, "--json")
    assert again.json == {
        "store": str(root),
        "before": 2,
        "format": 2,
        "migrated": [],
        "unreadable": [],
        "backup": None,
    }
    assert "nothing to do" in run(capsys, "runs", "migrate", "--runs-dir", root).out


def test_what_an_old_store_cannot_keep_is_refused_before_the_work(capsys, tmp_path: Path) -> None:
    """Who evaluates hears it at once; who reads a report gets it without the figure; nothing is written."""
    root = Path(shutil.copytree(OLD, tmp_path / "runs"))
    before = contents(root)
    path = root / "old" / "v001"
    for command in (
        ("eval", path),
        ("bias-check", path, "--k", 4),
        ("runs", "tag", path, "--add", "good"),
        ("runs", "note", path, "the first one"),
    ):
        refused = run(capsys, *command, "--json")
        assert refused.code == 17, command
        assert refused.json["error"]["next"].startswith(f"dreg runs migrate --runs-dir {root}")
    assert run(capsys, "report", path).code == 13  # its spec is the store's own, not one of a run that trained
    assert contents(root) == before


def test_the_report_of_an_old_store_writes_nothing(capsys, tmp_path: Path) -> None:
    assert run(capsys, "train", *SMALL, "--name", "new", "--runs-dir", tmp_path).code == 0
    shutil.copy(OLD / "store.json", tmp_path)
    before = contents(tmp_path)
    report = run(capsys, "report", "new", "--runs-dir", tmp_path)
    assert report.code == 0
    assert "iwae/dreg" in report.out
    assert contents(tmp_path) == before


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
