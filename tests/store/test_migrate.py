"""Stores of format 1: read as they are, written once they are migrated, and nothing lost on the way."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dregcli.errors import RunStateError, StoreFormatError
from dregcli.names import RunStatus
from dregcli.store import layout, log, results
from dregcli.store.migrate import migrate
from dregcli.store.records import read_info
from dregcli.store.runs import RunStore
from tests.store.old.write_format_1 import ENVIRONMENT, FIGURE, SPEC
from tests.support.store_faults import CountingFileSystem, Killed, KillingFileSystem, every, flip, temporaries

OLD = Path(__file__).parent / "old" / "format-1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "runs"))


def _store(root: Path) -> RunStore:
    return RunStore(root, CountingFileSystem())


def _content(root: Path) -> list[Any]:
    """All that can be read of the runs, as plain values."""
    found: list[Any] = []
    for run in _store(root).runs():
        info = run.info()
        checkpoints = [run.load_checkpoint(step) for step in run.checkpoints()]
        found.append(
            [run.label, info.status, info.created, dict(info.summary), run.spec(), run.environment()]
            + [
                (split, name, column.tobytes())
                for split in run.splits()
                for name, column in run.metrics(split).items()
            ]
            + [(c.step, c.state, sorted((n, t.numpy().tobytes()) for n, t in c.model.items())) for c in checkpoints]
            + sorted((n, t.numpy().tobytes()) for c in checkpoints for n, t in c.optimizer.items())
            + [(r.path.name, r.attrs, {n: a.tobytes() for n, a in r.arrays().items()}) for r in run.results("evals")]
        )
    return found


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_an_old_store_is_read(root: Path) -> None:
    before = _files(root)
    done, stopped, killed = _store(root).runs()
    assert [run.status() for run in (done, stopped, killed)] == [
        RunStatus.COMPLETED,
        RunStatus.INTERRUPTED,
        RunStatus.CRASHED,
    ]
    assert done.spec() == SPEC
    assert done.environment() == ENVIRONMENT
    assert done.metrics("train")["step"].tolist() == list(range(1, 21))
    assert done.metrics("train")["bound"].tolist() == [-100.0 / step for step in range(1, 21)]
    assert np.isnan(done.metrics("valid")["stderr"]).all()
    assert torch.equal(done.load_checkpoint("best").model["weight"], torch.arange(6.0).reshape(2, 3) / 10)
    assert killed.metrics("train")["step"].tolist() == list(range(1, 16))
    assert done.results("evals")[0].attrs["value"] == -5.5
    assert (done.info().log, dict(done.info().last), done.info().version) == (None, {}, 1)
    assert _files(root) == before


def test_an_old_store_is_not_written(root: Path) -> None:
    before, store = _files(root), _store(root)
    for write in (
        lambda: store.claim("new", spec={}, environment={}),
        lambda: store.reopen(store.resolve("old/v003")[0]),
    ):
        with pytest.raises(StoreFormatError, match="format 1, which is read only") as caught:
            write()
        assert f"dreg runs migrate --runs-dir {root}" in str(caught.value)
    assert _files(root) == before


def test_migrated_it_holds_the_same_and_can_be_written(root: Path) -> None:
    old, before = _files(root), _content(root)
    found = migrate(_store(root))
    assert (found.before, len(found.migrated), found.unreadable) == (1, 3, ())
    assert _content(root) == before
    done, _, killed = _store(root).runs()
    assert done.info().last["train"] == {"step": 20.0, "bound": -5.0, "ess": 1.0 + 20 / 7}
    assert log.unsealed(done.path, done.info()) == 0
    figure = done.path / "figures" / "learning-curves.png"
    assert figure.read_bytes() == FIGURE
    assert results.digest_path(figure).read_bytes() == results.digest_line(figure, FIGURE)
    # The backup holds every file that was changed, and nothing else was.
    assert found.backup == root / ".backups" / "format-1"
    kept, now = _files(found.backup), _files(root)
    assert kept == {name: old[name] for name in kept}
    changed = {name for name in old if now[name] != old[name]}
    assert changed == set(kept) == {"store.json", *(f"old/v00{i}/run.json" for i in (1, 2, 3))}
    # A second time there is nothing to do.
    assert migrate(_store(root)).backup is None
    assert _files(root) == now
    # And it is written.
    assert _store(root).claim("old", spec=SPEC, environment={}).run.version == 4
    writer = _store(root).reopen(killed, environment={"threads": 3})
    writer.roll_back(10)
    assert writer.run.metrics("train")["step"].tolist() == list(range(1, 11))
    assert writer.run.info().last["train"]["step"] == 10
    assert writer.run.resumed_environments() == {2: {"threads": 3}}


def test_a_kill_at_any_operation_loses_nothing(root: Path, tmp_path: Path) -> None:
    old, before = _files(root), _content(root)

    def attempt(number: int) -> bool:
        copy = Path(shutil.copytree(root, tmp_path / f"copy{number}"))
        try:
            migrate(RunStore(copy, KillingFileSystem(number)))
        except Killed:
            assert _content(copy) == before
            migrate(_store(copy))
            assert _content(copy) == before
            assert layout.store_format(copy) == 2
            assert all(run.info().version == 2 for run in _store(copy).runs())
            kept = _files(copy / ".backups" / "format-1")
            complete = {name: content for name, content in kept.items() if not name.endswith(".tmp")}
            assert len(complete) == 4
            assert complete == {name: old[name] for name in complete}
            shutil.rmtree(copy)
            return True
        return False

    assert every(80, attempt) > 20


def test_a_live_run_is_not_migrated_under_its_writer(root: Path) -> None:
    living = _store(root / ".." / "other").claim("old", spec=SPEC, environment={}).run
    (root / "old" / "v004").mkdir()
    shutil.copyfile(living.path / "run.json", root / "old" / "v004" / "run.json")
    before = _files(root)
    with pytest.raises(RunStateError, match="is being written by process"):
        migrate(_store(root))
    assert _files(root) == before


def test_a_run_that_cannot_be_read_is_left_as_it_is(root: Path) -> None:
    flip(root / "old" / "v002" / "run.json", 100)
    broken = (root / "old" / "v002" / "run.json").read_bytes()
    (root / "old" / "v009").mkdir()  # killed while it was claimed
    found = migrate(_store(root))
    assert [run.label for run in found.migrated] == ["old/v001", "old/v003"]
    assert "old/v002" in found.unreadable[0]
    assert (root / "old" / "v002" / "run.json").read_bytes() == broken
    assert not temporaries(root)


def test_the_kept_store_is_one_of_format_1() -> None:
    """Else these tests would show nothing."""
    assert layout.store_format(OLD) == 1
    assert {read_info(path).version for path in OLD.rglob("run.json")} == {1}
