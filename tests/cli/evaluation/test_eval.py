"""``dreg eval`` as a user sees it: curves, repeats, exact log p(x), a second opinion, going on after a stop."""

import math
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from dregcli.app.evaluation import importance, second_opinion
from dregcli.engine.annealing import AnnealedBatch
from dregcli.engine.evaluation import SeenBatch
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run, usual

LINEAR = usual("--model", "linear-gaussian", "--dataset", "linear-gaussian", "--k", 8, "--steps", 60, "--lr", 0.01)


@pytest.fixture
def linear(ready) -> str:
    """A linear model that has hardly been trained: q is not yet the posterior."""
    ready(*LINEAR, "--eval-every", 0, name="l")
    return "l"


def result_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    (found,) = outcome.json["results"]
    return found


def kept(tmp_path: Path, name: str) -> tuple[Run, dict[str, np.ndarray], dict[str, Any]]:
    (found,) = RunStore(tmp_path / "runs").resolve(f"{name}/v001")
    newest = found.results("evals")[-1]
    return found, newest.arrays(), newest.attrs


def partials(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("runs/*/*/evals/*.partial"))


def test_a_curve_and_repeats_of_a_model_whose_log_p_is_known(capsys, tmp_path, linear) -> None:
    found = result_of(run(capsys, "eval", linear, "--k", "200,1,10", "--repeats", 3, "--n", 200, "--json"))
    assert [row["k"] for row in found["curve"]] == [1, 10, 200]
    assert [row["groups"] for row in found["curve"]] == [200, 20, 1]
    assert found["bound"]["value"] == found["curve"][-1]["value"]
    assert found["curve"][0]["jackknife"] is None
    assert found["curve"][0]["value"] == pytest.approx(found["elbo"]["value"], abs=1e-9)
    _, arrays, attrs = kept(tmp_path, linear)
    assert arrays["curve_bound"].shape == (3, 3, 200)
    by_example = arrays["curve_bound"].mean(axis=1)
    for row, values in zip(found["curve"], by_example, strict=True):
        assert row["value"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["stderr"] == pytest.approx(values.std(ddof=1) / math.sqrt(200), rel=1e-12)
    spread = arrays["curve_bound"][-1].mean(axis=1).std(ddof=1)
    assert found["spread"] == pytest.approx(spread, rel=1e-12)
    # The error of each K is of 400 degrees of freedom or more, and the spread of two: a ratio beyond these limits has
    # a probability of 1e-6; of weights with tails as heavy as here somewhat more.
    assert [row["mc_method"] for row in found["curve"]] == ["groups", "groups", "repeats"]
    for row in found["curve"]:
        assert 1e-3 < row["spread"] / math.sqrt(3.0) / row["mc_stderr"] < 4.0
    assert found["bound"]["mc_stderr"] == found["curve"][-1]["mc_stderr"]
    exact = arrays["model_log_p"]
    missing = found["log_p"]["model"]["bound_less_exact"]
    assert missing["value"] == pytest.approx((arrays["bound"] - exact).mean(), rel=1e-9)
    assert -1.0 < missing["value"] < 5.0 * found["bound"]["mc_stderr"]
    # ELBO = reconstruction - KL(q || prior), and log p(x) less it is KL(q || posterior).
    assert found["elbo"]["value"] == pytest.approx(found["reconstruction"]["value"] - found["kl_prior"]["value"])
    assert found["kl_posterior"]["value"] == pytest.approx(exact.mean() - found["elbo"]["value"], abs=0.2)
    assert set(found["log_p"]) == {"model", "data"}
    assert found["log_p"]["data"]["value"] > found["log_p"]["model"]["value"]
    assert attrs["ks" if "ks" in attrs else "k"] == 200
    shown = run(capsys, "eval", linear, "--k", "200,1,10", "--repeats", 3, "--n", 200)
    for text in ("jackknife", "spread", "exact log p(x) of the model", "KL(q||posterior)", "k-hat"):
        assert text in shown.out, text
    table = shown.out.splitlines()
    assert table[0] == "IWAE bound at K=200 on 200 examples of test, nats per example"
    khat, cells = found["khat"], re.split(" {2,}", table[2].strip())
    heads = re.split(" {2,}", table[1].strip())
    shown_values = dict(zip(heads, cells, strict=True))
    assert shown_values["k-hat, median"] == f"{khat['median']:.2f}"
    assert shown_values["k-hat above 0.7"] == f"{100.0 * khat['share_above_0.7']:.3g} %"
    assert shown_values["MC s.e."] == f"{found['bound']['mc_stderr']:.4f}"
    assert shown_values["examples"] == "200"
    for text in ("which error to report beside a mean, and why", "one model: s.e.", "several trainings: ", "k-hat: "):
        assert text in shown.out, text
    quiet = run(capsys, "eval", linear, "--k", 2, "--n", 20, "--quiet").out
    assert "which error to report" not in quiet
    unknown = run(capsys, "eval", linear, "--k", 2, "--n", 20).out
    assert "which error to report" in unknown
    assert "k-hat: " not in unknown, "K is too small for k-hat"


def test_the_share_of_active_units_follows_its_threshold(capsys, tmp_path, linear) -> None:
    every = result_of(run(capsys, "eval", linear, "--k", 2, "--active-threshold", 0, "--json"))
    none = result_of(run(capsys, "eval", linear, "--k", 2, "--active-threshold", 1e9, "--json"))
    assert (every["active_units"], none["active_units"]) == (5, 0)
    variance = kept(tmp_path, linear)[1]["latent_variance"]
    some = float(np.sort(variance)[2])
    found = result_of(run(capsys, "eval", linear, "--k", 2, "--active-threshold", some, "--json"))
    assert (found["active_units"], found["khat"]) == (2, None)


def test_a_bound_that_is_low_for_want_of_samples_is_not_called_mass_that_was_missed(capsys, tmp_path, linear) -> None:
    """AIS is higher by all that a small K misses, beyond every error: it says that K is small, and no more."""
    how = ("--method", "ais", "--steps", 40, "--chains", 8)
    arguments = ("eval", linear, "--k", 16, "--n", 40, *how)
    found = result_of(run(capsys, *arguments, "--json"))
    ais = found["ais"]
    assert (ais["opinion"], ais["steps"], ais["chains"]) == ("k-too-small", 40, 8)
    # It needs no q: within five of its stated standard errors of the truth, one-sided bias included.
    assert abs(ais["less_exact"]["value"]) < 5.0 * ais["mc_stderr"]
    error = ais["less_importance"]["mc_stderr"]
    assert error == pytest.approx(math.hypot(ais["mc_stderr"], found["bound"]["mc_stderr"]))
    assert ais["less_importance"]["value"] > 3.0 * error
    # The bound is low by what is expected of its K, to a factor of two and the errors.
    low, error = -found["log_p"]["model"]["bound_less_exact"]["value"], 5.0 * found["bound"]["mc_stderr"]
    assert 0.5 * low - error < -found["bound"]["bias"] < 2.0 * low + error
    _, arrays, attrs = kept(tmp_path, linear)
    assert arrays["ais_log_weights"].shape == (8, 40)
    assert attrs["method"] == "ais"
    assert ais["value"] == pytest.approx(arrays["ais_log_p"].mean(), rel=1e-12)
    assert partials(tmp_path) == []
    shown = run(capsys, *arguments).out
    assert "missed mass" not in shown
    assert "K=16 is too small" in shown
    # What it says to type compares the two.
    (line,) = (line for line in shown.splitlines() if "to compare them: " in line)
    larger = shlex.split(line.partition("to compare them: dreg ")[2])
    compared = run(capsys, *larger)
    assert "the two agree" in compared.out
    assert "k-hat is above 0.7" in compared.err


def test_of_one_sample_neither_an_error_nor_a_kl_is_shown(capsys, linear) -> None:
    """Both were 0.00 of any model."""
    found = result_of(run(capsys, "eval", linear, "--k", 1, "--n", 20, "--json"))
    assert (found["bound"]["mc_stderr"], found["bound"]["mc_method"], found["kl_posterior"]) == (None, None, None)
    shown = run(capsys, "eval", linear, "--k", 1, "--n", 20).out
    (error,) = (line for line in shown.splitlines() if "MC s.e. is not known at K=1: " in line)
    (kl,) = (line for line in shown.splitlines() if "K=1 is too small: " in line)
    for line, way in ((error, "repeats"), (kl, None)):
        found = result_of(run(capsys, *shlex.split(line.rpartition(": dreg ")[2]), "--json"))
        assert found["bound"]["mc_stderr"] > 0.0
        assert found["bound"]["mc_method"] == (way or "left-out")
        assert (found["kl_posterior"] is None) == (way is not None)


def test_an_example_that_no_sample_explains_is_told_and_ends_nothing(capsys, monkeypatch, linear) -> None:
    """Its weights are all 0; before, the advice for KL(q||posterior) ended in a traceback after the work was done."""
    real = SeenBatch.weighed

    def weighed(batch: SeenBatch, **how: Any) -> tuple[Tensor, Tensor | None]:
        log_w, kl = real(batch, **how)
        log_w[:, 1] = -math.inf
        return log_w, kl

    monkeypatch.setattr(SeenBatch, "weighed", weighed)
    for method in ((), ("--method", "ais", "--steps", 4, "--chains", 2)):
        shown = run(capsys, "eval", linear, "--k", "10,100", "--n", 20, *method)
        assert shown.code == 0, shown.err
        assert "l/v001: the bound is not a finite number for 1 of 20 examples" in shown.err
        assert "KL(q||posterior) is" not in shown.out
        assert "to compare them" not in shown.out
        assert "nan" not in shown.out
    assert "RuntimeWarning" not in shown.err
    found = result_of(run(capsys, "eval", linear, "--k", "10,100", "--n", 20, "--json"))
    assert (found["not_finite"], found["bound"]["value"], found["bound"]["bias"], found["ess"]) == (1, *[None] * 3)
    assert found["khat"]["share_above_0.7"] >= 1 / 20
    assert run(capsys, "report", linear).code == 0


def _chains(monkeypatch, change: Callable[[Tensor], None]) -> None:
    """After the annealing, the weights of all chains, (M, B), are changed."""
    real = AnnealedBatch.advance

    def advance(batch: AnnealedBatch) -> None:
        real(batch)
        if batch.done:
            change(batch._log_weights)

    monkeypatch.setattr(AnnealedBatch, "advance", advance)


def test_one_chain_with_a_weight_has_no_error_and_none_leaves_the_other_estimates(
    capsys, monkeypatch, linear
) -> None:
    few = ("eval", linear, "--k", 1024, "--n", 2, "--method", "ais", "--steps", 4, "--chains", 3)

    def alone(weights: Tensor) -> None:
        weights[1:, 0] = -math.inf

    with monkeypatch.context() as patch:
        _chains(patch, alone)
        shown = run(capsys, *few)
        assert "random error is not known, because an example has only one chain with a weight above 0" in shown.out
        assert "nan" not in shown.out + shown.err
        assert result_of(run(capsys, *few, "--json"))["ais"]["mc_stderr"] is None
    _chains(monkeypatch, lambda weights: weights[:, 1].fill_(-math.inf))
    shown = run(capsys, *few)
    assert shown.code == 0, shown.err
    assert (
        "warning: l/v001: AIS has no result: log p(x | z) is -inf along every chain (example 1 of test" in shown.err
    )
    found = result_of(run(capsys, *few, "--json"))
    assert "ais" not in found
    assert found["bound"]["value"] < 0.0
    assert run(capsys, "report", linear).code == 0


def test_what_it_says_to_type_asks_for_what_was_asked(capsys, linear) -> None:
    """All K of a curve, the repeats and the threshold: a K that does not divide 1,000 has an error by repeats."""
    shown = run(capsys, "eval", linear, "--k", "600,1000", "--n", 5, "--active-threshold", 0.5)
    (line,) = (line for line in shown.out.splitlines() if "MC s.e. is not known at K=600: " in line)
    assert "dreg eval l/v001 --split test --k 600,1000 --n 5 --active-threshold 0.5 --repeats 10 " in line
    found = result_of(run(capsys, *shlex.split(line.rpartition(": dreg ")[2]), "--json"))
    assert [(row["k"], row["mc_method"]) for row in found["curve"]] == [(600, "repeats"), (1000, "repeats")]
    assert found["active_threshold"] == 0.5
    shown = run(capsys, "eval", linear, "--k", 2, "--n", 5, "--repeats", 3)
    assert "dreg eval l/v001 --split test --k 500 --n 5 --repeats 3" in shown.out


def test_one_example_has_no_active_units(capsys, linear) -> None:
    """Of one example no latent varies, and each would look inactive."""
    found = result_of(run(capsys, "eval", linear, "--k", 2, "--n", 1, "--json"))
    assert found["active_units"] is None
    assert found["no_active_units"] == "a single example has no variance over examples"
    assert "active units are not counted: a single example" in run(capsys, "eval", linear, "--k", 2, "--n", 1).out
    assert result_of(run(capsys, "eval", linear, "--k", 2, "--n", 2, "--json"))["active_units"] > 0


def stop_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int) -> None:
    """SIGINT at the ``at``-th call of a function."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = [0]

    def acts(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, acts)


@pytest.mark.parametrize(
    ("owner", "name", "at", "method"),
    [
        (importance, "estimate", 1, ()),
        (AnnealedBatch, "advance", 24, ("--method", "ais", "--steps", 8, "--chains", 3)),
        (AnnealedBatch, "advance", 5, ("--method", "ais", "--steps", 8, "--chains", 3)),
    ],
)
def test_a_stopped_evaluation_goes_on_to_the_same_numbers(
    capsys, tmp_path, monkeypatch, linear, owner, name, at, method
) -> None:
    arguments = ("eval", linear, "--k", "5,40", "--repeats", 2, "--n", 140, *method)
    result_of(run(capsys, *arguments, "--json"))
    _, expected, _ = kept(tmp_path, linear)
    with monkeypatch.context() as patch:
        stop_once(patch, owner, name, at)
        stopped = run(capsys, *arguments, "--json")
    assert stopped.code == 130, stopped.err
    assert "the work so far is saved" in stopped.json["error"]["what"]
    assert len(partials(tmp_path)) == 1
    again = run(capsys, *arguments, "--json")
    assert again.code == 0
    assert "continuing at" in again.err
    _, found, _ = kept(tmp_path, linear)
    assert set(found) == set(expected)
    for key, array in expected.items():
        assert np.array_equal(found[key], array, equal_nan=True), key
    assert partials(tmp_path) == []
    # Another question does not go on from it.
    with monkeypatch.context() as patch:
        stop_once(patch, owner, name, at)
        assert run(capsys, *arguments, "--json").code == 130
    assert "continuing" not in run(capsys, *arguments, "--eval-seed", 1).err


def test_what_was_kept_now_and_then_survives_a_crash(capsys, tmp_path, monkeypatch, linear) -> None:
    monkeypatch.setattr(second_opinion, "SAVE_SECONDS", -1.0)

    def crash(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(second_opinion, "mean_log_p", crash)
        run(capsys, "eval", linear, "--k", 5, "--n", 20, "--method", "ais", "--steps", 5)
    assert len(partials(tmp_path)) == 1
    assert (
        "continuing at transition"
        in run(capsys, "eval", linear, "--k", 5, "--n", 20, "--method", "ais", "--steps", 5).err
    )


def test_all_faults_at_once(capsys) -> None:
    outcome = run(
        capsys, "eval", "t", "--k", "0,a", "--split", "x", "--repeats", 0, "--n", 0, "--method", "aiz", "--steps", 3,
        "--active-threshold", -1, "--eval-seed", -1,
    )  # fmt: skip
    assert outcome.code == 2
    for text in ("k: ", "split: ", "repeats: ", "n: ", "Did you mean 'ais'?", "active-threshold: ", "eval-seed: "):
        assert text in outcome.err, text
    assert "only applies with --method ais" in run(capsys, "eval", "t", "--steps", 3).err
    assert "k: 5 is given twice" in run(capsys, "eval", "t", "--k", "5,7,5").err
    ais = run(capsys, "eval", "t", "--method", "ais", "--steps", 1, "--chains", 1).err
    assert "steps: " in ais
    assert "chains: " in ais


def test_more_examples_than_there_are_and_a_run_without_a_checkpoint(capsys, tmp_path) -> None:
    assert run(capsys, "train", *SMALL, "--name", "t").code == 0
    assert "at most the 250 examples" in run(capsys, "eval", "t", "--n", 251).err
    (found,) = RunStore(tmp_path / "runs").resolve("t/v001")
    for step in found.checkpoints():
        (found.path / "checkpoints" / f"step-{step:08d}").rename(tmp_path / f"gone-{step}")
    RunStore(tmp_path / "runs").claim_folder("t")
    outcome = run(capsys, "eval", "t")
    assert outcome.code == 13
    assert "None of these runs has a checkpoint" in outcome.err
    assert "--resume" not in outcome.err  # one run is completed, and the other was killed before it began


def test_a_linear_gaussian_model_refuses_what_it_cannot_be_given(capsys) -> None:
    outcome = run(
        capsys, "train", "--model", "linear-gaussian", "--dataset", "digits", "--task", "structured", "--hidden", 5,
        "--likelihood", "bernoulli", "--compile", "on",
    )  # fmt: skip
    assert outcome.code == 2
    for field in ("task: ", "likelihood: ", "hidden: ", "compile: "):
        assert field in outcome.err, field
    assert "Did you mean 'vae'" in run(capsys, "train", "--model", "vea").err
    assert "layer sizes" in run(capsys, "train", "--hidden", "").err


def test_every_diagnosis_takes_a_linear_model_and_shows_what_is_known_of_it(capsys, linear) -> None:
    arguments = ("--examples", 8, "--replicates", 20, "--k", "1,8", "--reference-k", 16, "--estimator", "dreg")
    found = run(capsys, "variance", linear, *arguments, "--json").json
    assert set(found["log_p"]) == {"model", "data"}
    last = found["bound"][-1]
    assert last["value"] - 5.0 * last["stderr"] < found["log_p"]["model"] < found["log_p"]["data"]
    assert "exact log p(x)" in run(capsys, "variance", linear, *arguments).out
    assert run(capsys, "sample", linear, "--n", 4).code == 0
    checked = run(capsys, "bias-check", linear, "--k", 4, "--max-batches", 96, "--json")
    assert checked.json["results"][0]["verdict"] in ("unbiased", "inconclusive")
    tracked = run(capsys, "train", *LINEAR, "--steps", 6, "--log-every", 3, "--track-estimators", "stl", "--json")
    assert tracked.code == 0, tracked.err


def test_training_shows_what_is_known_exactly(capsys, linear) -> None:
    outcome = run(capsys, "train", *LINEAR, "--steps", 10, "--name", "l", "--json")
    assert set(outcome.json["log_p"]) == {"train", "valid", "test"}
    exact = outcome.json["log_p"]["test"]
    assert outcome.json["bound"]["test"] < exact["model"] < exact["data"]
    shown = run(capsys, "train", "--resume", "l/v002", "--steps", 11).out
    assert "exact log p(x) of the model" in shown
    assert "exact log p(x) of the data" in shown
    assert "log_p" not in run(capsys, "train", *SMALL, "--json").json
    specs = [group["spec"] for group in run(capsys, "report", "l", "--json").json["groups"]]
    assert {spec["model"] for spec in specs} == {"linear-gaussian"}
