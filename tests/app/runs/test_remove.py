"""Removing runs: what happens between the plan and the user's yes."""

from pathlib import Path

import pytest

from dregcli.app.runs.remove import plan_run_removal, remove_runs
from dregcli.errors import RunStateError
from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
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
    assert len(remove_runs(planned)) == 2
    assert store.runs() == []
