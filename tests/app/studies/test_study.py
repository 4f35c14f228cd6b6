"""A study: what is done is skipped, what was cut is gone on with, what fails ends nothing else."""

import errno
import itertools
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from dregcli.app.reporting.report import make_report
from dregcli.app.studies import study, worker
from dregcli.app.studies.claiming import being_made, find_or_claim
from dregcli.app.studies.outcome import UNFINISHED, StudyResult
from dregcli.app.studies.pace import Pace
from dregcli.app.studies.plan import StudyPlan, plan_study
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.app.studies.study import run_study
from dregcli.app.training import session, train
from dregcli.app.training.evaluations import SPLITS
from dregcli.engine.training import Trainer
from dregcli.errors import (
    CheckpointCorrupt,
    DeviceUnavailable,
    Diverged,
    NotFinite,
    RunStateError,
    StoreWriteError,
    Terminated,
)
from dregcli.names import Capture, RunStatus
from dregcli.specs.run import RunSpec, as_json
from dregcli.store import claims, documents, layout, runs
from dregcli.store.claims import Claim
from dregcli.store.lease import own_lease
from dregcli.store.records import RunInfo, read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.listener import Recorder
from tests.support.quick_training import each_step, quick_training
from tests.support.store_faults import CountingFileSystem, FailingFileSystem

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 6,
    "hidden": (6,),
    "latent_dim": 2,
    "log_every": 2,
    "eval_every": 3,
    "checkpoint_every": 2,
    "device": "cpu",
    "backward": "dense",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def planned(*, name: str | None = None, **options: Any) -> StudyPlan:
    asked = {**SMALL, "seeds": "0-1", "estimator": ["dreg", "reparam"], **options}
    return plan_study(TrainRequest(asked, name=name), Files({}, {}), NOWHERE)


def trained(root: Path, listener: Recorder | None = None, *, name: str | None = None, **options: Any) -> StudyResult:
    store = RunStore(root, CountingFileSystem())
    plan = planned(name=name, **options)
    return run_study(plan, store=store, data_dir=NOWHERE, argv=["dreg"], listener=listener or Recorder())


def labels(result: StudyResult) -> list[str | None]:
    return [each.run.label if each.run else None for each in result.runs]


def claimed(root: Path, spec: RunSpec, name: str = "other") -> runs.RunWriter:
    return RunStore(root).claim(name, spec=as_json(spec), environment={})


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(*_: object) -> None:
        pytest.fail("nothing is left to train")

    each_step(monkeypatch, act)


def test_everything_runs_and_a_second_call_skips_all(tmp_path, monkeypatch) -> None:
    recorder = Recorder()
    first = trained(tmp_path, recorder)
    assert labels(first) == [f"digits-iwae-{e}-k2/v00{v}" for v in (1, 2) for e in ("dreg", "reparam")]
    assert all(each.info and each.info.status is RunStatus.COMPLETED and not each.skipped for each in first.runs)
    assert [(each.spec.estimator, each.spec.seed) for each in first.runs] == [
        *(("dreg", 0), ("reparam", 0), ("dreg", 1), ("reparam", 1))
    ]
    assert first.exit_code == 0
    assert first.report
    assert [len(group.seeds()) for group in first.report.groups] == [2, 2]
    assert first.report.sections[0].comparisons[0].pairs[0].seeds == (0, 1)
    assert recorder.open_tasks == 0
    assert ("run 3 of 4: iwae/dreg, seed 1", 4, "runs", 2) in recorder.begun

    no_training(monkeypatch)
    second = trained(tmp_path, name="another")
    assert labels(second) == labels(first)
    assert all(each.skipped and not each.failure for each in second.runs)
    assert second.exit_code == 0
    assert second.report
    assert list(second.report.runs) == list(first.report.runs)
    assert len(RunStore(tmp_path).runs()) == 4


def test_settings_without_an_effect_train_nothing_again(tmp_path, monkeypatch) -> None:
    trained(tmp_path, log_every=2)
    no_training(monkeypatch)
    recorder = Recorder()
    other = {"log_every": 3, "eval_every": 1, "checkpoint_every": 0, "keep_last": 1, "capture": "none", "threads": 1}
    result = trained(tmp_path, recorder, **other)
    assert all(each.skipped for each in result.runs)
    assert any(
        "done before" in note and note.endswith("with --log-every 2, --eval-every 3") for note in recorder.notes
    )
    report = make_report([], runs_dir=tmp_path)
    assert [len(group.seeds()) for section in report.sections for group in section.groups] == [2, 2]


