"""``dreg check-model``, and the checks that ``dreg train`` makes by itself."""

from pathlib import Path

import pytest

from tests.support.cli import run, usual
from tests.support.own_models import MODEL, write_model

FAULTY = (
    MODEL.replace("class TinyVae(", "class FaultyVae(")
    .replace("nn.Linear(latent_dim, pixels)", "nn.Sequential(nn.Linear(latent_dim, pixels), nn.Dropout(0.5))")
    .replace('logits=self.decoder(z["z"])', 'logits=self.decoder(z["z"].detach())')
)
EXTRA = MODEL.replace("self.decoder =", "self.extra, self.decoder = nn.Linear(2, 2),")
SHORT = usual("--k", 2, "--steps", 2, "--batch-size", 20, "--eval-every", 0, "--final-eval", "none", "--quiet")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    write_model(tmp_path, FAULTY, "faulty.py")
    return tmp_path


def line_of(text: str, source: str) -> int:
    return next(i for i, line in enumerate(source.split("\n"), start=1) if text in line)


def test_a_sound_model_passes_and_its_parts_are_shown(capsys) -> None:
    outcome = run(capsys, "check-model", "tiny.py:TinyVae", "--model-option", "latent-dim=3", "--max-seconds", 0)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "tiny.py:TinyVae on digits (binary, 1 x 8 x 8): no fault found"
    assert "latent z: shape (3), q Normal, p Normal, with a path" in lines
    assert "theta, which log p(x, z) reaches: 2 tensors, 256 numbers: decoder.weight, decoder.bias" in lines
    assert "phi, which q(z | x) reaches: 2 tensors, 390 numbers: encoder.weight, encoder.bias" in lines


def test_two_estimators_are_compared(capsys) -> None:
    outcome = run(capsys, "check-model", "tiny.py:TinyVae", "--max-seconds", 0.2, "--json")
    assert outcome.code == 0, outcome.err
    compared = outcome.json["comparison"]
    assert (compared["estimators"], compared["k"]) == (["dreg", "reparam"], 4)
    assert compared["verdict"] in ("inconclusive", "unbiased")
    assert compared["batches"] >= 1


def test_every_fault_is_shown_with_its_line(capsys, folder: Path) -> None:
    outcome = run(capsys, "check-model", "faulty.py:FaultyVae", "--json")
    assert outcome.code == 1, outcome.err
    found = {each["key"]: each for each in outcome.json["findings"]}
    assert set(found) == {"random-model", "detached"}
    cut = found["detached"]
    line = line_of("detach()", FAULTY)
    assert (cut["file"], cut["line"], cut["severity"]) == (str(folder / "faulty.py"), line, "error")
    assert cut["text"] == 'return Independent(Bernoulli(logits=self.decoder(z["z"].detach())), 1)'
    assert found["random-model"]["part"] == "decoder.1 (Dropout)"
    assert outcome.json["comparison"]["reason"] == "it is not made while the model has faults"
    shown = run(capsys, "check-model", "faulty.py:FaultyVae").out
    assert "faulty.py:FaultyVae on digits (binary, 1 x 8 x 8): 2 faults\n" in shown
    assert f"where:  {folder / 'faulty.py'}, line {line} (torch function detach)" in shown


def test_the_likelihood_must_fit_the_data_as_they_are_used(capsys) -> None:
    outcome = run(capsys, "check-model", "tiny.py:TinyVae", "--binarisation", "none", "--json")
    assert outcome.code == 1
    assert [each["key"] for each in outcome.json["findings"]] == ["likelihood"]


def test_what_the_code_prints_does_not_reach_the_result(capsys, folder: Path) -> None:
    talking = MODEL.replace("        given(", "        print('hello')\n        given(")
    write_model(folder, talking, "talking.py")
    outcome = run(capsys, "check-model", "talking.py:TinyVae", "--max-seconds", 0, "--json")
    assert outcome.json["findings"] == []
    assert "hello" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("vae",), "'vae' comes with dreg"),
        (("tiny.py:TinyVae", "--examples", 0), "examples: must be at least 1, got 0."),
        (("tiny.py:TinyVae", "--max-seconds", -1), "max-seconds: must be at least 0, got -1.0."),
        (("tiny.py:Tiny",), "Did you mean 'TinyVae'?"),
        (("tiny.py:TinyVae", "--model-option", "width=3"), "TinyVae has no option 'width'."),
    ],
)
def test_bad_input_is_refused(capsys, words: tuple[object, ...], message: str) -> None:
    outcome = run(capsys, "check-model", *words)
    assert outcome.code == 2
    assert message in outcome.err


