"""Every command with the built-in model of several stochastic layers: one small run is trained, and all use it."""

import json
from pathlib import Path

import numpy as np
import pytest

from dregcli.app.planning import architectures
from dregcli.store.run import Run
from tests.support.cli import run, usual
from tests.support.no_figures import no_ink

TRAIN = usual("--dataset", "digits", "--k", 4, "--steps", 8, "--batch-size", 16, "--eval-every", 4, "--log-every", 4)
SIZES = ("--model", "hierarchical", "--latent-dim", "3,2", "--hidden", "6,5/4", "--final-eval", "none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a store; the run is trained the first time that a test asks."""
    return tmp_path_factory.mktemp("hierarchical")


@pytest.fixture
def trained(capsys, folder, monkeypatch) -> Run:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DREG_RUNS_DIR", str(folder / "runs"))
    path = Path("runs/digits-hierarchical-iwae-dreg-k4/v001")
    if not path.exists():
        words = ("--posterior-order", "top-down", "--top-prior", "learned", "--track-estimators", "dreg,stl")
        assert Path(_json(capsys, "train", *TRAIN, *SIZES, *words)["run"]) == path.absolute()
    return Run(path)


def _json(capsys, *words: object) -> dict:
    outcome = run(capsys, *words, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_the_run_has_its_settings_and_its_checkpoint_says_what_it_needs(trained) -> None:
    expected = {"hidden": [[6, 5], [4]], "latent_dim": [3, 2], "posterior_order": "top-down", "top_prior": "learned"}
    spec, about = trained.spec(), trained.load_checkpoint("last").about
    assert {name: spec.get(name) for name in expected} == expected
    assert {name: about.get(name) for name in expected} == expected
    assert not {"posterior", "likelihood", "model_digest", "model_options"} & set(spec)
    rows = trained.metrics("train")
    assert np.isfinite(rows["bound"]).all()
    assert any("stl" in name for name in rows)


def test_a_replay_finds_every_number_of_every_layer_again(capsys, trained) -> None:
    assert {"kl_prior.z2", "active_units.z1"} <= set(trained.metrics("valid"))
    assert run(capsys, "runs", "verify", trained.path, "--replay", 8).code == 0


def test_evaluation_and_annealing(capsys, trained) -> None:
    words = ("--n", 2, "--k", "1,256", "--method", "ais", "--steps", 20, "--chains", 4)
    (found,) = _json(capsys, "eval", trained.path, *words)["results"]
    assert found["active_units"] in range(6)
    assert abs(found["ais"]["less_importance"]["value"]) < 0.5


def test_diagnoses(capsys, trained) -> None:
    words = ("--k", 2, "--examples", 2, "--max-batches", 48, "--json", "--quiet")
    found = run(capsys, "bias-check", trained.path, *words)
    assert found.code in (0, 5), found.err
    words = ("--k", "2", "--examples", 2, "--replicates", 20, "--estimator", "dreg", "--reference-k", 4)
    assert _json(capsys, "variance", trained.path, *words)["results"]


def test_pictures(capsys, trained) -> None:
    found = _json(capsys, "sample", trained.path, "--n", 4, "--scale", 1, "--latents", 2)
    kinds = [each["kind"].partition("-")[0] for each in found["images"]]
    assert set(kinds) == {"samples", "reconstructions", "traversals"}
    assert {each["name"] for each in found["latents"]} <= {"z1[0]", "z1[1]", "z1[2]", "z2[0]", "z2[1]"}
    assert found["left_out"] == {}
    outcome = run(capsys, "sample", trained.path, "--latents", 6)
    assert outcome.code == 2
    assert "must be at most the model's" in outcome.err


def test_only_q_is_trained(capsys, trained) -> None:
    words = ("--reset-encoder", "--steps", 2, "--eval-every", 0, "--name", "child")
    found = _json(capsys, "finetune-encoder", trained.path, *words)
    assert found["theta_sha256"]["before"] == found["theta_sha256"]["after"]


def test_what_is_shown_of_it(capsys, trained, monkeypatch) -> None:
    no_ink(monkeypatch)
    shown = run(capsys, "runs", "show", trained.path).out
    for line in ("hidden            6,5/4", "latent_dim        3,2", "posterior_order   top-down"):
        assert line in shown
    assert run(capsys, "report", trained.path, "--html", "report.html").code == 0
    assert "6,5/4" in Path("report.html").read_text()


def test_its_exported_model(capsys, trained) -> None:
    assert run(capsys, "runs", "export", trained.path, "--model", "exported").code == 0
    assert json.loads(Path("exported/config.json").read_text())["latent_dim"] == [3, 2]
    assert "latents z2 (B, 2), z1 (B, 3)" in Path("exported/load.py").read_text()


def test_its_sizes_in_a_file_and_its_continuation(capsys, trained) -> None:
    Path("c.toml").write_text('model = "hierarchical"\nlatent-dim = [3, 2]\nhidden = [[6, 5], [4]]\n')
    short = ("--dataset", "digits", "--k", 4, "--steps", 2, "--eval-every", 0, "--final-eval", "none")
    made = Run(Path(_json(capsys, "train", "--config", "c.toml", *short, "--name", "file")["run"]))
    assert (made.spec()["hidden"], made.spec()["latent_dim"]) == ([[6, 5], [4]], [3, 2])
    shown = run(capsys, "eval", made.path, "--n", 2, "--k", 4).out
    assert (
        "the part of z1 is no KL and may be negative, because q draws this layer before the layers above" in shown
    ), "q of this run draws bottom-up"
    assert run(capsys, "train", "--resume", made.path, "--steps", 3, "--quiet").code == 0
    assert run(capsys, "runs", "verify", made.path).code == 0


def test_the_vae_with_another_posterior(capsys, trained) -> None:
    """It is the hierarchical model with one layer, but the word stays."""
    words = ("--latent-dim", 3, "--hidden", 5, "--posterior", "full", "--final-eval", "none", "--name", "full")
    path = _json(capsys, "train", *TRAIN, *words)["run"]
    spec = Run(Path(path)).spec()
    assert (spec["posterior"], spec["latent_dim"], spec["hidden"]) == ("full", 3, [5])
    assert "model" not in spec
    assert _json(capsys, "eval", path, "--n", 2, "--k", 8)["results"][0]["active_units"] in range(4)
    found = run(capsys, "bias-check", path, "--k", 2, "--examples", 2, "--max-batches", 48, "--json", "--quiet")
    assert found.code in (0, 5), found.err


REFUSED = {
    "lists of different lengths, and more": (
        (
            "--model",
            "hierarchical",
            "--latent-dim",
            "100,50",
            "--hidden",
            "200,200",
            "--task",
            "structured",
            "--k",
            0,
        ),
        "hidden: must have sizes for each stochastic layer: --latent-dim 100,50 has 2, but --hidden 200,200 has 1.",
        "task: hierarchical models whole images: leave --task out, got 'structured'.",
        "k: must be at least 1, got 0.",
    ),
    "settings of several layers for one": (
        ("--posterior-order", "top-down", "--top-prior", "learned", "--latent-dim", "100,50", "--hidden", "3/4"),
        "posterior-order: only applies with --model hierarchical, got 'top-down'.",
        "top-prior: only applies with --model hierarchical, got 'learned'.",
        "latent-dim: vae has one stochastic layer: give one number, got 100,50. --model hierarchical has several.",
        "hidden: vae has one stochastic layer",
    ),
    "an empty layer": (
        ("--model", "hierarchical", "--hidden", "200//100", "--latent-dim", "3,", "--posterior-order", "up"),
        "hidden: must be layer sizes such as 200,200 or 200,200/100,100, in a file",
        "latent-dim: must be a whole number from 1, or one for each of several stochastic layers, such as 100,50;",
        "posterior-order: must be one of 'bottom-up' or 'top-down', got 'up'.",
    ),
    "an option that is a setting": (
        ("--model", "hierarchical", "--model-option", "latent_dim=3"),
        "model-option: HierarchicalVae has an option of its own for it: give --latent-dim 3.",
    ),
    "posteriors": (
        ("--model", "linear-gaussian", "--posterior", "full"),
        "posterior: only applies with --model vae or hierarchical, got 'full'.",
    ),
    "a part of an image": (
        ("--posterior", "full", "--task", "structured"),
        "posterior: 'full' models whole images: leave --task out, or use --posterior diagonal.",
    ),
    "a missing package": (
        ("--posterior", "flow:maf,layers=2"),
        "posterior: 'flow:maf,layers=2' needs zuko, which is not installed: in your clone of dreg, pip install -e "
        "'.[flows]'.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_at_once_with_the_way_out(capsys, trained, monkeypatch, case: str) -> None:
    monkeypatch.setattr(architectures, "find_spec", lambda name: None)
    words, *messages = REFUSED[case]
    before = sorted(Path("runs").iterdir())
    outcome = run(capsys, "train", *words, "--steps", 2)
    assert outcome.code == 2
    for message in messages:
        assert message in outcome.err
    assert sorted(Path("runs").iterdir()) == before