def test_runs_that_differ_in_settings_without_an_effect_are_one_group_with_equal_numbers(tmp_path) -> None:
    """Stores from before the list have such runs; the reason for the list is that their numbers are equal."""
    for name, each in {"a": {"log_every": 2}, "b": {"log_every": 3, "eval_every": 0, "checkpoint_every": 0}}.items():
        trained(tmp_path / name, seeds="0", estimator="dreg", **each)
    first, second = (RunStore(tmp_path / name).runs()[0] for name in ("a", "b"))
    assert first.info().summary["bound"] == second.info().summary["bound"]
    report = make_report([str(first.path), str(second.path)], runs_dir=tmp_path / "a")
    (section,) = report.sections
    (group,) = section.groups
    assert len(group.rows) == 2
    assert len(group.seeds()) == 1
    assert section.comparisons == ()


def test_only_what_is_lacking_is_trained(tmp_path) -> None:
    trained(tmp_path, seeds="1", estimator="dreg", name="mine")
    result = trained(tmp_path, name="mine")
    assert [each.skipped for each in result.runs] == [False, False, True, False]
    assert labels(result) == [f"mine/v00{version}" for version in (2, 3, 1, 4)]
    # Another length is another experiment; and the report is of the runs of the study alone.
    other = trained(tmp_path, seeds="1", estimator="dreg", steps=4)
    assert [each.skipped for each in other.runs] == [False]
    assert other.report
    assert list(other.report.runs) == [str(other.runs[0].run.path if other.runs[0].run else None)]


def test_a_run_without_final_bounds_counts_as_done_and_how_to_get_them_is_said(tmp_path, monkeypatch) -> None:
    first = trained(tmp_path, seeds="1", estimator="dreg")
    run = first.runs[0].run
    assert run
    path = run.path / layout.RUN_FILE
    info = read_info(path)
    path.write_bytes(write_info(replace(info, summary={**info.summary, "bound": {"test": -1.0}})))
    no_training(monkeypatch)
    for splits, missing in zip(SPLITS.values(), ("train, valid", None, None), strict=True):
        recorder = Recorder()
        monkeypatch.setattr(study, "SPLITS", dict.fromkeys(SPLITS, splits))
        assert trained(tmp_path, recorder, seeds="1", estimator="dreg").runs[0].skipped
        said = [each for each in recorder.warnings if "has no final bounds" in each]
        if missing is None:
            assert not said
        else:
            (warning,) = said
            assert f"no final bounds of {missing}; compute them: dreg train --resume {run.path}" in warning
            assert "--final-eval all" in warning


def _signal(spec: RunSpec, trainer: Trainer) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _memory(spec: RunSpec, trainer: Trainer) -> None:
    raise MemoryError


def _kill(spec: RunSpec, trainer: Trainer) -> None:
    raise SystemExit(-9)  # no part of a session answers it, as none answers SIGKILL


@pytest.mark.parametrize(
    ("act", "status", "ends"),
    [
        (_signal, RunStatus.INTERRUPTED, pytest.raises(Terminated, match="run the same command again")),
        (_memory, RunStatus.FAILED, nullcontext()),
        (_kill, RunStatus.CRASHED, pytest.raises(SystemExit)),
    ],
)
def test_what_was_cut_is_gone_on_with_and_ends_as_if_it_never_was(tmp_path, monkeypatch, act, status, ends) -> None:
    """The first of two runs is cut at step 3, behind the checkpoint of step 2."""
    (whole,) = trained(tmp_path / "whole", seeds="0", estimator="dreg").runs
    store = RunStore(tmp_path / "cut")

    def cut(spec: RunSpec, trainer: Trainer) -> None:
        if (spec.estimator, trainer.step) == ("dreg", 3):
            act(spec, trainer)

    with monkeypatch.context() as during, ends:
        each_step(during, cut)
        # A process that is gone: its id is ours, and it began at another time.
        during.setattr(runs, "own_lease", lambda *of: replace(own_lease(*of), process_start=1))
        stopped = trained(store.root, seeds="0")
        assert stopped.exit_code == DeviceUnavailable.exit_code
        assert [each.failure is not None for each in stopped.runs] == [True, False]
    (before,) = [run for run in store.runs() if run.status() is not RunStatus.COMPLETED]
    assert (before.label, before.status()) == ("digits-iwae-dreg-k2/v001", status)

    recorder = Recorder()
    result = trained(store.root, recorder, seeds="0")
    step = 3 if status is RunStatus.INTERRUPTED else 2
    assert f"resuming {before.path} at step {step}" in recorder.notes
    assert [each.skipped for each in result.runs] == [False, status is RunStatus.FAILED]
    assert result.exit_code == 0
    assert labels(result) == ["digits-iwae-dreg-k2/v001", "digits-iwae-reparam-k2/v001"]
    assert len(store.runs()) == 2
    assert before.status() is RunStatus.COMPLETED
    assert whole.run
    assert differences(before, whole.run) == []