def test_training_refuses_a_faulty_model_before_a_run_is_claimed(capsys, folder: Path) -> None:
    outcome = run(capsys, "train", "--model", "faulty.py:FaultyVae", *SHORT)
    assert outcome.code == 2
    place = f"{folder / 'faulty.py'}, line {line_of('detach()', FAULTY)} (torch function detach): "
    assert f"{place}log p(x | z) depends on the latent 'z'" in outcome.err
    assert "The model's program draws random numbers" in outcome.err
    assert f"dreg check-model {folder / 'faulty.py'}:FaultyVae --dataset digits" in outcome.err
    assert not list(folder.glob("runs/*/*"))


def test_training_warns_of_parameters_that_nothing_reaches(capsys, folder: Path) -> None:
    write_model(folder, EXTRA, "extra.py")
    outcome = run(capsys, "train", "--model", "extra.py:TinyVae", *SHORT)
    assert outcome.code == 0, outcome.err
    assert "warning: Nothing reaches extra.weight, extra.bias in a trial of 5 examples" in outcome.err


def test_a_support_that_moves_is_refused_only_where_the_estimator_needs_a_fixed_one(capsys, folder: Path) -> None:
    moving = MODEL.replace("Bernoulli, Independent", "Bernoulli, Independent, Uniform").replace(
        "gaussian(self.scale * self.encoder(x.flatten(1)))", "moving(self.encoder(x.flatten(1)))"
    )
    helper = """

def moving(outputs):
    middle, raw = outputs.chunk(2, -1)
    return Independent(Uniform(middle - raw.exp(), middle + raw.exp()), 1)
"""
    write_model(folder, moving + helper, "moving.py")
    refused = run(capsys, "train", "--model", "moving.py:TinyVae", *SHORT)
    assert refused.code == 2
    assert "The support of q of 'z' moves with its parameters" in refused.err
    trained = run(capsys, "train", "--model", "moving.py:TinyVae", "--estimator", "reparam", *SHORT)
    assert trained.code == 0, trained.err


def test_training_only_warns_of_a_likelihood_that_people_use_all_the_same(capsys) -> None:
    outcome = run(capsys, "train", "--model", "tiny.py:TinyVae", "--binarisation", "none", *SHORT)
    assert outcome.code == 0, outcome.err
    assert "The data lie outside the support of the likelihood Bernoulli" in outcome.err


@pytest.mark.parametrize("command", [("check-model",), ("train", *SHORT, "--model")])
def test_a_fault_of_the_contract_has_its_line(capsys, folder: Path, command: tuple[object, ...]) -> None:
    wrong = MODEL.replace(
        'Independent(Bernoulli(logits=self.decoder(z["z"])), 1)', 'Bernoulli(logits=self.decoder(z["z"]))'
    )
    write_model(folder, wrong, "wrong.py")
    outcome = run(capsys, *command, "wrong.py:TinyVae")
    assert outcome.code == 2
    line = line_of("return Bernoulli", wrong)
    assert f"{folder / 'wrong.py'}, line {line}: p(x | z) must have batch_shape (K, B)" in outcome.err
    assert "Wrap it in torch.distributions.Independent(..., 1)." in outcome.err
    assert not (folder / "runs").exists()


def test_an_unfinished_comparison_says_what_would_finish_it(capsys) -> None:
    outcome = run(capsys, "check-model", "tiny.py:TinyVae", "--max-seconds", 1e-6)
    assert outcome.code == 0, outcome.err
    shown = next(line for line in outcome.out.splitlines() if line.startswith("dreg against reparam"))
    assert "inconclusive after 1 batches" not in shown
    assert shown.endswith("this is no fault; for a verdict, give more time with --max-seconds")
    assert "relative bias -" not in shown


def test_a_mistyped_option_leads_to_the_help_of_this_command(capsys) -> None:
    outcome = run(capsys, "check-model", "tiny.py:NoSuchClass")
    assert outcome.code == 2
    assert "dreg check-model --help" in outcome.err
