"""Processes take turns at looking for a run and claiming it."""

import subprocess
import sys

import pytest

from dregcli.errors import StoreFormatError
from dregcli.store.runs import RunStore
from dregcli.store.turns import turn
from tests.support.store_runs import is_taken

# Says that it has begun, waits for its turn, and says when it came.
WAITING = """
import sys
from pathlib import Path
from dregcli.store.runs import RunStore
from dregcli.store.turns import turn
print("waits", flush=True)
with turn(RunStore(Path(sys.argv[1]))):
    print(Path(sys.argv[1], "done").exists(), flush=True)
"""


def test_one_at_a_time(tmp_path) -> None:
    root = tmp_path / "runs"
    with turn(RunStore(root)):
        assert is_taken(root)
        other = subprocess.Popen([sys.executable, "-c", WAITING, str(root)], stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "waits\n"
        (root / "done").touch()
    assert other.communicate(timeout=60)[0] == "True\n"
    assert not is_taken(root)


def test_whoever_fails_inside_is_out(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), turn(RunStore(tmp_path)):
        raise ZeroDivisionError
    assert not is_taken(tmp_path)


def test_a_turn_leaves_nothing_but_a_store(tmp_path) -> None:
    with turn(RunStore(tmp_path / "a" / "runs")):
        pass
    assert [path.name for path in (tmp_path / "a" / "runs").iterdir()] == ["store.json"]


def test_a_store_of_another_format_is_refused(tmp_path) -> None:
    (tmp_path / "store.json").write_text('{\n  "format": 99\n}\n')
    with pytest.raises(StoreFormatError), turn(RunStore(tmp_path)):
        pytest.fail("nobody may be inside")
