"""``--prior-gradient`` as a user sees it: what is trained, measured, checked, shown and refused."""

import json
from types import SimpleNamespace

import pytest

from dregcli.app.diagnosis import variance_report
from dregcli.report.figures.variance import Curve
from tests.support.cli import SMALL, run
from tests.support.data_few import few_digits

FEW = ("--examples", 4, "--replicates", 20, "--k", 2, "--reference-k", 16, "--estimator", "dreg")
NO_PATH = "the model's prior has no parameters to learn"


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Curve]:
    """Curves of the figures, which are not drawn: that takes longer than all else here."""
    few_digits(monkeypatch)
    found: list[Curve] = []

    def figure(curves: list[Curve], **_: object) -> SimpleNamespace:
        found.extend(curves)
        return SimpleNamespace(name="variance", render=str.encode)

    monkeypatch.setattr(variance_report, "variance_figure", figure)
    return found


def test_a_run_is_trained_measured_and_checked_by_its_kind(capsys, drawn) -> None:
    train = (
        "train",
        "--task",
        "structured",
        *SMALL,
        "--final-eval",
        "none",
        "--name",
        "s",
        "--prior-gradient",
        "gdreg",
    )
    assert run(capsys, *train).code == 0
    measured = run(capsys, "variance", "s", *FEW, "--json")
    assert measured.code == 0, measured.err
    of = [(each["network"], each.get("prior_gradient")) for each in measured.json["results"]]
    assert of == [("encoder", None), ("decoder", None), ("prior", "score"), ("prior", "gdreg"), ("prior", "blend")]
    agreed = measured.json["reference"]["agreement"]
    assert [each.get("prior_gradient") for each in agreed] == [None, None, "blend"]
    assert [curve.label for curve in drawn] == ["iwae/dreg", "iwae", "iwae/score", "iwae/gdreg", "iwae/blend"]
    some = run(capsys, "variance", "s", *FEW, "--prior-gradient", "blend,score")
    lines = some.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("iwae/")] == [
        "iwae/dreg",
        "iwae/blend",
        "iwae/score",
    ]
    assert "prior" in lines
    assert "reference: dreg and, for the prior, blend at K=16" in some.out
    assert "The prior is learned" in some.out

    few = ("bias-check", "s", "--examples", 4, "--max-batches", 48)
    checked = run(capsys, *few, "--json")
    assert checked.code in (0, 5), checked.err
    assert checked.json["settings"]["prior_gradient"] == "gdreg"
    prior = checked.json["prior_blocks"]
    assert {name.partition(".")[0] for name in prior} == {"prior"}
    assert set(prior) <= set(checked.json["results"][0]["t"]["blocks"])
    shown = run(capsys, *few, "--prior-gradient", "blend")
    assert "prior by blend, against score" in shown.out.splitlines()[0]
    assert "largest t in a block of the prior, whose gradient by blend is compared with score: iwae/dreg" in shown.out
    by_score = run(capsys, *few, "--prior-gradient", "score", "--json").json
    assert "prior_gradient" not in by_score["settings"]
    assert not set(prior) & set(by_score["results"][0]["t"]["blocks"])

    told = run(capsys, "runs", "show", "s").out
    assert any(line.split() == ["prior_gradient", "gdreg"] for line in told.splitlines())
    assert "of the prior: iwae/blend" in told


def test_a_fixed_prior_has_no_block(capsys) -> None:
    assert run(capsys, "train", *SMALL, "--final-eval", "none", "--name", "v").code == 0
    measured = run(capsys, "variance", "v", *FEW, "--json").json
    assert {each["network"] for each in measured["results"]} == {"encoder", "decoder"}
    assert "prior_gradient" not in str(measured)
    shown = run(capsys, "variance", "v", *FEW).out.partition("kept: ")[0]
    assert "encoder" in shown
    assert "prior" not in shown
    for command in ("variance", "bias-check"):
        refused = run(capsys, command, "v", "--prior-gradient", "gdreg")
        assert refused.code == 2
        assert f"prior-gradient: {NO_PATH}: leave --prior-gradient out." in refused.err


