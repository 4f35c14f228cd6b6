"""``dreg train`` as a user sees it."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dregcli.app.loading.build import build_trainer
from dregcli.names import RunStatus
from dregcli.specs.run import spelt_out
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run, typed
from tests.support.forked import Forked

STEP = (*SMALL, "--checkpoint-every", 5, "--eval-every", 10)


def _weights(path: Path, step: int) -> dict[str, torch.Tensor]:
    folder = path / "checkpoints" / f"step-{step:08d}"
    return {**load_file(folder / "model.safetensors"), **load_file(folder / "optimizer.safetensors")}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _only(tmp_path: Path, reference: str):
    (found,) = RunStore(tmp_path / "runs").resolve(reference)
    return found


def test_a_run_trains_and_is_kept(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *SMALL, "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    of_data = {"task", "binarisation", "likelihood", "split_convention", "split_hashes"}
    of_gradients = {"backward", "screen_inflation", "screen_precision", "k_chunk", "compile", "bound_computed"}
    assert set(result) == of_data | of_gradients | {
        "run",
        "status",
        "step",
        "k",
        "eval_k",
        "bound",
        "seconds",
        "steps_per_second",
    }
    assert (result["status"], result["step"], result["k"]) == ("completed", 20, 4)
    assert set(result["bound"]) == {"train", "valid", "test"}
    found = _only(tmp_path, "digits-iwae-dreg-k4/v001")
    assert found.status() is RunStatus.COMPLETED
    train = found.metrics("train")
    assert train["step"].tolist() == [5, 10, 15, 20]
    assert np.isfinite(train["bound"]).all()
    assert spelt_out(found.spec())["objective"] == "iwae"
    assert len(found.spec()["data_checksum"]) == 64


def test_training_raises_the_bound(capsys) -> None:
    short, long = (
        run(
            capsys, "train", *SMALL[:2], "--hidden", "32", "--latent-dim", 8, "--lr", 0.01, "--steps", n, "--json"
        ).json["bound"]
        for n in (1, 60)
    )
    assert all(long[split] > short[split] + 3 for split in ("train", "valid", "test"))


def test_the_last_lines_say_where_the_run_lies_and_what_to_type_next(capsys) -> None:
    outcome = run(capsys, "train", *SMALL)
    assert outcome.code == 0
    for word in ("train", "valid", "test", "nats", "run:", "next: dreg eval"):
        assert word in outcome.out


def test_the_same_seed_gives_the_same_run_and_another_seed_another(capsys, tmp_path) -> None:
    for seed in (3, 3, 4):
        assert run(capsys, "train", *SMALL, "--seed", seed).code == 0
    first, second, other = (_weights(tmp_path / "runs/digits-iwae-dreg-k4" / v, 20) for v in ("v001", "v002", "v003"))
    assert _same(first, second)
    assert not _same(first, other)


def test_a_biased_pair_trains_with_one_warning(capsys) -> None:
    outcome = run(capsys, "train", *SMALL, "--estimator", "stl")
    assert outcome.code == 0
    assert outcome.err.count("warning:") == 1
    assert "biased for objective 'iwae' with k=4" in outcome.err
    assert "unbiased: reparam, dreg" in outcome.err
    unbiased = run(capsys, "train", *SMALL, "--estimator", "stl", "--objective", "elbo")
    assert "warning:" not in unbiased.err


def test_all_faults_are_told_at_once(capsys, tmp_path) -> None:
    outcome = run(
        capsys, "train", "--k", 0, "--lr", -1, "--objective", "iwea", "--estimator", "dregg", "--batch-size", 9999
    )
    assert outcome.code == 2
    for text in ("k: must be at least 1, got 0", "lr: must be greater than 0", "Did you mean 'iwae'?"):
        assert text in outcome.err
    assert "Did you mean 'dreg'?" in outcome.err
    assert "batch-size: must be at most the 1297 training examples" in outcome.err
    assert not (tmp_path / "runs").exists(), "nothing may be written before the spec is known to work"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--dataset", "mnsit"), 2, "Did you mean 'mnist'?"),
        (("--dataset", "mnist"), 10, "dreg download mnist"),
        (("--hidden", "a,b", "--k", 0), 2, "hidden: must be layer sizes"),
        (("--hidden", "a,b", "--k", 0, "--preset", "papr"), 2, "k: must be at least 1"),
        (("--hidden", "0"), 2, "hidden: must be layer sizes"),
        (("--hidden", "2000000,2000000"), 19, "smaller --k"),
        (("--k", 10**9, "--steps", 0, "--lr", 0), 2, "steps: must be at least 1"),
        (("--epochs", 0), 2, "epochs: must be at least 1"),
        (("--steps", 3, "--epochs", 1), 2, "not both"),
        (("--preset", "papr"), 2, "Did you mean 'paper'?"),
        (("--name", "../x"), 2, "../x"),
        (("--device", "tpu"), 2, "device: must be auto, cpu, cuda, cuda:N or mps"),
        (("--resume", "nothing"), 13, "nothing"),
        (("--nonsense",), 2, "--nonsense"),
        (("--k", "many"), 2, "k: must be a whole number, got 'many'"),
        (("--config", "absent.toml"), 2, "absent.toml"),
    ],
)
def test_bad_input_is_a_clear_error(capsys, arguments, code, text) -> None:
    outcome = run(capsys, "train", *arguments)
    assert outcome.code == code, outcome.err
    assert text in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_cuda_where_there_is_none(capsys) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    outcome = run(capsys, "train", *SMALL, "--device", "cuda")
    assert outcome.code == 19
    assert "--device cpu" in outcome.err


def test_errors_are_json_too(capsys) -> None:
    outcome = run(capsys, "train", "--k", 0, "--json")
    assert outcome.json["error"]["exit_code"] == 2
    assert "k: must be at least 1" in outcome.json["error"]["what"]


def test_config_preset_and_flags_by_precedence(capsys, tmp_path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('dataset = "digits"\nk = 8\nlatent-dim = 3\nlr = 0.002\nhidden = [9]\nsteps = 7\n')
    assert run(capsys, "train", "--preset", "paper", "--config", config, "--k", 4, "--name", "x").code == 0
    spec = _only(tmp_path, "x").spec()
    assert (spec["k"], spec["latent_dim"], spec["lr"], spec["hidden"], spec["steps"]) == (4, 3, 0.002, [9], 7)
    assert spec["log_every"] == 100
    wrong = tmp_path / "d.toml"
    wrong.write_text("latnt-dim = 3\n")
    outcome = run(capsys, "train", "--config", wrong)
    assert outcome.code == 2
    assert "Did you mean 'latent-dim'?" in outcome.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("k = true", "k: "),
        ('steps = "5"', "steps: "),
        ("batch-size = 32.0", "batch-size: "),
        ("epochs = 3.0", "epochs: must be a whole number, got 3.0"),
        ("hidden = [-5, 0]", "hidden: must be layer sizes"),
        ("hidden = 200", "hidden: must be layer sizes"),
        ('dataset = [["a"]]', "dataset: no data set is called 'a'."),
        ("objective = 5", "objective: "),
        ("lr = nan", "lr: "),
        ("[train]\nk = 4", "train: there is no such option"),
        ("k = ", "not valid TOML"),
    ],
)
def test_a_config_that_means_something_else_trains_nothing(capsys, tmp_path, line, text) -> None:
    config = tmp_path / "c.toml"
    config.write_text(line + "\n")
    outcome = run(capsys, "train", "--config", config)
    assert outcome.code == 2, outcome.err
    assert text in outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_run_of_a_gpu_cannot_be_resumed_without_one(capsys, ready, tmp_path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    store = RunStore(tmp_path / "runs")
    spec = {**ready(*SMALL, name="g").spec(), "device": "cuda"}
    writer = store.claim("h", spec=spec, environment={})
    writer.finish(RunStatus.INTERRUPTED, {})
    assert run(capsys, "train", "--resume", "h").code == 19
    assert _only(tmp_path, "h").status() is RunStatus.INTERRUPTED


def test_a_spec_repeats_its_run(capsys, ready, tmp_path) -> None:
    ready(*SMALL, name="a")
    spec = tmp_path / "runs/a/v001/spec.json"
    assert run(capsys, "train", "--config", spec, "--name", "b").code == 0
    assert _same(_weights(tmp_path / "runs/a/v001", 20), _weights(tmp_path / "runs/b/v001", 20))


def test_epochs_count_whole_batches(capsys, tmp_path) -> None:
    arguments = ("--k", 1, "--hidden", "8", "--latent-dim", 2, "--batch-size", 100, "--name", "e")
    assert run(capsys, "train", *arguments, "--epochs", 2).code == 0
    assert _only(tmp_path, "e").spec()["steps"] == 24


def test_a_finished_run_is_not_resumed_but_prolonged(capsys, ready, tmp_path) -> None:
    ready(*SMALL, name="r")
    refused = run(capsys, "train", "--resume", "r")
    assert refused.code == 14
    assert "--steps" in refused.err
    assert run(capsys, "train", "--resume", "r", "--steps", 30, "--json").json["step"] == 30
    straight = [*SMALL, "--name", "s"]
    straight[3] = 30
    assert run(capsys, "train", *straight).code == 0
    assert _same(_weights(tmp_path / "runs/r/v001", 30), _weights(tmp_path / "runs/s/v001", 30))
    assert _only(tmp_path, "r").metrics("train")["step"].tolist() == [5, 10, 15, 20, 25, 30]


def test_resume_refuses_another_spec(capsys, ready) -> None:
    ready(*SMALL, name="r")
    outcome = run(capsys, "train", "--resume", "r", "--lr", 0.5, "--k", 9, "--steps", 10)
    assert outcome.code == 2
    for text in ("lr: the run was made with 0.001", "k: the run was made with 4", "steps: the run has 20 steps"):
        assert text in outcome.err
    assert run(capsys, "train", "--resume", "r", "--name", "other").code == 2


def _stop(store: Path, number: signal.Signals) -> None:
    """Start the real command, stop it by a signal in the middle of training; keep how it ended beside its run."""
    arguments = [*STEP, "--log-every", 7, "--name", "i", "--steps", 100_000, "--runs-dir", store / "runs"]
    process = Forked(typed("train", *arguments), store / "output")
    folder = store / "runs/i/v001/checkpoints"
    deadline = time.monotonic() + 60
    while not any(path.name >= "step-00000015" for path in folder.glob("step-*")) and time.monotonic() < deadline:
        assert not process.wait(0.02), process.err
    process.send(number)
    assert process.wait(60)
    (store / "ended.json").write_text(json.dumps([process.code, process.err]))


@pytest.fixture
def interrupted(tmp_path, once):
    """``interrupted(signal)``: exit code, standard error, and the run, which that signal stopped; once for each."""

    def copied(number: signal.Signals) -> tuple[int, str, Path]:
        kept = once(f"stopped by {number.name}", lambda store: _stop(store, number))
        shutil.copytree(kept / "runs", tmp_path / "runs")
        code, err = json.loads((kept / "ended.json").read_text())
        return code, err, tmp_path / "runs/i/v001"

    return copied


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, interrupted, number, code) -> None:
    returned, err, path = interrupted(number)
    assert returned == code, err
    assert "dreg train --resume" in err
    run_json = json.loads((path / "run.json").read_text())
    assert run_json["status"] == "interrupted"
    assert run_json["summary"]["step"] == _only(tmp_path, "i").checkpoints()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_resume_continues_bit_for_bit(capsys, tmp_path, interrupted, number) -> None:
    """Cut by a signal, gone on, against never cut: weights, Adam's moments and every metrics row, seconds apart."""
    _, _, path = interrupted(number)
    cut = _only(tmp_path, "i")
    assert cut.status() in (RunStatus.INTERRUPTED, RunStatus.CRASHED)
    step = cut.checkpoints()[-1]
    # The cut run wants 100,000 steps; it is continued for 33, and compared with a run made to be that long.
    total = step + 33
    spec = json.loads((path / "spec.json").read_text()) | {"steps": total}
    spec_file = tmp_path / "short.json"
    spec_file.write_text(json.dumps(spec))
    assert run(capsys, "train", "--config", spec_file, "--name", "whole").code == 0
    whole = _only(tmp_path, "whole")

    from dregcli.app.planning.load_data import data_of
    from dregcli.app.planning.plan import Plan
    from dregcli.specs.run import RunSpec

    short = RunSpec.model_validate(spec)
    trainer = build_trainer(short, data_of(short, tmp_path))
    checkpoint = cut.load_checkpoint("last")
    trainer.load(step, checkpoint.model, checkpoint.optimizer, checkpoint.state["window"])
    assert Plan(short, data_of(short, tmp_path)).spec.steps == total
    while trainer.step < total:
        trainer.advance()
    state = trainer.state()
    assert _same({**state.model, **state.optimizer}, _weights(whole.path, total))
    rows = cut.metrics("train")
    other = whole.metrics("train")
    assert len(rows["step"]) > 0
    kept = rows["step"] <= step
    for column in set(rows) - {"seconds"}:
        assert np.array_equal(rows[column][kept], other[column][: kept.sum()]), column


