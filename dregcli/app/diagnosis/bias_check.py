"""Check estimators of a frozen model for bias, and keep the results in its run."""

import time
from pathlib import Path
from typing import Any

from dregcli import __version__
from dregcli.app.common.interrupts import stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.common.unfinished import Unfinished
from dregcli.app.diagnosis.bias_report import BiasReport, keep_report
from dregcli.app.diagnosis.bias_request import BiasRequest
from dregcli.app.diagnosis.subject import Subject, find_subject
from dregcli.app.diagnosis.subject import learned as learned_pair
from dregcli.app.loading.stored import code_used
from dregcli.app.planning.architectures import computes_in_blocks
from dregcli.app.planning.executing import execution_of, with_threads
from dregcli.app.planning.machine import precision_warning
from dregcli.engine.device import prepare_process
from dregcli.engine.diagnostics.bias_check import BiasCheck
from dregcli.engine.diagnostics.references import without_reference
from dregcli.engine.diagnostics.source import ModelSource
from dregcli.engine.pairs import Pair
from dregcli.engine.prior_rule import RULES
from dregcli.engine.randomness import Randomness
from dregcli.engine.words import word_of
from dregcli.names import PriorGradient, Split

__all__ = ["BiasRequest", "check_run_for_bias"]

SAVE_SECONDS = 30.0
"""Seconds of work that a running check may lose if it is killed."""


def check_run_for_bias(
    request: BiasRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> BiasReport:
    """Check estimators on a run's frozen model, or on a model that is trained for the check.

    An interrupted check continues if the same request is made again.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or the run has no checkpoint.
        NotFinite: an estimator has no finite weights on this model.
        Interrupted: a signal came; the work so far is saved.
    """
    prepare_process()
    with with_threads(request.threads):
        subject = find_subject(request, "bias", runs_dir=runs_dir, data_dir=data_dir, argv=argv, listener=listener)
        return _checked(request, subject, listener)


def _checked(request: BiasRequest, subject: Subject, listener: Listener) -> BiasReport:
    """Check the pairs of a subject, and keep the results in its run."""
    randomness = Randomness(request.seed, subject.pixels.device)
    execution = subject.execution
    spec = subject.spec
    in_blocks = computes_in_blocks(spec.model, spec.likelihood, spec.posterior, spec.device)
    if warning := precision_warning(execution.screen_precision, spec.device, in_blocks=in_blocks):
        listener.warn(warning)
    kind = PriorGradient(request.prior_gradient or subject.spec.prior_gradient)
    source = ModelSource(
        subject.model,
        subject.pixels,
        k=subject.k,
        randomness=randomness,
        execution=execution_of(execution),
        rule=RULES[kind],
    )
    work = subject.spec.model_copy(
        update={"k": subject.k, "k_chunk": execution.k_chunk, "batch_size": len(subject.pixels)}
    )
    with memory_explained(work, smaller="--k or --examples"):
        pairs, learned, fixed = _with_settings(subject, randomness)
    comparisons = source.compared(pairs)
    if alone := without_reference(comparisons):  # those of ``all``; pairs that were named are refused earlier
        listener.note(f"left out: {' '.join(alone)}")
        comparisons = [each for each in comparisons if each.pair != each.reference]
        pairs = [each.pair for each in comparisons]
    check = BiasCheck(
        source,
        comparisons,
        false_alarm=request.false_alarm,
        detect=request.detect,
        max_batches=request.max_batches,
    )
    settings = _settings(request, subject, pairs, learned, fixed)
    if kind is not PriorGradient.SCORE:
        settings["prior_gradient"] = kind.value
        _note_by_score(pairs, listener)
    started = time.monotonic()
    kept = Unfinished(subject.run, "bias", settings, listener, what="check")
    with memory_explained(work, smaller="--k or --examples"):
        _Session(check, kept, request.max_seconds, listener).finish()
    report = keep_report(
        subject.run,
        subject.checkpoint,
        source.blocks,
        tuple(subject.model.prior_parameters()) if source.rule else (),
        check.results(),
        settings,
        time.monotonic() - started,
        listener,
    )
    kept.forget()
    return report


def _with_settings(subject: Subject, randomness: Randomness) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Return the pairs to check, the pairs among them with learned parameters, and the ones with fixed settings.

    An estimator that learns parameters and is named without them is checked twice: with its learned parameters and
    with a fixed setting.
    """
    found: dict[Pair, None] = {}
    learned: list[Pair] = []
    fixed: list[Pair] = []
    for asked in subject.pairs:
        if asked.bare and asked.pair.estimator.learned:
            learned.append(learned_pair(asked.pair, subject, randomness, k=subject.k))
            fixed.append(Pair(asked.pair.objective, asked.pair.estimator.settings()[-1]))
            found |= dict.fromkeys([learned[-1], fixed[-1]])
        else:
            found[asked.pair] = None
    return list(found), learned, fixed


def _note_by_score(pairs: list[Pair], listener: Listener) -> None:
    """Report the pairs whose gradient of the prior stays the score."""
    left_out = [pair.word for pair in pairs if not pair.keeps_theta]
    if left_out:
        what = "the prior's gradient is the score for estimators that leave samples out of theta's gradient"
        listener.note(f"{what}: {', '.join(left_out)}")


def _settings(
    request: BiasRequest, subject: Subject, pairs: list[Pair], learned: list[Pair], fixed: list[Pair]
) -> dict[str, Any]:
    """Return all settings that the numbers depend on; their hash finds an unfinished check again."""
    return {
        "pairs": [pair.word for pair in pairs],
        "learned": [word_of(pair.estimator) for pair in learned],
        "fixed": [word_of(pair.estimator) for pair in fixed],
        **subject.execution.model_dump(mode="json"),
        "examples": len(subject.pixels),
        "seed": request.seed,
        "false_alarm": request.false_alarm,
        "detect": request.detect,
        "max_batches": request.max_batches,
        "checkpoint": subject.checkpoint,
        "data_checksum": subject.spec.data_checksum,
        "split_hash": subject.split_hashes[Split.TRAIN],
        **code_used(subject.spec),
        "device": str(subject.pixels.device),
        "dreg": __version__,
    }


class _Session:
    """The work of one process on one check."""

    def __init__(self, check: BiasCheck, kept: Unfinished, max_seconds: float | None, listener: Listener) -> None:
        self._check = check
        self._kept = kept
        self._max_seconds = max_seconds
        self._listener = listener

    def finish(self) -> None:
        """Continue until every pair has a verdict."""
        check = self._check
        self._continue()
        started = time.monotonic()
        self._listener.begin("bias-check", check.looks[-1], "batches", done=check.step)
        with stop_requests() as stop:
            while not check.done:
                due = check.advance()
                late = self._max_seconds is not None and time.monotonic() - started > self._max_seconds
                if due or late:
                    check.look(last=late)
                self._listener.update(check.step, {"undecided": check.undecided})
                if stop.received is not None and not check.done:
                    self._kept.stop(check, stop, at=f"batch {check.step}")
                self._kept.save_if_due(check, SAVE_SECONDS)
        self._listener.end()

    def _continue(self) -> None:
        if (found := self._kept.found()) is not None:
            self._check.load(*found)
            self._listener.note(f"continuing at batch {self._check.step} of an earlier, unfinished check")
