"""Evaluate runs: the bound at any K with its standard error, per-example values kept in the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dregcli.app.bounds import ACTIVE_VARIANCE, SplitBounds, split_bounds
from dregcli.app.build import build_model
from dregcli.app.executing import Shape, decide_compile
from dregcli.app.listener import Listener
from dregcli.app.out_of_memory import memory_explained
from dregcli.app.plan import data_of
from dregcli.app.restore import load_checkpoint, load_model
from dregcli.app.resuming import spec_of
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.errors import Fault, RunNotFound, SpecError, StoreWriteError
from dregcli.names import Split
from dregcli.specs.execution import AUTO, ExecutionSpec, chunk_faults
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

Which = int | Literal["last", "best"]


@dataclass(frozen=True)
class EvalResult:
    """One run's evaluation, and the file that keeps it."""

    run: Run
    path: Path
    checkpoint: int
    spec: RunSpec
    split_hash: str
    bounds: SplitBounds

    def as_json(self) -> dict[str, Any]:
        """The result as ``dreg eval --json`` gives it."""
        bounds = self.bounds
        bound = {"value": bounds.value, "stderr": bounds.stderr}
        return {
            "run": str(self.run.path),
            "checkpoint": self.checkpoint,
            "split": bounds.split.value,
            "seed": bounds.seed,
            "n": bounds.n,
            "k": bounds.k,
            "bound": bound,
            "curve": [{"k": bounds.k, **bound}],
            "ess": float(bounds.ess.mean()),
            "khat": None,
            "active_units": bounds.active_units,
            **_what_was_modelled(self.spec),
            "split_hash": self.split_hash,
            "file": str(self.path),
        }


def _what_was_modelled(spec: RunSpec) -> dict[str, str]:
    """What two bounds must share to be compared, beside the split's hash, K and the seed."""
    return {
        "task": spec.task.value,
        "binarisation": spec.binarisation,
        "likelihood": spec.likelihood.value,
        "split_convention": spec.split_convention,
    }


def parse_checkpoint(text: str) -> Which:
    """``last``, ``best`` or a step.

    Raises:
        SpecError: none of these.
    """
    if text == "last" or text == "best":
        return text
    if text.isdecimal():
        return int(text)
    raise SpecError([Fault("checkpoint", f"must be last, best or a step, got '{text}'.")])


def evaluate_runs(
    references: list[str],
    *,
    split: str,
    k: int,
    seed: int,
    checkpoint: str,
    device: str,
    runs_dir: Path,
    data_dir: Path,
    listener: Listener,
    k_chunk: int | str = AUTO,
    compiled: str = AUTO,
) -> list[EvalResult]:
    """Evaluate runs; a name means all its versions that have a checkpoint.

    Args:
        references: names or versions.
        split: train, valid or test.
        k: samples per example.
        seed: of the evaluation's pixels and noise.
        checkpoint: last, best or a step.
        device: auto, cpu or cuda.
        runs_dir: the store.
        data_dir: the data folder.
        listener: told of progress.
        k_chunk: samples at once, or auto.
        compiled: auto, on or off.

    Raises:
        SpecError: every option that cannot be.
        StoreFormatError: the store is of an older format, which is only read.
        RunNotFound: no such run, or none with a checkpoint.
    """
    faults = chunk_faults(k_chunk)
    # What it would save is known only run by run; whether it can be had is known now.
    faults += decide_compile(compiled, 0.0)[1]
    if split not in list(Split):
        faults.append(Fault("split", f"must be one of {', '.join(Split)}, got '{split}'."))
    if k < 1:
        faults.append(Fault("k", f"must be at least 1, got {k}."))
    elif not faults and k_chunk != AUTO:
        faults += spec_faults({"k": k, "k_chunk": k_chunk}, ExecutionSpec)
    if not 0 <= seed < 2**63:
        faults.append(Fault("eval-seed", f"must be at least 0 and less than 2^63, got {seed}."))
    which: Which = "last"
    try:
        which = parse_checkpoint(checkpoint)
    except SpecError as error:
        faults.extend(error.faults)
    if faults:
        raise SpecError(faults, hint="`dreg eval --help` shows every option")
    store = RunStore(runs_dir)
    runs = list({run.path: run for reference in references for run in store.resolve(reference)}.values())
    ready = [run for run in runs if run.checkpoints()]
    for run in runs:
        if run not in ready:
            listener.warn(f"{run.path} has no checkpoint: left out.")
    if not ready:
        what = "None of these runs has a checkpoint to evaluate."
        where = ", ".join(str(run.path) for run in runs)
        raise RunNotFound(what, where=where, hint=f"dreg train --resume {runs[-1].path}   trains it on")
    for run in ready:
        run.check_writable()
        if isinstance(which, int) and which not in run.checkpoints():
            what = f"The run has no checkpoint of step {which}."
            hint = f"it has {', '.join(map(str, run.checkpoints()))}; or --checkpoint last, best"
            raise RunNotFound(what, where=str(run.path), hint=hint)
    prepare_process()
    resolved = resolve_device(device)
    asked = _Asked(Split(split), k, seed, which, resolved, k_chunk, compiled)
    return [_evaluate_run(run, asked, data_dir, listener) for run in ready]


@dataclass(frozen=True)
class _Asked:
    """What is asked of every run."""

    split: Split
    k: int
    seed: int
    which: Which
    device: str
    k_chunk: int | str
    compiled: str


def _evaluate_run(run: Run, asked: _Asked, data_dir: Path, listener: Listener) -> EvalResult:
    split, k, seed, device = asked.split, asked.k, asked.seed, asked.device
    spec = spec_of(run).model_copy(update={"device": device})
    data = data_of(spec, data_dir)
    shape = Shape.of(dict(spec), data.dataset)
    k_chunk = asked.k_chunk if isinstance(asked.k_chunk, int) else shape.evaluation_chunk(k)
    seconds = shape.evaluation_saves(examples=data.size(split), k=k, k_chunk=k_chunk)
    compiled, _, warnings = decide_compile(asked.compiled, seconds)
    for warning in warnings:
        listener.warn(warning)
    spec = spec.model_copy(update={"compile": compiled})
    checkpoint = load_checkpoint(run, asked.which, listener)
    work = spec.model_copy(update={"k": k, "k_chunk": k_chunk, "batch_size": EVALUATION_BATCH})
    with memory_explained(work, smaller="--k"):
        model = build_model(spec, data)
        load_model(model, checkpoint, run)
        bounds = split_bounds(model, data, split, k=k, seed=seed, listener=listener, k_chunk=k_chunk)
    attrs = {
        "split": split.value,
        "k": k,
        "seed": seed,
        "checkpoint": checkpoint.step,
        "n": bounds.n,
        "value": bounds.value,
        "stderr": bounds.stderr,
        "active_units": bounds.active_units,
        "active_variance": ACTIVE_VARIANCE,
        "units": "nats per example",
        **_what_was_modelled(spec),
        "split_hash": data.split_hashes[split],
        "data_checksum": spec.data_checksum,
        "device": device,
        "k_chunk": k_chunk,
        "compile": compiled,
    }
    stem = f"{split}-k{k}-seed{seed}-step{checkpoint.step}"
    try:
        path = run.add_result("evals", stem, arrays={"bound": bounds.bound, "ess": bounds.ess}, attrs=attrs)
    except StoreWriteError as error:
        # The number may have cost hours: it is told even where it cannot be kept.
        what = f"{error.what} The bound, computed but not kept, is {bounds.value} (s.e. {bounds.stderr})."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
    return EvalResult(run, path, checkpoint.step, spec, data.split_hashes[split], bounds)
