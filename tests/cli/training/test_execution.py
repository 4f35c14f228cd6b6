"""``--backward``, ``--screen-*``, ``--k-chunk``, ``--compile`` and ``--track-estimators`` as a user sees them."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dregcli.app.common.unfinished import key_of
from dregcli.app.evaluation import importance
from dregcli.app.planning import executing
from dregcli.engine.likelihoods import base
from dregcli.engine.training import Trainer
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run, typed
from tests.support.forked import CONTEXT

MORE = (*SMALL, "--k", 32)
HALF = ("--backward", "screened", "--screen-precision", "bfloat16")


def _only(tmp_path, reference: str):
    (found,) = RunStore(tmp_path / "runs").resolve(reference)
    return found


def test_train_keeps_and_tells_how_its_gradients_were_computed(capsys, tmp_path) -> None:
    outcome = run(capsys, "train", *MORE, *HALF, "--screen-inflation", 0.5, "--k-chunk", 16, "--name", "x", "--json")
    assert outcome.code == 0, outcome.err
    expected = {
        "backward": "screened",
        "screen_inflation": 0.5,
        "screen_precision": "bfloat16",
        "k_chunk": 16,
        "compile": "off",
        "bound_computed": "bfloat16 with randomised correction",
    }
    assert {key: outcome.json[key] for key in expected} == expected
    spec = _only(tmp_path, "x").spec()
    assert {key: spec[key] for key in list(expected)[:4]} == {key: expected[key] for key in list(expected)[:4]}
    shown = run(capsys, "train", *MORE, *HALF)
    assert "gradient: screened, inflation 0.15; first pass and logged training bound: bfloat16" in shown.out
    dense = run(capsys, "train", *MORE, "--backward", "dense")
    assert "gradient: dense, over all rows" in dense.out


def _denormals(numbers: int) -> int:
    """How many of so many products below the smallest normal number are not flushed to zero."""
    tiny = torch.full((numbers,), 1e-30) * 1e-10
    return int(tiny.view(torch.int32).count_nonzero())


def _watched(words: list[str], kept: Path) -> None:
    """Carry out a command in this process, and keep what its threads make of denormals, before it and in training."""
    from dregcli.cli.main import entry

    torch.set_num_threads(2)
    found, warm_up = [_denormals(8)], Trainer.warm_up  # so few products are no work for a second thread

    def watching(trainer: Trainer) -> Any:
        found.append(_denormals(400_000))
        kept.write_text(json.dumps(found))
        return warm_up(trainer)

    Trainer.warm_up = watching
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["dreg", *words]
    entry()


def test_every_thread_of_a_training_flushes_denormals_however_the_run_begins(tmp_path) -> None:
    """Otherwise Adam's moments of a resumed run are others, in numbers below 1e-38."""
    place = ("--runs-dir", tmp_path / "runs", "--quiet")
    # The trial of such a model, which comes before the run, starts torch's threads.
    conv = ("--model", "conv", "--k", 4, "--batch-size", 16, "--steps", 2, "--threads", 2, "--final-eval", "none")
    for words in (
        ("train", *conv, "--name", "x", *place),
        ("train", "--resume", "x", "--steps", 3, *place),
        ("finetune-encoder", "x", "--steps", 2, *place),
        ("runs", "rerun", "x", *place),
    ):
        process: Any = CONTEXT.Process(target=_watched, args=(typed(*words), tmp_path / "found.json"))
        process.start()
        process.join()
        assert process.exitcode == 0, words
        # The program is imported by then, and importing it changes nothing in a user's own program.
        assert json.loads((tmp_path / "found.json").read_text()) == [8, 0], words
        (tmp_path / "found.json").unlink()


def test_all_faults_are_told_at_once(capsys) -> None:
    arguments = ("--backward", "dense", "--screen-inflation", 2, "--k-chunk", "some", "--compile", "yes")
    outcome = run(capsys, "train", *arguments, "--k", 64, "--track-estimators", "dreg,dreg,stll")
    assert outcome.code == 2
    for text in (
        "k-chunk: must be a positive whole number or auto, got 'some'.",
        "compile: must be auto, on or off, got 'yes'.",
        "screen-inflation: must be at most 1.0, got 2.0.",
        "track-estimators: 'dreg' is given twice.",
        "Did you mean 'stl'?",
    ):
        assert text in outcome.err
    chunk = run(capsys, "train", "--k", 64, "--k-chunk", 80)
    assert "k-chunk: must be at most k, which is 64, got 80." in chunk.err


