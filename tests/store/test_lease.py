import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dregcli.errors import RunStateError, StoreCorrupt, StoreWriteError
from dregcli.filesystem import LOCAL
from dregcli.names import RunStatus
from dregcli.store import documents
from dregcli.store.lease import Lease, if_gone, is_alive, own_lease, take_lease
from dregcli.store.records import read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.store_faults import FailingFileSystem, Killed, KillingFileSystem, every
from tests.support.store_runs import FakeClock, claim, killed_run, save, train, train_steps

NOW = datetime(2026, 1, 1, tzinfo=UTC)

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


def rewrite_lease(run: Run, **changes: object) -> None:
    path = run.path / "run.json"
    info = read_info(path)
    assert info.lease is not None
    path.write_bytes(write_info(replace(info, lease=replace(info.lease, **changes))))


def test_this_process_is_alive_whatever_its_heartbeat() -> None:
    assert is_alive(own_lease(1, NOW - timedelta(days=9)), NOW)


@needs_proc
def test_a_process_id_that_was_reused_is_not_the_holder() -> None:
    lease = own_lease(1, NOW)
    assert lease.process_start is not None
    assert not is_alive(replace(lease, process_start=lease.process_start - 1), NOW)


def test_without_start_times_the_process_id_decides() -> None:
    lease = replace(own_lease(1, NOW), process_start=None)
    assert is_alive(lease, NOW)
    with subprocess.Popen([sys.executable, "-c", ""]) as done:
        done.wait()
    assert not is_alive(replace(lease, pid=done.pid), NOW)


@needs_proc
@pytest.mark.parametrize(
    "out_of_sight", [{"host": "elsewhere"}, {"boot_id": "another"}, {"pid_namespace": "pid:[1]"}]
)
@pytest.mark.parametrize(("age", "alive"), [(-3600, True), (0, True), (300, True), (301, False)])
def test_of_a_process_out_of_sight_only_the_heartbeat_tells(age: int, alive: bool, out_of_sight) -> None:
    """On another host; on a machine with this one's name, or before a reboot; in another container of this host.

    Its process id here may be anybody's, also this process's, and may be nobody's though it lives.
    """
    beat = own_lease(1, NOW - timedelta(seconds=age))
    for lease in (beat, replace(beat, process_start=1)):
        there = replace(lease, **out_of_sight)
        assert (is_alive(there, NOW), there.is_own) == (alive, False)
        assert "the run is free 5 minutes after its last sign of life, at " in if_gone(there)
    assert (beat.is_own, replace(beat, process_start=1).is_own, if_gone(beat)) == (True, False, "")


def test_a_lease_of_an_earlier_version_has_no_namespace() -> None:
    lease = own_lease(1, NOW)
    assert Lease.parse(lease.document()) == lease
    document = lease.document()
    del document["pid_namespace"]
    old = Lease.parse(document)
    assert (old.pid_namespace, old.is_in_sight, old.is_own) == (None, True, True)


@needs_proc
def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        lease = replace(own_lease(1, NOW), pid=child.pid, process_start=int(fields[19]))
        assert is_alive(lease, NOW)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped yet
        assert not is_alive(lease, NOW)
    finally:
        child.communicate()


def test_a_killed_writer_reads_as_crashed_and_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    run = killed_run(
        tmp_path,
        "writer.append('train', {'step': 1, 'bound': -1.0}); writer.flush(); writer.append('train', {'step': 2})",
    )
    assert run.status() is RunStatus.CRASHED
    assert train_steps(run) == [1]
    writer = RunStore(tmp_path).reopen(run)
    assert run.status() is RunStatus.RUNNING
    train(writer, 2, 3)
    writer.finish(RunStatus.COMPLETED, {"step": 3})
    assert (run.status(), train_steps(run)) == (RunStatus.COMPLETED, [1, 2, 3])


def test_a_run_that_its_writer_left_is_free_for_this_process_and_a_new_one_of_its_name_is_not(tmp_path: Path) -> None:
    """Its end could not be written, so that run.json still names this process, which lives."""
    store, writer = RunStore(tmp_path), claim(tmp_path)
    writer.leave()
    assert writer.run.status() is RunStatus.CRASHED
    with pytest.raises(RunStateError, match="is finished"):
        writer.flush()
    again = store.reopen(writer.run)
    assert again.run.status() is RunStatus.RUNNING
    again.finish(RunStatus.COMPLETED, {})
    again.leave()
    assert again.run.status() is RunStatus.COMPLETED
    shutil.rmtree(writer.run.path)
    assert claim(tmp_path).run.path == writer.run.path
    assert writer.run.status() is RunStatus.RUNNING


