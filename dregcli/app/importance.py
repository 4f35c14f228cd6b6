"""Estimate log p(x) of a split by importance sampling: batch by batch, kept while it goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dregcli.app.bounds import not_compiled
from dregcli.app.estimates import Collected, Estimates
from dregcli.app.interrupts import stop_requests
from dregcli.app.listener import Listener
from dregcli.app.run_data import RunData
from dregcli.app.unfinished import State, Unfinished
from dregcli.engine.evaluation import SeenBatch, seen_batches
from dregcli.engine.likelihood_estimate import BatchEstimates, estimate
from dregcli.engine.models.base import LatentModel
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.names import Split
from dregcli.store.run import Run


@dataclass(frozen=True)
class Sampling:
    """How a split is sampled.

    Attributes:
        split: which part of the data.
        ks: samples per example, ascending.
        seed: of pixels and noise.
        repeats: independent draws.
        examples: the first so many of the split.
        k_chunk: samples in one pass over rows; None is all of them at once.
    """

    split: Split
    ks: tuple[int, ...]
    seed: int
    repeats: int
    examples: int
    k_chunk: int | None


def sample_split(
    model: LatentModel, data: RunData, how: Sampling, run: Run, settings: Mapping[str, Any], listener: Listener
) -> Estimates:
    """Estimates of every example, going on where an earlier, unfinished call was.

    Args:
        model: frozen, on its device.
        data: the run's.
        how: the split and the samples.
        run: that keeps what is unfinished.
        settings: all that the numbers depend on.
        listener: told of progress.

    Raises:
        Interrupted: a signal came; what was done is kept.
    """
    unfinished = Unfinished(run, "evals", settings, listener)
    collected, done = Collected(), 0
    if (content := unfinished.load()) is not None:
        collected, done = Collected(content.arrays), int(content.attrs["state"]["examples"])
        listener.note(f"continuing at example {done:,} of an earlier, unfinished evaluation")

    def state() -> State:
        return collected.arrays(), {"examples": done}

    listener.begin(f"evaluate {how.split}", how.examples, "examples", done=done)
    batches = seen_batches(
        model,
        data.examples(how.split),
        data.pixels,
        split=how.split,
        seed=how.seed,
        limit=how.examples,
        first=done // EVALUATION_BATCH,
    )
    with stop_requests() as stop:
        for batch in batches if done < how.examples else ():
            collected.add(_estimated(model, batch, how.ks, how, listener), data.true_log_p(batch.pixels))
            done += len(batch.pixels)
            listener.update(done)
            if done < how.examples:
                if stop.received is not None:
                    unfinished.stop(stop, state(), f"example {done:,}")
                unfinished.save_now_and_then(state)
    listener.end()
    return Estimates(how.ks, collected.arrays())


def _estimated(
    model: LatentModel, batch: SeenBatch, ks: Sequence[int], how: Sampling, listener: Listener
) -> BatchEstimates:
    try:
        return estimate(batch, ks, repeats=how.repeats, k_chunk=how.k_chunk)
    except RuntimeError as error:
        if not model.fused:
            raise
        # Compilation happens at the first batch, and can fail for reasons that only the system's compiler knows.
        model.unfuse()
        listener.warn(not_compiled(str(error)))
        return estimate(batch, ks, repeats=how.repeats, k_chunk=how.k_chunk)