OVIS = "ovis-mc:exclusive=true"
TRAIN = ("train", *SMALL, "--final-eval", "none", "--prior-gradient")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*TRAIN, "gdreg"), f"prior-gradient: {NO_PATH}. Use --prior-gradient score."),
        ((*TRAIN, "gdreg", "--print-config"), f"prior-gradient: {NO_PATH}. Use --prior-gradient score."),
        ((*TRAIN, "blend", "--dry-run"), f"prior-gradient: {NO_PATH}. Use --prior-gradient score."),
        ((*TRAIN, "nope"), "prior-gradient: must be auto, score, gdreg or blend, got 'nope'."),
        ((*TRAIN, "blend", "--seeds", "0-2"), f"prior-gradient: {NO_PATH}. Use --prior-gradient score."),
        (
            (*TRAIN, "blend", "--task", "structured", "--kl-warmup", 5),
            "prior-gradient: is not possible during a KL warm-up: leave --kl-warmup out, got 5.",
        ),
        (
            (*TRAIN, "gdreg", "--task", "structured", "--estimator", f"dreg,{OVIS}"),
            "leaves samples out of theta's gradient. Use --prior-gradient score.",
        ),
        (("variance", "--prior-gradient", "gdreg"), f"prior-gradient: {NO_PATH}: leave --prior-gradient out."),
        (("variance", "--toy", "--prior-gradient", "gdreg"), "prior-gradient: does not apply to the toy"),
        (
            ("variance", "--prior-gradient", "auto"),
            "prior-gradient: no gradient of a prior is called 'auto'. Known: score",
        ),
        (
            ("bias-check", "--task", "structured", "--prior-gradient", "gdreg", "--estimator", OVIS),
            "leaves samples out of theta's gradient. Use --prior-gradient score.",
        ),
        (("bias-check", "--prior-gradient", "gdreg,blend"), "prior-gradient: takes one value here"),
        (("finetune-encoder", "s", "--prior-gradient", "gdreg"), "No such option: --prior-gradient"),
        (("eval", "s", "--prior-gradient", "gdreg"), "No such option: --prior-gradient"),
    ],
)
def test_what_cannot_be_is_refused_before_any_run(capsys, tmp_path, arguments, message: str) -> None:
    refused = run(capsys, *arguments)
    assert refused.code == 2, refused.err
    assert message in refused.err
    assert refused.out == ""
    assert not list(tmp_path.glob("runs/[!.]*/")), "nothing was made or trained"


def resolved(capsys, *arguments: object) -> str:
    """The kind of a new run, from what it prints for --config."""
    shown = run(capsys, "train", "--print-config", "--json", *SMALL, *arguments)
    assert shown.code == 0, shown.err
    return shown.json["prior_gradient"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("--task", "structured"), "blend"),
        (("--model", "hierarchical", "--latent-dim", "2,1", "--hidden", "4/3"), "blend"),
        ((), "score"),
        (("--task", "structured", "--prior-gradient", "score"), "score"),
        (("--task", "structured", "--preset", "paper", "--dataset", "digits"), "score"),
        (("--task", "structured", "--kl-warmup", 5), "score"),
        (("--task", "structured", "--noise", "antithetic"), "score"),
        (("--task", "structured", "--estimator", OVIS), "score"),
        (("--model", "hierarchical", "--latent-dim", "2", "--hidden", "4", "--posterior", "full"), "score"),
    ],
)
def test_without_a_word_the_prior_has_the_blend_where_it_can(capsys, arguments, kind: str) -> None:
    assert resolved(capsys, *arguments) == kind


def test_a_spec_without_a_word_is_one_of_before_the_word_and_has_the_score(capsys, tmp_path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps({"spec_version": 1, "dataset": "digits", "task": "structured", "steps": 4}), encoding="utf-8"
    )
    assert resolved(capsys, "--config", spec) == "score"
    assert resolved(capsys, "--config", spec, "--prior-gradient", "gdreg") == "gdreg"