def test_tracking_logs_and_changes_nothing(capsys, ready, tmp_path) -> None:
    ready(*MORE, name="a")
    assert run(capsys, "train", *MORE, "--name", "b", "--track-estimators", "stl,rws/dreg").code == 0
    plain, tracked = _only(tmp_path, "a").metrics("train"), _only(tmp_path, "b").metrics("train")
    assert plain["bound"].tolist() == tracked["bound"].tolist()
    new = set(tracked) - set(plain)
    assert any(name.startswith("stl.") and name.endswith("_variance") for name in new)
    assert any(name.startswith("rws-dreg.") and name.endswith("_snr") for name in new)
    assert all(np.isfinite(tracked[name][-1]) for name in new)
    assert _only(tmp_path, "b").spec()["track_estimators"] == ["dreg", "stl", "rws/dreg"]
    (group,) = run(capsys, "report", "b", "--json").json["groups"]
    told = group["tracked"]["estimators"]
    assert set(told) == {"dreg", "stl", "rws-dreg"}
    for estimator, quantities in told.items():
        assert {f"{estimator}.{quantity}" for quantity in quantities} == {n for n in new if n.startswith(estimator)}
    assert told["stl"]["model_snr"]["mean"] == tracked["stl.model_snr"][-1]
    steps = tracked["tracked_window"][-1]
    assert group["tracked"]["window"] == {
        "steps": steps,
        "snr_floor": pytest.approx(math.sqrt(2 / (math.pi * steps))),
    }
    shown = run(capsys, "report", "b").out
    assert "encoder variance" in shown
    assert f"each window with {steps:.0f} steps" in shown
    assert "tracked" not in run(capsys, "report", "a", "--json").json["groups"][0]


def test_a_config_may_hold_them(capsys, tmp_path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'k-chunk = "auto"\ncompile = "off"\nscreen-precision = "bfloat16"\ntrack-estimators = ["stl"]\n'
    )
    assert run(capsys, "train", *MORE, "--config", config, "--name", "c").code == 0
    spec = _only(tmp_path, "c").spec()
    assert (spec["screen_precision"], spec["track_estimators"]) == ("bfloat16", ["dreg", "stl"])
    dense = ("train", *MORE, "--config", config, "--backward", "dense", "--name", "d")
    assert run(capsys, *dense).code == 2, "the file leaves the gradient open, so that its precision is meant for any"
    config.write_text(f'backward = "screened"\n{config.read_text()}')
    assert run(capsys, *dense).code == 0
    assert "screen_precision" not in _only(tmp_path, "d").spec()


def test_finetuning_takes_the_parents_way_and_decides_what_depends_on_its_size(capsys, tmp_path) -> None:
    arguments = (*HALF, "--k-chunk", 16, "--track-estimators", "stl")
    assert run(capsys, "train", *MORE, *arguments, "--name", "p").code == 0
    outcome = run(capsys, "finetune-encoder", "p", "--k", 8, "--objective", "rws", "--eval-every", 0, "--name", "f")
    assert outcome.code == 0, "a chunk of 16 is none of 8, and rws has no stl: " + outcome.err
    spec = _only(tmp_path, "f").spec()
    assert (spec["backward"], spec["screen_precision"], spec["screen_inflation"]) == ("screened", "bfloat16", 0.15)
    assert not {"k_chunk", "track_estimators"} & set(spec)
    dense = run(
        capsys, "finetune-encoder", "p", "--backward", "dense", "--k-chunk", 16, "--eval-every", 0, "--name", "g"
    )
    assert dense.code == 0, dense.err
    spec = _only(tmp_path, "g").spec()
    assert spec["k_chunk"] == 16
    assert not {"backward", "screen_inflation"} & set(spec), "dense is the default of a spec"
    refused = run(capsys, "finetune-encoder", "p", "--k-chunk", 48, "--screen-inflation", 0)
    assert refused.code == 2
    assert "k-chunk: must be at most k, which is 32" in refused.err
    assert "screen-inflation: must be greater than 0" in refused.err


def test_eval_in_chunks_is_the_same_bound(capsys, ready, tmp_path) -> None:
    ready(*MORE, name="x")

    def value(*arguments: object) -> float:
        outcome = run(capsys, "eval", "x", "--k", 100, "--json", *arguments)
        assert outcome.code == 0, outcome.err
        return outcome.json["results"][0]["bound"]["value"]

    whole = value("--k-chunk", 100)
    for chunk in (16, 48, "auto"):
        assert value("--k-chunk", chunk) == pytest.approx(whole, rel=1e-6)
    chunks = [result.attrs["k_chunk"] for result in _only(tmp_path, "x").results("evals")]
    assert sorted(chunks[:3]) == [16, 48, 100]
    refused = run(capsys, "eval", "x", "--k", 100, "--k-chunk", 17, "--compile", "yes")
    assert refused.code == 2
    assert "compile: must be auto, on or off" in refused.err
    refused = run(capsys, "eval", "x", "--k", 100, "--k-chunk", 112)
    assert "k-chunk: must be at most k, which is 100, got 112." in refused.err