def _diverges(spec: RunSpec, trainer: Trainer) -> None:
    if (spec.seed, spec.estimator, trainer.step) == (0, "reparam", 3):
        with torch.no_grad():
            trainer.model.decoder[0].weight[0, 0] = torch.nan


def test_one_that_diverges_ends_no_other_and_is_not_tried_again(tmp_path, monkeypatch) -> None:
    three: dict[str, Any] = {"seeds": "0", "estimator": ["dreg", "reparam", "stl"]}
    each_step(monkeypatch, _diverges)
    recorder = Recorder()
    result = trained(tmp_path, recorder, **three)
    assert [each.failure is not None for each in result.runs] == [False, True, False]
    assert result.exit_code == Diverged.exit_code
    assert recorder.open_tasks == 0
    assert any("run 2 of 3: iwae/reparam, seed 0: failed: Training diverged" in each for each in recorder.warnings)
    assert result.report
    assert any("not in its means: failed digits-iwae-reparam-k2/v001" in each for each in result.report.warnings)

    no_training(monkeypatch)
    recorder = Recorder()
    again = trained(tmp_path, recorder, **three)
    assert labels(again) == labels(result)
    assert [each.skipped for each in again.runs] == [True] * 3
    assert again.exit_code == Diverged.exit_code, "a study that lacks a run is not done, however often it is asked"
    (told,) = recorder.warnings
    assert "skipped: Training diverged" in told
    assert "dreg train --resume" in told
    assert "smaller --lr than 0.001" in told


def test_a_failure_that_could_not_be_kept_is_one_all_the_same(tmp_path, monkeypatch) -> None:
    """This process, which lives, does not count as its writer any more."""
    monkeypatch.setattr(session.Session, "_fail", lambda *_: None)
    each_step(monkeypatch, _diverges)
    (found,) = trained(tmp_path, seeds="0", estimator="reparam").runs
    assert found.info
    assert found.info.status is RunStatus.CRASHED
    assert found.failure
    assert found.failure.exit_code == Diverged.exit_code


def test_a_run_that_another_process_writes_is_left_to_it(tmp_path) -> None:
    dreg, reparam = planned(seeds="0").combinations
    writer = claimed(tmp_path, reparam.spec)
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0")
    assert [(each.skipped, each.failure) for each in result.runs] == [(False, None), (True, None)]
    assert labels(result)[1] == writer.run.label
    assert result.exit_code == UNFINISHED, "and not 0: the study is not whole"
    assert any(f"{writer.run.path} is being written by process {os.getpid()}" in each for each in recorder.notes)
    assert len(RunStore(tmp_path).runs()) == 2
    assert dreg.spec.estimator == "dreg"


@pytest.fixture
def elsewhere(monkeypatch) -> Callable[[Callable[[], None]], list[float]]:
    """``elsewhere(act)``: this process counts as another one, and ``act`` is called when it is waited for again."""

    def waiting(act: Callable[[], None]) -> list[float]:
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            assert len(waits) < 5, "it waits for nobody"
            if len(waits) == 2:
                act()

        monkeypatch.setattr(os, "getpid", lambda: -1)
        monkeypatch.setattr(study.time, "sleep", sleep)
        return waits

    return waiting


