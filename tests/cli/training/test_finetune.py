"""``dreg finetune-encoder`` as a user sees it: the model stands still, its encoder learns, the gain is told."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dregcli.app.loading.build import build_model
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.load_data import data_of
from dregcli.app.training import evaluations
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.training import Trainer
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec, spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run, usual

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def parent(ready) -> Run:
    return ready(*SMALL, name="p")


def _only(store: RunStore, reference: str) -> Run:
    (found,) = store.resolve(reference)
    return found


def _model(found: Run, step: int = 20) -> Tensors:
    return load_file(found.path / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


def _part(tensors: Tensors, part: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(part)}


def _same(a: Tensors, b: Tensors) -> bool:
    return tensors_sha256(a) == tensors_sha256(b)


def _finetune(capsys, *arguments: object, of: str = "p", name: str = "f", eval_every: int | None = 0) -> Outcome:
    """Run the command; it decides itself when to validate if ``eval_every`` is None."""
    validations = () if eval_every is None else usual("--eval-every", eval_every)
    return run(capsys, "finetune-encoder", of, "--name", name, *validations, *arguments)


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    advance = Trainer.advance

    def stops(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "advance", stops)


def _interrupt_in_the_parents_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = evaluations.split_bounds

    def stops(*arguments: object, **options: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return measure(*arguments, **options)

    monkeypatch.setattr(evaluations, "split_bounds", stops)


def test_only_the_encoder_is_trained_and_everything_is_recorded(capsys, store, parent: Run) -> None:
    arguments = ("--k", 8, "--estimator", "stl", "--steps", 12, "--seed", 4, "--lr", 0.01, "--json")
    outcome = _finetune(capsys, *arguments, eval_every=None)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("warning:") == 1, "iwae/stl is biased, and says so once"
    found = _only(store, "f")
    before, after = _model(parent), _model(found, 12)
    assert _same(_part(before, "decoder"), _part(after, "decoder"))
    assert not _same(_part(before, "encoder"), _part(after, "encoder"))
    result = outcome.json
    assert (result["status"], result["step"], result["k"]) == ("completed", 12, 8)
    record = {"run": "p/v001", "checkpoint": 20, "model_sha256": tensors_sha256(before), "reset_encoder": False}
    assert result["parent"] == spelt_out(found.spec())["parent"] == record
    checksum = tensors_sha256(_part(before, "decoder"))
    assert result["theta_sha256"] == {"before": checksum, "after": checksum}
    optimizer = found.load_checkpoint("last").optimizer
    assert {name.partition(".")[0] for name in optimizer} == {"encoder"}
    assert {optimizer[name].item() for name in optimizer if name.endswith("/step")} == {12.0}, "Adam starts afresh"
    assert found.metrics("train")["step"].tolist() == [5, 10, 12], "the steps count from 0"
    spec, inherited = found.spec(), parent.spec()
    changed = {key for key in spec if spec[key] != inherited.get(key)}
    inherits = "what was not given is the parent's, except the interval of evaluations, which follows from the steps"
    assert changed == {"k", "estimator", "steps", "seed", "lr", "parent", "eval_every"}, inherits
    assert ("eval_every" in inherited, spec["eval_every"]) == (False, 12)


def test_settings_of_the_parents_steps_and_of_theta_are_not_inherited(capsys, store, ready) -> None:
    warm = ("--warmup-steps", 9, "--kl-warmup", 9, "--eval-every", 10, "--patience", 2)
    warm += ("--lr-schedule", "burda:stages=1", "--steps", 81)
    warm += ("--objective", "vr-iwae:alpha=0.9->0.5@9")
    ready(*SMALL, *warm, "--lr-posterior", 0.004, "--ema", 0.5, name="p")
    for name, options, lr in (("f", (), 0.004), ("g", ("--lr", 0.05), 0.05)):
        outcome = _finetune(capsys, "--steps", 3, "--final-eval", "none", *options, name=name)
        assert outcome.code == 0, outcome.err
        spec = spec_of(_only(store, name))
        assert (spec.warmup_steps, spec.kl_warmup, spec.patience) == (0, 0, None)
        assert spec.objective == "vr-iwae:alpha=0.5", "q is trained for the end of the schedule"
        assert (spec.lr, spec.lr_posterior, spec.ema) == (lr, None, 0.5), "the rate of q is the only one"
        assert spec.lr_schedule == "constant", "stages have a number of passes of their own"


def test_before_after_and_gain_are_what_eval_says(capsys, store, parent: Run) -> None:
    result = _finetune(capsys, "--k", 8, "--steps", 30, "--lr", 0.01, "--json").json
    values = {}
    for name, key in (("p", "bound_before"), ("f", "bound")):
        for split in ("train", "valid", "test"):
            evaluated = run(capsys, "eval", f"{name}/v001", "--split", split, "--k", 8, "--json").json["results"][0]
            assert result[key][split] == pytest.approx(evaluated["bound"]["value"], rel=1e-12)
        (kept,) = [r for r in _only(store, name).results("evals") if r.attrs["split"] == "test"]
        values[name] = kept.arrays()["bound"]
    gain = values["f"] - values["p"]
    assert result["gain"]["test"]["value"] == pytest.approx(gain.mean(), rel=1e-9)
    assert result["gain"]["test"]["stderr"] == pytest.approx(gain.std(ddof=1) / np.sqrt(gain.size), rel=1e-9)
    assert result["gain"]["train"]["value"] > 0
    own = parent.info().summary["bound"]
    assert _finetune(capsys, "--steps", 1, "--json", name="g").json["bound_before"] == own, "the parent's own K"


def test_the_table_shows_before_after_and_gain(capsys, parent: Run) -> None:
    outcome = _finetune(capsys, "--reset-encoder")
    for words in (
        "before ± s.e.",
        "gain ± s.e.",
        "p/v001, step 20, encoder from new initial parameters",
        "SHA-256",
        "nats",
    ):
        assert words in outcome.out
    assert f"p means {parent.path}, its only completed version" in outcome.err


def test_the_report_shows_what_the_encoder_gained_and_other_parents_are_other_groups(
    capsys, ready, parent: Run
) -> None:
    ready(*SMALL, "--seed", 1, name="other")
    results = [
        _finetune(capsys, "--seed", 0, "--json").json,
        _finetune(capsys, "--seed", 1, "--json").json,
        _finetune(capsys, "--seed", 0, "--json", of="other").json,
    ]
    first, second = run(capsys, "report", "f", "--json").json["groups"]
    assert (first["seeds"], second["seeds"]) == (2, 1)
    gains = [result["gain"]["test"]["value"] for result in results[:2]]
    assert first["gain"]["test"]["mean"] == pytest.approx(np.mean(gains))
    assert first["gain"]["test"]["stderr"] == pytest.approx(abs(gains[0] - gains[1]) / 2)
    assert first["before"]["test"]["mean"] == pytest.approx(results[0]["bound_before"]["test"])
    assert "gain" not in run(capsys, "report", "p", "--json").json["groups"][0]
    text = run(capsys, "report", "f").out
    assert "encoder on the model of p/v001 step 20" in text
    assert "encoder on the model of other/v001 step 20" in text
    assert "gain from the encoder alone" in text


def test_the_default_name_says_whose_encoder(capsys, store, parent: Run) -> None:
    assert run(capsys, "finetune-encoder", parent.path, "--objective", "rws", "--k", 3, "--steps", 5).code == 0
    assert _only(store, "p-finetune-rws-dreg-k3").status() is RunStatus.COMPLETED


def test_a_reset_encoder_starts_at_the_new_seeds_address(capsys, store, parent: Run, tmp_path) -> None:
    outcome = _finetune(capsys, "--reset-encoder", "--seed", 7, "--steps", 1, "--lr", 1e-30, "--json")
    assert outcome.code == 0, outcome.err
    found = _only(store, "f")
    spec = RunSpec.model_validate(found.spec())
    fresh = build_model(spec, data_of(spec, tmp_path).model_data).state_dict()
    trained = _model(found, 1)
    weights = [name for name in fresh if name.startswith("encoder") and name.endswith("weight")]
    # A step of 1e-30 is lost in any weight; only a bias, which is 0 at first, can show it.
    assert _same({name: trained[name] for name in weights}, {name: fresh[name] for name in weights})
    assert not _same(_part(trained, "encoder"), _part(_model(parent), "encoder"))
    assert _same(_part(trained, "decoder"), _part(_model(parent), "decoder"))
    assert outcome.json["bound_before"] == parent.info().summary["bound"], "before is the parent's own encoder"
    assert outcome.json["parent"]["reset_encoder"] is True


def test_a_checkpoint_by_step_and_the_best(capsys, store) -> None:
    arguments = (*SMALL, "--checkpoint-every", 5, "--eval-every", 5, "--name", "p")
    assert run(capsys, "train", *arguments).code == 0
    assert _finetune(capsys, "--checkpoint", 15, "--json").json["parent"]["checkpoint"] == 15
    best = _finetune(capsys, "--checkpoint", "best", "--json").json["parent"]["checkpoint"]
    assert best == _only(store, "p").best()


def test_a_finetuned_run_can_be_finetuned_and_prolonged(capsys, store, parent: Run) -> None:
    first = _finetune(capsys, "--steps", 5, "--json").json
    second = _finetune(capsys, "--steps", 5, "--json", of="f", name="g").json
    assert second["parent"]["run"] == "f/v001"
    assert second["theta_sha256"] == first["theta_sha256"]
    assert second["bound_before"] == first["bound"]
    prolonged = run(capsys, "train", "--resume", "g", "--steps", 9, "--json").json
    assert prolonged["bound_before"] == second["bound_before"]
    assert prolonged["step"] == 9


@pytest.mark.parametrize("reset", [(), ("--reset-encoder",)])
def test_resume_continues_bit_for_bit(capsys, monkeypatch, store, parent: Run, reset) -> None:
    """Cut at step 12 inside a window of 5, with scalars to learn; the parent is gone by then, and is not needed."""
    arguments = ("--estimator", "dreg-cv", "--checkpoint-every", 4, "--eval-every", 10, "--seed", 3, *reset)
    whole = _finetune(capsys, *arguments, "--json", name="whole").json
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 12)
        cut = _finetune(capsys, *arguments, name="cut")
    assert cut.code == 130
    assert "a checkpoint was written first" in cut.err
    shutil.rmtree(parent.path.parent)
    resumed = run(capsys, "train", "--resume", "cut", "--json")
    assert resumed.code == 0, resumed.err
    for key in ("bound", "bound_before", "gain", "theta_sha256", "parent", "learned"):
        assert resumed.json[key] == whole[key], key
    assert all(abs(value) > 0 for value in whole["learned"].values())
    first, second = (_only(store, name) for name in ("whole", "cut"))
    checkpoints = [each.load_checkpoint("last") for each in (first, second)]
    assert _same(checkpoints[0].model, checkpoints[1].model)
    assert _same(checkpoints[0].optimizer, checkpoints[1].optimizer)
    for split in ("train", "valid"):
        rows, expected = second.metrics(split), first.metrics(split)
        assert rows.keys() == expected.keys()
        for column in set(rows) - {"seconds"}:
            assert np.array_equal(rows[column], expected[column]), (split, column)


@pytest.mark.parametrize("reset", [(), ("--reset-encoder",)])
def test_resume_before_the_first_checkpoint_starts_from_the_parent_again(
    capsys, monkeypatch, store, parent: Run, reset
) -> None:
    whole = _finetune(capsys, *reset, "--json", name="whole").json
    with monkeypatch.context() as patch:
        _interrupt_in_the_parents_bounds(patch)
        cut = _finetune(capsys, *reset)
    assert cut.code == 130
    assert "no step had been trained yet" in cut.err
    assert _only(store, "f").checkpoints() == []
    resumed = run(capsys, "train", "--resume", "f", "--json")
    assert resumed.code == 0, resumed.err
    for key in ("bound", "bound_before", "gain", "theta_sha256"):
        assert resumed.json[key] == whole[key], key


def test_resume_refuses_a_parent_that_is_gone_or_another(capsys, monkeypatch, store, parent: Run) -> None:
    with monkeypatch.context() as patch:
        _interrupt_in_the_parents_bounds(patch)
        assert _finetune(capsys).code == 130
    file = store.root.parent / "p.zip"
    assert run(capsys, "runs", "export", "p", file).code == 0
    shutil.rmtree(parent.path.parent)
    gone = run(capsys, "train", "--resume", "f")
    assert gone.code == 13
    assert "starts from step 20 of p/v001, which is not there" in gone.err
    assert run(capsys, "train", *SMALL, "--name", "p", "--seed", 9).code == 0
    other = run(capsys, "train", "--resume", "f")
    assert other.code == 20
    assert "does not hold the tensors that this run starts from" in other.err
    assert _only(store, "f").status() is RunStatus.INTERRUPTED
    # An import gives the parent another name.
    assert run(capsys, "runs", "import", file).code == 0
    assert [each.version for each in store.resolve("p")] == [1, 2]
    found = run(capsys, "train", "--resume", "f", "--json")
    assert (found.code, found.json["parent"]["run"]) == (0, "p/v001"), found.err
    assert _same(_part(_model(_only(store, "f")), "decoder"), _part(_model(store.resolve("p")[1]), "decoder"))


def test_a_theta_that_moves_is_caught(capsys, monkeypatch, store, parent: Run) -> None:
    advance = Trainer.advance

    def nudges(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == 7:
            with torch.no_grad():
                trainer.model.decoder[0].bias[0] += 1e-6

    monkeypatch.setattr(Trainer, "advance", nudges)
    outcome = _finetune(capsys, "--checkpoint-every", 5)
    assert outcome.code == 3, outcome.err
    assert "The frozen model changed while q was trained" in outcome.err
    found = _only(store, "f")
    assert found.status() is RunStatus.FAILED
    assert found.checkpoints() == [5], "nothing is kept of it"


def test_its_spec_repeats_it_and_keeps_to_its_parent(capsys, store, parent: Run) -> None:
    assert _finetune(capsys, "--seed", 3, "--reset-encoder").code == 0
    spec = _only(store, "f").path / "spec.json"
    assert run(capsys, "train", "--config", spec, "--name", "again").code == 0
    assert _same(_model(_only(store, "f")), _model(_only(store, "again")))
    other = run(capsys, "train", "--config", spec, "--hidden", "9", "--name", "no")
    assert other.code == 2
    assert "hidden: the parent was made with (16, 8), got (9,)" in other.err
    wider = run(capsys, "train", "--config", spec, "--latent-dim", "9", "--name", "no")
    assert wider.code == 2
    assert "latent-dim: the parent was made with 4, got 9" in wider.err
    broken = spec.parent / "broken.json"
    broken.write_text(json.dumps(json.loads(spec.read_text()) | {"parent": {"run": "p", "checkpoint": -1}}))
    faulty = run(capsys, "train", "--config", broken)
    assert faulty.code == 2
    for text in ("parent[run]", "parent[checkpoint]: must be at least 0", "parent[model_sha256]: is missing"):
        assert text in faulty.err


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (("nothing",), 13, ["There is no run 'nothing'"]),
        (("p", "--checkpoint", 7), 13, ["no checkpoint of step 7", "20"]),
        (
            ("p", "--checkpoint", "newest", "--k", 0, "--estimator", "dregg", "--lr", -1, "--steps", 0),
            2,
            ["checkpoint: must be last, best", "k: must be at least 1", "'dreg'?", "lr: must be", "steps: must be"],
        ),
        (("p", "--objective", "rws", "--estimator", "stl"), 2, ["estimator: ", "finetune-encoder --help"]),
        (("p", "--objective", "jvi", "--k", 1), 2, ["k: "]),
        (("p", "--batch-size", 9999), 2, ["batch-size: must be at most the 1297"]),
        (("p", "--device", "tpu"), 2, ["device: must be auto, cpu, cuda, cuda:N or mps"]),
        (("p", "--name", "../x"), 2, ["../x"]),
        (("p", "--hidden", "9"), 2, ["--hidden"]),
        ((), 2, ["RUN"]),
    ],
)
def test_bad_input_is_a_clear_error_before_any_work(capsys, store, parent: Run, arguments, code, texts) -> None:
    outcome = run(capsys, "finetune-encoder", *arguments)
    assert outcome.code == code, outcome.err
    for text in texts:
        assert text in outcome.err
    assert outcome.out == ""
    assert [found.label for found in store.runs()] == [parent.label]


def _forged(store: RunStore, name: str, spec: dict[str, object], checkpoints: Path | None = None) -> Run:
    """A completed run with this spec and another one's checkpoints."""
    writer = store.claim(name, spec=spec, environment={})
    if checkpoints:
        shutil.copytree(checkpoints, writer.run.path / "checkpoints")
    writer.finish(RunStatus.COMPLETED, {})
    return writer.run


