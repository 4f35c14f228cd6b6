"""Train a run from its spec, or continue a run, and keep everything about it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.common.ranks import ranks_here
from dregcli.app.loading.build import build_trainer
from dregcli.app.loading.restore import load_trainer
from dregcli.app.loading.stored import spec_of
from dregcli.app.models.captured import captured
from dregcli.app.planning.optimising import ending_changes
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.words import run_name
from dregcli.app.training.origin import hand_over, parent_model
from dregcli.app.training.result import TrainResult
from dregcli.app.training.session import Session
from dregcli.app.training.soundness import require_sound
from dregcli.commands import command
from dregcli.devices import kind_of
from dregcli.engine.device import gpu, libraries, threads
from dregcli.engine.models.base import Model
from dregcli.engine.training import Trainer
from dregcli.errors import RunStateError, StoreCorrupt
from dregcli.redaction import redacted_words
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec, as_json
from dregcli.store.capture import capture_environment
from dregcli.store.checkpoints import Checkpoint
from dregcli.store.claims import Claim
from dregcli.store.run import Run
from dregcli.store.runs import RunStore, continued_meanwhile

__all__ = ["TrainResult", "built", "claim", "environment_now", "resume", "start"]


def start(plan: Plan, *, name: str | None, store: RunStore, argv: list[str], listener: Listener) -> TrainResult:
    """Claim a new run and train it; if its spec names a parent, it starts at the parent's checkpoint.

    Args:
        plan: the run to train.
        name: name of the run, or None for the default name.
        store: the store that keeps the run.
        argv: the command line, kept in the run.
        listener: receives progress messages.

    Raises:
        Diverged: the bound or a gradient is no longer finite; the last good checkpoint is kept.
        Interrupted: a signal came; a checkpoint was written first.
        StoreWriteError: the store cannot be written.
        Other errors: see ``dregcli.app.training.origin.parent_model``.
    """
    return claim(plan, name=name, store=store, argv=argv, listener=listener)()


def claim(
    plan: Plan, *, name: str | None, store: RunStore, argv: list[str], listener: Listener, right: Claim | None = None
) -> Callable[[], TrainResult]:
    """Claim a new run like ``start``, and return the function that trains it.

    Call the function at once, because the claimed run already counts as running. For ``right`` see
    :meth:`dregcli.store.runs.RunStore.claim`.
    """
    session, opening = claimed(plan, name=name, store=store, argv=argv, listener=listener, right=right)
    return partial(session.train, opening)


def claimed(
    plan: Plan, *, name: str | None, store: RunStore, argv: list[str], listener: Listener, right: Claim | None = None
) -> tuple[Session, str]:
    """Claim a new run like ``claim``; return the session that trains it, and the first line of its log."""
    require_sound(plan, listener)
    trainer, parent = built(plan, store)
    environment = environment_now(plan.spec, argv)
    code = captured(plan.code)
    writer = store.claim(
        name or run_name(plan.spec), spec=as_json(plan.spec), environment=environment, code=code, right=right
    )
    return Session(plan, trainer, writer, listener, parent), f"started: {' '.join(redacted_words(argv))}"


def resume(
    run: Run, plan: Plan, *, store: RunStore, argv: list[str], listener: Listener, end: bool = False
) -> TrainResult:
    """Continue a run from its last whole checkpoint; without one, from its start or from its parent's checkpoint.

    With ``end`` the run takes no more steps: it becomes the completed run that has as many steps as the checkpoint.
    Its spec says so, because these steps do not depend on the number that was planned. So the run is compared and
    repeated as what it is, and its settings from before are kept in ``rolled-back/``.

    Args:
        run: the run.
        plan: the plan of the run. It may have more steps than the run was made with, and other values of settings
            that change only rounding.
        store: the store that keeps the run.
        argv: the command line, kept in the log.
        listener: receives progress messages.
        end: whether to end the run at its checkpoint.

    Raises:
        RunStateError: the run is alive or completed; another process continued it meanwhile; or it is to end before
            its first checkpoint, or where the steps until then depend on the number that was planned.
        CheckpointCorrupt: no checkpoint is whole.
        StoreFormatError: the plan has other code of the model, whose tensors are not those of the checkpoint.
        Other errors: see ``start``.
    """
    session, opening = resumed(run, plan, store=store, argv=argv, listener=listener, end=end)
    return session.train(opening)


def resumed(
    run: Run, plan: Plan, *, store: RunStore, argv: list[str], listener: Listener, end: bool = False
) -> tuple[Session, str]:
    """Take a run over like ``resume``; return the session that trains it, and the next line of its log."""
    since, before_spec = store.unheld(run), run.spec()
    planned = plan.spec.steps
    if spec_of(run).steps > planned:
        raise continued_meanwhile(run)
    checkpoint = run.load_checkpoint("last") if run.checkpoints() else None
    if end:
        plan = replace(plan, spec=plan.spec.model_copy(update={"steps": _step_to_end_at(run, plan.spec, checkpoint)}))
    is_other = _is_other_code(before_spec, plan.spec)
    if is_other and checkpoint is not None:
        before = (*plan.spec.model_before, f"{before_spec['model_digest']}@{checkpoint.step}")
        plan = replace(plan, spec=plan.spec.model_copy(update={"model_before": before}))
    if is_other:
        require_sound(plan, listener)
    spec = as_json(plan.spec)
    if others := [f"--{flag(key)}" for key in ROUNDING_ONLY if before_spec.get(key) != spec.get(key)]:
        changed = " and ".join(others)
        listener.warn(f"{changed} changed: the run continues with equal numbers up to rounding, not bit for bit.")
    if (ranks := _ranks_before(run)) not in (None, _ranks_now()):
        changed = f"{_ranks_now()} ranks in place of {ranks}"
        listener.warn(f"{changed}: the run continues with equal numbers up to rounding, not bit for bit.")
    # A run with its own checkpoint does not need its parent, which may be gone.
    trainer, parent = built(plan, None if checkpoint else store)
    if checkpoint:
        load_trainer(trainer, checkpoint, run)
    environment = environment_now(plan.spec, argv)
    code = captured(plan.code)
    writer = store.reopen(
        run, since=since, spec=spec if spec != before_spec else None, environment=environment, code=code
    )
    step = checkpoint.step if checkpoint else 0
    if is_other and code is not None:
        digests = f"SHA-256 {str(plan.spec.model_digest)[:16]}, before {before_spec['model_digest'][:16]}"
        writer.log(f"continues with other code of the model than before: {code.place} ({digests})")
    for fault in checkpoint.skipped if checkpoint else ():
        listener.warn(f"checkpoint skipped: {fault}")
    kept_aside = writer.roll_back(step)
    if kept_aside:
        listener.note(f"metrics after step {step} were rolled back; they are kept in {kept_aside}")
    what = f"ended at step {step:,} of {planned:,}" if end else f"resumed at step {step}"
    listener.note(f"{run.path}: {what}" if end else f"resuming {run.path} at step {step}")
    session = Session(plan, trainer, writer, listener, parent)
    if checkpoint:
        session.continue_from(checkpoint.step, checkpoint.state)
    return session, f"{what}: {' '.join(redacted_words(argv))}"


def _ranks_now() -> int:
    ranks = ranks_here()
    return 1 if ranks is None else ranks.size


def _ranks_before(run: Run) -> int | None:
    """Return on how many ranks a run was trained last; None if it does not keep this any more."""
    try:
        resumed = run.resumed_environments()
        environment = resumed[max(resumed)] if resumed else run.environment()
    except (RunStateError, StoreCorrupt):
        return None
    return environment.get("ranks", 1)


def _is_other_code(before: Mapping[str, Any], spec: RunSpec) -> bool:
    """Whether a run continues with another class or other code of its model than it was made with."""
    was = (before.get("model_digest"), before.get("model", spec.model))
    return spec.model_digest is not None and (spec.model_digest, spec.model) != was


def _step_to_end_at(run: Run, spec: RunSpec, checkpoint: Checkpoint | None) -> int:
    if checkpoint is None:
        what = "The run has no checkpoint yet, so that it cannot end with a trained model."
        hint = (
            f"continue it: {command('train', '--resume', run.path)}; or remove it: {command('runs', 'rm', run.path)}"
        )
        raise RunStateError(what, where=str(run.path), hint=hint)
    if reason := ending_changes(spec, checkpoint.step):
        what = f"The run cannot end at step {checkpoint.step:,} of {spec.steps:,}: {reason}."
        hint = f"continue it: {command('train', '--resume', run.path)}"
        raise RunStateError(what, where=str(run.path), hint=hint)
    return checkpoint.step


def built(plan: Plan, store: RunStore | None) -> tuple[Trainer, Model | None]:
    """Return the trainer, and the parent's model that it starts from; None if the spec names no parent.

    Both are built before a run is claimed, so that an error here leaves no run behind.

    Args:
        plan: the run to train.
        store: the store with the parent; None for a run that continues from its own checkpoint.
    """
    with memory_explained(plan.spec):
        parent = parent_model(plan, store) if store else None
        trainer = build_trainer(plan.spec, plan.data, plan.code)
    if parent is not None and plan.spec.parent is not None:
        hand_over(parent, trainer.model, reset_encoder=plan.spec.parent.reset_encoder)
    return trainer, parent


def environment_now(spec: RunSpec, argv: list[str]) -> dict[str, Any]:
    """Return the environment of this process, as the run keeps it."""
    setting = {
        "threads": spec.threads or threads(),
        "device": kind_of(spec.device),
        "data_checksum": spec.data_checksum,
    }
    extra = {**setting, "libraries": libraries(), "gpu": gpu(spec.device)}
    if (ranks := _ranks_now()) > 1:
        extra["ranks"] = ranks
    return capture_environment(argv=argv, extra=extra, capture=spec.capture)
