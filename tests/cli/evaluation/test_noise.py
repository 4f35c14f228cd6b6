"""``dreg eval --noise``: samples of an example that depend on each other."""

import pytest

from dregcli.app.reporting.report import read_row
from dregcli.app.runs.model_card import bound_of
from tests.support.cli import SMALL, run
from tests.support.data_few import few_digits
from tests.support.sweep import swept


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


@pytest.mark.parametrize("noise", ["antithetic", "sobol"])
def test_what_needs_independent_samples_is_left_out(capsys, ready, noise: str) -> None:
    ready(*SMALL, name="s")
    found, usual = (
        run(capsys, "eval", "s", "--k", 16, "--repeats", 2, "--noise", each, "--json").json["results"][0]
        for each in (noise, "iid")
    )
    assert found["noise"] == noise
    assert "noise" not in usual
    assert f"-{noise}-" in found["file"]
    assert abs(found["bound"]["value"] - usual["bound"]["value"]) < 0.5
    assert found["bound"]["value"] != usual["bound"]["value"]
    assert found["curve"][0]["mc_method"] == "repeats"
    assert found["curve"][0]["jackknife"] is None
    assert (found["khat"], found["kl_posterior"], found["bound"]["bias"]) == (None, None, None)
    once = run(capsys, "eval", "s", "--k", 16, "--noise", noise)
    assert f"at K=16 with {noise} samples" in once.out
    assert "MC s.e. is not known at K=16" in once.out
    assert f"--noise {noise} --repeats 10" in once.out
    report = run(capsys, "report", "s")
    assert f"(--noise {noise}) are not compared with others" in report.out + report.err


def test_reports_and_cards_have_the_independent_bound_alone(capsys, ready) -> None:
    made = ready(*SMALL, name="s")
    run(capsys, "eval", "s", "--k", 16, "--noise", "antithetic")
    run(capsys, "eval", "s", "--k", 8)
    assert [each["k"] for each in read_row(made, []).evals] == [8]
    bound = bound_of(made, 20)
    assert bound is not None
    assert bound.k == 8
    assert len(made.results("evals")) == 2


@swept(
    "words, said",
    [
        (("--k", "4,16", "--noise", "sobol"), "Give one number"),
        (("--k", 5, "--noise", "antithetic"), "must be even with --noise antithetic"),
        (("--k", 4, "--noise", "sobol", "--method", "ais"), "leave --noise out"),
        (("--k", 4, "--noise", "sobol", "--keep-weights"), "keeps weights of independent samples"),
        (("--k", 4, "--noise", "antithetc"), "antithetic"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, words: tuple[object, ...], said: str) -> None:
    refused = run(capsys, "eval", "s", *words)
    assert refused.code == 2
    assert said in refused.err


def test_a_model_of_several_layers_is_refused(capsys, ready) -> None:
    layers = ("--model", "hierarchical", "--latent-dim", "2,2", "--hidden", "8/8")
    ready("--k", 2, "--steps", 1, "--batch-size", 16, *layers, name="h")
    refused = run(capsys, "eval", "h", "--k", 4, "--noise", "sobol")
    assert refused.code == 2
    assert "one diagonal Gaussian: use iid" in refused.err