@pytest.mark.parametrize(
    ("option", "value", "was"), [("--task", "structured", "generative"), ("--likelihood", "gaussian", "bernoulli")]
)
def test_a_spec_with_a_parent_keeps_what_its_parent_is_of(capsys, store, parent: Run, option, value, was) -> None:
    assert _finetune(capsys, "--steps", 5).code == 0
    spec = _only(store, "f").path / "spec.json"
    pixels = "none" if value == "gaussian" else "dynamic"
    outcome = run(capsys, "train", "--config", spec, option, value, "--binarisation", pixels)
    assert outcome.code == 2
    assert f"{option[2:]}: the parent was made with {was}, got {value}." in outcome.err


@pytest.mark.parametrize(
    ("changes", "copied", "code", "texts"),
    [
        ({}, False, 13, ["The run bad/v001 has no checkpoint", "--resume"]),
        ({"data_checksum": "0" * 64}, True, 11, ["are not the data of the run"]),
        ({"hidden": [9, 8]}, True, 17, ["another architecture", "instead of (9, 64)", "model.safetensors"]),
        ({"hidden": [16]}, True, 17, ["another architecture", "more such faults"]),
        ({"task": "sequential"}, True, 17, ["task", "spec.json"]),
        ({"estimator": "later"}, True, 2, ["estimator: no estimator is called 'later'"]),
    ],
)
def test_a_parent_that_cannot_be_one(capsys, store, parent: Run, changes, copied, code, texts) -> None:
    _forged(store, "bad", {**parent.spec(), **changes}, parent.path / "checkpoints" if copied else None)
    outcome = _finetune(capsys, of="bad")
    assert outcome.code == code, outcome.err
    for text in texts:
        assert text in outcome.err
    assert {found.name for found in store.runs()} == {"p", "bad"}


