"""``dreg train`` with seeds, or several estimators, as a user sees it."""

import os
import signal

import pytest
import torch

from dregcli.defaults import EVALUATED_KS
from dregcli.engine.training import Trainer
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run
from tests.support.quick_training import each_step, quick_training
from tests.support.store_study import add_run

STUDY = (*SMALL, "--estimator", "dreg", "--estimator", "reparam")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def test_a_study_in_one_line_ends_with_the_report_of_its_runs(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *STUDY, "--seeds", "0-1")
    assert outcome.code == 0, outcome.err
    assert "run 3 of 4: iwae/dreg, seed 1" in outcome.err
    assert "2 seeds only" in outcome.err
    assert "study: 4 runs: 4 trained" in outcome.out
    report = run(capsys, "report", *(run_.path for run_ in RunStore(tmp_path / "runs").runs()))
    assert outcome.out.startswith(report.out.rstrip("\n"))
    assert set(report.err.splitlines()) <= set(outcome.err.splitlines())
    again = run(capsys, "train", *STUDY, "--seeds", "0-1")
    assert again.code == 0, again.err
    assert again.out == outcome.out.replace("4 trained", "4 done before")
    assert again.err.count("done before") == 4
    assert len(RunStore(tmp_path / "runs").runs()) == 4


def test_the_last_lines_name_the_runs_of_the_study_and_no_others(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the report is written where the command is typed
    add_run(tmp_path / "runs", name="s", rows=2)  # another experiment of the same name
    outcome = run(capsys, "train", *SMALL, "--seeds", "0-1", "--name", "s")
    *_, study, evaluate, report = outcome.out.splitlines()
    folder = f"--runs-dir {tmp_path / 'runs'}"
    assert study == "study: 2 runs: 2 trained"
    assert evaluate == f"next:  dreg eval s/v002 s/v003 --split test --k {EVALUATED_KS} {folder}"
    assert report == f"       dreg report s/v002 s/v003 --html report.html {folder}"
    # The lines can be typed as they stand; and a name is enough where all its versions are of the study.
    assert run(capsys, *report.split()[1:-2]).code == 0
    alone = run(capsys, "train", *SMALL, "--seeds", "2-3", "--name", "alone")
    assert alone.out.splitlines()[-1] == f"       dreg report alone --html report.html {folder}"


def test_json_has_every_run_as_train_gives_it_and_the_report(capsys) -> None:
    alone = run(capsys, "train", *SMALL, "--seed", 1, "--name", "alone", "--json").json
    outcome = run(capsys, "train", *STUDY, "--seeds", "0-1", "--json", "--name", "s")
    assert outcome.code == 0, outcome.err
    runs = outcome.json["runs"]
    assert [(each["estimator"], each["seed"], each.get("skipped", False)) for each in runs] == [
        *(("dreg", 0, False), ("reparam", 0, False), ("dreg", 1, True), ("reparam", 1, False))
    ]
    told = {key: value for key, value in runs[2].items() if key in alone}
    assert told == alone
    assert set(runs[0]) - set(alone) == {"label", "objective", "estimator", "seed"}
    assert [each["run"].split("/")[-2] for each in runs] == ["s", "s", "alone", "s"]
    paths = [each["run"] for each in runs]
    alone = run(capsys, "report", *paths, "--json").json
    assert outcome.json["report"] == {name: each for name, each in alone.items() if name not in ("files", "figures")}


def test_one_run_is_no_study(capsys) -> None:
    asked = [(), ("--estimator", "dreg"), ("--seed", 0, "--estimator", "iwae/dreg")]
    found = [run(capsys, "train", *SMALL, *arguments, "--json").json for arguments in asked]
    # What is asked for alone is trained, whether or not it is there.
    assert [each["run"].rpartition("/")[2] for each in found] == ["v001", "v002", "v003"]
    assert "run 1 of" not in run(capsys, "train", *SMALL).err


def test_estimators_without_seeds_are_a_study_of_one_seed(capsys) -> None:
    outcome = run(capsys, "train", *STUDY, "--seed", 3, "--json")
    assert [each["seed"] for each in outcome.json["runs"]] == [3, 3]
    # And so is one seed that is asked for as seeds, for scripts that count them.
    alone = run(capsys, "train", *SMALL, "--seeds", "3", "--json")
    assert [each.get("skipped") for each in alone.json["runs"]] == [True]


def test_a_config_may_hold_a_study(capsys, tmp_path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('seeds = "0-1"\nestimator = ["dreg", "rws/dreg"]\n')
    outcome = run(capsys, "train", *SMALL, "--config", config, "--json")
    assert outcome.code == 0, outcome.err
    assert [(each["objective"], each["seed"]) for each in outcome.json["runs"]] == [
        *(("iwae", 0), ("rws", 0), ("iwae", 1), ("rws", 1))
    ]
    config.write_text('estimator = ["dreg"]\n')
    assert "run" in run(capsys, "train", *SMALL, "--config", config, "--json").json


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("--seeds", "0-4", "--seed", 1), ["seeds: give --seed or --seeds, not both."]),
        (("--seeds", "0-4", "--resume", "x"), ["--seeds cannot be given with --resume"]),
        (
            ("--estimator", "dreg", "--estimator", "stl", "--resume", "x"),
            ["several values of --estimator cannot be"],
        ),
        (
            ("--at-once", 2, "--slurm", "qos=a", "--ray-address", "auto", "--resume", "x"),
            ["--at-once, --slurm and --ray-address cannot be given with --resume"],
        ),
        (("--seeds", "0-4", "--name", "n", "--resume", "x"), ["--name and --seeds cannot be given with --resume"]),
        (("--seeds", ""), ["seeds: must be"]),
        (("--seeds", "0-4", "--name", "../x"), ["name: '../x' cannot be"]),
        (
            ("--seeds", "4-0", "--estimator", "dreg", "--estimator", "dregg", "--k", 0, "--dataset", "digts"),
            ["seeds: '4-0' ends", "iwae/dregg: estimator: ", "k: must be at least 1", "dataset: no data set"],
        ),
    ],
)
def test_what_cannot_be_is_told_before_any_work(capsys, tmp_path, arguments, texts) -> None:
    outcome = run(capsys, "train", *arguments)
    assert outcome.code == 2, outcome.err
    for text in texts:
        assert outcome.err.count(text) == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "runs").exists()


