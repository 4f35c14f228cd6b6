"""Measure the variance of estimators' gradients against K, on a frozen model or the toy, and keep the results."""

import time
from pathlib import Path
from typing import Any

import torch

from dregcli import __version__
from dregcli.app.common.interrupts import stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.common.unfinished import Unfinished
from dregcli.app.diagnosis.networks import check_networks
from dregcli.app.diagnosis.subject import Subject, find_subject, learned
from dregcli.app.diagnosis.variance_report import LogP, VarianceReport, keep_in_folder, keep_in_run
from dregcli.app.diagnosis.variance_request import VarianceRequest
from dregcli.app.loading.stored import code_used
from dregcli.app.planning.asked_pairs import ALL, AskedPair, asked_pairs
from dregcli.app.planning.executing import with_threads
from dregcli.app.planning.words import last_objective
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.engine.diagnostics.references import directions_of, every_pair
from dregcli.engine.diagnostics.replicates import ModelReplicates, Replicates, ToyReplicates
from dregcli.engine.diagnostics.variance import VarianceStudy
from dregcli.engine.diagnostics.variance_result import NAMES
from dregcli.engine.models.gaussian_toy import log_marginal, toy_problem
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.words import short_word, word_of
from dregcli.errors import Fault, SpecError
from dregcli.filesystem import LOCAL, check_can_write
from dregcli.names import PriorGradient, Split
from dregcli.parts import shown_word
from dregcli.report.figures.variance import always_shown

__all__ = ["VarianceRequest", "measure_variance", "seconds_on_toy"]

SAVE_SECONDS = 30.0
"""Seconds of work that a running measurement may lose if it is killed."""

_HINT = "every option is shown by: dreg variance --help"


def measure_variance(
    request: VarianceRequest,
    *,
    runs_dir: Path,
    data_dir: Path,
    argv: list[str],
    listener: Listener,
) -> VarianceReport:
    """Measure on a run's frozen model, on a model that is trained for the measurement, or on the toy.

    An interrupted measurement of a run continues if the same request is made again.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or the run has no checkpoint.
        NotFinite: an estimator has no finite gradient on this model.
        Interrupted: a signal came; the work so far is saved, except for the toy.
    """
    prepare_process()
    with with_threads(request.threads):
        if request.toy:
            return _of_toy(request, listener)
        return _of_model(request, runs_dir=runs_dir, data_dir=data_dir, argv=argv, listener=listener)


def seconds_on_toy(request: VarianceRequest) -> float:
    """Return how long a measurement on the toy takes here, seconds, by the first draws at each K.

    Args:
        request: a request without faults, for the toy.
    """
    prepare_process()
    with with_threads(request.threads):
        asked = asked_pairs(
            request.objective, request.estimators, default_objective="iwae", k=max(request.ks), or_k=request.ks
        )
        pairs = [each.pair for each in asked]
        request = request.with_reference(pairs)
        randomness = Randomness(request.seed, resolve_device(request.device))
        source = ToyReplicates(toy_problem(randomness), randomness)

        def draws(pairs: list[Pair], k: int) -> float:
            """Return the time of one draw, without the first one."""
            source.draw(Stream.VARIANCE_NOISE, 0, source.at_once, pairs, k)
            began = time.monotonic()
            drawn = source.draw(Stream.VARIANCE_NOISE, 1, source.at_once, pairs, k)
            float(drawn.bound.sum())  # waits for a GPU
            return time.monotonic() - began

        references = directions_of(pairs, request.reference, every_pair)
        seconds = draws(references, request.reference) * request.reference_count
        for k in request.ks:
            seconds += draws([pair for pair in pairs if not pair.faults(k)], k) * request.count
        return seconds / source.at_once


