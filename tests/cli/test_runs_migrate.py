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
