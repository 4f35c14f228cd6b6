"""Estimate log p(x) of a split by importance sampling, batch by batch; the state is saved during the work."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dregcli.app.common.interrupts import stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.unfinished import Unfinished
from dregcli.app.evaluation.estimates import Collected, Estimates
from dregcli.app.loading.bounds import not_compiled
from dregcli.app.planning.run_data import RunData
from dregcli.engine.evaluation import SeenBatch, seen_batches
from dregcli.engine.likelihood_estimate import BatchEstimates, estimate
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.names import EvalNoise, Split
from dregcli.store.kept_weights import KeptWeights

SAVE_SECONDS = 30.0
"""Seconds of work that a running evaluation may lose if it is killed."""


@dataclass(frozen=True)
class Sampling:
    """How a split is sampled.

    Attributes:
        split: part of the data.
        ks: samples per example, ascending.
        seed: seed of pixels and noise.
        repeats: number of independent draws.
        examples: number of examples from the start of the split.
        k_chunk: samples in one pass over rows; None means all at once.
        noise: how the samples of one example depend on each other.
    """

    split: Split
    ks: tuple[int, ...]
    seed: int
    repeats: int
    examples: int
    k_chunk: int | None
    noise: EvalNoise = EvalNoise.IID


@dataclass
class _Sampled:
    """The estimates of the examples that are done."""

    collected: Collected
    done: int

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """See ``HasState``."""
        arrays = self.collected.arrays()
        return {"examples": self.done}, {name: torch.from_numpy(array) for name, array in arrays.items()}


def sample_split(
    model: Model,
    data: RunData,
    how: Sampling,
    unfinished: Unfinished,
    listener: Listener,
    weights: KeptWeights | None = None,
) -> Estimates:
    """Estimate every example, or continue an earlier, unfinished call.

    Args:
        model: frozen model, on its device.
        data: data of the run.
        how: the split and the samples.
        unfinished: keeps the state until the result is complete.
        listener: receives progress messages.
        weights: keeps all log-weights; None keeps none. It is closed at the end, also after an error.

    Raises:
        StoreWriteError: log-weights cannot be written.
        Interrupted: a signal came; the work so far is saved.
    """
    work = _Sampled(Collected(), 0)
    if (kept := unfinished.found()) is not None:
        numbers, tensors = kept
        if weights is None or weights.open(numbers["examples"]):
            work = _Sampled(Collected({name: each.numpy() for name, each in tensors.items()}), numbers["examples"])
            listener.note(f"continuing at example {work.done:,} of an earlier, unfinished evaluation")
        else:
            listener.warn("the evaluation starts over: the log-weights of an earlier, unfinished one are gone")
    if weights is not None and not work.done:
        weights.open(0)
    listener.begin(f"evaluate {how.split}", how.examples, "examples", done=work.done)
    batches = seen_batches(
        model,
        data.examples(how.split),
        data.pixels,
        split=how.split,
        seed=how.seed,
        limit=how.examples,
        first=work.done // EVALUATION_BATCH,
        noise=how.noise,
    )
    with stop_requests() as stop, _closed_after_an_error(weights):
        for batch in batches if work.done < how.examples else ():
            work.collected.add(
                _estimated(model, batch, how, listener, _keeper(weights, work.done)), data.true_log_p(batch.pixels)
            )
            work.done += len(batch.pixels)
            listener.update(work.done)
            if work.done < how.examples:
                if stop.received is not None:
                    if weights is not None:
                        weights.save()
                    unfinished.stop(work, stop, at=f"example {work.done:,}")
                unfinished.save_if_due(work, SAVE_SECONDS, first=_saver(weights))
        if weights is not None:
            weights.save()
            weights.close()
    listener.end()
    return Estimates(how.ks, work.collected.arrays(), model.no_means, model.layers())


@contextmanager
def _closed_after_an_error(weights: KeptWeights | None) -> Generator[None]:
    try:
        yield
    except BaseException:
        if weights is not None:
            weights.close()
        raise


def _keeper(weights: KeptWeights | None, first: int) -> Callable[[Tensor], None] | None:
    """Return the function that keeps the log-weights of the examples from ``first`` on."""
    return None if weights is None else lambda log_w: weights.add(first, log_w.cpu().numpy())


def _saver(weights: KeptWeights | None) -> Callable[[], None]:
    return weights.save if weights is not None else lambda: None


def _estimated(
    model: Model,
    batch: SeenBatch,
    how: Sampling,
    listener: Listener,
    keep: Callable[[Tensor], None] | None,
) -> BatchEstimates:
    try:
        return estimate(batch, how.ks, repeats=how.repeats, k_chunk=how.k_chunk, keep=keep)
    except RuntimeError as error:
        # Compilation happens at the first batch, and can fail because of the system's compiler.
        listener.warn(not_compiled(model.run_uncompiled(error)))
        return estimate(batch, how.ks, repeats=how.repeats, k_chunk=how.k_chunk, keep=keep)