def test_a_signal_ends_the_study_and_the_same_command_goes_on(capsys, tmp_path, monkeypatch) -> None:
    def stops(spec: RunSpec, trainer: Trainer) -> None:
        if (spec.estimator, trainer.step) == ("reparam", 7):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as during:
        each_step(during, stops)
        stopped = run(capsys, "train", *STUDY, "--seeds", "0-1")
    assert stopped.code == 143
    assert "a checkpoint was written first" in stopped.err
    assert "run the same command again" in stopped.err
    assert stopped.out == ""
    store = RunStore(tmp_path / "runs")
    assert [each.status() for each in store.runs()] == [RunStatus.COMPLETED, RunStatus.INTERRUPTED]
    outcome = run(capsys, "train", *STUDY, "--seeds", "0-1")
    assert outcome.code == 0, outcome.err
    assert "reparam-k4/v001 at step 7" in outcome.err
    assert "study: 4 runs: 3 trained, 1 done before" in outcome.out
    assert [each.status() for each in store.runs()] == [RunStatus.COMPLETED] * 4


def test_a_failure_is_told_and_gives_the_exit_code(capsys, monkeypatch) -> None:
    def breaks(spec: RunSpec, trainer: Trainer) -> None:
        if (spec.seed, spec.estimator) == (0, "reparam"):
            with torch.no_grad():
                trainer.model.decoder[0].weight[0, 0] = torch.nan

    each_step(monkeypatch, breaks)
    outcome = run(capsys, "train", *STUDY, "--seeds", "0-1", "--json")
    assert outcome.code == 18, outcome.err
    assert "run 2 of 4: iwae/reparam, seed 0: failed: Training diverged" in outcome.err
    runs = outcome.json["runs"]
    assert [each["status"] for each in runs] == ["completed", "failed", "completed", "completed"]
    assert runs[1]["error"]["exit_code"] == 18
    assert runs[1]["run"].endswith("digits-iwae-reparam-k4/v001")
    assert [group["seeds"] for group in outcome.json["report"]["groups"]] == [2, 1]
    again = run(capsys, "train", *STUDY, "--seeds", "0-1")
    assert again.code == 18
    assert "skipped: Training diverged" in again.err
    *_, study, failed, evaluate, report = again.out.splitlines()
    assert study == "study: 4 runs: 3 done before, 1 failed"
    assert failed.startswith("failed: iwae/reparam, seed 0: use other settings, such as a smaller --lr")
    assert "digits-iwae-dreg-k4 digits-iwae-reparam-k4/v002 --split" in evaluate
    assert "digits-iwae-dreg-k4 digits-iwae-reparam-k4/v002 --html" in report