def test_a_run_is_left_whichever_operation_of_its_last_write_fails(tmp_path: Path) -> None:
    """Also the last one, after which run.json has a heartbeat that the writer does not know of."""

    def attempt(number: int) -> bool:
        disk = FailingFileSystem(10_000)
        writer = RunStore(tmp_path, disk).claim(f"x{number}", spec={"k": 64}, environment={})
        disk.at = disk.count + number
        try:
            writer.flush()
        except StoreWriteError:
            assert writer.run.status() is RunStatus.RUNNING
            writer.leave()
            assert writer.run.status() is RunStatus.CRASHED
            return True
        return False

    assert every(20, attempt) >= 3


def test_a_live_run_is_not_taken_over(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    with pytest.raises(RunStateError) as caught:
        RunStore(tmp_path).reopen(run)
    assert f"process {os.getpid()} on {socket.gethostname()}" in caught.value.what


def test_a_completed_run_is_reopened_only_to_be_prolonged(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 3)
    writer.finish(RunStatus.COMPLETED, {"bound": float("nan")})
    run, store = writer.run, RunStore(tmp_path)
    with pytest.raises(RunStateError, match="completed") as caught:
        store.reopen(run)
    assert "--steps" in str(caught.value.hint)

    again = store.reopen(run, spec={"steps": 6})
    assert run.spec() == {"steps": 6}
    (kept,) = run.path.glob("rolled-back/*-spec/spec.json")
    assert json.loads(kept.read_bytes())["k"] == 64
    train(again, 4, 6)
    again.finish(RunStatus.COMPLETED, {"step": 6})
    assert train_steps(run) == [1, 2, 3, 4, 5, 6]
    assert not list(run.path.glob("parts/*"))


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.INTERRUPTED])
def test_an_unfinished_run_is_reopened(tmp_path: Path, status: RunStatus) -> None:
    writer = claim(tmp_path)
    writer.add_failure({"what": "the bound is not finite", "step": 3})
    writer.finish(status, {})
    again = RunStore(tmp_path).reopen(writer.run)
    info = writer.run.info()
    assert info.status is RunStatus.RUNNING
    assert info.lease is not None
    assert info.lease.generation == 2
    assert info.failures[0]["step"] == 3
    assert info.failures[0]["time"]
    with pytest.raises(RunStateError, match="finished"):
        writer.append("train", {"step": 1})
    again.flush()


def test_a_reopened_run_has_the_spec_that_it_is_given_also_one_that_it_had_before(tmp_path: Path) -> None:
    store, writer = RunStore(tmp_path), claim(tmp_path)
    run = writer.run
    for steps in (6, 9, 6, 6, 9):
        writer.finish(RunStatus.INTERRUPTED, {})
        writer = store.reopen(run, spec={"steps": steps})
        assert run.spec() == {"steps": steps}
    assert len(list(run.path.glob("rolled-back/*-spec/spec.json"))) == 4, "what it had before each change"


RESUMER = """
import sys
from pathlib import Path
from dregcli.errors import RunStateError
from dregcli.store.runs import RunStore
store = RunStore(Path(sys.argv[1]))
(run,) = store.resolve("digits")
print("ready", flush=True)
sys.stdin.readline()
try:
    store.reopen(run)
    print("won", flush=True)
except RunStateError as error:
    print(error.what, flush=True)
sys.stdin.readline()
"""


