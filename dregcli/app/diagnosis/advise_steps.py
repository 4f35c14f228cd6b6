"""Time real training steps of a frozen model, by many pairs and numbers of samples, in turn."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dregcli.app.diagnosis.subject import Subject
from dregcli.app.loading.build import build_trainer
from dregcli.app.planning.plan import resolve_plan
from dregcli.data.dataset import Dataset
from dregcli.engine.training import Trainer
from dregcli.errors import Diverged, DregError, Fault, SpecError
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import RUN_ONLY, RunSpec

ROUNDS: Final = 7
"""Rounds of timed steps. Every pair is timed in each, so that what slows the machine down slows all of them."""

_WARM_UP: Final = 2
"""Steps of each trainer that are not timed: the first ones allocate memory."""

_STANDSTILL: Final = 1e-12
"""Learning rate of the timed steps. They do all the work of a step, and leave the model where it is: how many samples
screening keeps depends on it."""


def spec_of_training(subject: Subject, objective: str, estimator: str, k: int) -> RunSpec:
    """Return the spec of a training of the subject's model by another pair, as ``dreg train`` would resolve it.

    Args:
        subject: the model, and the settings of its run.
        objective: word for ``--objective``.
        estimator: word for ``--estimator``.
        k: samples per example.

    Raises:
        SpecError: the model cannot be trained so.
    """
    spec = subject.spec
    others = {"spec_version", "parent", "data_checksum", "track_estimators", "eval_every"}
    inherited = spec.model_dump(exclude={*others, *RUN_ONLY, *ROUNDING_ONLY})
    given = {"objective": objective, "estimator": estimator, "k": k, "compile": "off", "threads": spec.threads}
    # The steps stand still, and an optimiser may refuse a schedule that an older run has.
    given |= {"lr_schedule": "constant", "warmup_steps": 0}
    options, faults = merge_options(given, inherited, None)

    def loaded(_options: RunOptions, _data_dir: Path) -> tuple[Dataset | None, DregError | None, list[Fault]]:
        return subject.data.dataset, None, []

    found = resolve_plan(options, Path(), faults, subject.code, loaded).spec
    # A run that trains q alone has steps of q alone.
    return found.model_copy(update={"parent": spec.parent})


def trainer_of(subject: Subject, spec: RunSpec) -> Trainer:
    """Return a trainer whose steps cost what a training's steps cost, and do not change the subject's model.

    Raises:
        SpecError: the model cannot be trained so.
    """
    still = spec.model_copy(update={"lr": _STANDSTILL, "lr_posterior": None, "warmup_steps": 0, "kl_warmup": 0})
    trainer = build_trainer(still, subject.data, subject.code)
    trainer.model.load_state_dict(subject.model.state_dict())
    return trainer


def time_steps(
    trainers: Sequence[Trainer], *, seconds: float, between: Callable[[int], None]
) -> list[tuple[float, ...] | None]:
    """Return the time of a step of each trainer in each round, milliseconds; None where training diverges.

    Args:
        trainers: the trainers.
        seconds: time for everything together; at least one step a round is timed.
        between: called with the number of finished turns after each turn of a trainer.
    """
    warm = [_warm(trainer) for trainer in trainers]
    whole = [each for each in warm if each is not None]
    turn = seconds / max(1, len(whole) * (ROUNDS + 1))
    found: list[list[float | None]] = [[] for _ in trainers]
    done = 0
    for _ in range(ROUNDS):
        for trainer, one, times in zip(trainers, warm, found, strict=True):
            if one is not None and None not in times:
                steps = max(1, min(200, int(turn / one)))
                each = _time(trainer, steps)
                times.append(None if each is None else 1e3 * each / steps)
            done += 1
            between(done)
    return [_whole(times) for times in found]


def _whole(times: Sequence[float | None]) -> tuple[float, ...] | None:
    """Return the times of all rounds; None if one of them did not end, or if there was none."""
    there = tuple(each for each in times if each is not None)
    return there if there and len(there) == len(times) else None


def _warm(trainer: Trainer) -> float | None:
    """Take the first steps; return the time of the last one, seconds, or None where training diverges."""
    trainer.warm_up()
    if _time(trainer, _WARM_UP) is None or (one := _time(trainer, 1)) is None:
        return None
    return max(one, 1e-6)


def _time(trainer: Trainer, steps: int) -> float | None:
    """Return the time of steps, seconds; None where training diverges."""
    began = time.perf_counter()
    try:
        for _ in range(steps):
            trainer.advance()
        trainer.collect()  # waits for a GPU
    except Diverged:
        return None
    return time.perf_counter() - began


def refusal_of(error: SpecError) -> str:
    """Return in words why a pair cannot be trained."""
    return " ".join(dict.fromkeys(fault.message for fault in error.faults))
