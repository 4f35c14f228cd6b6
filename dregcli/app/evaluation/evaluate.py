"""Evaluate runs: log-likelihoods with signs of how far to trust them; per-example values are kept in the run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dregcli import __version__
from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.common.unfinished import Unfinished
from dregcli.app.evaluation.estimates import Estimates
from dregcli.app.evaluation.importance import Sampling, sample_split
from dregcli.app.evaluation.keeping import kept_weights
from dregcli.app.evaluation.request import EvalRequest
from dregcli.app.evaluation.second_opinion import SecondOpinion, anneal_split
from dregcli.app.loading.build import build_model
from dregcli.app.loading.named import can_resume
from dregcli.app.loading.restore import last_step, load_checkpoint, load_model
from dregcli.app.loading.stored import code_used, parse_checkpoint, spec_of
from dregcli.app.models.code import Code
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.executing import Shape, decide_compile, with_threads
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.run_data import RunData
from dregcli.commands import command
from dregcli.defaults import ACTIVE_VARIANCE, ANNEALED_EXAMPLES
from dregcli.engine.annealing import Annealing
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.quasi import MOST_NUMBERS
from dregcli.errors import Fault, NotFinite, RunNotFound, SpecError, StoreWriteError
from dregcli.names import EvalMethod, EvalNoise, Split
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import typed_list

__all__ = ["EvalRequest", "EvalResult", "evaluate_runs"]

_HINT = "every option is shown by: dreg eval --help"

_LARGE_K = 5000
"""Number of samples that is suggested where AIS is impossible: it is usual in the literature."""


@dataclass(frozen=True)
class EvalResult:
    """One run's evaluation, and the file that keeps it.

    Attributes:
        run: the run that was evaluated.
        path: the file.
        spec: spec of the run.
        estimates: estimates of each example.
        opinion: the result of AIS, if it was asked for.
        summary: everything that is reported, as plain values; see ``as_json``.
    """

    run: Run
    path: Path
    spec: RunSpec
    estimates: Estimates
    opinion: SecondOpinion | None
    summary: Mapping[str, Any]

    def again(self, **options: object) -> str:
        """Return the command that evaluates the same examples with other options, ready to be pasted into a shell."""
        used = self.summary
        ks = typed_list([row["k"] for row in used["curve"]])
        asked: dict[str, object] = {"split": used["split"], "k": ks, "n": used["n"]}
        if self.opinion:
            usual, annealing = Annealing(), self.opinion.annealing
            asked |= {"method": used["method"]}
            asked |= {} if annealing.steps == usual.steps else {"steps": annealing.steps}
            asked |= {} if annealing.chains == usual.chains else {"chains": annealing.chains}
        asked |= {"noise": used["noise"]} if "noise" in used else {}
        asked |= {"eval-seed": used["seed"]} if used["seed"] else {}
        asked |= {"repeats": used["repeats"]} if used["repeats"] > 1 else {}
        threshold = used["active_threshold"]
        asked |= {} if threshold == ACTIVE_VARIANCE else {"active-threshold": threshold}
        asked |= {} if used["checkpoint"] == last_step(self.run) else {"checkpoint": used["checkpoint"]}
        words = [word for name, value in (asked | options).items() for word in (f"--{name}", str(value))]
        return command("eval", self.run.label, *words)

    def as_json(self) -> dict[str, Any]:
        """Return the result in the form of ``dreg eval --json``."""
        return {"run": str(self.run.path), **self.summary, "file": str(self.path)}


def _what_was_modelled(spec: RunSpec) -> dict[str, str | None]:
    """Return the settings that must be equal to compare two bounds, beside the split's hash, K and the seed."""
    return {
        "task": spec.task.value,
        "binarisation": spec.binarisation,
        "likelihood": spec.likelihood and spec.likelihood.value,
        "split_convention": spec.split_convention,
    }


@dataclass(frozen=True)
class _Ready:
    """A run that can be evaluated: its spec with the evaluation's device, its data, and the number of examples."""

    run: Run
    spec: RunSpec
    data: RunData
    examples: int
    code: Code | None