def _of_toy(request: VarianceRequest, listener: Listener) -> VarianceReport:
    found = request.faults()
    asked: list[AskedPair] = []
    k, *fewer = request.samples(1)
    try:
        asked = asked_pairs(request.objective, request.estimators, default_objective="iwae", k=k, or_k=fewer)
    except SpecError as error:
        found += error.faults
    pairs = [each.pair for each in asked]
    found += [Fault("objective", pair.objective.unfitted) for pair in pairs if pair.objective.unfitted]
    found += request.pair_faults(asked, k, every_pair)
    if found:
        raise SpecError(list(dict.fromkeys(found)), hint=_HINT)
    request = request.with_reference(pairs)
    if request.out is not None:
        check_can_write(LOCAL, Path(request.out), hint="name a folder that you can write to: --out DIR")
    _note_left_out(pairs, request.ks, listener)
    for each in asked:
        if each.bare and each.pair.estimator.learned:
            word = short_word(each.pair.estimator)
            listener.note(f"{word} uses its initial parameters on the toy; nothing is learned")
    device = resolve_device(request.device)
    randomness = Randomness(request.seed, device)
    problem = toy_problem(randomness)
    settings = _settings(request, pairs, []) | {"device": device}
    study = _study(request, ToyReplicates(problem, randomness), pairs)
    started = time.monotonic()
    _finish(study, None, listener)
    log_p = LogP(float(problem.model.log_marginal(problem.x)), float(log_marginal(problem.x, problem.truth)))
    report = VarianceReport.of(
        study,
        settings,
        log_p,
        seconds=time.monotonic() - started,
        always=_always(request, request.objective or "iwae"),
    )
    return keep_in_folder(report, Path(request.out)) if request.out is not None else report


