"""Measure what an advice needs, on a run's frozen model or on one that is trained first, within a budget."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.diagnosis.advice import AtK, at_other_ks, choose, move
from dregcli.app.diagnosis.advice_measured import Bounds, Candidate
from dregcli.app.diagnosis.advice_next import next_command
from dregcli.app.diagnosis.advice_report import AdviceReport
from dregcli.app.diagnosis.advise_bounds import measure_bounds
from dregcli.app.diagnosis.advise_candidates import candidate_of, promises
from dregcli.app.diagnosis.advise_request import MOST_MEMORY, AdviseRequest
from dregcli.app.diagnosis.advise_steps import ROUNDS, refusal_of, spec_of_training, time_steps, trainer_of
from dregcli.app.diagnosis.networks import check_networks
from dregcli.app.diagnosis.subject import Subject, find_subject, learned
from dregcli.app.planning.asked_pairs import AskedPair
from dregcli.app.planning.executing import Shape, with_threads
from dregcli.commands import command
from dregcli.engine.device import prepare_process, settled_process
from dregcli.engine.diagnostics.learn import learn_on_frozen
from dregcli.engine.diagnostics.step_replicates import StepReplicates
from dregcli.engine.diagnostics.step_study import FEWEST_REPLICATES, Found, StepStudy, not_finite
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.engine.pairs import Pair, estimators_of
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.engine.words import short_word
from dregcli.errors import Fault, NotFinite, SpecError
from dregcli.names import Backward, Split

__all__ = ["AdviseRequest", "advise"]

MOST_REPLICATES: Final = 400
"""Largest number of replicates that a budget chooses: the errors are small enough then."""

OTHER_SHARE: Final = 4
"""Replicates of the run's objective for each one of another objective."""

_BOUNDS, _STEPS, _KS = 0.1, 0.25, 0.1
"""Shares of the budget for the bounds, and for the timed steps at K and at the other numbers of samples. The
gradients have the rest."""


