"""One run for an experiment and a seed, whoever looks, whenever, and whatever a network disk shows and refuses."""

import errno
import fcntl
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dregcli.app.studies import claiming
from dregcli.app.studies.claiming import Held, being_made, find_or_claim
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.errors import RunStateError, StoreCorrupt, StoreWriteError
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec, as_json
from dregcli.store import claims, trash
from dregcli.store.claims import Claim
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_store
from dregcli.store.writer import RunWriter
from tests.support.shared_disk import Host
from tests.support.store_faults import CountingFileSystem, FailingFileSystem, Killed, KillingFileSystem, every, flip
from tests.support.store_runs import FakeClock
from tests.support.store_study import spec

SPEC = RunSpec.model_validate(spec(steps=10))
KEY: Key = key_of(SPEC)
SUBJECT = f"{KEY[0]}-{KEY[1]}"

Way = Callable[[RunStore], Repeat | Held | RunWriter]
"""A way in which a process of a study comes to a run: it finds it, or makes it."""


def make(store: RunStore) -> Repeat | Held | RunWriter:
    """What a study does, without any training."""
    found = find_or_claim(store, KEY)
    if not isinstance(found, Claim):
        return found
    try:
        return store.claim("x", spec=as_json(SPEC), environment={}, right=found)
    except BaseException:
        found.give_back()
        raise


def made(store: RunStore) -> RunWriter:
    found = make(store)
    assert isinstance(found, RunWriter), found
    return found


def under_a_lock(store: RunStore) -> Repeat | RunWriter:
    """The way before claims: a lock of the store's folder, and no lock where the disk refuses locks."""
    with store.root.joinpath("store.json").open() as handle:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        found = claiming.repeats_in(store).get(KEY)
        return found or store.claim("x", spec=as_json(SPEC), environment={})


def in_a_locking_folder(store: RunStore) -> Repeat | Held | RunWriter:
    """A way that seems to do: an exclusive mkdir around looking and making, which is removed when the run is made."""
    lock = store.root / "lock"
    try:
        store.fs.mkdir(lock)
    except FileExistsError:
        return Held("somebody")
    found = claiming.repeats_in(store).get(KEY)
    found = found or store.claim("x", spec=as_json(SPEC), environment={})
    store.fs.rmdir(lock)
    return found


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)


def started(store: RunStore) -> int:
    return sum(run.info().started for run in store.runs())


