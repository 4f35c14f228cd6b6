import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dregcli.errors import RunStateError, StoreCorrupt, StoreFormatError, StoreWriteError, UsageError
from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.support.store_faults import (
    CountingFileSystem,
    FailingFileSystem,
    Killed,
    KillingFileSystem,
    every,
    flip,
    temporaries,
)
from tests.support.store_runs import ENVIRONMENT, SPEC, claim

RACER = """
import sys, time
from pathlib import Path
from dregcli.store.runs import RunStore
root = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(4):
    print(RunStore(root / "runs").claim("digits", spec={}, environment={}).run.version, flush=True)
"""


def test_racing_processes_get_a_version_each(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for racer in racers:  # all are past their imports before any claims
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    versions = [int(line) for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    assert sorted(versions) == list(range(1, 33))
    assert [run.version for run in RunStore(tmp_path / "runs").runs()] == list(range(1, 33))
    assert not temporaries(tmp_path)


def test_what_was_claimed_can_be_read(tmp_path: Path) -> None:
    run = claim(tmp_path / "deep" / "runs").run
    assert run.label == "digits/v001"
    assert run.path == tmp_path / "deep" / "runs" / "digits" / "v001"
    assert (run.spec(), run.environment()) == (SPEC, ENVIRONMENT)
    assert run.status() is RunStatus.RUNNING
    assert (tmp_path / "deep" / "runs" / "store.json").read_text() == '{\n  "format": 2\n}\n'
    info = run.info()
    assert info.lease is not None
    assert info.created == info.updated == info.lease.heartbeat
    assert claim(tmp_path / "deep" / "runs").run.version == 2


@pytest.mark.parametrize("file", ["spec.json", "environment.json", "run.json"])
def test_a_flipped_byte_of_a_run_s_documents_is_found(tmp_path: Path, file: str) -> None:
    run = claim(tmp_path).run
    path = run.path / file
    for position in range(0, path.stat().st_size, 3):
        flip(path, position)
        with pytest.raises((StoreCorrupt, StoreFormatError)) as caught:
            run.spec(), run.environment()
        assert caught.value.where == str(path)
        flip(path, position)
    assert run.spec() == SPEC


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", ".hidden", "-x", "a b", "é", "x\n", "store.json", "v001", "a" * 121]
)
def test_names_that_cannot_be_are_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        claim(tmp_path / "runs", name)
    assert "--name" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_spec_that_json_cannot_hold_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        RunStore(tmp_path / "runs").claim("digits", spec={"x": object()}, environment={})
    assert not list(tmp_path.iterdir())


def _fault(act: Callable[[], object]) -> StoreWriteError | None:
    try:
        act()
    except StoreWriteError as error:
        return error
    return None


def test_a_full_disk_at_any_operation_of_a_claim_leaves_no_run_that_looks_alive(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        root = tmp_path / f"runs{number}"
        fault = _fault(lambda: claim(root, fs=FailingFileSystem(number, lasting=True)))
        if fault is None:
            return False
        assert "No space" in fault.what
        assert str(root) in str(fault.where)
        assert RunStore(root).runs() == []
        assert claim(root).run.spec() == SPEC  # the same store works once there is space
        return True

    assert every(60, attempt) > 15


def test_an_interrupt_at_any_operation_of_a_claim_leaves_no_run(tmp_path: Path) -> None:
    class Interrupted(CountingFileSystem):
        at = 0

        def fault(self, operation: str, path: Path, content: bytes) -> None:
            if self.count == self.at:
                raise KeyboardInterrupt

    def attempt(number: int) -> bool:
        root, fs = tmp_path / f"{number}", Interrupted()
        fs.at = number
        try:
            claim(root, fs=fs)
        except KeyboardInterrupt:
            assert not root.exists() or [run for run in RunStore(root).runs() if run.info().started] == []
            assert not list(root.glob("*/v001/*"))
            return True
        return False

    assert every(60, attempt) > 10


def test_a_kill_at_any_operation_of_a_claim_reads_as_crashed(tmp_path: Path) -> None:
    seen: set[bool] = set()

    def attempt(number: int) -> bool:
        root = tmp_path / f"runs{number}"
        try:
            claim(root, fs=KillingFileSystem(number))
        except Killed:
            for run in RunStore(root).runs():
                seen.add(run.info().started)
                if not run.info().started:
                    assert run.status() is RunStatus.CRASHED
                    assert run.metrics("train") == {}
                    assert run.checkpoints() == []
                    with pytest.raises(RunStateError, match="killed while it was claimed"):
                        run.spec()
                    with pytest.raises(RunStateError, match="nothing to resume"):
                        RunStore(root).reopen(run)
            assert claim(root).run.spec() == SPEC
            return True
        return False

    assert every(60, attempt) > 15
    assert False in seen


def test_the_time_of_a_run_killed_while_claimed_is_its_folder_s(tmp_path: Path) -> None:
    before = time.time()
    (tmp_path / "digits" / "v001").mkdir(parents=True)
    (run,) = RunStore(tmp_path).runs()
    assert abs(run.info().created.timestamp() - before) < 60


def test_a_run_killed_while_its_first_file_was_written_is_one(tmp_path: Path) -> None:
    (tmp_path / "digits" / "v001").mkdir(parents=True)
    (tmp_path / "digits" / "v001" / ".spec.json.abcd.tmp").write_text("{")
    assert [run.label for run in RunStore(tmp_path).runs()] == ["digits/v001"]


def test_a_newer_store_is_refused_with_advice(tmp_path: Path) -> None:
    claim(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 3}')
    store = RunStore(tmp_path)
    for use in (store.runs, lambda: store.resolve("digits"), lambda: claim(tmp_path)):
        with pytest.raises(StoreFormatError) as caught:
            use()
        assert "git pull" in str(caught.value)
        assert caught.value.where == str(tmp_path / "store.json")


@pytest.mark.parametrize("text", ['{"format": "1"}', '{"format": 0}', '{"format": true}', "{}"])
def test_an_unknown_format_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(StoreFormatError, match="does not know"):
        RunStore(tmp_path).runs()


def test_a_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreWriteError) as caught:
        claim(tmp_path / "runs")
    assert "--runs-dir" in str(caught.value)
    assert RunStore(tmp_path / "nowhere").runs() == []