def test_a_resumed_run_has_every_row_of_an_uninterrupted_one(capsys, tmp_path) -> None:
    """Through the command itself: stop at step 12 of 20, inside a window of 5 steps, and go on."""
    arguments = (*SMALL, "--checkpoint-every", 4, "--eval-every", 10)
    assert run(capsys, "train", *arguments, "--name", "whole").code == 0
    short = [*arguments]
    short[3] = 12
    assert run(capsys, "train", *short, "--name", "cut").code == 0
    assert run(capsys, "train", "--resume", "cut", "--steps", 20).code == 0
    whole, cut = _only(tmp_path, "whole"), _only(tmp_path, "cut")
    assert _same(_weights(whole.path, 20), _weights(cut.path, 20))


def test_a_corrupt_checkpoint_falls_back_to_the_one_before_and_says_so(capsys, interrupted) -> None:
    _, _, path = interrupted(signal.SIGKILL)
    newest, before = sorted(path.glob("checkpoints/step-*"), reverse=True)[:2]
    damaged = newest / "model.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    outcome = run(capsys, "eval", "i", "--k", 4, "--json")
    assert outcome.code == 0, outcome.err
    assert "checkpoint skipped" in outcome.err
    assert outcome.json["results"][0]["checkpoint"] == int(before.name.removeprefix("step-"))
    explicit = run(capsys, "eval", "i", "--k", 4, "--checkpoint", int(newest.name.removeprefix("step-")))
    assert explicit.code == 15