def test_who_is_done_first_waits_for_the_other_process_and_ends_with_the_whole_study(tmp_path, elsewhere) -> None:
    (reparam,) = planned(seeds="0", estimator="reparam").combinations
    writer = claimed(tmp_path, reparam.spec)
    ended = {"bound": {"test": -1.0, "valid": -1.0, "train": -1.0}, "step": 6}
    waits = elsewhere(lambda: writer.finish(RunStatus.COMPLETED, ended))
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0")
    assert result.exit_code == 0
    assert [(each.skipped, each.shared) for each in result.runs] == [(False, False), (True, True)]
    assert waits == [study.POLL_SECONDS] * 2
    assert recorder.notes[-2].startswith("waiting for another process, which trains iwae/reparam, seed 0;")
    assert recorder.notes[-1] == f"run 2 of 2: iwae/reparam, seed 0: done by another process, {writer.run.path}"
    assert recorder.open_tasks == 0
    assert result.report
    assert len(result.report.runs) == 2
    assert len(RunStore(tmp_path).runs()) == 2


def test_what_another_process_leaves_is_trained(tmp_path, elsewhere) -> None:
    (reparam,) = planned(seeds="0", estimator="reparam").combinations
    writer = claimed(tmp_path, reparam.spec)
    elsewhere(lambda: writer.finish(RunStatus.INTERRUPTED, {}))
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0")
    assert result.exit_code == 0
    assert [(each.skipped, each.failure) for each in result.runs] == [(False, None)] * 2
    assert writer.run.status() is RunStatus.COMPLETED


def test_a_run_that_another_process_is_about_to_make_is_awaited(tmp_path, elsewhere) -> None:
    """It has claimed the run, which has no folder yet."""
    (reparam,) = planned(seeds="0", estimator="reparam").combinations
    key = key_of(reparam.spec)
    claim = find_or_claim(RunStore(tmp_path), key)
    assert isinstance(claim, Claim)
    waits = elsewhere(claim.give_back)
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0")
    assert result.exit_code == 0
    assert waits == [study.POLL_SECONDS] * 2
    assert [(each.skipped, each.failure) for each in result.runs] == [(False, None)] * 2
    assert any(f"skipped, process {claim_of(tmp_path, key)} is about to" in note for note in recorder.notes)


def claim_of(root: Path, key: Key) -> str:
    """The process id in the first entry of a claim."""
    folder = claims.folder_of(root, f"{key[0]}-{key[1]}")
    maker = documents.unseal(folder / "0001" / "claim.json")["maker"]
    return f"{maker['pid']} on {maker['host']}"


def test_a_run_that_is_gone_while_it_is_awaited_is_trained(tmp_path, elsewhere) -> None:
    (reparam,) = planned(seeds="0", estimator="reparam").combinations
    writer = claimed(tmp_path, reparam.spec)
    elsewhere(lambda: shutil.rmtree(writer.run.path))
    result = trained(tmp_path, seeds="0")
    assert result.exit_code == 0
    assert labels(result)[1] == "digits-iwae-reparam-k2/v001"


def test_a_signal_ends_the_wait(tmp_path, elsewhere) -> None:
    pid = os.getpid()
    (reparam,) = planned(seeds="0", estimator="reparam").combinations
    writer = claimed(tmp_path, reparam.spec)
    elsewhere(lambda: os.kill(pid, signal.SIGTERM))
    with pytest.raises(Terminated, match="run the same command again"):
        trained(tmp_path, seeds="0")
    assert writer.run.status() is RunStatus.RUNNING


def test_a_run_that_failed_here_and_was_completed_elsewhere_is_done(tmp_path, monkeypatch) -> None:
    """This process could not read what another one then completed."""
    (reparam,) = planned(seeds="0", estimator="reparam").combinations

    def fails(*_: object, **__: object) -> None:
        writer = claimed(tmp_path, reparam.spec)
        writer.finish(RunStatus.COMPLETED, {"bound": {"test": -1.0}, "step": 6})
        what = "The checkpoint cannot be read."
        raise CheckpointCorrupt(what)

    monkeypatch.setattr(train, "claim", fails)
    (found,) = (result := trained(tmp_path, seeds="0", estimator="reparam")).runs
    assert result.exit_code == 0
    assert (found.failure, found.shared, found.run and found.run.name) == (None, True, "other")


