"""Annealed importance sampling of a split, kept while it goes on, and how it compares with importance sampling."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dregcli.app.estimates import Estimates, Mean, Values
from dregcli.app.importance import Sampling
from dregcli.app.interrupts import stop_requests
from dregcli.app.listener import Listener
from dregcli.app.run_data import RunData
from dregcli.app.unfinished import State, Unfinished
from dregcli.engine.annealed import Annealed, mean_log_p
from dregcli.engine.annealing import AnnealedBatch, Annealing, anneal
from dregcli.engine.models.base import LatentModel
from dregcli.names import Opinion
from dregcli.store.hdf5 import Content
from dregcli.store.run import Run

SIGNIFICANT = 3.0
"""Standard errors beyond which two estimates differ."""

_CURRENT = "current/"


@dataclass(frozen=True)
class SecondOpinion:
    """Annealed estimates of the first n examples, beside importance sampling's.

    Attributes:
        annealing: how they were made.
        found: chains of all examples.
        estimates: by importance sampling, of the same examples and pixels.
    """

    annealing: Annealing
    found: Annealed
    estimates: Estimates

    def arrays(self) -> dict[str, Values]:
        """What is kept, example by example; the chains' log-weights are (M, n), the rest (n,)."""
        tensors = {
            "ais_log_weights": self.found.log_weights,
            "ais_log_p": self.found.log_p,
            "ais_stderr": self.found.stderr,
            "ais_acceptance": self.found.acceptance,
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values; ``mc_stderr`` is what chance leaves at these examples, of either estimate."""
        mean = mean_log_p([self.found])
        log_p = self.arrays()["ais_log_p"]
        difference = Mean.of(log_p - self.estimates.bound)
        error = math.hypot(mean.of_chains, self.estimates.mc_stderr)
        exact = self.estimates.arrays.get("model_log_p")
        return {
            "value": mean.value,
            "stderr": mean.stderr,
            "mc_stderr": mean.of_chains,
            "steps": self.annealing.steps,
            "chains": self.annealing.chains,
            "leapfrogs": self.annealing.leapfrogs,
            "acceptance": float(self.found.acceptance.mean()),
            "ess": float(self.found.ess.median()),
            "less_importance": {**difference.as_json(), "mc_stderr": error},
            "less_exact": None if exact is None else Mean.of(log_p - exact).as_json(),
            "opinion": _opinion(difference.value, error).value,
        }


def _opinion(difference: float, error: float) -> Opinion:
    if abs(difference) <= SIGNIFICANT * error:
        return Opinion.AGREES
    return Opinion.HIGHER if difference > 0.0 else Opinion.LOWER


def anneal_split(
    model: LatentModel,
    data: RunData,
    how: Sampling,
    annealing: Annealing,
    estimates: Estimates,
    run: Run,
    settings: Mapping[str, Any],
    listener: Listener,
) -> SecondOpinion:
    """Anneal the examples that were sampled, going on where an earlier, unfinished call was.

    Args:
        model: frozen, on its device.
        data: the run's.
        how: the split, its examples and the seed.
        annealing: how chains go.
        estimates: of the same examples.
        run: that keeps what is unfinished.
        settings: all that the numbers depend on.
        listener: told of progress.

    Raises:
        NotFinite: the model has no finite density where a chain begins.
        Interrupted: a signal came; what was done is kept.
    """
    unfinished = Unfinished(run, "evals", settings, listener)
    content = unfinished.load()
    parts = _finished(content)
    examples = data.examples(how.split)
    batches = anneal(
        model,
        examples,
        data.pixels,
        annealing,
        split=how.split,
        seed=how.seed,
        limit=how.examples,
        first_batch=len(parts),
    )
    work = None
    done = 0
    with stop_requests() as stop:
        for batch in batches:
            if work is None:
                # Of every batch alike: an example is worth a transition of all its chains.
                work, done = batch.work, sum(len(part.acceptance) for part in parts)
                _go_on(batch, content, listener)
                listener.begin(
                    f"anneal {how.split}", how.examples * work, "transitions", done=_count(done, batch, work)
                )
            while not batch.done:
                batch.advance()
                listener.update(_count(done, batch, work))
                if stop.received is not None:
                    unfinished.stop(stop, _state(parts, batch), f"temperature {batch.worked:,} of {batch.work:,}")
                unfinished.save_now_and_then(lambda batch=batch: _state(parts, batch))
            parts.append(batch.result())
            done += len(parts[-1].acceptance)
    listener.end()
    whole = Annealed(*(torch.cat(tensors, dim=-1) for tensors in zip(*map(_tensors, parts), strict=True)))
    return SecondOpinion(annealing, whole, estimates)


def _tensors(part: Annealed) -> tuple[Tensor, Tensor]:
    return part.log_weights, part.acceptance


def _count(done: int, batch: AnnealedBatch, work: int) -> int:
    return done * work + batch.worked * batch.examples


def _state(parts: list[Annealed], batch: AnnealedBatch) -> State:
    """Finished batches one by one, and where the chains of the one at work are."""
    numbers, tensors = batch.state()
    arrays = {f"{_CURRENT}{name}": tensor.cpu().numpy() for name, tensor in tensors.items()}
    for i, part in enumerate(parts):
        arrays |= {f"{i}/{name}": tensor.cpu().numpy() for name, tensor in zip(_NAMES, _tensors(part), strict=True)}
    return arrays, {"batch": batch.batch, **numbers}


_NAMES = ("log_weights", "acceptance")


def _finished(content: Content | None) -> list[Annealed]:
    if content is None:
        return []
    count = int(content.attrs["state"]["batch"])
    return [Annealed(*(torch.from_numpy(content.arrays[f"{i}/{name}"]) for name in _NAMES)) for i in range(count)]


def _go_on(batch: AnnealedBatch, content: Content | None, listener: Listener) -> None:
    if content is None:
        return
    tensors = {
        name.removeprefix(_CURRENT): torch.from_numpy(np.array(array))
        for name, array in content.arrays.items()
        if name.startswith(_CURRENT)
    }
    batch.load(content.attrs["state"], tensors)
    listener.note(f"continuing at transition {batch.worked:,} of an earlier, unfinished annealing")
