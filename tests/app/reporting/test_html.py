"""Writing the page: where it may go, what is replaced, and what of a run cannot be read."""

from pathlib import Path

import pytest

from dregcli.app.reporting.html import page
from dregcli.app.reporting.report import make_report
from tests.support.report_page import ENVIRONMENT
from tests.support.store_study import add_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_run(tmp_path / "runs", environment=ENVIRONMENT)
    return tmp_path / "runs"


def shown(store: Path) -> str:
    return page(make_report([], runs_dir=store), (), time_to=None, argv=["dreg", "report"]).decode()


def test_what_cannot_be_read_is_left_out_and_told(store: Path) -> None:
    run = add_run(store, seed=1, environment=ENVIRONMENT)
    run.add_label(note="gone")
    (run.path / "environment.json").write_text("{}")
    for label in (run.path / "labels").iterdir():
        label.write_text("{}")
    text = shown(store)
    assert "left out: environment of " in text
    assert "left out: labels of " in text
    assert "dreg runs rerun digits-iwae-dreg-k64/v002 --runs-dir" in text, "its settings are known"


def test_a_resumed_run_tells_both_commands(store: Path) -> None:
    from dregcli.names import RunStatus
    from dregcli.store.runs import RunStore

    first = add_run(store, seed=2, status=RunStatus.INTERRUPTED, environment=ENVIRONMENT)
    again = {**ENVIRONMENT, "argv": ["dreg", "train", "--resume", "it's"], "threads": 16}
    writer = RunStore(store).reopen(first, environment=again)
    writer.finish(RunStatus.COMPLETED, {"step": 1000, "bound": {"test": -90.0}})
    text = shown(store)
    assert "typed to resume it" in text
    assert "dreg train --resume &#39;it&#39;&#34;&#39;&#34;&#39;s&#39;" in text
    assert "digits-iwae-dreg-k64/v002 (resumed)" in text
