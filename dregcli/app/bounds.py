"""Bounds of a model over a split, averaged by count, with their standard error over examples."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dregcli.app.listener import Listener
from dregcli.app.run_data import RunData
from dregcli.engine.evaluation import BatchBounds, evaluate
from dregcli.engine.models.base import LatentModel
from dregcli.names import Split

ACTIVE_VARIANCE = 0.01
"""A latent unit is active when the variance over examples of q's mean exceeds this (arXiv 1509.00519, 5.1)."""


@dataclass(frozen=True)
class SplitBounds:
    """The IWAE bound at ``k`` of each of the ``n`` first examples of a split.

    Attributes:
        bound: shape (n,), float64, nats per example.
        ess: effective sample sizes, shape (n,), float64.
        active_units: latent units whose mean varies over the examples.
    """

    split: Split
    k: int
    seed: int
    bound: NDArray[np.float64]
    ess: NDArray[np.float64]
    active_units: int

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
        return {"value": self.value, "stderr": self.stderr, "n": self.n, "k": self.k}


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
        batches = _told(evaluate(model, examples, data.pixels, **options), listener, between)
    except RuntimeError as error:
        if not model.fused:
            raise
        # Compilation happens at the first batch, and can fail for reasons that only the system's compiler knows.
        model.unfuse()
        listener.warn(not_compiled(str(error)))
        batches = _told(evaluate(model, examples, data.pixels, **options), listener, between)
    listener.end()
    means = torch.cat([batch.means for batch in batches])
    active = int((means.var(dim=0, correction=0) > ACTIVE_VARIANCE).sum())
    bound, ess = (torch.cat(parts).cpu().numpy() for parts in ([b.bound for b in batches], [b.ess for b in batches]))
    return SplitBounds(split, k, seed, bound, ess, active)


def _told(evaluated: Iterable[BatchBounds], listener: Listener, between: Callable[[], None]) -> list[BatchBounds]:
    """All batches, each told as it comes."""
    batches: list[BatchBounds] = []
    done = 0
    for batch in evaluated:
        batches.append(batch)
        done += len(batch.bound)
        listener.update(done)
        between()
    return batches


def not_compiled(why: str) -> str:
    """The warning for compilation that failed; what it was for goes on without."""
    return f"torch.compile failed, and the work goes on without: {why.strip().partition(chr(10))[0]}"
