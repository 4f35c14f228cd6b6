"""Compute bounds of a model over a split: their mean over examples and its standard error."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.app.common.listener import Listener
from dregcli.app.planning.run_data import RunData
from dregcli.columns import LayerColumn
from dregcli.defaults import ACTIVE_VARIANCE
from dregcli.engine.evaluation import BatchBounds, evaluate
from dregcli.engine.models.base import Model
from dregcli.names import Split


@dataclass(frozen=True)
class SplitBounds:
    """The IWAE bound with ``k`` samples for each of the first ``n`` examples of a split.

    Attributes:
        split: the split.
        k: samples per example.
        seed: seed of the evaluation's pixels and noise.
        bound: bounds, shape (n,), float64, nats per example.
        ess: effective sample sizes, shape (n,), float64.
        layers: quantities of each layer, the layer nearest to x first: ``kl_prior``, the mean over the samples and
            examples of log q - log p in nats per example, and ``active_units``, unless q has no known means or there
            is one example. Empty for a model with one layer.
        log_p: means of exact log p(x), where known: under the ``model``, and under the distribution of the ``data``.
    """

    split: Split
    k: int
    seed: int
    bound: NDArray[np.float64]
    ess: NDArray[np.float64]
    layers: dict[str, dict[str, float]]
    log_p: dict[str, float]

    @property
    def n(self) -> int:
        """Number of evaluated examples."""
        return len(self.bound)

    @property
    def value(self) -> float:
        """The mean over examples, nats per example."""
        return float(self.bound.mean())

    @property
    def stderr(self) -> float | None:
        """The standard error of the mean over examples; None for a single example, NaN if a bound is infinite."""
        if self.n == 1:
            return None
        with np.errstate(invalid="ignore"):
            return float(self.bound.std(ddof=1)) / math.sqrt(self.n)

    def row(self) -> dict[str, float]:
        """Return the numbers by column of the metrics, without the step."""
        stderr = math.nan if self.stderr is None else self.stderr
        by_layer = {
            LayerColumn(quantity, layer).name: value
            for layer, quantities in self.layers.items()
            for quantity, value in quantities.items()
        }
        return {"bound": self.value, "stderr": stderr, "ess": float(self.ess.mean()), **by_layer}

    def summary(self) -> dict[str, Any]:
        """Return plain numbers for results."""
        known = {"log_p": self.log_p, "layers": self.layers}
        own = {"value": self.value, "stderr": self.stderr, "n": self.n, "k": self.k}
        return own | {name: each for name, each in known.items() if each}


Parts = dict[str, list[NDArray[np.float64]]]
"""Arrays of examples by their names; one array for each batch, in order."""


class Others(Protocol):
    """Other processes that evaluate some of the batches."""

    @property
    def size(self) -> int:
        """Number of processes, together with this one, which is the first."""
        ...

    def parts(self) -> list[Parts]:
        """Return what each of the others has found, in their order, as soon as they are ready."""
        ...


def split_bounds(
    model: Model,
    data: RunData,
    split: Split,
    *,
    k: int,
    seed: int,
    listener: Listener,
    k_chunk: int | None,
    limit: int | None = None,
    between: Callable[[], None] = lambda: None,
    others: Others | None = None,
) -> SplitBounds:
    """Evaluate a model on a split.

    Args:
        model: the model, on the run's device.
        data: data of the run.
        split: the split to evaluate.
        k: samples per example.
        seed: seed of the evaluation's pixels and noise.
        listener: receives progress messages.
        k_chunk: samples that are computed at once; None means all.
        limit: number of examples from the start of the split; None means all.
        between: called after each batch; an error that it raises ends the evaluation.
        others: processes that evaluate the same model on the other batches; None if this one evaluates all.
    """
    total = min(len(data.examples(split)), limit or len(data.examples(split)))
    listener.begin(f"evaluate {split}", total, "examples")
    size = others.size if others else 1

    def after_batch(done: int) -> None:
        listener.update(min(size * done, total))
        between()

    options: Any = {"k": k, "seed": seed, "k_chunk": k_chunk, "limit": limit}
    parts = bounds_of_batches(model, data, split, **options, every=size, after_batch=after_batch, warn=listener.warn)
    if others:
        parts = _in_turn([parts, *others.parts()])
    listener.end()
    whole = {name: np.concatenate(arrays, axis=-1) for name, arrays in parts.items()}
    log_p = {whose: float(whole[whose].mean()) for whose in ("model", "data") if whose in whole}
    return SplitBounds(split, k, seed, whole["bound"], whole["ess"], _layers(model, whole), log_p)


def bounds_of_batches(
    model: Model,
    data: RunData,
    split: Split,
    *,
    k: int,
    seed: int,
    k_chunk: int | None,
    limit: int | None,
    first: int = 0,
    every: int = 1,
    after_batch: Callable[[int], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Parts:
    """Evaluate a model on some of the batches of a split; see ``split_bounds`` for other arguments.

    Args:
        model: the model, on the run's device.
        data: data of the run.
        split: the split to evaluate.
        k: samples per example.
        seed: seed of the evaluation's pixels and noise.
        k_chunk: samples that are computed at once; None means all.
        limit: number of examples from the start of the split; None means all.
        first: index of the first batch.
        every: number of batches from one to the next.
        after_batch: called after each batch with the number of examples so far.
        warn: receives a warning if compiled code failed.
    """
    options: Any = {"k": k, "seed": seed, "k_chunk": k_chunk, "limit": limit, "first": first, "every": every}

    def evaluated() -> Parts:
        bounds = evaluate(model, data.examples(split), data.pixels, split=split, **options)
        return _collected(bounds, data, after_batch)

    training = model.training
    model.eval()
    try:
        return evaluated()
    except RuntimeError as error:
        # Compilation happens at the first batch, and can fail because of the system's compiler.
        warn(not_compiled(model.run_uncompiled(error)))
        return evaluated()
    finally:
        # Only a user's model can have modules, such as dropout, that know the difference.
        model.train(training)


def _in_turn(of_each: Sequence[Parts]) -> Parts:
    """Return the arrays of all batches in their order; each process has evaluated every n-th of them."""
    found: Parts = {}
    for name in of_each[0]:
        turns = zip_longest(*(parts.get(name, ()) for parts in of_each))
        found[name] = [each for turn in turns for each in turn if each is not None]
    return found


def _layers(model: Model, whole: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Return the quantities of each layer from the arrays of all examples; see ``SplitBounds.layers``."""
    if "kl_layers" not in whole:
        return {}
    found: dict[str, dict[str, float]] = {}
    for layer, kl in zip(model.layers(), whole["kl_layers"], strict=True):
        found[layer.name] = {"kl_prior": float(kl.mean())}
        if "means" in whole and whole["means"].shape[1] > 1:
            variance = whole["means"][layer.columns.start : layer.columns.stop].var(axis=1)
            found[layer.name]["active_units"] = float((variance > ACTIVE_VARIANCE).sum())
    return found


def _collected(evaluated: Iterable[BatchBounds], data: RunData, after_batch: Callable[[int], None]) -> Parts:
    """Return the arrays of all batches by name; report the progress of each batch."""
    found: Parts = {}
    done = 0
    for batch in evaluated:
        exact = {"model": batch.model_log_p, "data": data.true_log_p(batch.pixels)}
        layers = {"kl_layers": batch.kl_layers, "means": None if batch.means is None else batch.means.T}
        for name, tensor in {"bound": batch.bound, "ess": batch.ess, **layers, **exact}.items():
            if tensor is not None:
                found.setdefault(name, []).append(tensor.cpu().numpy())
        done += len(batch.bound)
        after_batch(done)
    return found


def not_compiled(why: str) -> str:
    """Return the warning for a failed compilation; the work continues without it."""
    return f"torch.compile failed; the work continues without it: {why}"