def _of_model(
    request: VarianceRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> VarianceReport:
    subject = find_subject(request, "variance", runs_dir=runs_dir, data_dir=data_dir, argv=argv, listener=listener)
    asked = [each.pair for each in subject.pairs]
    request = request.with_reference(asked)
    check_networks(subject)
    _note_left_out(asked, request.ks, listener)
    randomness = Randomness(request.seed, subject.pixels.device)
    chunk = subject.execution.k_chunk
    work = subject.spec.model_copy(
        update={"k": max(request.reference, subject.k), "k_chunk": chunk, "batch_size": len(subject.pixels)}
    )
    with memory_explained(work, smaller="--reference-k, --k or --examples"):
        pairs, taught = _with_learned(subject, randomness, listener)
    source = ModelReplicates(subject.model, subject.pixels, randomness, k_chunk=chunk)
    prior = _prior_gradients(request, source, pairs)
    settings = _settings(request, pairs, taught) | {
        # A fixed prior has no such setting.
        **({"prior_gradient": [kind.value for kind in prior]} if prior else {}),
        "k_chunk": chunk,
        "examples": len(subject.pixels),
        "checkpoint": subject.checkpoint,
        "data_checksum": subject.spec.data_checksum,
        "split_hash": subject.split_hashes[Split.TRAIN],
        **code_used(subject.spec),
        "device": str(subject.pixels.device),
    }
    kept = Unfinished(subject.run, "variance", settings, listener, what="measurement")
    study = _study(request, source, pairs, prior)
    started = time.monotonic()
    with memory_explained(work, smaller="--reference-k, --k or --examples"):
        _finish(study, kept, listener)
    always = _always(request, word_of(last_objective(subject.spec)), subject.spec.estimator)
    report = VarianceReport.of(study, settings, _log_p(subject), seconds=time.monotonic() - started, always=always)
    report = keep_in_run(report, subject.run, subject.checkpoint, listener)
    kept.forget()
    return report


def _always(request: VarianceRequest, objective: str, *own: str) -> tuple[str, ...] | None:
    """Return the pairs that the figure always shows; None if the user chose the pairs."""
    if ALL not in request.estimators:
        return None
    return always_shown(objective, *own)


def _with_learned(subject: Subject, randomness: Randomness, listener: Listener) -> tuple[list[Pair], list[Pair]]:
    """Return all pairs with learned parameters filled in, and the pairs that have learned parameters.

    The parameters come from the run's training, or they are learned now at the largest K.
    """
    found: list[Pair] = []
    taught: list[Pair] = []
    for asked in subject.pairs:
        if not (asked.bare and asked.pair.estimator.learned):
            found.append(asked.pair)
            continue
        listener.note(f"{short_word(asked.pair.estimator)}: learning on the frozen model at K={subject.k}")
        found.append(learned(asked.pair, subject, randomness, k=subject.k))
        taught.append(found[-1])
    return list(dict.fromkeys(found)), taught


def _note_left_out(pairs: list[Pair], ks: tuple[int, ...], listener: Listener) -> None:
    """Report the pairs that are not defined at some K, in one note."""
    left_out = [
        f"{shown_word(word_of(pair.objective))}/{shown_word(word_of(pair.estimator))} "
        f"at K={','.join(map(str, missing))}"
        for pair in pairs
        if (missing := [k for k in ks if pair.faults(k)])
    ]
    if left_out:
        listener.note(f"not defined and left out: {'; '.join(left_out)}")


def _prior_gradients(request: VarianceRequest, source: Replicates, pairs: list[Pair]) -> list[PriorGradient]:
    """Return the kinds of the prior's gradient to measure: those asked for, or all that there are."""
    if request.prior_gradients:
        return list(dict.fromkeys(PriorGradient(each) for each in request.prior_gradients))
    every_sample = all(pair.keeps_theta for pair in pairs)
    return [kind for kind in source.prior_gradients if every_sample or kind is PriorGradient.SCORE]


def _study(
    request: VarianceRequest, source: Replicates, pairs: list[Pair], prior: list[PriorGradient] | None = None
) -> VarianceStudy:
    return VarianceStudy(
        source,
        pairs,
        [k for k in request.ks if any(not pair.faults(k) for pair in pairs)],
        replicates=request.count,
        reference_k=request.reference,
        reference_replicates=request.reference_count,
        prior=prior,
    )


def _settings(request: VarianceRequest, pairs: list[Pair], taught: list[Pair]) -> dict[str, Any]:
    """Return all settings that the numbers depend on; their hash finds an unfinished measurement again."""
    return {
        "toy": request.toy,
        "pairs": [pair.word for pair in pairs],
        "learned": [word_of(pair.estimator) for pair in taught],
        "fixed": [],
        "k": list(request.ks),
        "replicates": request.count,
        "reference_k": request.reference,
        "reference_replicates": request.reference_count,
        "seed": request.seed,
        "statistics": list(NAMES),  # work that was left unfinished without one of them is not continued
        "dreg": __version__,
    }


def _finish(study: VarianceStudy, kept: Unfinished | None, listener: Listener) -> None:
    """Draw all replicates.

    Raises:
        Interrupted: a signal came.
    """
    if kept and (found := kept.found()) is not None:
        study.load(*found)
        listener.note(f"continuing at K={study.k} of an earlier, unfinished measurement")
    listener.begin("variance", study.total, "samples", done=study.samples)
    with stop_requests() as stop:
        while not study.done:
            study.advance()
            listener.update(study.samples, {"K": study.k})
            if stop.received is not None and not study.done:
                if kept is None:
                    nothing = "work on the toy is not saved"
                    hint = "run the command again; fewer --replicates take less time"
                    raise stop.error(nothing, where=f"K={study.k}", hint=hint)
                kept.stop(study, stop, at=f"K={study.k}")
            if kept:
                kept.save_if_due(study, SAVE_SECONDS)
    listener.end()


def _log_p(subject: Subject) -> LogP | None:
    """Return the mean of exact log p(x) over the examples; None if neither the model nor the data give it."""
    with torch.no_grad():
        of_model = subject.model.log_marginal(subject.pixels)
    of_data = subject.true_log_p
    if of_model is None and of_data is None:
        return None
    means = [None if each is None else float(each.mean()) for each in (of_model, of_data)]
    return LogP(*means)
