"""How a run's steps change the parameters: the faults of its options, the engine's settings, and both in words."""

from collections.abc import Sequence
from contextlib import suppress

from dregcli.data.dataset import Dataset
from dregcli.engine.gradients import theta_faults
from dregcli.engine.optimisation import Optimisation, parse_optimizer, parse_schedule
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.words import parse_scheduled, word_of
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient, Split
from dregcli.specs.execution import AUTO
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec
from dregcli.wording import counted
from dregcli.words import split_pair


def optimisation_faults(
    options: RunOptions, dataset: Dataset | None, *, steps: int, eval_every: int | None, tracked: Sequence[str] = ()
) -> list[Fault]:
    """Return every fault of the optimizer, the schedule and the settings that must fit the length of the run.

    Args:
        options: the options that the user gave.
        dataset: the data of the run; None if they cannot be loaded.
        steps: optimisation steps.
        eval_every: steps between validations.
        tracked: words of the estimators and pairs to track.
    """
    faults: list[Fault] = []
    try:
        if not parse_optimizer(options.optimizer).follows_rate:
            faults += _unread_rates(options)
    except SpecError as error:
        faults += error.faults
    try:
        schedule = parse_schedule(options.lr_schedule)
        per_epoch = len(dataset.splits[Split.TRAIN]) // options.batch_size if dataset else None
        faults += schedule.faults(steps=steps, steps_per_epoch=per_epoch)
    except SpecError as error:
        faults += error.faults
    for field in ("warmup_steps", "kl_warmup"):
        if (asked := getattr(options, field)) > steps:
            message = f"must be at most the {counted(steps, 'step')} of the run, got {asked:,}."
            faults.append(Fault(flag(field), message))
    if options.kl_warmup:
        faults += _kl_faults(options, tracked)
    if options.prior_gradient not in (AUTO, PriorGradient.SCORE):
        faults += prior_faults(options)
    if (last := _steps_of_schedule(options.objective)) > steps:
        message = f"'{options.objective}' changes for {counted(last, 'step')}, but the run has only {steps:,}"
        faults.append(Fault("objective", f"{message}: write @{steps}, or give --steps {last} or more."))
    if options.patience is not None and not eval_every:
        message = "needs validations during training: give --eval-every, such as --eval-every 100."
        faults.append(Fault("patience", message))
    return faults


def _unread_rates(options: RunOptions) -> list[Fault]:
    """Return the faults of a learning rate that changes, for an optimizer that reads it in its first step alone."""
    why = f"has no effect with '{options.optimizer}', which reads the learning rate in its first step alone"
    found: list[Fault] = []
    for field in ("lr_schedule", "warmup_steps"):
        if (asked := getattr(options, field)) != (usual := RunOptions.model_fields[field].default):
            found.append(Fault(flag(field), f"{why}: use {usual}, or another --optimizer; got {asked}."))
    return found


def _steps_of_schedule(word: str) -> int:
    """Return in how many steps an objective changes; 0 if it does not, or if the word is wrong."""
    with suppress(SpecError):  # reported with the objective
        return parse_scheduled(word).steps
    return 0


def prior_faults(options: RunOptions) -> list[Fault]:
    """Return the faults of another gradient of the prior than its score, as far as no model is needed to see them."""
    faults: list[Fault] = []
    if options.kl_warmup:
        message = f"is not possible during a KL warm-up: leave --kl-warmup out, got {options.kl_warmup:,}."
        faults.append(Fault("prior-gradient", message))
    objective, estimator = split_pair(options.estimator)
    with suppress(SpecError):  # reported with the words
        start = parse_scheduled(objective or options.objective).start
        faults += theta_faults(resolve_pair(start, estimator, options.k))
    return faults


def _kl_faults(options: RunOptions, tracked: Sequence[str]) -> list[Fault]:
    """Return the faults of pairs whose gradient is not known while the KL part has less weight."""
    names: list[str] = []
    for word in (options.estimator, *tracked):
        objective, estimator = split_pair(word)
        pair = (objective or options.objective, estimator)
        with suppress(SpecError):  # reported with the words
            first = word_of(parse_scheduled(pair[0]).start)
            if not resolve_pair(first, pair[1], options.k).can_be_tempered:
                names.append("/".join(pair))
    if not names:
        return []
    message = f"is not possible with {', '.join(dict.fromkeys(names))}: no gradient is known for a part of the KL. "
    message += "Leave --kl-warmup out, or use another objective or estimator."
    return [Fault("kl-warmup", message)]


def optimisation_of(spec: RunSpec) -> Optimisation:
    """Return how a run's steps change the parameters, as the engine's settings."""
    return Optimisation(
        optimizer=parse_optimizer(spec.optimizer),
        schedule=parse_schedule(spec.lr_schedule),
        lr_posterior=spec.lr_posterior,
        warmup_steps=spec.warmup_steps,
        steps=spec.steps,
        grad_clip=spec.grad_clip,
        ema=spec.ema,
        kl_warmup=spec.kl_warmup,
    )


def optimisation_in_words(spec: RunSpec) -> str | None:
    """Describe how a run's steps change the parameters; None for Adam with a constant rate and nothing else."""
    how = optimisation_of(spec)
    if how == Optimisation(steps=spec.steps) and spec.patience is None:
        return None
    of_posterior = "" if spec.lr_posterior is None else f" and {spec.lr_posterior:g} for phi"
    changes = "" if spec.lr_schedule == "constant" else f", {spec.lr_schedule}"
    warm_up = f", after a warm-up of {counted(spec.warmup_steps, 'step')}" if spec.warmup_steps else ""
    parts = [f"{spec.optimizer}, learning rate {spec.lr:g}{of_posterior}{changes}{warm_up}"]
    if spec.kl_warmup:
        parts.append(f"the objective's KL part rises to its whole weight in {counted(spec.kl_warmup, 'step')}")
    if spec.grad_clip is not None:
        parts.append(f"gradients limited to a norm of {spec.grad_clip:g}")
    if spec.ema is not None:
        parts.append(f"evaluations use {average_in_words(spec)}")
    if spec.patience is not None:
        parts.append(f"stops after {counted(spec.patience, 'validation')} without a better bound")
    return "; ".join(parts)


def average_in_words(spec: RunSpec) -> str:
    """Return the words for the weights of a run with a moving average."""
    return f"the moving average of the weights (--ema {spec.ema:g})"


def prolonging_changes(spec: RunSpec) -> str | None:
    """Return why a prolonged run is not the run that was planned so long from its start; None if it is."""
    if spec.patience is not None:
        return "its validations, which end it, include one after its last step (--patience)"
    return _rates_change(spec)


def ending_changes(spec: RunSpec, step: int) -> str | None:
    """Return why a run that ends at a step is not the run that was planned so long from its start; None if it is."""
    if step < spec.warmup_steps:
        return f"its warm-up takes {counted(spec.warmup_steps, 'step')} (--warmup-steps)"
    if step < spec.kl_warmup:
        return f"its KL warm-up takes {counted(spec.kl_warmup, 'step')} (--kl-warmup)"
    if step < (last := _steps_of_schedule(spec.objective)):
        return f"its objective changes for {counted(last, 'step')} (--objective {spec.objective})"
    return _rates_change(spec)


def _rates_change(spec: RunSpec) -> str | None:
    if parse_schedule(spec.lr_schedule).depends_on_length:
        return f"each step's learning rate depends on the number of steps (--lr-schedule {spec.lr_schedule})"
    return None
