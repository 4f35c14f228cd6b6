"""``dreg runs list`` below its table: what is found, in what order, and what is believed of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.runs.list_ import ListedRun, Wanted, list_runs
from dregcli.app.runs.words import stands_for
from dregcli.engine.words import parse_estimator, word_of
from dregcli.errors import RunNotFound, StoreCorrupt, UsageError
from dregcli.names import RunStatus
from dregcli.store import documents, layout
from dregcli.store.records import write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.store_faults import CountingFileSystem, flip
from tests.support.store_runs import FakeClock, killed_run

SPEC = {"dataset": "digits", "objective": "iwae", "estimator": "dreg", "k": 4, "steps": 20, "seed": 0}


def _make(
    root: Path,
    name: str = "x",
    status: RunStatus | None = RunStatus.COMPLETED,
    *,
    clock: FakeClock | None = None,
    summary: Mapping[str, Any] | None = None,
    ess: float = 1.0,
    **spec: object,
) -> Run:
    store = RunStore(root, CountingFileSystem(), (clock or FakeClock()).clock)
    writer = store.claim(name, spec={**SPEC, **spec}, environment={})
    writer.append("train", {"step": 10, "bound": -30.0, "ess": ess, "seconds": 2.0})
    writer.append("valid", {"step": 10, "bound": -31.0})
    writer.flush()
    if status is not None:
        writer.finish(status, summary or {"step": 20, "seconds": 4.0, "bound": {"valid": -29.0, "test": -28.0}})
    return writer.run


def _labels(root: Path, **wanted: Any) -> list[str]:
    return [row.run.label for row in list_runs(Wanted(**wanted), runs_dir=root).rows]


def _only(root: Path) -> ListedRun:
    (row,) = list_runs(Wanted(), runs_dir=root).rows
    return row


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("dreg", "dreg", True),
        ("dreg", "dreg-norm", False),
        ("dreg-alpha", "dreg-alpha:alpha=0.9", True),
        ("dreg-alpha:", "dreg-alpha:alpha=0.9", True),
        ("dreg-alpha:alpha=.90", "dreg-alpha:alpha=0.9", True),
        ("dreg-alpha:alpha=0.8", "dreg-alpha:alpha=0.9", False),
        ("dreg-alpha:gamma=0.9", "dreg-alpha:alpha=0.9", False),
        ("vimco:baseline=geometric", "vimco:baseline=geometric", True),
        ("vimco:baseline=arithmetic", "vimco:baseline=geometric", False),
        ("two:b=2", "two:a=1,b=2.0", True),
        ("two:b=2,a=1e0", "two:a=1,b=2.0", True),
        ("two:b=2,a=3", "two:a=1,b=2.0", False),
    ],
)
def test_words_mean_what_is_stored_however_they_are_spelt(asked: str, stored: str, expected: bool) -> None:
    assert stands_for(asked, stored) is expected


def test_every_estimator_is_found_by_its_name_and_by_its_word() -> None:
    for word in ("dreg-alpha", "ovis:gamma=0.25", "vimco:baseline=geometric", "dreg-cv", "stl"):
        stored = word_of(parse_estimator(word))
        assert stands_for(word, stored)
        assert stands_for(stored, stored)
        assert stands_for(word.partition(":")[0], stored)


def test_step_and_bounds_of_an_ended_run_are_the_final_ones(tmp_path: Path) -> None:
    _make(tmp_path)
    row = _only(tmp_path)
    assert (row.step, row.seconds, row.bound("valid"), row.bound("test")) == (20, 4.0, -29.0, -28.0)


def test_a_summary_of_an_earlier_process_is_not_taken_for_the_present(tmp_path: Path) -> None:
    run = _make(tmp_path)
    writer = RunStore(tmp_path, CountingFileSystem()).reopen(run, spec={**SPEC, "steps": 40})
    writer.append("valid", {"step": 30, "bound": -27.0})
    writer.flush()
    row = _only(tmp_path)
    assert row.status == "running"
    assert (row.step, row.bound("valid"), row.bound("test"), row.seconds) == (30, -27.0, None, 2.0)


def test_a_killed_run_is_listed_as_crashed_with_what_it_reached(tmp_path: Path) -> None:
    killed_run(tmp_path, "writer.append('train', {'step': 7, 'bound': -3.0}); writer.flush()")
    row = _only(tmp_path)
    assert (row.status, row.step, row.bound("train")) == ("crashed", 7, -3.0)


def test_a_run_killed_while_it_was_claimed_is_listed_too(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "y" / "v001").mkdir(parents=True)
    found = {row.run.label: row for row in list_runs(Wanted(), runs_dir=tmp_path).rows}
    assert (found["y/v001"].status, found["y/v001"].step, found["y/v001"].spec) == ("crashed", None, {})


def test_filters_hold_together(tmp_path: Path) -> None:
    _make(tmp_path, "a", estimator="dreg-alpha:alpha=0.9")
    _make(tmp_path, "b", objective="rws")
    _make(tmp_path, "c", RunStatus.FAILED, dataset="mine")
    _make(tmp_path, "d", None)
    assert _labels(tmp_path, estimator="dreg") == ["b/v001", "c/v001", "d/v001"]
    assert _labels(tmp_path, estimator="rws/dreg") == ["b/v001"]
    assert _labels(tmp_path, estimator="iwae/dreg", objective="rws") == []
    assert _labels(tmp_path, estimator="dreg-alpha:alpha=9e-1") == ["a/v001"]
    assert _labels(tmp_path, dataset="mine") == ["c/v001"]
    assert _labels(tmp_path, dataset="mnist") == []
    assert _labels(tmp_path, statuses=["failed", "running"]) == ["c/v001", "d/v001"]
    assert _labels(tmp_path, names=["b", "a", "b/v001"]) == ["b/v001", "a/v001"]
    RunStore(tmp_path).resolve("a")[0].add_label(add=["t", "u"])
    RunStore(tmp_path).resolve("b")[0].add_label(add=["t"])
    assert _labels(tmp_path, tags=["t"]) == ["a/v001", "b/v001"]
    assert _labels(tmp_path, tags=["t", "u"]) == ["a/v001"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"estimator": "drge"}, "Did you mean 'dreg'"),
        ({"estimator": "iwea/dreg"}, "Did you mean 'iwae'"),
        ({"estimator": "dreg-alpha:alpha"}, "needs a value: alpha"),
        ({"objective": "dreg"}, "no objective 'dreg'"),
        ({"dataset": "digitz"}, "Did you mean 'digits'"),
        ({"statuses": ["completed", "complete"]}, "Did you mean 'completed'"),
        ({"sort": "train.es"}, "Did you mean 'train.ess'"),
    ],
)
def test_words_that_name_nothing_are_told(tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    _make(tmp_path)
    with pytest.raises(UsageError, match=said):
        list_runs(Wanted(**wanted), runs_dir=tmp_path)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    _make(tmp_path)
    with pytest.raises(RunNotFound):
        list_runs(Wanted(names=["y"]), runs_dir=tmp_path)


def test_sorted_by_anything_those_without_it_last(tmp_path: Path) -> None:
    clock = FakeClock()
    for name, ess, test in (("b", 3.0, -5.0), ("a", float("nan"), None), ("c", 1.0, -9.0)):
        _make(tmp_path, name, clock=clock, ess=ess, summary={"step": 20, "bound": {"test": test}})
        clock.pass_seconds(60)
    assert _labels(tmp_path) == ["b/v001", "a/v001", "c/v001"]
    assert _labels(tmp_path, reverse=True) == ["c/v001", "a/v001", "b/v001"]
    assert _labels(tmp_path, sort="name") == ["a/v001", "b/v001", "c/v001"]
    for column in ("test", "test.bound"):
        assert _labels(tmp_path, sort=column) == ["c/v001", "b/v001", "a/v001"]
        assert _labels(tmp_path, sort=column, reverse=True) == ["b/v001", "c/v001", "a/v001"]
    assert _labels(tmp_path, sort="train.ess") == ["c/v001", "b/v001", "a/v001"]
    assert _labels(tmp_path, sort="train.ess", reverse=True, limit=1) == ["b/v001"]
    assert list_runs(Wanted(limit=2), runs_dir=tmp_path).of == 3


def test_versions_past_999_sort_by_number(tmp_path: Path) -> None:
    for version in (2, 999, 1000):
        (tmp_path / "x" / f"v{version:03d}").mkdir(parents=True)
    assert _labels(tmp_path, sort="name") == ["x/v002", "x/v999", "x/v1000"]


def test_a_column_is_not_missed_in_an_empty_store(tmp_path: Path) -> None:
    assert list_runs(Wanted(sort="valid.ess"), runs_dir=tmp_path / "none").rows == []


def test_one_that_cannot_be_read_is_a_row_and_hides_no_other(tmp_path: Path) -> None:
    broken, lost = _make(tmp_path, "a"), _make(tmp_path, "b")
    _make(tmp_path, "c")
    flip(broken.path / "run.json", 40)
    (lost.path / "spec.json").unlink()
    found = list_runs(Wanted(), runs_dir=tmp_path)
    assert [row.run.label for row in found.rows] == ["c/v001"]
    assert [each.run.label for each in found.damaged] == ["a/v001", "b/v001"]
    assert [Path(str(each.error.where)).name for each in found.unreadable] == ["run.json", "spec.json"]
    assert found.of == 3

    def damaged(**wanted: Any) -> int:
        return len(list_runs(Wanted(**wanted), runs_dir=tmp_path).damaged)

    # Nobody can tell what they are of; the warning remains.
    assert [damaged(estimator="dreg"), damaged(tags=["t"]), damaged(statuses=["completed"])] == [0, 0, 0]
    assert len(list_runs(Wanted(estimator="dreg"), runs_dir=tmp_path).unreadable) == 2
    assert [damaged(statuses=["unreadable"]), damaged(limit=2), damaged(limit=1)] == [2, 1, 0]
    assert _labels(tmp_path, statuses=["unreadable"]) == []


def test_damaged_labels_hide_no_run(tmp_path: Path) -> None:
    run = _make(tmp_path)
    run.add_label(add=["paper"])
    flip(run.path / "labels" / "label.json", 30)
    row = _only(tmp_path)
    assert (row.step, row.tags) == (20, ())
    assert isinstance(row.damage, StoreCorrupt)
    assert "label.json" in str(row.damage.where)


def test_a_run_removed_meanwhile_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = _make(tmp_path, "a"), Run(tmp_path / "b" / "v001")
    with pytest.raises(RunNotFound, match="it was removed"):
        gone.info()
    monkeypatch.setattr(RunStore, "runs", lambda _: [kept, gone])
    found = list_runs(Wanted(), runs_dir=tmp_path)
    assert ([row.run for row in found.rows], found.unreadable) == ([kept], [])


def test_a_run_prolonged_between_two_reads_is_no_fault(tmp_path: Path) -> None:
    run = _make(tmp_path)
    before = run.info()
    RunStore(tmp_path, CountingFileSystem()).reopen(run, spec={**SPEC, "steps": 40})
    assert run.spec(before)["steps"] == 40
    (run.path / "spec.json").write_bytes(documents.encode({**SPEC, "steps": 60}))
    with pytest.raises(StoreCorrupt):
        run.spec(before)


@pytest.mark.parametrize(
    "summary",
    [{"bound": 3}, {"bound": {"test": "x"}}, {"step": "x"}, {"step": True}, {"seconds": []}, {"step": float("nan")}],
)
def test_what_another_program_wrote_into_a_state_does_no_harm(tmp_path: Path, summary: dict[str, Any]) -> None:
    run = _make(tmp_path)
    info = replace(run.info(), summary=summary, last={"train": {"step": "x", "ess": None}})  # pyright: ignore
    (run.path / layout.RUN_FILE).write_bytes(write_info(info))
    row = _only(tmp_path)
    assert (row.bound("test"), row.seconds, row.step) == (None, None, None)
    assert _labels(tmp_path, sort="test") == ["x/v001"]


def test_times_that_compare_with_no_other_are_damage(tmp_path: Path) -> None:
    run = _make(tmp_path, status=None)
    info = run.info()
    assert info.lease
    without = info.updated.replace(tzinfo=None)
    for wrong in (replace(info, updated=without), replace(info, lease=replace(info.lease, heartbeat=without))):
        (run.path / layout.RUN_FILE).write_bytes(write_info(wrong))
        (damaged,) = list_runs(Wanted(), runs_dir=tmp_path).damaged
        assert "its offset from UTC is missing" in damaged.error.what
