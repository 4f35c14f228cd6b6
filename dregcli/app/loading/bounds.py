"""Bounds of a model over a split, averaged by count, with their standard error over examples."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dregcli.app.common.listener import Listener
from dregcli.app.planning.run_data import RunData
from dregcli.engine.evaluation import BatchBounds, evaluate
from dregcli.engine.models.base import LatentModel
from dregcli.names import Split


@dataclass(frozen=True)
class SplitBounds:
    """The IWAE bound at ``k`` of each of the ``n`` first examples of a split.

    Attributes:
        bound: shape (n,), float64, nats per example.
        ess: effective sample sizes, shape (n,), float64.
        log_p: the mean of exact log p(x) of the ``model`` and of the ``data``'s own distribution, where known.
    """

    split: Split
    k: int
    seed: int
    bound: NDArray[np.float64]
    ess: NDArray[np.float64]
    log_p: dict[str, float]

    @property
    def n(self) -> int:
        """Examples evaluated."""
        return len(self.bound)

    @property
    def value(self) -> float:
        """The mean over examples, nats per example."""
        return float(self.bound.mean())

    @property
    def stderr(self) -> float | None:
        """The standard error of the mean over examples; None for a single one."""
        return float(self.bound.std(ddof=1)) / math.sqrt(self.n) if self.n > 1 else None

    def summary(self) -> dict[str, Any]:
        """Plain numbers for results."""
        known = {"log_p": self.log_p} if self.log_p else {}
        return {"value": self.value, "stderr": self.stderr, "n": self.n, "k": self.k, **known}


def split_bounds(
    model: LatentModel,
    data: RunData,
    split: Split,
    *,
    k: int,
    seed: int,
    listener: Listener,
    k_chunk: int | None,
    limit: int | None = None,
    between: Callable[[], None] = lambda: None,
) -> SplitBounds:
    """Evaluate a model on a split.

    Args:
        model: the model, on the run's device.
        data: the run's.
        split: which part.
        k: samples per example.
        seed: the evaluation's seed.
        listener: told of progress.
        k_chunk: samples at once; None is all.
        limit: only the first so many examples.
        between: called after each batch; what it raises ends the evaluation.
    """
    examples = data.examples(split)
    listener.begin(f"evaluate {split}", min(len(examples), limit or len(examples)), "examples")

    options: Any = {"split": split, "k": k, "seed": seed, "limit": limit, "k_chunk": k_chunk}
    try:
        parts = _told(evaluate(model, examples, data.pixels, **options), data, listener, between)
    except RuntimeError as error:
        if not model.fused:
            raise
        # Compilation happens at the first batch, and can fail for reasons that only the system's compiler knows.
        model.unfuse()
        listener.warn(not_compiled(str(error)))
        parts = _told(evaluate(model, examples, data.pixels, **options), data, listener, between)
    listener.end()
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    log_p = {whose: float(whole[whose].mean()) for whose in ("model", "data") if whose in whole}
    return SplitBounds(split, k, seed, whole["bound"], whole["ess"], log_p)


def _told(
    evaluated: Iterable[BatchBounds], data: RunData, listener: Listener, between: Callable[[], None]
) -> dict[str, list[NDArray[np.float64]]]:
    """The arrays of all batches by name, each batch told as it comes."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    for batch in evaluated:
        exact = {"model": batch.model_log_p, "data": data.true_log_p(batch.pixels)}
        for name, tensor in {"bound": batch.bound, "ess": batch.ess, **exact}.items():
            if tensor is not None:
                found.setdefault(name, []).append(tensor.cpu().numpy())
        done += len(batch.bound)
        listener.update(done)
        between()
    return found


def not_compiled(why: str) -> str:
    """The warning for compilation that failed; what it was for goes on without."""
    return f"torch.compile failed, and the work goes on without: {why.strip().partition(chr(10))[0]}"