def test_where_nothing_could_be_trained_there_is_no_report(capsys, monkeypatch) -> None:
    def built(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("dregcli.app.training.train.build_trainer", built)
    outcome = run(capsys, "train", *SMALL, "--seeds", "0-1", "--json")
    assert outcome.code == 19, outcome.err
    assert outcome.json["report"] is None
    assert [(each["run"], each["status"]) for each in outcome.json["runs"]] == [(None, "failed")] * 2
    shown = run(capsys, "train", *SMALL, "--seeds", "0-1")
    assert "study: 2 runs: 2 failed" in shown.out


def test_several_values_are_a_study_that_a_dry_run_foretells_and_a_report_compares(capsys, tmp_path) -> None:
    words = ("train", *SMALL, "--k", "2,4", "--estimator", "dreg,stl", "--steps", 4, "--seed", 1)
    before = run(capsys, *words, "--dry-run", "--json")
    assert before.code == 0, before.err
    assert [(each["label"], each["state"]) for each in before.json["runs"]] == [
        (f"iwae/{estimator} K={k}, seed 1", "new") for estimator in ("dreg", "stl") for k in (2, 4)
    ]
    assert not (tmp_path / "runs").exists()
    outcome = run(capsys, *words, "--json")
    assert outcome.code == 0, outcome.err
    assert [each["label"] for each in outcome.json["runs"]] == [each["label"] for each in before.json["runs"]]
    assert "run 2 of 4: iwae/dreg K=4, seed 1" in outcome.err
    along = {each["setting"]: each["lines"] for each in outcome.json["report"]["along"]}
    assert set(along) == {"estimator", "k"}
    assert [(line["measure"]["k"], len(line["pairs"])) for line in along["estimator"]] == [(2, 1), (4, 1)]
    # Bounds at unlike K are never compared, also not along K.
    assert [(line["measure"], line["pairs"]) for line in along["k"]] == [(None, [])] * 2
    shown = run(capsys, "report")
    assert "along estimator, all else equal" in shown.out
    assert "along K: Not compared with iwae/dreg K=2: iwae/dreg K=4, because its bounds differ in K." in shown.out
    after = run(capsys, *words, "--dry-run")
    assert after.code == 0, after.err
    assert "4 done" in after.out


def test_an_option_given_twice_is_refused_where_one_run_is_meant(capsys) -> None:
    for words in (("finetune-encoder", "x", "--lr", 1, "--lr", 2), ("bias-check", "--backward", "dense,screened")):
        outcome = run(capsys, *words)
        assert outcome.code == 2
        assert "takes one value here, got " in outcome.err


@pytest.mark.parametrize(
    ("words", "option", "last"),
    [
        # Values of --steps are a study, and a flag says the same again.
        (
            ("train", "--name", "x", "--steps", 1, "--steps", 2, "--quiet", "--quiet", "--name", "y z"),
            "name",
            "'y z'",
        ),
        (
            ("bias-check", "--max-batches", 8, "--estimator", "dreg", "--estimator", "stl", "--max-batches=9"),
            "max-batches",
            "9",
        ),
        (("runs", "list", "--tag", "a", "--sort", "name", "--tag", "b", "--sort", "created"), "sort", "created"),
    ],
)
def test_an_option_that_takes_one_value_is_not_given_twice(capsys, words, option, last) -> None:
    outcome = run(capsys, *words)
    assert outcome.code == 2
    what = f"error: {option}: takes one value, and is given 2 times; the last is --{option} {last}\n"
    assert outcome.err == f"{what}next:  give each of these options once, with one value\n"
