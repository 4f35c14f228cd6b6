"""Compute bounds of a model over a split: their mean over examples and its standard error."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
            examples of log q - log p in nats per example, and ``active_units``, unless q has no known means. Empty
            for a model with one layer.
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
    """
    examples = data.examples(split)
    listener.begin(f"evaluate {split}", min(len(examples), limit or len(examples)), "examples")

    options: Any = {"split": split, "k": k, "seed": seed, "limit": limit, "k_chunk": k_chunk}
    training = model.training
    model.eval()
    try:
        parts = _collected(evaluate(model, examples, data.pixels, **options), data, listener, between)
    except RuntimeError as error:
        if not model.fused:
            raise
        # Compilation happens at the first batch, and can fail because of the system's compiler.
        model.unfuse()
        listener.warn(not_compiled(str(error)))
        parts = _collected(evaluate(model, examples, data.pixels, **options), data, listener, between)
    finally:
        # Only a user's model can have modules, such as dropout, that know the difference.
        model.train(training)
    listener.end()
    whole = {name: np.concatenate(arrays, axis=-1) for name, arrays in parts.items()}
    log_p = {whose: float(whole[whose].mean()) for whose in ("model", "data") if whose in whole}
    return SplitBounds(split, k, seed, whole["bound"], whole["ess"], _layers(model, whole), log_p)


def _layers(model: Model, whole: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Return the quantities of each layer from the arrays of all examples; see ``SplitBounds.layers``."""
    if "kl_layers" not in whole:
        return {}
    found: dict[str, dict[str, float]] = {}
    for layer, kl in zip(model.layers(), whole["kl_layers"], strict=True):
        found[layer.name] = {"kl_prior": float(kl.mean())}
        if "means" in whole:
            variance = whole["means"][layer.columns.start : layer.columns.stop].var(axis=1)
            found[layer.name]["active_units"] = float((variance > ACTIVE_VARIANCE).sum())
    return found


def _collected(
    evaluated: Iterable[BatchBounds], data: RunData, listener: Listener, between: Callable[[], None]
) -> dict[str, list[NDArray[np.float64]]]:
    """Return the arrays of all batches by name; report the progress of each batch."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    for batch in evaluated:
        exact = {"model": batch.model_log_p, "data": data.true_log_p(batch.pixels)}
        layers = {"kl_layers": batch.kl_layers, "means": None if batch.means is None else batch.means.T}
        for name, tensor in {"bound": batch.bound, "ess": batch.ess, **layers, **exact}.items():
            if tensor is not None:
                found.setdefault(name, []).append(tensor.cpu().numpy())
        done += len(batch.bound)
        listener.update(done)
        between()
    return found


def not_compiled(why: str) -> str:
    """Return the warning for a failed compilation; the work continues without it."""
    return f"torch.compile failed; the work continues without it: {why.strip().partition(chr(10))[0]}"
