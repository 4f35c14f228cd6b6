"""``dreg bias-check`` as a user sees it: verdicts and exit codes, what is kept, what an interruption costs."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.app.diagnosis import bias_check, new_model
from dregcli.app.diagnosis import subject as bias_subject
from dregcli.app.planning import load_data
from dregcli.engine.diagnostics import bias_check as engine_bias_check
from dregcli.engine.diagnostics import learn
from dregcli.engine.diagnostics.bias_check import BiasCheck
from dregcli.engine.estimators.stl import Stl
from dregcli.names import Promise, RunStatus, Verdict
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run
from tests.support.data_changed import other_pixels
from tests.support.store_faults import FailingFileSystem, Killed, every, flip

FEW = ("--examples", 8, "--max-batches", 48)
OPEN = ("--detect", 1e-6)
"""So that no verdict comes before the last batch."""

DESIGN = {
    "objective",
    "estimator",
    "k",
    "n",
    "reference",
    "promise",
    "verdict",
    "p_value",
    "max_abs_t",
    "relative_bias",
    "interval",
    "detectable",
    "looks",
}
ENCODER = tuple(f"encoder.{i}.{part}" for i in range(3) for part in ("weight", "bias"))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def trained(ready) -> Run:
    return ready(*SMALL, "--eval-every", 0, name="t")


@pytest.fixture
def measured(capsys, monkeypatch, trained: Run, once) -> Run:
    """The same with all of iwae's estimators measured but for the last two batches: to see what is told of them."""

    def measure(store: Path) -> None:
        shutil.copytree(trained.path.parent, store / "t")
        with monkeypatch.context() as patch:
            _at_batch(patch, 46, lambda: signal.raise_signal(signal.SIGINT))
            assert _check(capsys, "t/v001", *FEW, "--estimator", "all", "--runs-dir", store).code == 130

    shutil.copytree(once("measured", measure) / "t/v001/bias", trained.path / "bias")
    return trained