def test_the_time_of_all_runs_is_expected_from_the_first_progress_on(tmp_path, monkeypatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(study, "Pace", lambda kinds, at_once: Pace(kinds, clock=lambda: float(next(now))))
    recorder = Recorder()
    trained(tmp_path, recorder, steps=4, log_every=1, eval_every=0)
    begins = [note.partition("; about ") for note in recorder.notes if re.match("run (?!.*: done)", note)]
    assert [note for note, _, _ in begins] == [label for label, _, _, _ in recorder.begun if label.startswith("run")]
    assert [left.partition(" left for ")[2] for _, _, left in begins] == ["", "3 runs", "2 runs", "1 run"]
    assert recorder.expected[-1] < recorder.expected[0] / 4, "the last steps of one run, and the first of four"
    # What is done takes no time.
    again = Recorder()
    trained(tmp_path, again, steps=4, log_every=1, eval_every=0)
    assert again.expected == []


def test_a_run_that_another_process_takes_over_first_is_left_to_it(tmp_path, monkeypatch) -> None:
    writer = claimed(tmp_path, planned(seeds="0", estimator="dreg").combinations[0].spec)
    writer.finish(RunStatus.INTERRUPTED, {})
    planning = worker.resume_plan

    def slower(run: Run, *rest: Any, **more: Any) -> Any:
        plan = planning(run, *rest, **more)
        RunStore(tmp_path).reopen(run)
        return plan

    monkeypatch.setattr(worker, "resume_plan", slower)
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0", estimator="dreg")
    assert [(each.skipped, each.failure) for each in result.runs] == [(True, None)]
    assert any("is being written by" in each for each in recorder.notes)


def test_a_run_that_cannot_be_gone_on_with_is_a_failure(tmp_path, monkeypatch) -> None:
    writer = claimed(tmp_path, planned(seeds="0").combinations[0].spec)
    writer.finish(RunStatus.INTERRUPTED, {})

    def refused(*_: object, **__: object) -> None:
        what = "no"
        raise RunStateError(what)

    monkeypatch.setattr(train, "resume", refused)
    result = trained(tmp_path, seeds="0")
    assert [each.failure is not None for each in result.runs] == [True, False]
    assert result.exit_code == RunStateError.exit_code


def test_memory_that_does_not_suffice_for_one_leaves_no_run_of_it(tmp_path, monkeypatch) -> None:
    build = train.build_trainer

    def built(spec: RunSpec, data: Any, code: Any) -> Trainer:
        if spec.estimator == "dreg":
            raise MemoryError
        return build(spec, data, code)

    monkeypatch.setattr(train, "build_trainer", built)
    result = trained(tmp_path, seeds="0")
    assert labels(result) == [None, "digits-iwae-reparam-k2/v001"]
    assert result.exit_code == DeviceUnavailable.exit_code
    key = key_of(result.runs[0].spec)
    assert being_made(RunStore(tmp_path), key) is None, "other processes of the study need not wait for this one"
    assert trained(tmp_path, seeds="0", estimator="dreg").report is None


def test_a_full_disk_ends_the_study(tmp_path) -> None:
    store = RunStore(tmp_path, FailingFileSystem(40, errno.ENOSPC, lasting=True))
    with pytest.raises(StoreWriteError):
        run_study(planned(), store=store, data_dir=NOWHERE, argv=["dreg"], listener=Recorder())
    assert len(RunStore(tmp_path).runs()) == 1


def test_a_warning_is_told_once_for_all_seeds(tmp_path) -> None:
    recorder = Recorder()
    trained(tmp_path, recorder, estimator=["stl"], steps=1)
    (told,) = recorder.warnings
    assert "'stl' is biased" in told


def test_a_cut_run_may_go_on_in_smaller_chunks(tmp_path) -> None:
    spec = planned(seeds="0", estimator="dreg", k=32).combinations[0].spec
    claimed(tmp_path, spec.model_copy(update={"k_chunk": None})).finish(RunStatus.FAILED, {})
    result = trained(tmp_path, seeds="0", estimator="dreg", k=32, k_chunk=16, keep_last=5)
    assert labels(result) == ["other/v001"]
    assert result.runs[0].run
    stored = result.runs[0].run.spec()
    assert (stored["k_chunk"], stored["keep_last"]) == (16, 5)


def test_a_cut_run_keeps_what_the_study_does_not_change(tmp_path) -> None:
    spec = planned(seeds="0", estimator="dreg").combinations[0].spec
    claimed(tmp_path, spec.model_copy(update={"keep_last": 9, "capture": Capture.NONE})).finish(RunStatus.FAILED, {})
    recorder = Recorder()
    result = trained(tmp_path, recorder, seeds="0", estimator="dreg")
    assert result.runs[0].run
    stored = result.runs[0].run.spec()
    assert (stored["keep_last"], stored["capture"]) == (9, "none")
    assert recorder.warnings == [], "it is asked for nothing that it has not"


def test_a_cut_run_that_goes_on_with_its_own_settings_says_so(tmp_path) -> None:
    """What has an effect on rows and not on numbers is not changed in the middle of a run."""
    spec = planned(seeds="0", estimator="dreg", track_estimators="vimco").combinations[0].spec
    claimed(tmp_path, spec).finish(RunStatus.FAILED, {})
    recorder = Recorder()
    other = {"log_every": 3, "checkpoint_every": 4, "final_eval": "test", "track_estimators": "stl,vimco"}
    result = trained(tmp_path, recorder, seeds="0", estimator="dreg", **other)
    (run,) = RunStore(tmp_path).runs()
    assert recorder.warnings == [f"{run.path} continues as it began: with --log-every 2, without tracking stl"]
    stored = run.spec()
    assert (stored["log_every"], stored["checkpoint_every"], stored["final_eval"]) == (2, 4, "test")
    assert run.metrics("train")["step"].tolist() == [2, 4, 6]
    assert result.exit_code == 0


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _repeat(status: RunStatus, *kinds: str | None, hours: float = 0.0) -> Repeat:
    failures = tuple({"step": 1, "error": "", **({"kind": kind} if kind else {})} for kind in kinds)
    time = NOW + timedelta(hours=hours)
    return Repeat(
        Run(Path("runs/x/v001")), RunInfo(status, created=time, updated=time, lease=None, failures=failures)
    )


@pytest.mark.parametrize(
    ("repeat", "standing"),
    [
        (_repeat(RunStatus.COMPLETED), Standing.DONE),
        (_repeat(RunStatus.COMPLETED, Diverged.__name__), Standing.DONE),
        (_repeat(RunStatus.RUNNING), Standing.RUNNING),
        (_repeat(RunStatus.RUNNING, Diverged.__name__), Standing.RUNNING),
        (_repeat(RunStatus.INTERRUPTED), Standing.CUT),
        (_repeat(RunStatus.CRASHED), Standing.CUT),
        (_repeat(RunStatus.FAILED), Standing.CUT),
        (_repeat(RunStatus.FAILED, None), Standing.CUT),
        (_repeat(RunStatus.FAILED, Diverged.__name__, "MemoryError"), Standing.CUT),
        (_repeat(RunStatus.INTERRUPTED, Diverged.__name__), Standing.CUT),
        (_repeat(RunStatus.CRASHED, Diverged.__name__), Standing.CUT),
        (_repeat(RunStatus.FAILED, Diverged.__name__), Standing.BROKEN),
        (_repeat(RunStatus.FAILED, NotFinite.__name__), Standing.BROKEN),
    ],
)
def test_what_a_run_is_good_for(repeat: Repeat, standing: Standing) -> None:
    assert repeat.standing is standing


def test_the_best_run_counts_and_of_equals_the_newest() -> None:
    done, older, newer = (
        _repeat(status, hours=hours)
        for hours, status in enumerate((RunStatus.COMPLETED, RunStatus.CRASHED, RunStatus.INTERRUPTED))
    )
    assert done.better_than(newer)
    assert not newer.better_than(done)
    assert newer.better_than(older)
    assert not older.better_than(newer)
    assert older.better_than(None)


def test_runs_that_nobody_can_read_are_nobodys_repeats(tmp_path) -> None:
    spec = planned(seeds="0", estimator="dreg").combinations[0].spec
    good, bad = claimed(tmp_path, spec), claimed(tmp_path, spec)
    (bad.run.path / "run.json").write_text("{")
    (tmp_path / "other" / "v003").mkdir()  # killed while it was claimed
    RunStore(tmp_path).claim("other", spec={"k": 1}, environment={})
    found = repeats_in(RunStore(tmp_path))
    assert {key: repeat.run.label for key, repeat in found.items()} == {key_of(spec): good.run.label}
    assert repeats_in(RunStore(tmp_path / "empty")) == {}