def test_divergence_names_step_tensor_and_batch_and_keeps_the_last_good_checkpoint(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *SMALL[:2], "--hidden", "8", "--steps", 500, "--lr", 1e30, "--checkpoint-every", 1)
    assert outcome.code == 18, outcome.err
    assert "is not finite" in outcome.err
    assert "training examples" in outcome.err
    assert "smaller --lr" in outcome.err
    found = _only(tmp_path, "digits-iwae-dreg-k4")
    assert found.status() is RunStatus.FAILED
    # After one step of that size nothing is good, finite though the parameters are: nothing was kept of it.
    assert found.checkpoints() == []
    assert "no checkpoint had been written yet" in outcome.err


def test_an_unwritable_runs_folder(capsys, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    outcome = run(capsys, "train", *SMALL, "--runs-dir", blocked / "runs")
    assert outcome.code == 16, outcome.err
    assert "Part of the path is a file" in outcome.err
    assert "--runs-dir" in outcome.err


def test_a_folder_that_is_no_run(capsys, tmp_path) -> None:
    (tmp_path / "runs/x/v001").mkdir(parents=True)
    outcome = run(capsys, "train", "--resume", "x/v001")
    assert outcome.code == 14, outcome.err
    assert "it has no spec.json" in outcome.err
    (tmp_path / "runs/y").mkdir()
    (tmp_path / "runs/y/notes.txt").write_text("mine")
    other = run(capsys, "train", "--resume", "runs/y")
    assert other.code in (13, 17), other.err
    assert "y" in other.err


def test_a_pair_may_be_given_as_the_estimator(capsys, tmp_path) -> None:
    store = ("--runs-dir", tmp_path)
    assert run(capsys, "train", *SMALL, *store, "--estimator", "rws/dreg", "--name", "a").code == 0
    spec = json.loads((tmp_path / "a/v001/spec.json").read_text())
    assert spec["objective"] == "rws"
    assert "estimator" not in spec, "dreg is the default of a spec"
    config = tmp_path / "c.toml"
    config.write_text('estimator = "jvi/dreg"')
    assert run(capsys, "train", *SMALL, *store, "--config", config, "--name", "b").code == 0
    assert json.loads((tmp_path / "b/v001/spec.json").read_text())["objective"] == "jvi:order=1"
    assert run(capsys, "train", *SMALL, *store, "--estimator", "rws/dreg", "--objective", "rws").code == 0
    for arguments in (
        ("--estimator", "rws/dreg", "--objective", "iwae"),
        ("--resume", "a", "--estimator", "iwae/dreg"),
    ):
        refused = run(capsys, "train", *store, *arguments)
        assert refused.code == 2
        assert "objective" in refused.err


@pytest.mark.parametrize("objective", ["miwae:groups=3", "piwae:groups=7", "jvi:order=2"])
def test_a_k_of_0_is_one_fault_at_once(capsys, objective) -> None:
    refused = run(capsys, "train", "--k", 0, "--objective", objective)
    assert refused.code == 2
    assert refused.err.splitlines()[0] == "error: k: must be at least 1, got 0."
    assert len(refused.err.splitlines()) == 2
