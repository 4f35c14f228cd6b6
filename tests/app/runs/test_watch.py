"""Following runs while they train: what is shown, when it ends, and that nothing of it reaches them."""

import hashlib
import shutil
from pathlib import Path

import pytest

from dregcli.app.runs.watch import watch
from dregcli.errors import RunNotFound
from dregcli.names import RunStatus, Split
from dregcli.store.runs import RunStore
from tests.support.cli import run
from tests.support.store_study import ENVIRONMENT, add_run, spec


def contents(root: Path) -> dict[str, tuple[str, int]]:
    """Every file with its digest and the time it was changed."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class Training:
    """A run of this process that goes on by ten steps whenever somebody waits."""

    def __init__(self, root: Path, *, steps: int = 30, name: str = "live") -> None:
        self.root = root
        self.writer = RunStore(root).claim(name, spec=spec(steps=steps), environment=ENVIRONMENT)
        self.steps, self.step = steps, 0

    def __call__(self, _: float = 0.0) -> None:
        if self.step >= self.steps:
            return
        self.step += 10
        row = {"step": float(self.step), "bound": -100.0 + self.step, "seconds": self.step / 5.0}
        self.writer.append(Split.TRAIN, row)
        self.writer.append(Split.VALID, {"step": float(self.step), "bound": -101.0 + self.step})
        self.writer.flush()
        if self.step >= self.steps:
            self.writer.finish(RunStatus.COMPLETED, {"step": self.step, "bound": {"test": -70.0}})


def test_a_run_is_followed_to_its_end(tmp_path) -> None:
    training = Training(tmp_path)
    training()
    add_run(tmp_path, name="done")
    frames = list(watch([], runs_dir=tmp_path, interval=1.0, wait=training))
    assert [[each.label for each in frame] for frame in frames] == [["live/v001"]] * len(frames), (
        "what was done is not"
    )
    (first,), _, (last,), *_ = frames
    assert (first.status, first.step, first.steps) == (RunStatus.RUNNING, 10, 30)
    assert (first.train, first.valid) == (-90.0, -91.0)
    assert first.rate == pytest.approx(5.0)
    assert first.seconds_left == pytest.approx(20 / 5.0)
    assert first.age < 60.0
    assert (last.status, last.step, last.seconds_left) == (RunStatus.COMPLETED, 30, None)
    assert len(last.curve) == 3


def test_following_writes_nothing(tmp_path) -> None:
    training = Training(tmp_path)
    training()
    before = contents(tmp_path)
    frames = watch(["live"], runs_dir=tmp_path, interval=1.0)
    next(frames)
    assert contents(tmp_path) == before
    training.writer.flush()
    assert contents(tmp_path) != before, "the wrong twin: a heartbeat is noticed"


def test_runs_that_begin_meanwhile_are_followed_too(tmp_path) -> None:
    first = Training(tmp_path, steps=10)
    others: list[Training] = []

    def wait(_: float) -> None:
        if not others:
            others.append(Training(tmp_path, steps=20, name="later"))
            first()
        else:
            others[0]()

    frames = list(watch([], runs_dir=tmp_path, interval=1.0, wait=wait))
    assert {each.label for each in frames[0]} == {"live/v001"}
    assert {(each.label, each.status) for each in frames[-1]} == {
        ("live/v001", RunStatus.COMPLETED),
        ("later/v001", RunStatus.COMPLETED),
    }


def test_a_run_that_is_damaged_or_removed_does_not_end_it(tmp_path) -> None:
    training = Training(tmp_path)
    damaged = add_run(tmp_path, name="damaged")
    (damaged.path / "run.json").write_text("{")
    frames = list(watch([], runs_dir=tmp_path, interval=1.0, wait=training))
    assert [each.label for each in frames[-1]] == ["live/v001"]
    with pytest.raises(RunNotFound):
        next(watch(["nothing"], runs_dir=tmp_path, interval=1.0))


def test_a_pause_between_the_runs_of_a_study_does_not_end_it(tmp_path) -> None:
    """Nothing runs for some seconds, then the next run begins; the wrong twin ends at the first pause."""
    first = Training(tmp_path, steps=10)
    waited: list[float] = []
    later: list[Training] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 1:
            first()
        elif len(waited) == 4:
            later.append(Training(tmp_path, steps=10, name="next"))
        elif later:
            later[0]()

    frames = list(watch([], runs_dir=tmp_path, interval=2.0, wait=wait))
    assert {each.label for each in frames[-1]} == {"live/v001", "next/v001"}
    idle = [all(each.status is not RunStatus.RUNNING for each in frame) for frame in frames]
    assert idle[1:4] == [True] * 3
    assert idle[-5:] == [True] * 5, "ten seconds without anything at work"


def test_a_named_run_that_is_removed_meanwhile_takes_no_other_along(tmp_path) -> None:
    gone, training = add_run(tmp_path, name="gone"), Training(tmp_path)

    def wait(_: float) -> None:
        if gone.path.exists():
            shutil.rmtree(gone.path.parent)
        training()

    frames = list(watch(["gone", "live"], runs_dir=tmp_path, interval=1.0, wait=wait))
    assert [each.label for each in frames[0]] == ["gone/v001", "live/v001"]
    assert [(each.label, each.status) for each in frames[-1]] == [("live/v001", RunStatus.COMPLETED)]


def test_the_command_follows_and_then_reports(capsys, tmp_path, monkeypatch) -> None:
    training = Training(tmp_path / "runs")
    monkeypatch.setattr(watch, "__kwdefaults__", {"wait": training})
    outcome = run(capsys, "report", "--watch", "--runs-dir", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert (
        "live/v001: status running, step 10/30 (33 %), train -90.00, valid -91.00, left 4 s, steps/s 5.00"
        in outcome.err
    )
    assert "status completed, step 30/30 (100 %)" in outcome.err
    assert "iwae/dreg: live" in outcome.out
    assert run(capsys, "report", "--watch", "--every", 0, "--runs-dir", tmp_path / "runs").code == 2
    again = run(capsys, "report", "--watch", "--json", "--runs-dir", tmp_path / "runs")
    assert "no run is training now" in again.err
    assert again.json["groups"][0]["seeds"] == 1