def test_of_racing_resumes_one_wins_and_the_others_say_who(tmp_path: Path) -> None:
    killed_run(tmp_path)
    command = [sys.executable, "-c", RESUMER, str(tmp_path)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    streams = [(racer.stdin, racer.stdout) for racer in racers]
    said: list[str] = []
    for _, out in streams:
        assert out is not None
        assert out.readline() == "ready\n"
    for into, _ in streams:
        assert into is not None
        into.write("\n")
        into.flush()
    for _, out in streams:  # all answer while the winner still lives
        assert out is not None
        said.append(out.readline().strip())
    for racer in racers:
        racer.communicate("\n", timeout=60)
    assert said.count("won") == 1
    winner = racers[said.index("won")].pid
    losers = [line for line in said if line != "won"]
    assert all(f"is being written by process {winner} on" in line for line in losers), losers


def test_a_writer_that_was_taken_over_stops(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 2)
    rewrite_lease(writer.run, generation=2, host="elsewhere", pid=7)
    for act in (writer.flush, lambda: save(writer, 1), lambda: writer.finish(RunStatus.COMPLETED, {})):
        with pytest.raises(RunStateError, match="taken over by process 7 on elsewhere"):
            act()
    assert train_steps(writer.run) == []


def test_a_run_json_that_vanished_is_restored(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    (writer.run.path / "run.json").unlink()
    writer.flush()
    assert writer.run.status() is RunStatus.RUNNING


def test_the_heartbeat_is_refreshed_by_a_flush(tmp_path: Path) -> None:
    clock = FakeClock()
    writer = RunStore(tmp_path, clock=clock.clock).claim("digits", spec={}, environment={})
    assert not writer.flush_due()
    clock.pass_seconds(30)
    assert writer.flush_due()
    writer.flush()
    assert not writer.flush_due()
    info = writer.run.info()
    assert info.lease is not None
    assert info.lease.heartbeat == info.updated == clock.time
    rewrite_lease(writer.run, host="elsewhere")
    assert writer.run.status() is RunStatus.RUNNING
    clock.pass_seconds(301)
    assert writer.run.status() is RunStatus.CRASHED


def test_a_clock_that_jumps_back_harms_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    writer = RunStore(tmp_path, clock=clock.clock).claim("digits", spec={}, environment={})
    clock.time -= timedelta(days=400)
    clock.seconds += 30
    assert writer.flush_due()
    train(writer, 1, 2)
    writer.flush()
    assert writer.run.status() is RunStatus.RUNNING
    assert train_steps(writer.run) == [1, 2]


@needs_proc
def test_a_resumer_killed_before_it_wrote_run_json_holds_nothing(tmp_path: Path) -> None:
    run = killed_run(tmp_path)
    dead = replace(own_lease(2, datetime.now(UTC)), process_start=1)
    take_lease(LOCAL, run.path, dead)
    RunStore(tmp_path).reopen(run)
    info = run.info()
    assert info.lease is not None
    assert info.lease.generation == 3


def test_a_resumer_alive_and_not_done_taking_over_is_named(tmp_path: Path) -> None:
    run = killed_run(tmp_path)
    take_lease(LOCAL, run.path, own_lease(2, datetime.now(UTC)))
    with pytest.raises(RunStateError, match=f"process {os.getpid()}"):
        RunStore(tmp_path).reopen(run)


def test_a_failed_resume_leaves_no_lease(tmp_path: Path) -> None:
    """This process may try again when the file is mended; with its lease it would refuse itself."""
    run = killed_run(tmp_path)
    spec = run.path / "spec.json"
    content = spec.read_bytes()
    spec.write_bytes(b"{}")
    with pytest.raises(StoreCorrupt, match="does not match the digest"):
        RunStore(tmp_path).reopen(run)
    spec.write_bytes(content)
    assert RunStore(tmp_path).reopen(run).run.status() is RunStatus.RUNNING


@needs_proc
def test_a_kill_or_a_full_disk_at_any_operation_of_a_reopen_loses_nothing(tmp_path: Path) -> None:
    run = killed_run(tmp_path, "writer.append('train', {'step': 1}); writer.flush()")
    (run.path / "parts" / ".torn.tmp").write_bytes(b"torn")

    def attempt(number: int, fs: FailingFileSystem | KillingFileSystem) -> bool:
        try:
            RunStore(tmp_path, fs).reopen(run, spec={"steps": number})
        except (StoreWriteError, Killed):
            # As the next process sees it, when this one is gone.
            if run.info().status is RunStatus.RUNNING:
                rewrite_lease(run, process_start=1)
            for folder in (run.path / "leases").glob("[0-9]*"):
                holder = documents.unseal(folder / "holder.json")
                (folder / "holder.json").write_bytes(documents.seal({**holder, "process_start": 1}))
            assert run.status() is RunStatus.CRASHED
            assert set(run.spec()) in ({"k"}, {"steps"})
            assert train_steps(run) == [1]
            return True
        return False

    assert every(60, lambda number: attempt(number, FailingFileSystem(number))) > 15
    rewrite_lease(run, process_start=1)
    (run.path / "parts" / ".torn.tmp").write_bytes(b"torn")
    assert every(60, lambda number: attempt(number + 100, KillingFileSystem(number))) > 15
    rewrite_lease(run, process_start=1)
    RunStore(tmp_path).reopen(run)
    assert not list((run.path / "parts").glob("*.tmp"))
    assert len(list(run.path.glob("rolled-back/*-spec/spec.json"))) > 2