def duplicates(way: Way, root: Path, monkeypatch: pytest.MonkeyPatch, *, tries: int, claimers: int = 4) -> int:
    """How many runs too many some claimers at once make, if all of them look before any of them claims."""
    looked = threading.Barrier(claimers)
    first = threading.local()

    def looking(store: RunStore) -> dict[Key, Repeat]:
        found = repeats_in(store)
        if not getattr(first, "done", False):
            first.done = True
            looked.wait(60)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(claiming, "repeats_in", looking)
        patch.setattr(claiming, "PAUSE_SECONDS", 0.001)
        total = 0
        for number in range(tries):
            store = RunStore(root / f"{way.__name__}-{number}", CountingFileSystem())
            store.claim("other", spec={}, environment={})
            threads = [threading.Thread(target=way, args=(store,)) for _ in range(claimers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            total += started(store) - 2
    return total


@pytest.mark.usefixtures("no_locks")
def test_several_at_once_make_one_run_where_the_disk_refuses_locks(tmp_path: Path, monkeypatch) -> None:
    assert duplicates(make, tmp_path, monkeypatch, tries=50) == 0
    assert duplicates(under_a_lock, tmp_path, monkeypatch, tries=2) == 2 * 3, "this test would not find a duplicate"


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Host, FakeClock]:
    """Two hosts of a disk. A host that waits sees the disk anew after three seconds."""
    time = FakeClock()
    both = Host(tmp_path / "runs", "first", time), Host(tmp_path / "runs", "second", time)

    def sleep(seconds: float) -> None:
        before = time.seconds
        time.pass_seconds(seconds)
        if before // 3 < time.seconds // 3:
            for host in both:
                host.refresh()

    monkeypatch.setattr(claiming.time, "sleep", sleep)
    return *both, time


Hosts = tuple[Host, Host, FakeClock]


def runs_of_two(way: Way, hosts: Hosts) -> int:
    """The runs that two hosts make, of which the second sees the disk as it was before the first made its run."""
    one, other, _ = hosts
    with one.here() as store:
        writer = way(store)
        assert isinstance(writer, RunWriter)
        writer.finish(RunStatus.COMPLETED, {"step": 10})
    with other.here() as store:
        assert repeats_in(store) == {}, "the test needs a host that sees nothing yet"
        way(store)
    one.refresh()
    return started(one.store)


def test_a_host_that_sees_what_the_disk_was_three_seconds_ago_makes_no_second_run(hosts: Hosts) -> None:
    assert runs_of_two(make, hosts) == 1


def test_a_claim_that_ends_with_the_look_would_not_do(hosts: Hosts) -> None:
    assert runs_of_two(in_a_locking_folder, hosts) == 2


@pytest.mark.parametrize("hidden", ["x", "x/v001", "x/v001/run.json"])
def test_who_sees_the_claim_and_not_its_run_waits_until_the_disk_shows_it(hosts: Hosts, hidden: str) -> None:
    one, other, time = hosts
    with one.here() as store:
        made(store).finish(RunStatus.COMPLETED, {"step": 10})
    other.refresh()
    path = other.store.root / hidden
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with other.here() as store:
        found = make(store)
    assert isinstance(found, Repeat)
    assert found.standing is Standing.DONE
    assert 0 < time.seconds <= 3.2


def test_a_disk_that_never_shows_what_others_did_is_told(hosts: Hosts, monkeypatch) -> None:
    one, other, time = hosts
    with one.here() as store:
        made(store)
    monkeypatch.setattr(claiming.time, "sleep", time.pass_seconds)
    monkeypatch.setattr(claiming, "PATIENCE_SECONDS", 3.0)
    with other.here() as store, pytest.raises(StoreWriteError, match="not shown the changes of other") as caught:
        make(store)
    assert "other hosts write" in str(caught.value.hint)
    assert time.seconds >= claiming.PATIENCE_SECONDS


def test_a_run_that_is_about_to_be_made_is_left_to_its_maker(hosts: Hosts) -> None:
    one, other, time = hosts
    with one.here() as store:
        assert isinstance(find_or_claim(store, KEY), Claim)
    other.refresh()
    with other.here() as store:
        found = make(store)
        assert isinstance(found, Held)
        assert "on first" in found.maker
        assert being_made(store, KEY) == found
        time.pass_seconds(300)
        assert being_made(store, KEY) == found
        time.pass_seconds(1)
        assert being_made(store, KEY) is None
        made(store)
        assert being_made(store, KEY) is None


def test_who_was_taken_for_dead_and_lives_makes_no_second_run(hosts: Hosts) -> None:
    one, other, time = hosts
    with one.here() as store:
        late = find_or_claim(store, KEY)
        assert isinstance(late, Claim)
    time.pass_seconds(301)
    other.refresh()
    with other.here() as store:
        made(store)
    with one.here() as store:
        with pytest.raises(RunStateError, match="took this run over"):
            store.claim("x", spec=as_json(SPEC), environment={}, right=late)
        late.give_back()  # gives nothing back that is not its own any more
    one.refresh()
    assert [run.label for run in one.store.runs()] == ["x/v001"]
    with other.here() as store:
        other.refresh()
        assert isinstance(make(store), Repeat)


def die(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of this process count from now on as those of a process of this host that is gone."""
    own = claims.own_lease
    monkeypatch.setattr(claims, "own_lease", lambda *of: replace(own(*of), process_start=1))


def test_a_claim_of_a_dead_process_of_this_host_is_free_at_once(tmp_path: Path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    with monkeypatch.context() as patch:
        die(patch)
        assert isinstance(find_or_claim(store, KEY), Claim)
    assert made(store).run.label == "x/v001"


def test_a_run_that_a_dead_process_made_and_did_not_name_is_found(tmp_path: Path, monkeypatch) -> None:
    """It was made after this process had looked for runs, and before this process read the claim."""
    store = RunStore(tmp_path, CountingFileSystem())
    with monkeypatch.context() as patch:
        die(patch)
        assert isinstance(find_or_claim(store, KEY), Claim)
    run = store.claim("x", spec=as_json(SPEC), environment={}).run
    looks = iter([{}])
    monkeypatch.setattr(claiming, "repeats_in", lambda store: next(looks, None) or repeats_in(store))
    found = make(store)
    assert isinstance(found, Repeat)
    assert found.run.path == run.path


def test_a_claim_that_names_its_run_is_not_given_back(tmp_path: Path) -> None:
    store = RunStore(tmp_path, CountingFileSystem())
    claim = find_or_claim(store, KEY)
    assert isinstance(claim, Claim)
    writer = store.claim("x", spec=as_json(SPEC), environment={}, right=claim)
    claim.give_back()
    entry = claims.newest(tmp_path, SUBJECT)
    assert entry
    assert entry.run == writer.run.key


def test_a_claim_that_was_given_back_is_free_though_its_process_lives(tmp_path: Path) -> None:
    store = RunStore(tmp_path, CountingFileSystem())
    claim = find_or_claim(store, KEY)
    assert isinstance(claim, Claim)
    assert isinstance(make(store), Held)
    claim.give_back()
    made(store)


def _removed(store: RunStore, writer: RunWriter) -> None:
    trash.remove(store.fs, writer.run)


def _deleted(_: RunStore, writer: RunWriter) -> None:
    shutil.rmtree(writer.run.path.parent)


def _prolonged(store: RunStore, writer: RunWriter) -> None:
    store.reopen(writer.run, spec=as_json(SPEC) | {"steps": 20}).finish(RunStatus.COMPLETED, {})


def _damaged(_: RunStore, writer: RunWriter) -> None:
    flip(writer.run.path / "run.json", 30)


def _beheaded(_: RunStore, writer: RunWriter) -> None:
    (writer.run.path / "run.json").unlink()


@pytest.mark.parametrize("act", [_removed, _deleted, _prolonged, _damaged, _beheaded])
def test_a_run_that_is_gone_or_another_one_is_made_again(tmp_path: Path, act) -> None:
    store = RunStore(tmp_path, CountingFileSystem())
    for _ in range(2):
        writer = made(store)
        writer.finish(RunStatus.COMPLETED, {})
        assert isinstance(make(store), Repeat)
        act(store, writer)
    made(store)
    assert isinstance(make(store), Repeat)


def test_an_altered_claim_is_told_and_found_by_verify(tmp_path: Path) -> None:
    store = RunStore(tmp_path, CountingFileSystem())
    writer = made(store)
    assert verify_store(tmp_path) == []
    flip(tmp_path / ".claims" / SUBJECT / "0002" / "claim.json", 30)
    assert isinstance(make(store), Repeat), "the run itself is enough"
    assert [finding.kind for finding in verify_store(tmp_path)] == ["fault"]
    shutil.rmtree(writer.run.path)
    with pytest.raises(StoreCorrupt, match="The claim of a run cannot be read") as caught:
        make(store)
    assert f"rm -r {tmp_path / '.claims' / SUBJECT}" in str(caught.value.hint)


@pytest.mark.parametrize("run", ["../../elsewhere/v001", "x", "/etc/v001", 3])
def test_a_claim_leads_nowhere_out_of_the_store(tmp_path: Path, run: str | int) -> None:
    store = RunStore(tmp_path, CountingFileSystem())
    assert isinstance(find_or_claim(store, KEY), Claim)
    entry = claims.newest(tmp_path, SUBJECT)
    assert entry
    claims._add(store.fs, claims.folder_of(tmp_path, SUBJECT), replace(entry, number=2, run=run))
    with pytest.raises(StoreCorrupt):
        make(store)


def test_a_kill_or_a_full_disk_at_any_operation_ends_with_one_run(tmp_path: Path, monkeypatch) -> None:
    def attempt(number: int, fs: FailingFileSystem | KillingFileSystem) -> bool:
        root = tmp_path / f"{type(fs).__name__}-{number}"
        failed = False
        with monkeypatch.context() as patch:
            die(patch)  # a full disk ends the study too
            try:
                make(RunStore(root, fs))
            except (StoreWriteError, Killed):
                failed = True
        after = RunStore(root, CountingFileSystem())
        assert isinstance(make(after), Repeat | RunWriter)
        assert isinstance(make(after), Repeat)
        assert started(after) == 1
        return failed

    assert every(90, lambda number: attempt(number, FailingFileSystem(number))) > 30
    assert every(90, lambda number: attempt(number, KillingFileSystem(number))) > 30