def evaluate_runs(
    references: Sequence[str], request: EvalRequest, *, runs_dir: Path, data_dir: Path, listener: Listener
) -> list[EvalResult]:
    """Evaluate runs; a name means all its versions that have a checkpoint.

    Args:
        references: names or versions.
        request: the options of the evaluation.
        runs_dir: the store.
        data_dir: the data folder.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or none of the runs has a checkpoint.
        Interrupted: a signal came; the work so far is saved, and the same call continues it.
    """
    if faults := request.faults():
        raise SpecError(faults, hint=_HINT)
    runs = RunStore(runs_dir).resolve_all(references)
    ready = [run for run in runs if run.checkpoints()]
    for run in runs:
        if run not in ready:
            listener.warn(f"{run.path} has no checkpoint: it is left out.")
    if not ready:
        what = "None of these runs has a checkpoint to evaluate."
        where = ", ".join(str(run.path) for run in runs)
        hint = f"train a run first: {command('train', '--help')}"
        if resumable := [run for run in runs if can_resume(run)]:
            hint = f"continue training the last one: {command('train', '--resume', resumable[-1].path)}"
        raise RunNotFound(what, where=where, hint=hint)
    which = parse_checkpoint(request.checkpoint)
    for run in ready:
        run.check_can_keep("evals")
        if isinstance(which, int) and which not in run.checkpoints():
            what = f"The run has no checkpoint of step {which}."
            hint = f"its checkpoints are {', '.join(map(str, run.checkpoints()))}; or use --checkpoint last or best"
            raise RunNotFound(what, where=str(run.path), hint=hint)
    prepare_process()
    device = resolve_device(request.device)
    # Check all runs before the first evaluation, which may take hours.
    prepared = [_prepared(run, request, device, data_dir, listener) for run in ready]
    with with_threads(request.threads):
        return [_evaluated(each, request, listener) for each in prepared]


def _prepared(run: Run, request: EvalRequest, device: str, data_dir: Path, listener: Listener) -> _Ready:
    spec, code = code_of_run(run, spec_of(run), request.code, listener)
    spec = spec.model_copy(update={"device": device})
    data = data_of(spec, data_dir)
    split = Split(request.split)
    size = data.size(split)
    if size == 0:
        message = f"the {split} split of {spec.dataset} is empty: choose another."
        raise SpecError([Fault("split", message)], where=str(run.path))
    if request.n is not None and request.n > size:
        message = f"must be at most the {size} examples of the {split} split of {spec.dataset}, got {request.n}."
        raise SpecError([Fault("n", message)], where=str(run.path))
    if request.method == EvalMethod.AIS and (why := build_model(spec, data.model_data, code).no_annealing):
        message = f"ais is impossible with the model {spec.model}: {why}."
        hint = f"use importance sampling with a large K: --k {_LARGE_K}"
        raise SpecError([Fault("method", message)], where=str(run.path), hint=hint)
    if request.noise != EvalNoise.IID:
        _require_normals(build_model(spec, data.model_data, code), request.noise, run)
    few = min(ANNEALED_EXAMPLES, size) if request.method == EvalMethod.AIS else size
    return _Ready(run, spec, data, request.n or few, code)


def _require_normals(model: Model, noise: str, run: Run) -> None:
    """Refuse a model whose latents are not made of one array of normal numbers."""
    message = ""
    if model.no_antithetic:
        message = f"{noise} samples are for the built-in models whose posterior is one diagonal Gaussian: use iid."
    elif noise == EvalNoise.SOBOL and model.latent_width > MOST_NUMBERS:
        message = f"there are Sobol points for at most {MOST_NUMBERS:,} latent dimensions: use iid."
    if message:
        raise SpecError([Fault("noise", message)], where=str(run.path))


