"""``--model FILE:Class`` as a user has it: from training to every command that uses the model later."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dregcli.engine.checksum import tensors_sha256
from dregcli.specs.models import PROGRAMS
from dregcli.specs.run import group_hash, spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from tests.support.cli import run, usual
from tests.support.own_models import MODEL, write_model

SHORT = usual(
    *("--k", 2, "--steps", 4, "--batch-size", 20, "--log-every", 2, "--eval-every", 0, "--final-eval", "none"),
    *("--checkpoint-every", 2, "--quiet"),
)
TINY = ("--model", "tiny.py:TinyVae")
NAME = "digits-tiny-vae-iwae-dreg-k2"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    return tmp_path


def _train(capsys, *arguments: object, model: tuple[str, str] = TINY) -> Run:
    outcome = run(capsys, "train", *model, *SHORT, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return Run(Path(outcome.json["run"]))


def _weights(found: Run, step: int = 4) -> str:
    return tensors_sha256(load_file(found.path / "checkpoints" / f"step-{step:08d}" / "model.safetensors"))


def test_a_class_in_a_file_is_trained_and_its_spec_has_no_setting_of_the_networks(capsys) -> None:
    found = _train(capsys, "--model-option", "latent-dim=3")
    assert found.key == f"{NAME}/v001"
    spec = found.spec()
    assert spec["model"] == "tiny.py:TinyVae"
    assert spec["model_options"] == {"latent_dim": 3, "scale": 1.0}
    assert not {"hidden", "latent_dim", "likelihood", "task"} & set(spec)
    whole = spelt_out(spec)
    assert [whole[name] for name in ("hidden", "latent_dim", "likelihood")] == [None, None, None]
    kept = load_file(found.path / "checkpoints/step-00000004/model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in kept.items()} == {
        "encoder.weight": (6, 64),
        "encoder.bias": (6,),
        "decoder.weight": (64, 3),
        "decoder.bias": (64,),
    }
    assert (found.path / "model/tiny.py").read_text() == MODEL
    assert verify_run(found) == []


def test_options_seed_and_code_make_other_runs_and_equal_ones_the_same_run(capsys, folder) -> None:
    one, same = _train(capsys), _train(capsys, "--model-option", "latent_dim=2")
    other = _train(capsys, "--model-option", "scale=0.5")
    assert _weights(one) == _weights(same) != _weights(other)
    assert _weights(_train(capsys, "--seed", 1)) != _weights(one)
    write_model(folder, MODEL + "\n# a comment\n")
    edited = _train(capsys)
    assert _weights(edited) == _weights(one)
    groups = [group_hash(each.spec()) for each in (one, same, other, edited)]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_options_may_be_in_a_file_and_a_flag_replaces_one_of_them(capsys, folder) -> None:
    text = 'model = "tiny.py:TinyVae"\n[model-options]\nlatent_dim = 3\nscale = 2\n'
    (folder / "run.toml").write_text(text)
    found = _train(capsys, "--config", "run.toml", "--model-option", "scale=0.25", model=("--seed", "0"))
    assert found.spec()["model_options"] == {"latent_dim": 3, "scale": 0.25}
    shown = run(capsys, "train", "--config", found.path / "spec.json", "--print-config")
    assert "model_options = { latent_dim = 3, scale = 0.25 }" in shown.out
    # Another model has other options.
    other = run(capsys, "train", "--config", "run.toml", "--model", "vae", *SHORT)
    assert other.code == 0, other.err
    write_model(folder, MODEL + "\n# edited\n")
    refused = run(capsys, "train", "--config", found.path / "spec.json")
    assert refused.code == 2
    assert "to use the code as it is now, give --model tiny.py:TinyVae" in refused.err
    assert run(capsys, "train", "--config", found.path / "spec.json", *TINY, "--print-config").code == 0


def test_a_run_continues_with_its_code_as_if_it_had_not_stopped(capsys, folder) -> None:
    whole, first = _train(capsys, "--steps", 6), _train(capsys)
    assert run(capsys, "train", "--resume", first.path, "--steps", 6, "--quiet").code == 0
    assert _weights(first, 6) == _weights(whole, 6)
    assert run(capsys, "runs", "verify", first.path, "--replay", 6).code == 0
    again = run(capsys, "runs", "rerun", first.path, "--json", "--quiet")
    assert _weights(Run(Path(again.json["run"])), 6) == _weights(whole, 6)


EDITED = MODEL.replace("self.scale * self", "(self.scale + 0.5) * self")

USES: tuple[tuple[str, ...], ...] = (
    ("train", "--resume", NAME, "--steps", "6"),
    ("eval", NAME),
    ("bias-check", NAME),
    ("variance", NAME),
    ("sample", NAME),
    ("finetune-encoder", NAME, "--steps", "2"),
    ("runs", "rerun", NAME),
    ("runs", "verify", NAME, "--replay", "4"),
)


def test_every_command_that_builds_the_model_refuses_code_that_changed(capsys, folder) -> None:
    found = _train(capsys)
    before = {path: path.read_bytes() for path in found.path.rglob("*") if path.is_file()}
    write_model(folder, EDITED)
    for words in USES:
        outcome = run(capsys, *words)
        assert outcome.code == 23, (words, outcome.err)
        assert '+        draw("z", gaussian((self.scale + 0.5) * self' in outcome.err, words
        assert "--trust-code" in outcome.err, words
    assert {path: path.read_bytes() for path in found.path.rglob("*") if path.is_file()} == before
    assert [each.key for each in RunStore(folder / "runs").runs()] == [found.key]


def test_the_copy_in_the_run_and_the_file_at_another_place_are_the_same_code(capsys, folder) -> None:
    found, original = _train(capsys), _weights(_train(capsys, "--steps", 6), 6)
    (folder / "mo, ved").mkdir()
    shutil.move(folder / "tiny.py", folder / "mo, ved/tiny.py")
    trusted = run(capsys, "runs", "rerun", found.path, "--trust-code", "--json", "--quiet")
    again = Run(Path(trusted.json["run"]))
    assert _weights(again) == _weights(found)
    # The run that was made from a copy has only the copy.
    assert run(capsys, "train", "--resume", again.path, "--steps", 6).code == 23
    resumed = run(
        capsys, "train", "--resume", found.path, "--steps", 6, "--model", "mo, ved/tiny.py:TinyVae", "--quiet"
    )
    assert resumed.code == 0, resumed.err
    assert resumed.err == ""
    assert _weights(found, 6) == original
    assert "model_before" not in found.spec()
    # The place is remembered, so that the next command finds the code by itself.
    assert run(capsys, "runs", "verify", found.path, "--replay", 4).code == 0


def test_a_run_that_continues_with_other_code_says_so_and_is_no_repeat_of_another(capsys, folder) -> None:
    found = _train(capsys)
    before = found.spec()["model_digest"]
    write_model(folder, EDITED)
    pure = _train(capsys, "--steps", 6)
    outcome = run(capsys, "train", "--resume", found.path, "--steps", 6, *TINY)
    assert outcome.code == 0, outcome.err
    assert f"warning: {folder}/tiny.py:TinyVae is not the code that {found.key} was trained with." in outcome.err
    spec = found.spec()
    assert spec["model_before"] == [f"{before}@4"]
    assert spec["model_digest"] == pure.spec()["model_digest"] != before
    assert group_hash(spec) != group_hash(pure.spec())
    log = (found.path / "log.txt").read_text()
    assert f"continues with other code of the model than before: {folder}/tiny.py:TinyVae (SHA-256 " in log
    assert (found.path / "rolled-back/0002-model/model/tiny.py").read_text() == MODEL
    assert (found.path / "model/tiny.py").read_text() == EDITED
    assert verify_run(found) == []
    again = run(capsys, "runs", "rerun", found.path, "--json", "--quiet")
    assert "model_before" not in Run(Path(again.json["run"])).spec()


def test_weights_that_do_not_fit_other_code_name_the_tensor(capsys, folder) -> None:
    found = _train(capsys)
    write_model(folder, MODEL.replace("self.decoder = nn", "self.dec = nn").replace("self.decoder(", "self.dec("))
    outcome = run(capsys, "train", "--resume", found.path, "--steps", 6, *TINY)
    assert outcome.code == 17
    assert "'dec.weight' is missing" in outcome.err


def test_a_study_of_an_own_model_is_done_once(capsys, folder) -> None:
    words = ("train", *TINY, *SHORT, "--seeds", "0-1", "--json")
    first = run(capsys, *words)
    assert first.code == 0, first.err
    runs = RunStore(folder / "runs").runs()
    assert [each.spec().get("seed", 0) for each in runs] == [0, 1]
    assert all((each.path / "model/tiny.py").read_text() == MODEL for each in runs)
    assert run(capsys, *words).code == 0
    assert len(RunStore(folder / "runs").runs()) == 2


def test_a_fault_of_the_model_in_one_run_ends_no_other(capsys, folder) -> None:
    """One that the checks of the first batch find, one in a step, and one in an evaluation."""
    lines = (
        "        self.calls = getattr(self, 'calls', 0) + 1",
        "        if self.scale == 0.5 and self.calls > 50 or len(x) > 20:",
        "            raise ValueError('many')",
        "        if self.scale == 0.25:",
        "            x = x - x.mean(0)",
    )
    head = "    def posterior(self, x, draw):\n"
    write_model(folder, MODEL.replace(head, head + "\n".join(lines) + "\n"))
    line = f"{folder}/tiny.py, line {(folder / 'tiny.py').read_text().splitlines().index(lines[2]) + 1}"
    words = [word if word != "4" else "60" for word in map(str, SHORT)]
    scales = [word for scale in (0.25, 0.5, 1.0) for word in ("--model-option", f"scale={scale}")]
    study = run(capsys, "train", *TINY, *words, *scales, "--seeds", "0", "--json")
    assert [each["status"] for each in study.json["runs"]] == ["failed", "failed", "completed"], study.err
    assert study.code == 2, "the first failure's"
    assert "run 1 of 3: iwae/dreg scale=0.25, seed 0: failed: model: " in study.err
    assert "run 2 of 3: iwae/dreg scale=0.5, seed 0: failed: TinyVae fails: ValueError: many" in study.err
    alone = run(capsys, "train", *TINY, *words, "--model-option", "scale=0.5")
    after = run(capsys, "eval", study.json["runs"][2]["run"])
    for each, place in ((alone, f"{line}; {folder}/runs/{NAME}/v003, step "), (after, line)):
        assert each.code == 24, each.err
        assert f"TinyVae fails: ValueError: many\nwhere: {place}" in each.err
    assert Run(folder / f"runs/{NAME}/v003").info().failures[-1]["kind"] == "ModelFailed"


def test_only_the_encoder_of_an_own_model_is_trained(capsys) -> None:
    found = _train(capsys)
    outcome = run(capsys, "finetune-encoder", found.path, "--steps", 2, "--eval-every", 0, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    child = Run(Path(outcome.json["run"]))
    assert outcome.json["theta_sha256"]["before"] == outcome.json["theta_sha256"]["after"]
    assert child.spec()["model_digest"] == found.spec()["model_digest"]
    assert (child.path / "model/tiny.py").read_text() == MODEL


MARK = '\nimport pathlib\npathlib.Path("{}").write_text("run")\n'


def test_nothing_but_using_a_model_runs_its_code(capsys, folder) -> None:
    """Also of a run that was imported, and of one whose file now does something else."""
    mark = folder / "mark"
    write_model(folder, MODEL + MARK.format(mark))
    found = _train(capsys)
    mark.unlink()
    a, b = found.path, "runs/other/v001"
    for words in (
        ("runs", "export", a, "run.zip"),
        ("runs", "import", "run.zip", "--name", "other"),
        ("runs", "list"),
        ("runs", "show", a),
        ("runs", "show", b),
        ("runs", "diff", a, b),
        ("runs", "verify", a, b),
        ("runs", "tag", b, "--add", "paper"),
        ("runs", "doctor"),
        ("report", a, b),
    ):
        outcome = run(capsys, *words)
        assert outcome.code == 0, (words, outcome.err)
        assert not mark.exists(), words
    assert f"code              model/tiny.py, from {folder}/tiny.py:TinyVae" in run(capsys, "runs", "show", a).out
    shown = run(capsys, "runs", "show", b)
    assert "code              model/tiny.py, which came from elsewhere" in shown.out
    assert "model_options     latent_dim 2, scale 1.0" in shown.out
    assert "the code of its model (tiny.py)" in run(capsys, "runs", "export", a, "again.zip").out
    for words in USES:
        refused = run(capsys, *[word.replace(NAME, b) for word in words])
        assert refused.code == 23, (words, refused.err)
        assert not mark.exists(), words
    trusted = run(capsys, "runs", "verify", b, "--replay", "4", "--trust-code")
    assert trusted.code == 0, trusted.err
    assert mark.exists()


BAD = {
    "no file": ("", ("--model", "tyni.py:TinyVae"), 2, "Did you mean 'tiny.py'?"),
    "no class": ("", ("--model", "tiny.py:Tinyvae"), 2, "tiny.py has no class 'Tinyvae'. Did you mean 'TinyVae'?"),
    "no word": ("", ("--model", "vea"), 2, "model: no model is called 'vea'. Did you mean 'vae'?"),
    "an import error": (
        "x = 1\nnn.Linaer(1, 1)\n",
        TINY,
        24,
        "AttributeError: module 'torch.nn' has no attribute 'Linaer'",
    ),
    "an unknown option": ("", (*TINY, "--model-option", "latnet_dim=3"), 2, "Did you mean 'latent_dim'?"),
    "a wrong type": ("", (*TINY, "--model-option", "latent_dim=x"), 2, "must be a whole number, got 'x'"),
    "no value": ("", (*TINY, "--model-option", "latent_dim"), 2, "model-options: must be a value by its name"),
    "a refusal": (
        "",
        (*TINY, "--model-option", "latent_dim=-1"),
        24,
        "TinyVae(data, latent_dim=-1, scale=1.0) fails: ",
    ),
    "hidden": (
        "",
        (*TINY, "--hidden", "3,4"),
        2,
        "hidden: TinyVae states its own sizes: leave --hidden out, got 3,4",
    ),
    "latent-dim": ("", (*TINY, "--latent-dim", "3"), 2, "give --model-option latent_dim=3."),
    "likelihood": (
        "",
        (*TINY, "--likelihood", "gaussian"),
        2,
        "TinyVae states the distribution of the pixels itself",
    ),
    "task": ("", (*TINY, "--task", "structured"), 2, "TinyVae models whole images: leave --task out"),
    "options of a network": ("", ("--model-option", "a=1"), 2, "vae has no such options: leave --model-option out"),
    "trust": ("", (*TINY, "--trust-code"), 2, "--trust-code is about the code that a run keeps"),
}


@pytest.mark.parametrize(("text", "words", "code", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_a_run_is_claimed(capsys, folder, text, words, code, message) -> None:
    write_model(folder, MODEL + text)
    outcome = run(capsys, "train", *words, *SHORT)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (folder / "runs").exists()


def test_all_faults_come_at_once(capsys) -> None:
    outcome = run(capsys, "train", *TINY, "--model-option", "a=1", "--hidden", "3", "--k", "0", "--lr", "-1")
    assert outcome.code == 2
    assert all(f"{field}: " in outcome.err for field in ("model-option", "hidden", "k", "lr"))


def test_what_a_model_prints_is_not_in_the_json(capsys, folder) -> None:
    write_model(
        folder, MODEL.replace("super().__init__()", 'super().__init__(); print("built")') + '\nprint("imported")\n'
    )
    outcome = run(capsys, "train", *TINY, *SHORT, "--json")
    assert json.loads(outcome.out)["status"] == "completed"
    assert "imported" in outcome.err
    assert "built" in outcome.err


def test_an_option_of_a_resumed_run_must_be_its_own(capsys) -> None:
    found = _train(capsys)
    same = run(capsys, "train", "--resume", found.path, "--steps", 6, "--model-option", "latent_dim=2", "--quiet")
    assert same.code == 0, same.err
    other = run(capsys, "train", "--resume", found.path, "--steps", 8, "--model-option", "latent_dim=3")
    assert other.code == 2
    assert "model-options: the run was made with" in other.err


def test_a_model_of_a_built_in_run_cannot_be_replaced(capsys) -> None:
    found = _train(capsys, "--hidden", "4", model=("--model", "vae"))
    for words in (("eval", found.path), ("train", "--resume", found.path, "--steps", 6)):
        outcome = run(capsys, *words, *TINY)
        assert outcome.code == 2, outcome.err
        assert "tiny.py:TinyVae" in outcome.err or "the run was made with vae" in outcome.err


def test_samples_are_computed_in_smaller_chunks_for_a_wider_model(capsys, folder) -> None:
    """``auto`` of ``--k-chunk`` depends on the arrays that the programs compute, which no option states."""

    def chunk(width: int) -> int:
        wide = f"nn.Sequential(nn.Linear(latent_dim, {width}), nn.Tanh(), nn.Linear({width}, pixels))"
        write_model(folder, MODEL.replace("nn.Linear(latent_dim, pixels)", wide))
        shown = run(capsys, "train", *TINY, "--k", 100_000, "--print-config", "--json")
        return shown.json["k_chunk"] or 100_000

    assert chunk(20_000) < chunk(2)


def test_a_built_in_class_is_a_model_like_a_users_without_code_of_its_own(capsys, folder, monkeypatch) -> None:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(PROGRAMS, "tiny", "tiny:TinyVae")
    found = _train(capsys, "--model-option", "latent_dim=3", model=("--model", "tiny"))
    assert found.key == "digits-tiny-iwae-dreg-k2/v001"
    assert found.spec()["model_options"] == {"latent_dim": 3, "scale": 1.0}
    assert "model_digest" not in found.spec()
    assert not (found.path / "model").exists()
    assert run(capsys, "runs", "export", found.path, "run.zip").code == 0
    assert run(capsys, "runs", "import", "run.zip", "--name", "other").code == 0
    resumed = run(capsys, "train", "--resume", "runs/other/v001", "--steps", 6, "--quiet")
    assert resumed.code == 0, resumed.err
    other = run(capsys, "train", "--resume", found.path, "--steps", 6, *TINY)
    assert other.code == 2
    assert "the run has the built-in model tiny, got 'tiny.py:TinyVae'." in other.err


def test_conv_is_built_in(capsys) -> None:
    model = ("--model", "conv")
    found = _train(capsys, "--model-option", "channels=2", "--model-option", "latent_dim=3", model=model)
    assert found.key == "digits-conv-iwae-dreg-k2/v001"
    assert found.spec()["model_options"] == {"channels": 2, "latent_dim": 3}
    refused = run(capsys, "train", *model, *SHORT, "--model-option", "channels=0")
    assert refused.code == 2
    assert "channels: must be at least 1, got 0." in refused.err
    near = run(capsys, "train", "--model", "cnov", *SHORT)
    assert "Did you mean 'conv'?" in near.err


def test_a_true_option_of_a_resumed_run_may_be_typed_again(capsys, folder) -> None:
    write_model(folder, MODEL.replace("scale: float = 1.0", "scale: float = 1.0, deep: bool = False"))
    found = _train(capsys, "--model-option", "deep=true")
    words = ("train", "--resume", found.path, "--steps", 6, "--quiet")
    assert run(capsys, *words, "--model-option", "deep=true").code == 0
    assert run(capsys, *words, "--model-option", "deep=false").code == 2


def test_what_other_code_gives_does_not_count_as_the_runs(capsys, folder) -> None:
    found = _train(capsys)
    write_model(folder, MODEL.replace('z["z"]', '2 * z["z"]'))
    evaluate = ("eval", found.path, "--k", 2, "--n", 10, "--quiet")
    assert run(capsys, *evaluate, *TINY).code == 0
    report = run(capsys, "report", found.path, "--json")
    assert report.code == 0, report.err
    assert "the evaluation used other code of the model than the training" in report.err + report.out
    few = (found.path, "--k", "2", "--examples", 2, "--quiet", "--estimator", "dreg", *TINY)
    assert run(capsys, "bias-check", *few, "--max-batches", 48).code in (0, 1, 5)
    assert run(capsys, "variance", *few, "--replicates", 20, "--reference-k", 16).code == 0
    assert run(capsys, "sample", found.path, "--n", 4, "--quiet", *TINY).code == 0
    report = run(capsys, "report", found.path, "--json")
    for what in ("evaluation", "bias check", "measurement"):
        assert f"the {what} used other code of the model than the training" in report.err
    digests = {
        each.attrs["settings"]["model_digest"] for kind in ("bias", "variance") for each in found.results(kind)
    }
    assert len(digests) == 1, "what is left unfinished with one code is not continued with another"
    assert digests != {found.spec()["model_digest"]}
    assert [each.name for each in (found.path / "figures").glob("samples*.png")] == ["samples-other-code.png"]
    given = ("runs", "export", found.path, "--model", "given", "--trust-code")
    assert run(capsys, *given).code == 0
    assert "These weights were not evaluated" in (folder / "given/README.md").read_text()
    assert run(capsys, *evaluate, "--trust-code").code == 0
    assert _train_again_with_other_code(capsys, found) == 0
    report = run(capsys, "report", found.path, "--json")
    assert report.err.count("evaluation used other code") == 1, (
        "the other evaluation is with the code of the first four steps"
    )


def _train_again_with_other_code(capsys, found: Run) -> int:
    return run(capsys, "train", "--resume", found.path, "--steps", 6, "--quiet", *TINY).code


def test_a_repeat_of_a_run_with_other_code_promises_no_equal_numbers(capsys, folder) -> None:
    found = _train(capsys)
    write_model(folder, MODEL + "\n# a comment\n")
    other = run(capsys, "runs", "rerun", found.path, *TINY)
    assert other.code == 0, other.err
    assert "numbers may differ" in other.err
    assert "the code of the model differs" in other.err
    assert "they will be the same" not in other.err
    assert _train_again_with_other_code(capsys, found) == 0
    again = run(capsys, "runs", "rerun", found.path)
    assert "the run took its first steps with other code of the model" in again.err
    assert "they will be the same" not in again.err


def test_a_run_does_not_continue_with_code_that_is_not_sound(capsys, folder) -> None:
    found = _train(capsys)
    before = found.info()
    write_model(folder, MODEL.replace('z["z"]', '(z["z"] + z["z"].mean(1, keepdim=True))'))
    outcome = run(capsys, "train", "--resume", found.path, "--steps", 6, "--quiet", *TINY)
    assert outcome.code == 2
    assert found.info() == before


def test_an_export_of_a_model_whose_code_changed_names_no_option_that_means_a_folder(capsys, folder) -> None:
    found = _train(capsys)
    write_model(folder, MODEL + "\n# a comment\n")
    outcome = run(capsys, "runs", "export", found.path, "--model", "given")
    assert outcome.code == 23
    assert "--trust-code" in outcome.err
    assert "--model" not in outcome.err
