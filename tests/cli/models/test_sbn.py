"""The sigmoid belief network from the command line."""

from pathlib import Path

import pytest

from dregcli.store.run import Run
from tests.support.cli import run, usual

SMALL = usual("--dataset", "digits", "--model", "sbn", "--k", 4, "--steps", 3, "--batch-size", 16)
QUICK = (*SMALL, "--eval-every", 0, "--final-eval", "none", "--quiet", "--json")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DREG_RUNS_DIR", str(tmp_path))


def test_layers_are_listed_from_the_pixels_on(capsys) -> None:
    words = ("--estimator", "ovis:gamma=1", "--latent-dim", "5,3", "--hidden", "4/6,7", "--name", "a")
    found = run(capsys, "train", *QUICK, *words)
    assert found.code == 0, found.err
    made = Run(Path(found.json["run"]))
    assert made.spec()["latent_dim"] == [5, 3]
    model = made.load_checkpoint("last").model
    assert model["encoders.1.0.weight"].shape == (6, 5)
    assert model["decoders.1.2.weight"].shape == (6, 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--estimator", "dreg"), "those of 'h1', 'h2', 'h3' have none (no rsample). Use one of reinforce, vimco"),
        (
            ("--estimator", "vimco", "--track-estimators", "dreg"),
            "track-estimators: 'iwae/dreg' needs the gradient of",
        ),
        (("--estimator", "vimco", "--binarisation", "none"), "Give --binarisation dynamic."),
        (("--estimator", "vimco", "--dataset", "linear-gaussian"), "Use --model vae or conv."),
        (("--estimator", "vimco", "--latent-dim", "3,2", "--hidden", "4"), "--latent-dim 3,2 has 2, but --hidden 4"),
        (("--estimator", "vimco", "--prior-gradient", "gdreg"), "Use --prior-gradient score"),
    ],
)
def test_what_cannot_be_is_refused_before_work(capsys, tmp_path, words: tuple[str, ...], message: str) -> None:
    refused = run(capsys, "train", *SMALL, *words)
    assert refused.code == 2
    assert message in refused.err
    assert not list(tmp_path.glob("*/v*/checkpoints"))


@pytest.mark.parametrize(
    ("command", "estimator", "message"),
    [
        ("bias-check", "dreg", "'iwae/dreg' needs the gradient of samples"),
        ("variance", "dreg", "'iwae/dreg' needs the gradient of samples"),
        ("bias-check", "rws/reparam", "estimator: 'rws/reparam' has nothing to be compared with"),
    ],
)
def test_a_diagnosis_without_a_run_refuses_what_it_cannot_do_before_it_trains_one(
    capsys, tmp_path, command: str, estimator: str, message: str
) -> None:
    refused = run(capsys, command, "--model", "sbn", "--dataset", "digits", "--k", 4, "--estimator", estimator)
    assert refused.code == 2
    assert message in refused.err
    assert "training" not in refused.err
    assert not list(tmp_path.glob("*/v*"))
