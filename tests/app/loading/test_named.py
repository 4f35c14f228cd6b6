"""A name where a command needs one run: which of its versions it means, in every command."""

from pathlib import Path

import pytest

from dregcli.app.loading.named import find_completed_run, find_run, find_run_to_resume
from dregcli.errors import RunNotFound, UsageError
from dregcli.names import RunStatus
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import run
from tests.support.listener import Recorder
from tests.support.store_faults import flip
from tests.support.store_study import add_run

DONE, CUT, LIVE = RunStatus.COMPLETED, RunStatus.INTERRUPTED, RunStatus.RUNNING
EVERY = (find_completed_run, find_run, find_run_to_resume)


def _versions(root: Path, *made: tuple[RunStatus, dict]) -> list[Run]:
    return [add_run(root, name="x", status=status, rows=2, **changes) for status, changes in made]


@pytest.mark.parametrize(
    ("statuses", "completed", "any_", "to_resume"),
    [
        ([DONE], 1, 1, 1),
        ([DONE, DONE], 2, 2, 2),
        ([DONE, CUT], 1, 1, 2),
        ([CUT, DONE], 2, 2, 1),
        ([DONE, LIVE], 1, 1, 1),
        ([CUT, CUT, LIVE], None, 3, 2),
        ([LIVE], None, 1, 1),
    ],
)
def test_the_newest_version_that_can_be_used(tmp_path, statuses, completed, any_, to_resume) -> None:
    _versions(tmp_path, *((status, {}) for status in statuses))
    for find, version in zip(EVERY, (completed, any_, to_resume), strict=True):
        recorder = Recorder()
        if version is None:
            with pytest.raises(RunNotFound, match="No version of 'x' is completed") as refused:
                find(RunStore(tmp_path), "x", recorder)
            resume = f"; or continue a training: dreg train --resume {tmp_path}/x/v00{to_resume}"
            hint = f"name the version itself, {tmp_path}/x/v00{any_}" + (resume if CUT in statuses else "")
            assert refused.value.hint == hint
            continue
        assert find(RunStore(tmp_path), "x", recorder).label == f"x/v00{version}"
        (note,) = recorder.notes
        assert note.startswith(f"x means {tmp_path}/x/v00{version}, its ")
        newer = [f"v00{i} is {status}" for i, status in enumerate(statuses, 1) if i > version]
        assert note.partition("; ")[2] == ", ".join(newer)


@pytest.mark.parametrize("find", EVERY)
def test_versions_that_differ_in_their_seed_alone_are_one_experiment(tmp_path, find) -> None:
    _versions(tmp_path, *((DONE, {"seed": seed, "keep_last": 1 + seed}) for seed in (7, 8, 9)))
    recorder = Recorder()
    assert find(RunStore(tmp_path), "x", recorder).label == "x/v003"
    assert recorder.notes == [f"x means {tmp_path}/x/v003, its newest of 3 completed versions, seed 9"]


@pytest.mark.parametrize("find", EVERY)
def test_versions_with_other_settings_are_refused_and_listed(tmp_path, find) -> None:
    _versions(
        tmp_path,
        (DONE, {"steps": 2000}),
        (DONE, {"steps": 400, "estimator": "stl"}),
        (DONE, {"steps": 400, "estimator": "stl", "seed": 1}),
        (CUT if find is not find_run_to_resume else LIVE, {"k": 2}),  # no candidate
    )
    with pytest.raises(UsageError) as refused:
        find(RunStore(tmp_path), "x", Recorder())
    _, *lines = refused.value.what.splitlines()
    assert lines == ["v001: estimator dreg, steps 2000", "v002, v003: estimator stl, steps 400"]
    assert "x/v003" in str(refused.value.hint)
    # A version by its name or its path is always that one.
    for reference in ("x/v002", str(tmp_path / "x" / "v002")):
        recorder = Recorder()
        assert find(RunStore(tmp_path), reference, recorder).path.name == "v002"
        assert recorder.notes == []


def test_many_versions_and_settings_are_cut_short(tmp_path) -> None:
    _versions(tmp_path, *((DONE, {"steps": 10 + i // 4}) for i in range(40)))
    with pytest.raises(UsageError) as refused:
        find_run(RunStore(tmp_path), "x", Recorder())
    lines = refused.value.what.splitlines()
    assert lines[1] == "v001, v002, v003, ... (4 versions): steps 10"
    assert lines[-1] == "and 2 more groups of versions"
    assert len(lines) == 10


def test_what_cannot_be_read_makes_nothing_ambiguous(tmp_path) -> None:
    first, _, _ = _versions(tmp_path, (DONE, {"steps": 30}), (DONE, {}), (DONE, {}))
    flip(first.path / "spec.json", 30)
    assert find_completed_run(RunStore(tmp_path), "x", Recorder()).label == "x/v003"
    flip(first.path / "run.json", 30)
    assert find_run(RunStore(tmp_path), "x", Recorder()).label == "x/v003"
    assert find_run_to_resume(RunStore(tmp_path), "x", Recorder()).label == "x/v003"


@pytest.mark.parametrize(
    "words",
    [
        "sample x",
        "bias-check x",
        "variance x",
        "finetune-encoder x",
        "train --resume x",
        "runs rerun x",
        "runs verify x --replay 2",
        "runs show x",
        "runs diff x x/v001",
        "runs tag x",
        "runs note x",
        "runs export x FILE.zip",
    ],
)
def test_every_command_for_one_run_follows_the_rule(capsys, tmp_path, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    _versions(tmp_path / "runs", (DONE, {"steps": 2000}), (DONE, {"steps": 400}))
    outcome = run(capsys, *words.split())
    assert outcome.code == 2, outcome.err
    assert "v001: steps 2000" in outcome.err
    assert "v002: steps 400" in outcome.err
    assert list(tmp_path.glob("*.zip")) == []