def advise(
    request: AdviseRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> AdviceReport:
    """Measure every pair of an objective that fits at K, and give advice. Nothing is kept but a model trained first.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in a run that is trained.
        listener: receives progress messages.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, or the run has no checkpoint.
        NotFinite: an estimator that was named has no finite gradient on this model.
        Interrupted: a signal came; nothing is kept.
    """
    prepare_process()
    with with_threads(request.threads):
        subject = find_subject(request, None, runs_dir=runs_dir, data_dir=data_dir, argv=argv, listener=listener)
        check_networks(subject)
        objectives = list(dict.fromkeys(each.pair.objective for each in subject.pairs))
        if len(objectives) > 1:
            message = "the pairs have several objectives, and advice is about one: name one objective."
            raise SpecError([Fault("estimator", message)], hint="every option is shown by: dreg advise --help")
        work = subject.spec.model_copy(update={"k": request.ks(subject.k)[-1], "k_chunk": subject.execution.k_chunk})
        with memory_explained(work, smaller="--k"), stop_requests() as stop, settled_process():
            return _Session(request, subject, listener, stop).report()


@dataclass(frozen=True)
class _Ready:
    """A pair to measure: as it is typed, with what its estimator has learned, and its trainer or its refusal."""

    asked: AskedPair
    pair: Pair
    trainer: Trainer | None
    refusal: str | None


class _Session:
    """The measurements of one advice."""

    def __init__(self, request: AdviseRequest, subject: Subject, listener: Listener, stop: StopRequest) -> None:
        self._request, self._subject, self._listener, self._stop = request, subject, listener, stop
        self._k = subject.k
        self._ks = request.ks(self._k)
        self._began = time.monotonic()
        self._randomness = Randomness(request.seed, subject.pixels.device)
        spec = subject.spec
        shape = Shape.of_run(spec, subject.data.dataset, subject.model)
        chunk = shape.chunk(Backward.DENSE, self._ks[-1], spec.batch_size, most=MOST_MEMORY)
        self._chunk = subject.execution.k_chunk or chunk
        self._source = StepReplicates(
            subject.model,
            subject.data.examples(Split.TRAIN),
            subject.data.pixels,
            self._randomness,
            batch_size=spec.batch_size,
            k_chunk=self._chunk,
        )

    def report(self) -> AdviceReport:
        """Measure everything, and choose."""
        self._listener.expect(self._request.budget)
        ready = [self._ready(each) for each in self._subject.pairs]
        bounds = self._bounds(ready[0].pair)
        costs = self._timed([each.trainer for each in ready], _STEPS)
        ready = [
            each if each.trainer is None or cost else replace(each, refusal="training by it diverges here.")
            for each, cost in zip(ready, costs, strict=True)
        ]
        others = self._others()
        replicates, others = self._affordable([each.pair for each in ready], others)
        found = self._study([each.pair for each in ready], self._k, replicates)
        timed = [(each, cost) for each, cost in zip(ready, costs, strict=True) if self._is_finite(each, found)]
        ready = [each for each, _ in timed]
        candidates = [self._candidate(each, found, self._k, cost or ()) for each, cost in timed]
        choice = choose(candidates)
        if choice is None:
            message = f"no pair can train {self._subject.spec.model} at K={self._k}: {candidates[0].refusal}"
            raise SpecError([Fault("estimator", message)], hint=command("estimators", "--k", str(self._k)))
        used = ready[candidates.index(choice.use)]
        present, moved, at = self._at_other_ks(used, choice.use, bounds, replicates)
        objectives = [each for pairs in others if (each := self._best_of(pairs, replicates // OTHER_SHARE))]
        return AdviceReport(
            run=self._subject.run,
            checkpoint=self._subject.checkpoint,
            spec=self._subject.spec,
            choice=choice,
            k=moved.k if moved else self._k,
            at=tuple(at),
            bounds=bounds,
            others=tuple(objectives),
            replicates=replicates,
            seed=self._request.seed,
            seconds=time.monotonic() - self._began,
            next=next_command(self._subject, self._request, choice.use, moved),
            milliseconds=present.milliseconds,
        )

    def _check_stop(self) -> None:
        if self._stop.received is not None:
            nothing, hint = "nothing is kept", "run the command again; a smaller --budget takes less time"
            raise self._stop.error(nothing, where=str(self._subject.run.path), hint=hint)

    def _left(self) -> float:
        return max(0.0, self._request.budget - (time.monotonic() - self._began))

    def _ready(self, asked: AskedPair, k: int | None = None) -> _Ready:
        """Let an estimator learn its parameters with K samples, and build the trainer of a pair."""
        self._check_stop()
        pair, k = asked.pair, k or self._k
        try:
            spec = spec_of_training(self._subject, short_word(pair.objective), short_word(pair.estimator), k)
            trainer = trainer_of(self._subject, spec)
        except SpecError as error:
            return _Ready(asked, pair, None, refusal_of(error))
        if not (asked.bare and pair.estimator.learned):
            return _Ready(asked, pair, trainer, None)
        if k == self._subject.spec.k:
            return _Ready(asked, learned(pair, self._subject, self._randomness, k=k), trainer, None)
        # What a run learned with another number of samples is not what a run with this number would learn.
        self._listener.note(f"{short_word(pair.estimator)}: learning on the frozen model at K={k}")
        model, pixels = self._subject.model, self._subject.pixels
        taught = learn_on_frozen(model, pixels, pair, k=k, randomness=self._randomness, k_chunk=self._chunk)
        return _Ready(asked, taught, trainer, None)

    def _is_finite(self, ready: _Ready, found: Found) -> bool:
        """Whether a pair has a finite gradient; one that ``all`` named is left out without one.

        Raises:
            NotFinite: a pair that the user named has none.
        """
        if ready.pair in found.encoder:
            return True
        error = not_finite(ready.pair, self._k)
        if not ready.asked.by_all:
            raise error
        self._listener.note(f"left out: {error.what}")
        return False

    def _bounds(self, pair: Pair) -> Bounds:
        """Measure the bounds with as many rows as the budget has time for, judged by one draw of gradients."""
        draw = self._seconds([pair], self._k)
        per_row = draw / (self._k * self._subject.spec.batch_size)
        rows = int(_BOUNDS * self._request.budget / per_row)
        if self._request.replicates is not None:  # as many as the gradients have, whatever this machine does beside
            rows = self._request.replicates * self._k * self._subject.spec.batch_size
        self._listener.begin("bounds", None, "examples")

        def between(done: int) -> None:
            self._listener.update(done)
            self._check_stop()

        found = measure_bounds(
            self._subject,
            pair.objective,
            self._ks,
            rows=rows,
            k_chunk=self._chunk,
            seed=self._request.seed,
            between=between,
        )
        self._listener.end()
        return found

    def _timed(self, trainers: Sequence[Trainer | None], share: float) -> list[tuple[float, ...] | None]:
        """Return the times of steps by each trainer; None without one."""
        there = [each for each in trainers if each is not None]
        self._listener.begin("steps", ROUNDS * len(there), "turns")

        def between(done: int) -> None:
            self._listener.update(done)
            self._check_stop()

        found = iter(time_steps(there, seconds=share * self._request.budget, between=between))
        self._listener.end()
        return [None if each is None else next(found) for each in trainers]

    def _seconds(self, pairs: Sequence[Pair], k: int) -> float:
        """Return the time of one draw, without the first one."""
        self._check_stop()
        self._source.draw(Stream.VARIANCE_REFERENCE, 0, 1, pairs, k)
        began = time.monotonic()
        float(self._source.draw(Stream.VARIANCE_REFERENCE, 1, 1, pairs, k).bound.sum())  # waits for a GPU
        return time.monotonic() - began

    def _others(self) -> list[list[Pair]]:
        """Return the pairs of every other objective that need no more than the model has, by objective."""
        own = self._subject.pairs[0].pair.objective
        every: list[Objective] = [entry() for entry in OBJECTIVES.values() if entry.name != own.name]
        found: list[list[Pair]] = []
        for objective in every:
            if objective.unfitted:
                continue
            pairs = [Pair(objective, each) for each in estimators_of(objective)]
            takes = [each for each in pairs if not each.faults(self._k) and self._source.takes(each)]
            plain = [each for each in takes if promises(each, self._k) and not each.estimator.learned]
            if plain:
                found.append(plain)
        return found

    def _affordable(self, pairs: Sequence[Pair], others: list[list[Pair]]) -> tuple[int, list[list[Pair]]]:
        """Return the number of replicates that the budget allows, and the other objectives if it allows them."""
        ks = [k for k in self._ks if k != self._k and not pairs[0].faults(k)]
        own = self._seconds(pairs, self._k) + sum(self._seconds(pairs[:1], k) for k in ks)
        beside = sum(self._seconds(each, self._k) for each in others) / OTHER_SHARE
        left = self._left() - _KS * self._request.budget
        wanted = self._request.replicates
        if others and left < (wanted or FEWEST_REPLICATES) * own + OTHER_SHARE * FEWEST_REPLICATES * beside:
            self._listener.note("other objectives are not measured: --budget is too small for them")
            others, beside = [], 0.0
        if wanted is not None:
            return wanted, others
        count = int(left / (own + beside)) // FEWEST_REPLICATES * FEWEST_REPLICATES
        if count < FEWEST_REPLICATES:
            seconds = self._request.budget - left + FEWEST_REPLICATES * own
            self._listener.note(f"--budget is too small for this model: the measurement takes about {seconds:.0f} s")
        return min(MOST_REPLICATES, max(FEWEST_REPLICATES, count)), others

    def _study(self, pairs: Sequence[Pair], k: int, replicates: int) -> Found:
        study = StepStudy(self._source, pairs, k, replicates=replicates)
        self._listener.begin(f"gradients at K={k}", study.total, "replicates")
        while not study.done:
            study.advance()
            self._listener.update(study.drawn)
            self._check_stop()
        self._listener.end()
        self._listener.expect(self._left())
        return study.found()

    def _candidate(self, ready: _Ready, found: Found, k: int, cost: tuple[float, ...]) -> Candidate:
        # A run of q alone trains nothing of the model.
        of_p = None if self._subject.spec.parent else found.decoder.get(ready.pair)
        return candidate_of(
            ready.asked.pair, found.encoder[ready.pair], of_p, k, ks=self._ks, cost=cost, refusal=ready.refusal
        )

    def _at_other_ks(
        self, used: _Ready, present: Candidate, bounds: Bounds, replicates: int
    ) -> tuple[Candidate, AtK | None, list[AtK]]:
        """Measure the advised pair at the other numbers of samples.

        Returns:
            The pair as timed among them, the number to move to if there is one, and all numbers.
        """
        ks = [k for k in self._ks if k != self._k and not used.asked.pair.faults(k)]
        others = [self._ready(used.asked, k) for k in ks]
        own, *costs = self._timed([used.trainer, *(each.trainer for each in others)], _KS)
        measured: list[Candidate] = []
        for k, each, cost in zip(ks, others, costs, strict=True):
            try:
                found = self._study([each.pair], k, replicates)
            except NotFinite as error:
                self._listener.note(f"left out: {error.what}")
                continue
            refusal = each.refusal or (None if cost else "training diverges there.")
            measured.append(self._candidate(replace(each, refusal=refusal), found, k, cost or ()))
        present = replace(present, cost=own or ())
        at = at_other_ks(present, measured, bounds)
        return present, move(at, present.k), at

    def _best_of(self, pairs: Sequence[Pair], replicates: int) -> Candidate | None:
        """Return the best pair of another objective, by signal and noise of a step; None without a finite one."""
        try:
            found = self._study(pairs, self._k, max(FEWEST_REPLICATES, replicates))
        except NotFinite as error:
            self._listener.note(f"left out: {error.what}")
            return None
        choice = choose(
            [candidate_of(pair, each, None, self._k, ks=self._ks) for pair, each in found.encoder.items()]
        )
        return choice and choice.use
