"""Removing runs: what happens between the plan and the user's yes."""

from pathlib import Path

import pytest

from dregcli.app.loading.restore import load_checkpoint
from dregcli.app.runs.remove import plan_run_removal, remove_runs
from dregcli.errors import RunNotFound, RunStateError
from dregcli.names import RunStatus
from dregcli.store import trash
from dregcli.store.runs import RunStore
from tests.support.listener import Recorder
from tests.support.store_faults import CountingFileSystem
from tests.support.store_runs import ENVIRONMENT, SPEC


def test_a_run_that_is_resumed_while_the_user_is_asked_is_not_removed(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", CountingFileSystem())
    for name in ("a", "b"):
        store.claim(name, spec=SPEC, environment=ENVIRONMENT).finish(RunStatus.INTERRUPTED, {})
    planned = plan_run_removal(["a", "b"], runs_dir=store.root)
    writer = store.reopen(planned[1].run)
    with pytest.raises(RunStateError, match="b/v001 is being written by process"):
        remove_runs(planned)
    assert [run.label for run in store.runs()] == ["a/v001", "b/v001"]
    writer.finish(RunStatus.INTERRUPTED, {})
    # One that is removed meanwhile keeps the others where they are, too.
    moved = trash.remove(store.fs, planned[1].run)
    with pytest.raises(RunNotFound, match="b/v001 does not exist: it was removed"):
        remove_runs(planned)
    with pytest.raises(RunNotFound, match="b/v001 does not exist: it was removed"):
        load_checkpoint(planned[1].run, "last", Recorder())
    assert [run.label for run in store.runs()] == ["a/v001"]
    assert trash.restore(store.fs, store.root, "b/v001") == planned[1].run.path != moved
    assert len(remove_runs(planned)) == 2
    assert store.runs() == []