def test_a_name_without_a_completed_version(capsys, monkeypatch, store) -> None:
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 9)
        assert run(capsys, "train", *SMALL, "--name", "p").code == 130
    outcome = _finetune(capsys)
    assert outcome.code == 13
    assert "No version of 'p' is completed" in outcome.err
    assert _finetune(capsys, "--json", of="p/v001").json["parent"]["checkpoint"] == 9
    assert run(capsys, "train", *SMALL, "--name", "p").code == 0
    with monkeypatch.context() as patch:
        _interrupt_at(patch, 9)
        assert run(capsys, "train", *SMALL, "--name", "p").code == 130
    assert _finetune(capsys, "--json", name="g").json["parent"]["run"] == "p/v002"


def test_divergence_keeps_what_was_good(capsys, store, parent: Run) -> None:
    outcome = _finetune(capsys, "--lr", 1e30, "--checkpoint-every", 1)
    assert outcome.code == 18
    assert _only(store, "f").status() is RunStatus.FAILED


def test_evaluating_a_checkpoint_of_another_architecture_is_a_clear_error(capsys, store, parent: Run) -> None:
    _forged(store, "bad", {**parent.spec(), "hidden": [9, 8]}, parent.path / "checkpoints")
    outcome = run(capsys, "eval", "bad", "--k", 2)
    assert outcome.code == 17
    assert "another architecture" in outcome.err