def _evaluated(ready: _Ready, request: EvalRequest, listener: Listener) -> EvalResult:
    run, spec, data, k = ready.run, ready.spec, ready.data, request.ks[-1]
    shape = Shape.of_run(spec, data.dataset)
    k_chunk = request.k_chunk if isinstance(request.k_chunk, int) else shape.evaluation_chunk(k)
    seconds = shape.evaluation_saves(examples=ready.examples * request.repeats, k=k, k_chunk=k_chunk)
    compiled, _, warnings = decide_compile(request.compile, seconds)
    for warning in warnings:
        listener.warn(warning)
    spec = spec.model_copy(update={"compile": compiled})
    checkpoint = load_checkpoint(run, parse_checkpoint(request.checkpoint), listener)
    noise = EvalNoise(request.noise)
    how = Sampling(Split(request.split), request.ks, request.seed, request.repeats, ready.examples, k_chunk, noise)
    of_noise = {} if noise is EvalNoise.IID else {"noise": noise.value}
    settings = {
        "method": request.method,
        "split": how.split.value,
        "ks": list(how.ks),
        "seed": how.seed,
        "repeats": how.repeats,
        "examples": how.examples,
        "checkpoint": checkpoint.step,
        "data_checksum": spec.data_checksum,
        "device": spec.device,
        "dreg": __version__,
        **({"keep_weights": True} if request.keep_weights else {}),
        **of_noise,
        **code_used(spec),
    }
    of_ais = settings | {"annealing": asdict(request.annealing)}
    unfinished = [Unfinished(run, "evals", each, listener, what="evaluation") for each in (settings, of_ais)]
    work = spec.model_copy(update={"k": k, "k_chunk": k_chunk, "batch_size": EVALUATION_BATCH})
    started = time.monotonic()
    with memory_explained(work, smaller="--k"):
        model = build_model(spec, data.model_data, ready.code)
        load_model(model, checkpoint, run)
        model.eval()
        weights = kept_weights(run, model, how, unfinished[0].key, listener) if request.keep_weights else None
        estimates = sample_split(model, data, how, unfinished[0], listener, weights)
        opinion, no_ais = None, ""
        if request.method == EvalMethod.AIS:
            try:
                opinion = anneal_split(model, data, how, request.annealing, estimates, unfinished[1], listener)
            except NotFinite as error:  # the other estimates do not need the chains, and may have cost hours
                no_ais = f"{error.what.rstrip('.')} ({error.where}); {error.hint}."
                listener.warn(f"{run.label}: AIS has no result: {no_ais}")
    numbers = estimates.as_json(active_threshold=request.active_threshold)
    summary = {
        "checkpoint": checkpoint.step,
        "split": how.split.value,
        "seed": how.seed,
        "method": request.method,
        **of_noise,
        **numbers,
        **({"ais": opinion.as_json()} if opinion else {}),
        **({"no_ais": no_ais} if no_ais else {}),
        **_what_was_modelled(spec),
        **code_used(spec),
        "split_hash": data.split_hashes[how.split],
        "seconds": time.monotonic() - started,
    }
    if weights is not None:
        summary["log_w"] = str(weights.finish(_stem(summary), summary).relative_to(run.path))
    found = EvalResult(run, run.path, spec, estimates, opinion, summary)
    kept = replace(found, path=_keep(found, spec, {"k_chunk": k_chunk, "compile": "on" if model.fused else "off"}))
    for each in unfinished:
        each.forget()
    return kept


def _stem(summary: Mapping[str, Any]) -> str:
    """Return the first part of the name of an evaluation's files."""
    noise = f"-{summary['noise']}" if "noise" in summary else ""
    return f"{summary['split']}-k{summary['k']}{noise}-seed{summary['seed']}-step{summary['checkpoint']}"


def _keep(found: EvalResult, spec: RunSpec, how: Mapping[str, Any]) -> Path:
    """Keep an evaluation in its run; ``value`` and ``stderr`` belong to the bound at the largest K."""
    summary, estimates = found.summary, found.estimates
    bound = summary["bound"]
    attrs = {
        **summary,
        "value": bound["value"],
        "stderr": bound["stderr"],
        "units": "nats per example",
        "data_checksum": spec.data_checksum,
        "device": spec.device,
        **how,
    }
    arrays = {name: array for name, array in estimates.arrays.items() if name != "means"}
    arrays |= found.opinion.arrays() if found.opinion else {}
    arrays |= {"bound": estimates.bound, "ess": estimates.ess}
    if (variance := estimates.latent_variance()) is not None:
        arrays["latent_variance"] = variance
    try:
        return found.run.add_result("evals", _stem(summary), arrays=arrays, attrs=attrs)
    except StoreWriteError as error:
        # The number may have cost hours: show it even if it cannot be written.
        what = f"{error.what}. The bound was computed but not kept: {bound['value']} (s.e. {bound['stderr']})."
        raise StoreWriteError(what, where=error.where, hint=error.hint) from error