@pytest.fixture(autouse=True)
def _learns_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "STEPS", 50)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check without a run trains for a moment only."""
    monkeypatch.setattr(new_model, "TRAINING_STEPS", 12)


def _only(store: RunStore, reference: str) -> Run:
    (found,) = store.resolve(reference)
    return found


def _check(capsys, *arguments: object) -> Outcome:
    return run(capsys, "bias-check", *arguments)


def _partials(found: Run) -> list[Path]:
    return list((found.path / "bias").glob("*.partial"))


def _at_batch(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]) -> None:
    """Does something once a check has drawn so many batches."""
    advance = BiasCheck.advance

    def acts(check: BiasCheck) -> bool:
        due = advance(check)
        if check.step == step:
            act()
        return due

    monkeypatch.setattr(BiasCheck, "advance", acts)


def _on_full_disks(monkeypatch: pytest.MonkeyPatch, fs: FailingFileSystem) -> None:
    monkeypatch.setattr(bias_subject, "RunStore", partial(RunStore, fs=fs))


def _verdicts(outcome: Outcome) -> dict[str, str]:
    return {f"{each['objective']}/{each['estimator']}": each["verdict"] for each in outcome.json["results"]}


# Verdicts and what is told


def test_json_has_the_keys_of_the_design(capsys, trained: Run) -> None:
    outcome = _check(capsys, "t/v001", *FEW, "--estimator", "dreg", "--estimator", "stl", "--json")
    assert outcome.code == 1, outcome.err
    assert set(outcome.json) == {"run", "checkpoint", "settings", "seconds", "results", "file", "figure"}
    dreg, stl = outcome.json["results"]
    for result in (dreg, stl):
        assert set(result) == DESIGN | {"t", "tested_share"}
        assert 0.0 < result["tested_share"] < 1.0
        assert set(result["t"]) == {"learned", "gradient", "signed_mean", "blocks"}
        assert tuple(result["t"]["blocks"]) == ENCODER, "the decoder's gradients are the same numbers"
        assert (result["k"], result["n"], result["looks"], result["reference"]) == (4, 48, 1, "reparam")
        assert result["max_abs_t"] == max(map(abs, result["t"]["blocks"].values()))
        low, high = result["interval"]
        assert 0.0 <= low <= result["relative_bias"] <= high
        assert result["detectable"] > 0.0
        assert 0.0 <= result["p_value"] <= 1.0
    assert (stl["objective"], stl["estimator"], stl["promise"], stl["verdict"]) == ("iwae", "stl", "biased", "biased")
    assert stl["p_value"] <= 1e-3
    assert (dreg["promise"], dreg["verdict"]) == ("unbiased", "inconclusive")
    assert outcome.json["run"] == str(trained.path)
    assert outcome.json["checkpoint"] == 20
    assert outcome.json["settings"]["examples"] == 8


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("arguments", "code", "verdict"),
    [
        (("--estimator", "reparam", "--detect", 1), 0, "unbiased"),
        (("--estimator", "dreg-cv:delta=1"), 0, "identical"),
        (("--estimator", "stl", "--estimator", "dreg"), 1, "biased"),
        (("--estimator", "dreg"), 5, "inconclusive"),
        (("--estimator", "dreg", "--estimator", "dreg-cv:delta=1"), 5, "inconclusive"),
    ],
)
def test_exit_codes(capsys, arguments: tuple[object, ...], code: int, verdict: str) -> None:
    outcome = _check(capsys, "t/v001", *FEW, *arguments, "--json")
    assert outcome.code == code, outcome.err
    assert outcome.json["results"][0]["verdict"] == verdict
    assert outcome.err == ""


@pytest.mark.usefixtures("trained")
def test_identical_estimators_have_no_tests_and_no_figure(capsys) -> None:
    outcome = _check(capsys, "t/v001", *FEW, "--estimator", "dreg-cv:delta=1", "--json")
    (result,) = outcome.json["results"]
    assert result["t"] is result["p_value"] is result["detectable"] is None
    assert outcome.json["figure"] is None
    text = _check(capsys, "t/v001", *FEW, "--estimator", "dreg-cv:delta=1").out
    assert "identical by construction, for all pairs: encoder (all 6 blocks), decoder (all 6 blocks)" in text


@pytest.mark.usefixtures("measured")
def test_the_table_says_what_was_found_and_how_to_read_it(capsys) -> None:
    outcome = _check(capsys, "t", *FEW, "--estimator", "all")
    assert outcome.code == 1
    assert "t means" in outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("t/v001, step 20, K=4: 8 training examples (seed 0)")
    rows = {line.split("  ")[0]: line for line in lines}
    size = r"\d+\.\d{4} \[\d+\.\d{4}, \d+\.\d{4}\]"
    assert re.search(rf"iwae/stl +biased +{size} +{size} +\d", rows["iwae/stl"])
    tested, whole = (float(word) for word in re.findall(r"(\d+\.\d{4}) \[", rows["iwae/stl"]))
    (stl,) = (
        each for each in _check(capsys, "t", *FEW, "--estimator", "all", "--json").json["results"]
        if each["estimator"] == "stl"
    )  # fmt: skip
    assert whole == pytest.approx(stl["relative_bias"], abs=1e-4)
    assert tested == pytest.approx(stl["relative_bias"] / stl["tested_share"], rel=1e-3)
    for text in ("bias/tested: norm of the bias / norm", "bias/whole: norm of the same bias / norm"):
        assert text in outcome.out
    assert "% of the whole gradient's norm" not in outcome.out
    assert "inconclusive" in rows["iwae/reinforce"]
    assert rows["iwae/reparam"].split()[-1] == "dreg"
    assert rows["iwae/dreg-cv (fixed)"].endswith("reparam")
    assert "iwae/dreg-cv (fixed): alpha 0.01, beta 0.5, gamma 0.02, delta 0.5" in outcome.out
    assert "identical by construction, for all pairs: decoder (all 6 blocks)" in outcome.out
    assert "Approximate number of batches to decide: iwae/reparam " in outcome.out
    assert "asymptotic" in outcome.out
    assert "asymptotic" not in _check(capsys, "t", *FEW, "--quiet").out


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("columns", [60, 160])
def test_the_table_fits_any_terminal(capsys, monkeypatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = _check(capsys, "t/v001", *FEW, "--estimator", "all")
    assert re.search(r"\x1b\[1;31m *biased", outcome.out), "in bold red"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.out)
    table = text.partition("iwae/dreg-cv (learned):")[0].splitlines()[1:]
    assert all(len(line) <= columns for line in table)
    words = " ".join(table)
    assert len(re.findall(r"\b(biased|inconclusive)\b", words)) >= 11, "no verdict is cut"
    for name in ("bias/tested", "bias/whole", "detectable", "batches", "against", "promise"):
        assert name in words, "no column is lost"


@pytest.mark.usefixtures("trained")
def test_no_time_at_all_is_inconclusive(capsys) -> None:
    outcome = _check(capsys, "t/v001", "--max-seconds", 1e-9, "--json")
    assert outcome.code == 5
    (result,) = outcome.json["results"]
    assert (result["n"], result["looks"], result["t"], result["detectable"]) == (1, 0, None, None)
    text = _check(capsys, "t/v001", "--max-seconds", 1e-9).out
    assert "inconclusive: the time ended before the first test. Give more time: --max-seconds" in text
    assert "identical by construction" not in text


def test_all_at_one_sample_is_only_what_works(capsys, trained: Run) -> None:
    verdicts = _verdicts(_check(capsys, "t/v001", *FEW, "--estimator", "all", "--k", 1, "--json"))
    names = ["reparam", "stl", "dreg", "dreg-norm", "dreg-alpha:alpha=0.9", "reinforce"]
    assert list(verdicts) == [f"iwae/{name}" for name in names]
    assert verdicts["iwae/dreg-alpha:alpha=0.9"] == "biased"
    assert verdicts["iwae/stl"] == "inconclusive", "stl is dreg at K=1"


@pytest.mark.usefixtures("trained")
def test_a_promise_that_is_broken_is_told(capsys, monkeypatch) -> None:
    assert "promises" not in _check(capsys, "t/v001", *FEW, "--estimator", "stl").err
    monkeypatch.setattr(Stl, "promise", lambda *_: Promise.UNBIASED)
    outcome = _check(capsys, "t/v001", *FEW, "--estimator", "stl", "--json")
    assert outcome.code == 1
    assert "warning: iwae/stl promises to be unbiased but is biased: this is a fault, report it." in outcome.err
    assert outcome.json["results"][0]["promise"] == "unbiased"


@pytest.mark.usefixtures("trained")
def test_pairs_and_objectives(capsys) -> None:
    pairs = ("--estimator", "rws/dreg", "--estimator", "jvi:order=2/dreg", "--estimator", "dreg")
    assert list(_verdicts(_check(capsys, "t/v001", *FEW, *pairs, "--json"))) == [
        "rws/dreg",
        "jvi:order=2/dreg",
        "iwae/dreg",
    ]
    assert list(_verdicts(_check(capsys, "t/v001", *FEW, "--objective", "jvi:order=2", "--json"))) == [
        "jvi:order=2/dreg"
    ]


# dreg-cv


@pytest.mark.usefixtures("trained")
def test_what_learns_is_checked_learned_and_fixed(capsys) -> None:
    content = _check(capsys, "t/v001", *FEW, "--estimator", "dreg-cv", "--json").json
    learned, fixed = (result["estimator"] for result in content["results"])
    assert content["settings"]["learned"] == [learned]
    assert content["settings"]["fixed"] == [fixed] == ["dreg-cv:alpha=0.01,beta=0.5,gamma=0.02,delta=0.5"]
    assert not re.search(r"=0\.0\b", learned), "all four have moved"
    again = _check(capsys, "t/v001", *FEW, "--estimator", "dreg-cv", "--json").json
    assert again["results"] == content["results"]
    (only,) = _check(capsys, "t/v001", *FEW, "--estimator", "dreg-cv:beta=1", "--json").json["results"]
    assert only["estimator"] == "dreg-cv:alpha=0.0,beta=1.0,gamma=0.0,delta=0.0", "as it was asked for"


@pytest.mark.parametrize("asked", [(), ("--estimator", "dreg-cv")])
def test_a_run_that_learned_is_checked_at_what_it_learned(capsys, ready, asked) -> None:
    values = ready(*SMALL, "--estimator", "dreg-cv", "--eval-every", 0, name="cv").info().summary["learned"]
    content = _check(capsys, "cv/v001", *FEW, *asked, "--json").json
    word = "dreg-cv:" + ",".join(f"{name}={value!r}" for name, value in values.items())
    assert [result["estimator"] for result in content["results"]] == [word, *content["settings"]["fixed"]]
    assert content["settings"]["learned"] == [word]
    text = _check(capsys, "cv/v001", *FEW, *asked).out
    assert f"iwae/dreg-cv (learned): alpha {values['alpha']:.4g}, beta {values['beta']:.4g}" in text


# What is kept


@pytest.mark.usefixtures("real_figures")
def test_results_are_kept_whole_and_never_overwritten(capsys, trained: Run) -> None:
    pairs = ("--estimator", "stl", "--estimator", "dreg-cv:delta=1", "--estimator", "dreg")
    first = _check(capsys, "t/v001", *FEW, *pairs, "--json").json
    second = _check(capsys, "t/v001", *FEW, *pairs, "--json").json
    assert [Path(each["file"]).name for each in (first, second)] == ["k4-seed0-step20.h5", "k4-seed0-step20-2.h5"]
    assert [Path(each["figure"]).name for each in (first, second)] == ["bias-check.png", "bias-check-2.png"]
    assert Path(second["figure"]).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert first["results"] == second["results"], "the same noise, the same numbers"
    kept, _ = trained.results("bias")
    assert str(kept.path) == first["file"]
    attrs = kept.attrs
    assert attrs["settings"] == first["settings"]
    assert attrs["tested"] == ["iwae/stl", "iwae/dreg"], "there is nothing to test in what is identical"
    assert json.dumps(attrs["results"]) == json.dumps(first["results"])
    corrected = [min(1.0, 3 * found["p"]) for found in attrs["statistics"]]
    assert corrected == pytest.approx([first["results"][i]["p_value"] for i in (0, 2)], rel=1e-9)
    t = kept.arrays()["t"]
    assert t.shape == (2, len(attrs["blocks"])) == (2, 12)
    for row, i in zip(t, (0, 2), strict=True):
        told = first["results"][i]["t"]["blocks"]
        for block, value in zip(attrs["blocks"], row, strict=True):
            assert np.isnan(value) if block.startswith("decoder.") else value == told[block]


def test_a_full_disk_costs_the_file_and_not_the_verdicts(capsys, monkeypatch, trained: Run) -> None:
    codes: list[int] = []

    def attempt(number: int) -> bool:
        fs = FailingFileSystem(number, lasting=True)
        with monkeypatch.context() as patch:
            _on_full_disks(patch, fs)
            outcome = _check(capsys, "t/v001", "--examples", 2, "--max-batches", 48, "--estimator", "stl")
        assert "Traceback" not in outcome.err
        codes.append(outcome.code)
        if outcome.code == 16:
            assert "error: No space left on the disk. The verdicts were found but not kept: iwae/stl " in outcome.err
            assert outcome.out == ""
        else:
            assert "iwae/stl" in outcome.out
            assert ("warning: the figure could not be kept: No space" in outcome.err) == (fs.count >= number)
        return fs.count >= number

    faults = every(30, attempt)
    assert codes[0] == 16
    assert codes[-2:] == [codes[-1]] * 2, "the last faults are the figure's"
    assert faults >= 10
    assert len(trained.results("bias")) >= codes.count(codes[-1])


def test_the_run_stays_readable_for_others(capsys, monkeypatch, trained: Run) -> None:
    with monkeypatch.context() as patch:
        _at_batch(patch, 30, lambda: signal.raise_signal(signal.SIGINT))
        assert _check(capsys, "t/v001", *FEW).code == 130
    assert len(_partials(trained)) == 1
    assert trained.results("bias") == []
    for command in (("report", "t"), ("eval", "t", "--k", 2), ("train", "--resume", "t/v001", "--steps", 25)):
        outcome = run(capsys, *command)
        assert outcome.code == 0, outcome.err
    assert len(_partials(trained)) == 1
    assert _check(capsys, "t/v001", *FEW).code == 5
    assert run(capsys, "report", "t").code == 0


# Interruptions


def test_an_interrupted_check_goes_on_bit_for_bit(capsys, monkeypatch, trained: Run) -> None:
    """Stopped among the batches of the reference and among those after it, with one pair decided already."""
    pairs = ("--estimator", "dreg-cv", "--estimator", "stl", "--estimator", "rws/dreg", "--estimator", "reparam")
    arguments = ("t/v001", "--examples", 2, "--max-batches", 104, *OPEN, *pairs, "--json")
    monkeypatch.setattr(engine_bias_check, "FIRST_LOOK", 96)
    whole = _check(capsys, *arguments)
    for step, number, code in ((20, signal.SIGINT, 130), (100, signal.SIGTERM, 143)):
        with monkeypatch.context() as patch:
            _at_batch(patch, step, partial(signal.raise_signal, number))
            stopped = _check(capsys, *arguments)
        assert stopped.code == code
        assert stopped.json["error"]["what"] == f"Stopped by {number.name}; the work so far is saved."
        assert stopped.json["error"]["where"] == f"{trained.path}, batch {step}"
        assert len(_partials(trained)) == 1
    done = _check(capsys, *arguments)
    assert "continuing at batch 100 of an earlier, unfinished check" in done.err
    assert done.code == whole.code == 1
    assert done.json["results"] == whole.json["results"]
    assert {result["n"] for result in done.json["results"]} == {96, 104}
    assert _partials(trained) == []


@pytest.mark.usefixtures("trained")
def test_other_settings_are_another_check(capsys, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        _at_batch(patch, 30, lambda: signal.raise_signal(signal.SIGINT))
        assert _check(capsys, "t/v001", *FEW).code == 130
    for other in (("--seed", 1), ("--detect", 0.03), ("--k", 8), ("--estimator", "stl"), ("--max-batches", 49)):
        assert "continuing" not in _check(capsys, "t/v001", *FEW, *other).err
    assert "continuing" in _check(capsys, "t/v001", *FEW, "--max-seconds", 600).err


def test_a_kill_costs_what_came_after_the_last_save(capsys, monkeypatch, trained: Run) -> None:
    def dies() -> None:
        raise Killed

    whole = _check(capsys, "t/v001", *FEW, "--json").json
    with monkeypatch.context() as patch:
        patch.setattr(bias_check, "SAVE_SECONDS", -1.0)
        _at_batch(patch, 40, dies)
        with pytest.raises(Killed):
            _check(capsys, "t/v001", *FEW)
    done = _check(capsys, "t/v001", *FEW, "--json")
    assert "continuing at batch 39 " in done.err
    assert done.json["results"] == whole["results"]


def test_a_corrupt_partial_is_told_and_measured_again(capsys, monkeypatch, trained: Run) -> None:
    whole = _check(capsys, "t/v001", *FEW, "--json").json
    with monkeypatch.context() as patch:
        _at_batch(patch, 30, lambda: signal.raise_signal(signal.SIGINT))
        assert _check(capsys, "t/v001", *FEW).code == 130
    (path,) = _partials(trained)
    flip(path, 1000)
    done = _check(capsys, "t/v001", *FEW, "--json")
    assert f"warning: the check starts over: {path} cannot be continued" in done.err
    assert done.json["results"] == whole["results"]
    assert _partials(trained) == []


@pytest.mark.usefixtures("trained")
def test_a_full_disk_while_the_check_runs(capsys, monkeypatch) -> None:
    """It goes on, as its verdicts need no disk; a stop says that they are lost."""
    monkeypatch.setattr(bias_check, "SAVE_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        _on_full_disks(patch, FailingFileSystem(1, lasting=True))
        _at_batch(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        stopped = _check(capsys, "t/v001", *FEW)
    assert stopped.code == 130
    assert "the unfinished check cannot be saved; a stop would lose it: No space left on the disk" in stopped.err
    assert "Stopped by SIGINT; the work so far cannot be saved: No space left on the disk" in stopped.err


def test_two_at_once_do_not_disturb_each_other(capsys, monkeypatch, trained: Run) -> None:
    """The second begins, goes on from what the first had saved, and ends while the first is at work."""
    monkeypatch.setattr(bias_check, "SAVE_SECONDS", -1.0)
    inner: list[int] = []

    def second() -> None:
        if not inner:
            inner.append(0)
            inner[0] = run(capsys, "bias-check", "t/v001", *FEW, "--quiet").code

    _at_batch(monkeypatch, 30, second)
    assert _check(capsys, "t/v001", *FEW, "--quiet").code == 5
    assert inner == [5]
    one, two = trained.results("bias")
    assert one.attrs["results"] == two.attrs["results"]
    np.testing.assert_array_equal(one.arrays()["t"], two.arrays()["t"])
    assert _partials(trained) == []


# Without a run


@pytest.mark.usefixtures("quick")
def test_without_a_run_one_is_trained_kept_and_used_again(capsys, store: RunStore) -> None:
    few = ("--k", 4, "--examples", 2, "--max-batches", 48)
    first = _check(capsys, *few, "--json")
    assert first.code == 5, first.err
    assert "training a model for 12 steps first; it is kept as a run" in first.err
    found = _only(store, "bias-check-digits-iwae-dreg-k4")
    assert first.json["run"] == str(found.path)
    assert found.status() is RunStatus.COMPLETED
    assert (found.spec()["steps"], found.spec()["dataset"], found.spec()["k"]) == (12, "digits", 4)
    again = _check(capsys, *few, "--estimator", "dreg", "--json")
    assert f"using {found.path}, which was trained before for 12 steps" in again.err
    assert again.json["results"] == first.json["results"]
    assert len(store.resolve("bias-check-digits-iwae-dreg-k4")) == 1
    everything = _check(capsys, *few, "--estimator", "all", "--json")
    assert everything.json["run"] == str(found.path), "all estimators are checked on the model that dreg trained"
    other = _check(capsys, *few, "--estimator", "rws/dreg", "--json")
    assert other.json["run"] == str(_only(store, "bias-check-digits-rws-dreg-k4").path)


@pytest.mark.usefixtures("quick")
def test_an_interrupted_training_goes_on(capsys, monkeypatch, store: RunStore) -> None:
    from dregcli.engine.training import Trainer

    advance = Trainer.advance

    def stops(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == 7:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", stops)
        assert _check(capsys, "--k", 4, *FEW).code == 130
    outcome = _check(capsys, "--k", 4, *FEW)
    assert outcome.code == 5
    assert "at step 7" in outcome.err
    assert _only(store, "bias-check-digits-iwae-dreg-k4").checkpoints()[-1] == 12


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (
            (
                *("--k", 0, "--examples", 0, "--seed", -1, "--false-alarm", 2, "--detect", 0, "--max-batches", 3),
                *("--max-seconds", 0, "--device", "tpu", "--checkpoint", "newest"),
                *("--objective", "iwi", "--estimator", "foo"),
            ),
            (
                "k: must be at least 1, got 0.",
                "examples: must be at least 1, got 0.",
                "seed: must be at least 0 and less than 2^63, got -1.",
                "false-alarm: must be greater than 0 and at most 0.5, got 2.0.",
                "detect: must be greater than 0 and at most 1, got 0.0.",
                "max-batches: must be a whole number, at least 48, got 3: the tests of fewer batches",
                "max-seconds: must be greater than 0, got 0.0.",
                "device: must be auto, cpu, cuda, cuda:N or mps, got 'tpu'.",
                "checkpoint: must be last, best or a step, got 'newest'.",
                "objective: no objective is called 'iwi'. Did you mean 'iwae'?",
                "estimator: no estimator is called 'foo'.",
            ),
        ),
        (
            ("--k", 1, "--estimator", "vimco", "--estimator", "rws/stl", "--examples", 1298, "--checkpoint", 7),
            (
                "k: 'vimco:baseline=arithmetic' needs at least 2 samples, got 1. Use --k 2 or more.",
                "estimator: 'rws' has no path",
                "examples: must be at most the 1297 training examples of digits, got 1298.",
                "checkpoint: only applies with a RUN: also name the run, got '7'.",
            ),
        ),
        (
            ("--objective", "rws", "--estimator", "iwae/dreg"),
            ("estimator: 'iwae/dreg' contradicts --objective rws: leave one of the two out.",),
        ),
        (("--detect", "nan", "--max-seconds", "nan"), ("detect: must be", "max-seconds: must be")),
    ],
)
def test_everything_wrong_is_told_before_any_training(capsys, tmp_path: Path, arguments, texts) -> None:
    outcome = _check(capsys, *arguments, "--json")
    assert outcome.code == 2
    told = outcome.json["error"]["what"].splitlines()
    assert len(told) == len(texts)
    for text in texts:
        assert any(line.startswith(text) for line in told), text
    assert outcome.json["error"]["next"] == "every option is shown by: dreg bias-check --help"
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("trained")
def test_the_same_with_a_run(capsys) -> None:
    outcome = _check(capsys, "t", "--examples", 9999, "--k", 1, "--estimator", "dreg-cv")
    assert outcome.code == 2
    assert "examples: must be at most the 1297 training examples of digits, got 9999." in outcome.err
    assert "needs at least 2 samples, got 1" in outcome.err


def test_runs_that_cannot_be_checked(capsys, monkeypatch, trained: Run) -> None:
    missing = _check(capsys, "nothing", "--json")
    assert missing.code == 13
    assert "nothing" in missing.json["error"]["what"]
    no_step = _check(capsys, "t", "--checkpoint", 7)
    assert no_step.code == 13
    assert "has no checkpoint of step 7" in no_step.err
    load = load_data.load_dataset
    with monkeypatch.context() as patch:
        patch.setattr(load_data, "load_dataset", lambda *a: other_pixels(load(*a)))
        altered = _check(capsys, "t")
        assert altered.code == 11
        assert "not the data of the run" in altered.err
        assert _check(capsys, "t", "--k", 0).code == 2, "what is wrong with the request comes first"
    (trained.path / "checkpoints").rename(trained.path / "gone")
    without = _check(capsys, "t")
    assert without.code == 13
    assert "The run t/v001 has no checkpoint." in without.err
    assert "Traceback" not in missing.err + no_step.err + altered.err + without.err


def test_a_name_means_its_newest_completed_version(capsys, store: RunStore, trained: Run) -> None:
    assert run(capsys, "train", *SMALL, "--name", "t", "--seed", 1, "--eval-every", 0).code == 0
    (trained.path.parent / "v003").mkdir()  # one that was killed while it was claimed
    outcome = _check(capsys, "t", *FEW, "--json")
    assert outcome.json["run"].endswith("t/v002")
    assert (
        f"t means {outcome.json['run']}, its newest of 2 completed versions, seed 1; v003 is crashed" in outcome.err
    )
    assert _check(capsys, "t", *FEW, "--json", "--quiet").err == ""
    assert _check(capsys, "t/v001", *FEW, "--json").json["run"] == str(trained.path)


def test_a_corrupt_checkpoint_is_skipped_with_a_warning(capsys, store: RunStore) -> None:
    assert run(capsys, "train", *SMALL, "--name", "t", "--checkpoint-every", 10, "--eval-every", 10).code == 0
    flip(_only(store, "t").path / "checkpoints" / "step-00000020" / "model.safetensors", 200)
    outcome = _check(capsys, "t/v001", *FEW, "--json")
    assert outcome.json["checkpoint"] == 10
    assert Path(outcome.json["file"]).name == "k4-seed0-step10.h5"
    assert "warning: checkpoint skipped: step-00000020" in outcome.err
    assert _check(capsys, "t/v001", *FEW, "--json", "--checkpoint", 10).json["results"] == outcome.json["results"]
    assert _check(capsys, "t/v001", *FEW, "--checkpoint", 20).code == 15


def test_a_finetuned_run_is_checked_like_any_other(capsys, trained: Run) -> None:
    assert run(capsys, "finetune-encoder", "t", "--steps", 5, "--name", "f").code == 0
    content = _check(capsys, "f", *FEW, "--json").json
    assert content["checkpoint"] == 5
    assert [result["verdict"] for result in content["results"]] == [Verdict.INCONCLUSIVE]
