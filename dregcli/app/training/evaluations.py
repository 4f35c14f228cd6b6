"""Bounds of a run's model: the validation during training, and the bounds of all splits at its end."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from dregcli.app.common.listener import Listener
from dregcli.app.loading.bounds import SplitBounds, split_bounds
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.plan import Plan
from dregcli.app.training.crew import Crew
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.names import FinalEval, Split
from dregcli.wording import duration

TRAIN_EXAMPLES: Final = 10_000
"""Training examples in the final bound: enough for a small standard error, and as many as in a usual test split."""

_LIMITS: Final = {Split.TRAIN: TRAIN_EXAMPLES}

SPLITS: Final = {
    FinalEval.ALL: (Split.TRAIN, Split.VALID, Split.TEST),
    FinalEval.TEST: (Split.TEST,),
    FinalEval.NONE: (),
}
"""The splits of the final bounds, by the word for them."""

_NOTED_SECONDS: Final = 10.0
"""Final bounds that take less time than this are not announced."""

_MEASURED_FROM: Final = 16
"""Number of evaluation batches from which two batches are computed first, if no earlier evaluation says how long they
take."""

_FINAL: Final = "final bounds"


class Evaluations:
    """The evaluations of one run.

    Args:
        plan: the run.
        listener: receives progress messages.
        crew: the other ranks of the run, which evaluate their part of the examples.
    """

    def __init__(self, plan: Plan, listener: Listener, crew: Crew) -> None:
        self._spec = plan.spec
        self._crew = crew
        self._data = plan.data
        self._chunk: int | Literal["open"] | None = "open"
        self._listener = listener
        self._seconds_an_example: float | None = None
        self._validation: tuple[int, SplitBounds] | None = None
        self._announced = False

    def validate(self, model: Model, step: int, between: Callable[[], None], *, last: bool = False) -> SplitBounds:
        """Return the bounds on the validation split, and keep them for ``final`` at the same step.

        Args:
            model: the model.
            step: step of the model.
            between: called after each batch; an error that it raises ends the evaluation.
            last: whether ``final`` is called next, so that this is the beginning of the final bounds.
        """
        splits = SPLITS[self._spec.final_eval]
        if last and Split.VALID in splits:
            self._announce(_FINAL, model, {split: self._count(split) for split in splits}, between)
            self._announced = True
        bounds = self._bounds(model, Split.VALID, self._listener, between)
        self._validation = (step, bounds)
        return bounds

    def final(
        self, model: Model, between: Callable[[], None], *, step: int | None = None, what: str = _FINAL
    ) -> list[SplitBounds]:
        """Return a model's bounds on the splits that the run asks for.

        Args:
            model: the model.
            between: called after each batch; an error that it raises ends the evaluation.
            step: step of the trained model. The bounds of ``validate`` at this step are not computed again.
            what: the bounds in words, for the progress.
        """
        splits = SPLITS[self._spec.final_eval]
        known: dict[Split, SplitBounds] = {}
        if Split.VALID in splits and self._validation and self._validation[0] == step:
            known[Split.VALID] = self._validation[1]
        counts = {split: self._count(split) for split in splits if split not in known}
        if counts:
            if not self._announced:
                self._announce(what, model, counts, between)
            self._listener.begin(what, sum(counts.values()), "examples")
            done = 0
            for split, count in counts.items():
                known[split] = self._bounds(model, split, _Part(self._listener, done), between)
                done += count
            self._listener.end()
        return [known[split] for split in splits]

    def _count(self, split: Split) -> int:
        every, limit = len(self._data.examples(split)), _LIMITS.get(split)
        return every if limit is None else min(every, limit)

    def _bounds(
        self,
        model: Model,
        split: Split,
        listener: Listener,
        between: Callable[[], None],
        limit: int | None = None,
    ) -> SplitBounds:
        if self._chunk == "open":
            shape = Shape.of_run(self._spec, self._data.dataset, model)
            self._chunk = shape.evaluation_chunk(self._spec.bound_k)
        before = time.perf_counter()
        limit = _LIMITS.get(split) if limit is None else limit
        options: Any = {"k": self._spec.bound_k, "seed": self._spec.eval_seed, "k_chunk": self._chunk, "limit": limit}
        with self._crew.evaluating(model, split, **options) as others:
            found = split_bounds(
                model, self._data, split, **options, listener=listener, between=between, others=others
            )
        self._seconds_an_example = (time.perf_counter() - before) / found.n
        return found

    def _expected_seconds(
        self, model: Model, counts: Mapping[Split, int], between: Callable[[], None]
    ) -> float | None:
        """Return how long evaluations will take, from earlier ones or from two batches; None if they are small."""
        total = sum(counts.values())
        if self._seconds_an_example is None and total >= _MEASURED_FROM * EVALUATION_BATCH:
            split = max(counts, key=lambda each: counts[each])
            # The first batch includes one-time work such as compilation.
            for _ in range(2):
                self._bounds(model, split, _Part(self._listener, None), between, limit=EVALUATION_BATCH)
            # A single batch has one rank at work.
            if self._seconds_an_example is not None:
                self._seconds_an_example /= self._crew.size
        return None if self._seconds_an_example is None else self._seconds_an_example * total

    def _announce(self, what: str, model: Model, counts: Mapping[Split, int], between: Callable[[], None]) -> None:
        """Say how long evaluations will take, if this is long."""
        seconds = self._expected_seconds(model, counts, between)
        if seconds is None or seconds < _NOTED_SECONDS:
            return
        examples = _listed(f"{count:,} {split}" for split, count in counts.items())
        shorter = "a smaller --eval-k or --final-eval test or none takes less time"
        self._listener.note(
            f"{what} at K={self._spec.bound_k:,} over {examples} examples: about {duration(seconds)}; {shorter}"
        )


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


class _Part:
    """A listener for one part of a task: its progress becomes the progress of the whole task.

    Args:
        listener: receives all messages.
        before: units of the task that earlier parts have done; None reports no progress.
    """

    def __init__(self, listener: Listener, before: int | None) -> None:
        self._listener = listener
        self._before = before

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.note(message)

    def warn(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.warn(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``; the whole task has begun already."""

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``."""
        if self._before is not None:
            self._listener.update(self._before + done, values)

    def expect(self, seconds: float) -> None:
        """See ``Listener``."""
        self._listener.expect(seconds)

    def end(self) -> None:
        """See ``Listener``; the whole task ends later."""
