"""A word whose option is missing: the message says what the word is, and the hint is the command with the option."""

import pytest

from tests.support.cli import run
from tests.support.store_study import add_run


def _hint(err: str) -> str:
    return err.rpartition("next:  ")[2].strip()


@pytest.mark.parametrize(
    ("typed", "says", "hint"),
    [
        ("train mnist --k 4", "'mnist' is a data set: say --dataset.", "train --dataset mnist --k 4"),
        ("train mine", "'mine' is a data set: say --dataset.", "train --dataset mine"),
        ("train iwae", "'iwae' is an objective: say --objective.", "train --objective iwae"),
        ("train rws/dreg", "'rws/dreg' is a pair: say --estimator.", "train --estimator rws/dreg"),
        ("train a", "'a' is a run: say --resume.", "train --resume a"),
        ("train a/v001", "'a/v001' is a run: say --resume.", "train --resume a/v001"),
        ("train paper", "'paper' is a preset: say --preset.", "train --preset paper"),
        ("train --estimator dreg stl", "'stl' is an estimator", "train --estimator dreg --estimator stl"),
        ("train mnist vr-iwae:alpha=.3", "an objective", "train --dataset mnist --objective vr-iwae:alpha=.3"),
        ("train --k 4 dreg,stl:x", "'dreg,stl:x' is a list of estimators", "train --k 4 --estimator dreg,stl:x"),
        ("train mnist nothing", "the words 'mnist', 'nothing'. 'mnist' is a data set", "train --help"),
        ("train nothing", "dreg train has no place for the word 'nothing'.", "train --help"),
        # The command has no such option.
        ("eval a --k 4 --split test mnist", "There is no run 'mnist'.", "there are a; list the runs: dreg runs list"),
        # In place of a run.
        ("bias-check mnist --k 4", "There is no run 'mnist'.", "bias-check --dataset mnist --k 4"),
        ("variance dreg,stl", "There is no run 'dreg,stl'.", "variance --estimator dreg,stl"),
        ("bias-check nothing", "There is no run 'nothing'.", "there are a; list the runs: dreg runs list"),
    ],
)
def test_a_word_without_its_option(capsys, tmp_path, typed, says, hint) -> None:
    add_run(tmp_path / "runs", name="a")
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "mine.h5").touch()
    outcome = run(capsys, *typed.split())
    assert outcome.code in (2, 13)
    assert says in outcome.err
    found = _hint(outcome.err).partition(" --runs-dir")[0]
    assert found in (hint, f"dreg {hint}")


def test_runs_and_data_of_other_folders_are_known(capsys, tmp_path) -> None:
    add_run(tmp_path / "others", name="b")
    outcome = run(capsys, "train", "b", "--runs-dir", tmp_path / "others")
    assert _hint(outcome.err) == f"dreg train --resume b --runs-dir {tmp_path / 'others'}"


@pytest.mark.parametrize("words", [("dreg,stl",), ("dreg", "stl"), ("dreg,stl", "reparam")])
def test_a_list_of_estimators_is_one_everywhere(capsys, words) -> None:
    given = [each for word in words for each in ("--estimator", word)]
    names = ",".join(words).split(",")
    listed = run(capsys, "estimators", "--objective", "iwae", *given, "--json").json
    assert [row["estimator"] for row in listed["results"]] == names
    # The other commands say which words they read.
    for typed in (("train",), ("bias-check", "--dataset", "digits"), ("variance", "--dataset", "digits")):
        outcome = run(capsys, *typed, *given, "--estimator", "nothing,neither")
        assert "called 'nothing'" in outcome.err
        assert "called 'neither'" in outcome.err
        assert not any(f"called '{name}" in outcome.err for name in (*words, *names))


def test_parameters_of_an_estimator_are_no_list(capsys) -> None:
    outcome = run(capsys, "train", "--estimator", "dreg-cv:alpha=.1,beta=.2", "--print-config")
    assert outcome.code == 0, outcome.err
    assert 'estimator = "dreg-cv:' in outcome.out


def test_an_empty_estimator_is_refused(capsys) -> None:
    assert "no estimator is called ''" in run(capsys, "train", "--estimator", "", "--print-config").err


def test_a_list_in_a_config_is_a_study(capsys, tmp_path) -> None:
    (tmp_path / "study.toml").write_text('estimator = "dreg,stl"\n')
    assert "a study has several" in run(capsys, "train", "--config", tmp_path / "study.toml", "--print-config").err


@pytest.mark.parametrize("seeds", ["0-4", "0,2,5-7"])
def test_several_seeds_after_seed_suggest_seeds(capsys, tmp_path, seeds) -> None:
    (tmp_path / "seeds.toml").write_text(f'seed = "{seeds}"\n')
    for options in (("--seed", seeds), ("--config", tmp_path / "seeds.toml")):
        outcome = run(capsys, "train", *options)
        assert outcome.code == 2
        assert f"seed: must be a whole number, got '{seeds}'." in outcome.err
        assert f"A study takes several seeds: --seeds {seeds}" in outcome.err
    assert "--seeds" not in run(capsys, "train", "--seed", "x").err