def test_eval_without_a_compiler(capsys, ready, monkeypatch) -> None:
    ready(*MORE, name="x")
    monkeypatch.setattr(executing, "has_compiler", lambda: False)
    refused = run(capsys, "eval", "x", "--k", 4, "--compile", "on")
    assert refused.code == 2
    assert "compile: torch.compile finds no C++ compiler on this machine" in refused.err
    assert run(capsys, "eval", "x", "--k", 4).err.count("warning") == 0, "of so little work nothing is lost"


def test_eval_goes_on_when_compilation_fails(capsys, ready, monkeypatch) -> None:
    ready(*MORE, "--likelihood", "gaussian", name="x")
    plain = run(capsys, "eval", "x", "--k", 4, "--json").json["results"][0]["bound"]

    why = ["CppCompileError: cannot execute"]

    def breaks(*arguments: object, **options: object) -> object:
        raise RuntimeError(why[-1])

    monkeypatch.setattr(executing, "has_compiler", lambda: True)
    monkeypatch.setattr(base, "FEWEST_COMPILED", 1)
    monkeypatch.setattr(base.torch, "compile", lambda kernel: breaks)
    outcome = run(capsys, "eval", "x", "--k", 4, "--compile", "on", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("torch.compile failed; the work continues without it: CppCompileError") == 1
    assert outcome.json["results"][0]["bound"] == plain
    why.append("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    outcome = run(capsys, "eval", "x", "--k", 4, "--compile", "on", "--json")
    assert (outcome.code, outcome.err.count("torch.compile failed")) == (19, 0), outcome.err


def test_eval_out_of_memory_names_the_chunk_to_use(capsys, ready, monkeypatch) -> None:
    ready(*MORE, name="x")

    def exhausted(*arguments: object, **options: object) -> object:
        raise MemoryError

    monkeypatch.setattr(importance, "estimate", exhausted)
    outcome = run(capsys, "eval", "x", "--k", 100, "--k-chunk", 64)
    assert outcome.code == 19
    assert "use --k-chunk 32, or a smaller --k" in outcome.err


FEW = ("--examples", 8, "--max-batches", 48)


def test_bias_check_says_how_the_gradients_were_computed(capsys, ready) -> None:
    ready(*MORE, name="x")
    dense = run(capsys, "bias-check", "x", *FEW)
    assert "screened" not in dense.out.splitlines()[0]
    screened = run(capsys, "bias-check", "x", *FEW, *HALF)
    assert "screened bfloat16 (inflation 0.15)" in screened.out.splitlines()[0], screened.err
    settings = run(capsys, "bias-check", "x", *FEW, *HALF, "--k-chunk", 16, "--json").json["settings"]
    assert (settings["backward"], settings["screen_precision"], settings["k_chunk"]) == ("screened", "bfloat16", 16)
    refused = run(capsys, "bias-check", "x", "--screen-inflation", 0.5, "--k-chunk", 48, "--detect", -1)
    assert refused.code == 2
    for text in (
        "screen-inflation: only applies with --backward",
        "k-chunk: must be at most k, which is 32",
        "detect",
    ):
        assert text in refused.err


def test_an_unfinished_check_is_found_by_what_its_numbers_depend_on() -> None:
    settings = {
        "pairs": ["iwae/dreg"],
        "learned": [],
        "fixed": [],
        "k": 64,
        "examples": 32,
        "seed": 0,
        "false_alarm": 1e-3,
        "detect": 0.02,
        "max_batches": 12288,
        "checkpoint": 20,
        "data_checksum": "4ab5",
        "split_hash": "e9",
        "device": "cpu",
        "dreg": "0.1",
        **{"backward": "dense", "screen_inflation": None, "screen_precision": None, "k_chunk": None},
    }
    assert key_of(settings | {"k_chunk": 16}) == key_of(settings)
    changes = ({"screen_precision": "bfloat16"}, {"backward": "screened"}, {"k": 4}, {"data_checksum": "d"})
    assert len({key_of(settings), *(key_of(settings | change) for change in changes)}) == 5


def test_the_model_of_a_check_is_used_again_whatever_memory_there_is(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dregcli.app.diagnosis.new_model.TRAINING_STEPS", 5)
    for cache in (1 << 30, 1 << 10):
        monkeypatch.setattr(executing, "cache_size", lambda device, cache=cache: cache)
        assert run(capsys, "bias-check", *FEW, "--k", 32).code in (0, 5)
    (found,) = RunStore(tmp_path / "runs").runs()
    assert json.loads((found.path / "spec.json").read_text())["k"] == 32
