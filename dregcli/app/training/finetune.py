"""Train only q, on a frozen model: a new run that starts from a checkpoint of another run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_completed_run
from dregcli.app.loading.restore import load_checkpoint
from dregcli.app.loading.stored import parse_checkpoint, spec_of
from dregcli.app.models.code import Code
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.planning.words import short_words, spread_pair
from dregcli.app.training.result import TrainResult
from dregcli.app.training.train import start
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.device import prepare_process
from dregcli.engine.optimisation import parse_schedule
from dregcli.engine.words import parse_scheduled, word_of
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.options import ParentSpec, RunOptions
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import RUN_ONLY, RunSpec
from dregcli.store.checkpoints import Which
from dregcli.store.runs import RunStore

_SETTINGS: Final = (
    *("objective", "estimator", "k", "steps", "batch_size", "optimizer", "lr", "lr_schedule", "warmup_steps"),
    *("kl_warmup", "grad_clip", "ema", "patience", "seed", "backward", "screen_inflation", "screen_precision"),
    "eval_k",
)
"""The options of ``finetune-encoder`` that can change the numbers of a run."""


@dataclass(frozen=True)
class FinetuneRequest:
    """A request to train the posterior of a run.

    Attributes:
        run: the parent, a name or a version.
        options: options of the command line, by field of the spec; None means the same value as in the parent.
        checkpoint: last, best or a step of the parent.
        reset_encoder: whether q starts from new initial parameters.
        name: name of the new run.
        code: what the user says about the code of the parent's model.
    """

    run: str
    options: Mapping[str, Any]
    checkpoint: str = "last"
    reset_encoder: bool = False
    name: str | None = None
    code: CodeRequest = AS_TRAINED


def finetune(
    request: FinetuneRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult:
    """Train q of a run's checkpoint with any objective, estimator and K, as a new run.

    Args:
        request: the parent, its checkpoint and the options.
        runs_dir: the store in which the parent's name is looked up; the new run is kept in the parent's store.
        data_dir: the data folder.
        argv: the command line, kept in the run.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or no such checkpoint of the run.
        StoreFormatError: the parent's spec is unknown, or its checkpoint has another architecture.
        DataCorrupt: the pixels differ from the pixels that the parent was trained on.
        Other errors: see ``dregcli.app.training.train.start``.
    """
    prepare_process()
    run = find_completed_run(RunStore(runs_dir), request.run, listener)
    parent = spec_of(run)
    data_of(parent, data_dir)  # refuse data that changed since the parent, before other options are checked
    which, faults = _which(request.checkpoint)
    given, contradiction = spread_pair(request.options)
    parent, code = code_of_run(run, parent, request.code, listener)
    plan = _resolved(parent, given, data_dir, [*faults, *contradiction], code)
    checkpoint = load_checkpoint(run, which, listener)
    origin = ParentSpec(
        run=run.key,
        checkpoint=checkpoint.step,
        model_sha256=tensors_sha256(checkpoint.model),
        reset_encoder=request.reset_encoder,
    )
    encoder = "starts from new initial parameters" if request.reset_encoder else "continues from this step"
    listener.note(f"from step {checkpoint.step} of {run.path}: the model is frozen, the encoder {encoder}")
    plan = replace(plan, spec=plan.spec.model_copy(update={"parent": origin}))
    return start(plan, name=request.name, store=RunStore.of(run), argv=argv, listener=listener)


def _which(text: str) -> tuple[Which, list[Fault]]:
    """Return the checkpoint that the user named, and every fault of its name."""
    try:
        return parse_checkpoint(text), []
    except SpecError as error:
        return "last", list(error.faults)


def _resolved(
    parent: RunSpec, given: Mapping[str, Any], data_dir: Path, faults: list[Fault], code: Code | None
) -> Plan:
    """Resolve the parent's spec with the given options, for the data on this machine."""
    options, of_values = merge_options(given, _inherited(parent), None)
    try:
        return resolve_plan(options, data_dir, [*faults, *of_values], code)
    except SpecError as error:
        hint = "correct the above; every option is shown by: dreg finetune-encoder --help"
        raise SpecError(error.faults, hint=hint) from error


def _inherited(parent: RunSpec) -> dict[str, Any]:
    """Return the options that a run without further ones has from its parent."""
    # Not inherited: tracked estimators, which belong to the objective, which may change; the interval of evaluations,
    # the patience, which counts them, the warm-ups, and a schedule with stages, which belong to the number of steps;
    # and a learning rate and a prior's gradient of theta, which stands still: the rate of q is the only one.
    others = {"spec_version", "parent", "data_checksum", "track_estimators", "eval_every"}
    others |= {"patience", "warmup_steps", "kl_warmup", "lr_posterior", "prior_gradient"}
    inherited = parent.model_dump(exclude={*others, *RUN_ONLY, *ROUNDING_ONLY})
    inherited["prior_gradient"] = PriorGradient.SCORE
    if parse_schedule(parent.lr_schedule).passes is not None:
        del inherited["lr_schedule"]
    inherited["lr"] = parent.lr_posterior or parent.lr
    # A schedule of the objective belongs to the parent's steps, as its warm-ups do: its end is what q is trained for.
    inherited["objective"] = word_of(parse_scheduled(parent.objective).at(parent.steps))
    return inherited


def options_beyond(parent: RunSpec, spec: RunSpec) -> dict[str, Any]:
    """Return the options with which ``finetune-encoder`` makes a run like ``spec`` from its parent's checkpoint.

    Args:
        parent: spec of the parent.
        spec: spec of the run that trains only q.
    """
    usual = {name: field.default for name, field in RunOptions.model_fields.items()}
    inherited = _inherited(parent)
    words = short_words(parent.model_copy(update={"objective": inherited["objective"]}))
    without = {**usual, **inherited, **words}
    # Validations change the numbers of a run with patience alone.
    names = _SETTINGS if spec.patience is None else (*_SETTINGS, "eval_every")
    given: dict[str, Any] = {name: getattr(spec, name) for name in names} | short_words(spec)
    # A setting that is off cannot be typed; it is off in the parent, too.
    return {name: value for name, value in given.items() if value not in (None, without[name])}
