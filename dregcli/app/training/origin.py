"""Load the parent's checkpoint for a run that trains only q, and verify that it is the one that the spec names."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dregcli.app.loading.bounds import SplitBounds
from dregcli.app.loading.build import build_model
from dregcli.app.loading.restore import load_model
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.plan import Plan
from dregcli.commands import command
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.models.base import Model
from dregcli.errors import DregError, Fault, RunNotFound, SpecError, StoreCorrupt
from dregcli.specs.models import OF_MODELS
from dregcli.specs.options import ParentSpec
from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec
from dregcli.store.checkpoints import Checkpoint
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import counted

KEPT_FIELDS = (
    "task",
    "dataset",
    "data_checksum",
    "split_convention",
    "binarisation",
    "model",
    *OF_MODELS,
    "model_options",
    "model_digest",
)
"""Fields in which a run must equal its parent: theta comes from the parent and fits only the parent's pixels."""


@dataclass(frozen=True)
class Baseline:
    """The parent's results that a run is compared with; kept in the run's checkpoints, because the parent may go.

    Attributes:
        theta_sha256: SHA-256 of theta's named tensors before the first step.
        bounds: bounds of the parent's parameters by split, as ``SplitBounds.summary``.
        examples: the same bounds for each example, nats; the gain compares equal examples with equal noise.
    """

    theta_sha256: str
    bounds: dict[str, dict[str, Any]]
    examples: dict[str, list[float]]

    def gain(self, after: SplitBounds) -> dict[str, Any]:
        """Return the gain of a split's bound and the standard error of the paired differences, nats per example."""
        gain = replace(after, bound=after.bound - np.array(self.examples[after.split.value]))
        return {"value": gain.value, "stderr": gain.stderr}


def baseline(parent: Model, bounds: Sequence[SplitBounds]) -> Baseline:
    """Return the baseline of a parent's model and its bounds."""
    return Baseline(
        theta_sha256(parent),
        {each.split.value: each.summary() for each in bounds},
        {each.split.value: each.bound.tolist() for each in bounds},
    )


def theta_sha256(model: Model) -> str:
    """Return the checksum of theta, which must not change while only q is trained."""
    return tensors_sha256(model.model_parameters())


def parent_model(plan: Plan, store: RunStore) -> Model | None:
    """Return the parent's model at the checkpoint that the spec names; None for a run without a parent.

    Raises:
        SpecError: the spec differs from the parent's in a field that must be equal.
        RunNotFound: the parent or its checkpoint is not in the store.
        StoreCorrupt: the checkpoint's tensors changed since the run was made, or it is one of another run.
        StoreFormatError: the checkpoint has another architecture than its spec says.
    """
    parent = plan.spec.parent
    if parent is None:
        return None
    run, checkpoint = _find(parent, plan.spec, store)
    if faults := _differences(plan.spec, spec_of(run)):
        raise SpecError(faults, where=str(run.path), hint="leave these options out")
    model = build_model(plan.spec, plan.data.model_data, plan.code)
    load_model(model, checkpoint, run)
    if not model.posterior_parameters().keys() - set(model.unreached):
        message = f"only q is trained, but q of {plan.spec.model} has no parameter that is trained."
        raise SpecError([Fault("run", message)], where=str(run.path), hint="name a run whose q has parameters")
    if shared := model.shared_parameters():
        message = (
            f"only q is trained, but {counted(len(shared), 'parameter')} of q may also belong to the model: "
            f"{', '.join(shared)}."
        )
        hint = f"continue the whole run: {command('train', '--resume', run.path, '--steps', 'N')}"
        raise SpecError([Fault("run", message)], where=str(run.path), hint=hint)
    return model


def _find(parent: ParentSpec, spec: RunSpec, store: RunStore) -> tuple[Run, Checkpoint]:
    """Return the parent and its checkpoint: an imported run may have another name here, and another run its name."""
    imported = f"import the run that it starts from, if you have it: {command('runs', 'import', 'FILE')}"
    try:
        (run,) = store.resolve(parent.run, only_here=True)
        checkpoint = run.load_checkpoint(parent.checkpoint)
        if tensors_sha256(checkpoint.model) == parent.model_sha256:
            return run, checkpoint
        what = f"Step {parent.checkpoint} of {parent.run} does not hold the tensors that this run starts from: they "
        what += "were altered, or this is another run of that name."
        hint = f"{imported}; or start again: {command('finetune-encoder', run.path)}"
        failure: DregError = StoreCorrupt(what, where=str(run.path), hint=hint)
    except RunNotFound as error:
        what = f"The run starts from step {parent.checkpoint} of {parent.run}, which is not there. {error.what}"
        hint = f"{imported}; or start again from an existing run: {command('finetune-encoder', 'RUN')}"
        failure = RunNotFound(what, where=error.where, hint=hint)
    for run in store.runs():
        with suppress(DregError):  # a run that cannot be read is not the one
            if parent.checkpoint in run.checkpoints() and not _differences(spec, spec_of(run)):
                checkpoint = run.load_checkpoint(parent.checkpoint)
                if tensors_sha256(checkpoint.model) == parent.model_sha256:
                    return run, checkpoint
    raise failure


def _differences(spec: RunSpec, parent: RunSpec) -> list[Fault]:
    return [
        Fault(flag(field), f"the parent was made with {getattr(parent, field)}, got {getattr(spec, field)}.")
        for field in KEPT_FIELDS
        if getattr(spec, field) != getattr(parent, field)
    ]


def hand_over(parent: Model, model: Model, *, reset_encoder: bool) -> None:
    """Copy the parent's parameters into a model; with ``reset_encoder`` only theta, so that q keeps its own."""
    inherited = dict(parent.state_dict())
    if reset_encoder:
        # A parameter with two names, such as a tied weight, keeps its own values under both.
        own = {each.data_ptr() for each in model.posterior_parameters().values()}
        inherited |= {name: each for name, each in model.state_dict().items() if each.data_ptr() in own}
    model.load_state_dict(inherited)


def theta_moved(before: str, after: str, where: str) -> DregError:
    """Return the error for frozen parameters that changed, which only a fault can cause."""
    what = f"The frozen model changed while q was trained: SHA-256 {before[:16]} before, {after[:16]} now."
    hint = "this is a fault of dreg or of this machine's memory: please report it"
    return DregError(what, where=where, hint=hint)
