"""``dreg train --print-config``: what it prints is the same run again."""

import json
import tomllib

import pytest

from dregcli.specs.run import RunSpec, spelt_out
from dregcli.specs.toml import as_toml
from tests.support.cli import SMALL, run
from tests.support.own_models import MODEL, write_model


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--estimator", "iwae/dreg-alpha:alpha=.8", "--k", "48", "--backward", "dense", "--epochs", "2"),
        (
            "--model",
            "linear-gaussian",
            "--dataset",
            "linear-gaussian",
            "--objective",
            "elbo",
            "--estimator",
            "reparam",
        ),
        ("--hidden", "7,5", "--track-estimators", "stl,rws/dreg", "--screen-inflation", "0.3", "--k-chunk", "16"),
        ("--k", "4096", "--k-chunk", "4096"),  # all at once, where auto takes fewer
        ("--task", "structured", "--binarisation", "threshold:0.5", "--seed", "9", "--capture", "none"),
    ],
)
def test_a_printed_config_resolves_to_the_same_run(capsys, tmp_path, flags: tuple[str, ...]) -> None:
    printed = run(capsys, "train", "--print-config", *flags)
    assert printed.code == 0, printed.err
    file = tmp_path / "run.toml"
    file.write_text(printed.out)
    assert len(tomllib.loads(printed.out)) > 20
    again = run(capsys, "train", "--print-config", "--config", file)
    assert again.out == printed.out
    spec = run(capsys, "train", "--print-config", "--config", file, "--json").json
    assert spec == run(capsys, "train", "--print-config", *flags, "--json").json
    as_json = tmp_path / "run.json"
    as_json.write_text(json.dumps(spec))
    for option in ("--config", "--preset"):
        assert run(capsys, "train", "--print-config", option, as_json, "--json").json == spec
    assert not list(tmp_path.glob("runs/*/v*"))


def test_what_is_printed_is_what_is_trained(capsys, tmp_path, ready) -> None:
    spec = run(capsys, "train", *SMALL, "--print-config", "--json").json
    trained = ready(*SMALL, name="t").spec()
    assert spelt_out(trained) == spec
    own = RunSpec.model_validate(spec | {"model_options": {"größe": 3, "size": 2}})
    assert tomllib.loads(as_toml(own))["model_options"] == own.model_options, "quotes are needed outside ASCII"


def test_a_study_and_a_resumed_run_have_no_one_config(capsys) -> None:
    for flags in (("--seeds", "0-1"), ("--estimator", "stl", "--estimator", "dreg"), ("--resume", "x")):
        outcome = run(capsys, "train", "--print-config", *flags)
        assert (outcome.code, outcome.out) == (2, "")
        assert "next: " in outcome.err


def test_warnings_are_shown_beside_the_config(capsys, monkeypatch) -> None:
    monkeypatch.setattr("dregcli.app.planning.executing.has_compiler", lambda: False)
    large = ("--dataset", "digits", "--k", "1024", "--steps", "1000000", "--estimator", "stl", "--k-chunk", "1024")
    large += ("--backward", "dense")
    for form in ((), ("--json",)):
        outcome = run(capsys, "train", "--print-config", *large, *form)
        assert outcome.code == 0, outcome.err
        assert "estimator 'stl' is biased" in outcome.err
        assert "torch.compile finds no C++ compiler" in outcome.err
        assert "warning" not in outcome.out


def test_faults_come_instead_of_a_config(capsys) -> None:
    outcome = run(capsys, "train", "--print-config", "--estimator", "dregg", "--lr", "-1")
    assert outcome.code == 2
    assert "estimator: " in outcome.err
    assert "lr: " in outcome.err


def test_the_schema_is_json(capsys) -> None:
    for flags in ((), ("--config",)):
        printed = run(capsys, "spec", "schema", *flags).out
        assert "properties" in json.loads(printed)
        assert run(capsys, "spec", "schema", *flags, "--json").out == printed


def test_ranks_cannot_share_the_examples_of_a_model_that_draws_for_all_of_them_at_once(capsys, tmp_path) -> None:
    dropped = MODEL.replace(
        "nn.Linear(pixels, 2 * latent_dim)", "nn.Sequential(nn.Dropout(0.5), nn.Linear(pixels, 4))"
    )
    file = write_model(tmp_path / "models", dropped)
    command = ("train", "--model", f"{file}:TinyVae", "--print-config")
    assert run(capsys, *command).code == 0
    refused = run(capsys, *command, "--shard", "batch")
    assert refused.code == 2
    assert "shard: the model draws random numbers, such as dropout's" in refused.err
    assert "Use --shard samples." in refused.err


def test_a_device_without_float64_is_refused_where_that_is_needed(capsys) -> None:
    for command in (
        ("bias-check",),
        ("variance",),
        ("eval", "r", "--method", "ais"),
        ("eval", "r", "--noise", "sobol"),
    ):
        refused = run(capsys, *command, "--device", "mps")
        assert refused.code == 2, refused.err
        assert "'mps' has only float32, but" in refused.err
        assert "--device cpu" in refused.err
