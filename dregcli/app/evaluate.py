"""Evaluate runs: the bound at any K with its standard error, per-example values kept in the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dregcli.app.bounds import ACTIVE_VARIANCE, SplitBounds, split_bounds
from dregcli.app.build import build_model
from dregcli.app.listener import Listener
from dregcli.app.plan import data_of
from dregcli.app.restore import load_checkpoint, load_model
from dregcli.app.resuming import spec_of
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.errors import Fault, RunNotFound, SpecError, StoreWriteError
from dregcli.names import Split
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

    Raises:
        SpecError: every option that cannot be.
        RunNotFound: no such run, or none with a checkpoint.
    """
    faults: list[Fault] = []
    if split not in list(Split):
        faults.append(Fault("split", f"must be one of {', '.join(Split)}, got '{split}'."))
    if k < 1:
        faults.append(Fault("k", f"must be at least 1, got {k}."))
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
        if isinstance(which, int) and which not in run.checkpoints():
            what = f"The run has no checkpoint of step {which}."
            hint = f"it has {', '.join(map(str, run.checkpoints()))}; or --checkpoint last, best"
            raise RunNotFound(what, where=str(run.path), hint=hint)
    prepare_process()
    resolved = resolve_device(device)
    return [_evaluate_run(run, Split(split), k, seed, which, resolved, data_dir, listener) for run in ready]


def _evaluate_run(
    run: Run, split: Split, k: int, seed: int, which: Which, device: str, data_dir: Path, listener: Listener
) -> EvalResult:
    spec = spec_of(run).model_copy(update={"device": device})
    data = data_of(spec, data_dir)
    checkpoint = load_checkpoint(run, which, listener)
    model = build_model(spec, data)
    load_model(model, checkpoint, run)
    bounds = split_bounds(model, data, split, k=k, seed=seed, listener=listener)
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
    }
    stem = f"{split}-k{k}-seed{seed}-step{checkpoint.step}"
    try:
        path = run.add_result("evals", stem, arrays={"bound": bounds.bound, "ess": bounds.ess}, attrs=attrs)
    except StoreWriteError as error:
        # The number may have cost hours: it is told even where it cannot be kept.
        what = f"{error.what} The bound, computed but not kept, is {bounds.value} (s.e. {bounds.stderr})."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
    return EvalResult(run, path, checkpoint.step, spec, data.split_hashes[split], bounds)
