"""Run annealed importance sampling (AIS) on a split, save its state, and compare it with importance sampling."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dregcli.app.common.interrupts import stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.unfinished import Unfinished
from dregcli.app.evaluation.chance import Values
from dregcli.app.evaluation.estimates import Estimates
from dregcli.app.evaluation.importance import SAVE_SECONDS, Sampling
from dregcli.app.evaluation.means import Mean
from dregcli.app.planning.run_data import RunData
from dregcli.engine.annealed import Annealed, mean_log_p
from dregcli.engine.annealing import AnnealedBatch, Annealing, anneal
from dregcli.engine.models.base import Model
from dregcli.errors import NotFinite
from dregcli.names import Opinion

SIGNIFICANT = 3.0
"""Two estimates differ if their difference is more than so many standard errors."""

SMALL_BIAS = 0.1
"""Largest expected bias of a bound, in nats, with which it is still compared with AIS."""

_BIAS_KNOWN_TO = 2.0
"""Factor up to which the expected bias may be wrong: only a larger difference means missed probability mass."""

_CURRENT = "current/"


@dataclass(frozen=True)
class SecondOpinion:
    """Estimates by AIS of the first n examples, beside the estimates by importance sampling.

    Attributes:
        annealing: settings of AIS.
        found: chains of all examples.
        estimates: estimates by importance sampling for the same examples and pixels.
    """

    annealing: Annealing
    found: Annealed
    estimates: Estimates

    def arrays(self) -> dict[str, Values]:
        """Return the arrays to keep; the log-weights of the chains have shape (M, n), all other arrays (n,)."""
        tensors = {
            "ais_log_weights": self.found.log_weights,
            "ais_log_p": self.found.log_p,
            "ais_stderr": self.found.stderr,
            "ais_acceptance": self.found.acceptance,
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    @np.errstate(invalid="ignore")  # differences of infinite numbers, which ``Estimates.not_finite`` counts
    def as_json(self) -> dict[str, Any]:
        """Return all results as plain values; ``mc_stderr`` is the random error for these examples."""
        mean = mean_log_p([self.found])
        log_p = self.arrays()["ais_log_p"]
        difference = Mean.of(log_p - self.estimates.bound)
        chance, bias = self.estimates.chance.stderr, self.estimates.bias
        missing = None if bias is None else -bias.value
        error = None if chance is None or mean.of_chains is None else math.hypot(mean.of_chains, chance)
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
            "opinion": _opinion(difference.value, error, missing).value,
        }

    def k_to_compare(self) -> int | None:
        """Return the approximate K with which the bound's bias is small enough for AIS; see ``Estimates.k_for``."""
        return self.estimates.k_for(SMALL_BIAS)


def _opinion(difference: float, error: float | None, missing: float | None) -> Opinion:
    """Return the conclusion from the difference of AIS and the bound, in nats.

    With a small K every bound is too low, so that a difference as large as the bound's bias shows nothing else.

    Args:
        difference: mean by AIS minus mean bound.
        error: random error of the difference; None if it is not known.
        missing: expected distance of the bound below log p(x); None if it is not known. See ``Estimates.bias``.
    """
    allowed = SIGNIFICANT * error if error is not None and math.isfinite(error) else None
    if allowed is not None and difference < -allowed:
        return Opinion.LOWER  # both are lower bounds: at any K, the higher one is nearer to log p(x)
    if missing is None or missing > SMALL_BIAS:
        return Opinion.K_TOO_SMALL
    if allowed is None:
        return Opinion.UNKNOWN
    return Opinion.HIGHER if difference > allowed + _BIAS_KNOWN_TO * missing else Opinion.AGREES


def anneal_split(
    model: Model,
    data: RunData,
    how: Sampling,
    annealing: Annealing,
    estimates: Estimates,
    unfinished: Unfinished,
    listener: Listener,
) -> SecondOpinion:
    """Anneal the sampled examples, or continue an earlier, unfinished call.

    Args:
        model: frozen model, on its device.
        data: data of the run.
        how: the split, its examples and the seed.
        annealing: settings of AIS.
        estimates: estimates by importance sampling for the same examples.
        unfinished: keeps the state until the result is complete.
        listener: receives progress messages.

    Raises:
        NotFinite: the model has no finite density at the start of a chain, or along every chain of an example.
        Interrupted: a signal came; the work so far is saved.
    """
    kept = unfinished.found()
    work = _Chains([] if kept is None else _finished(*kept))
    batches = anneal(
        model,
        data.examples(how.split),
        data.pixels,
        annealing,
        split=how.split,
        seed=how.seed,
        limit=how.examples,
        first_batch=len(work.parts),
    )
    with stop_requests() as stop:
        try:
            for number, batch in enumerate(batches):
                work.batch = batch
                if number == 0:
                    if kept is not None:
                        batch.load(kept[0], _under(_CURRENT, kept[1]))
                        listener.note(f"continuing at transition {work.done:,} of an earlier, unfinished annealing")
                    listener.begin(f"anneal {how.split}", how.examples * batch.work, "transitions", done=work.done)
                while not batch.done:
                    batch.advance()
                    listener.update(work.done)
                    if stop.received is not None:
                        unfinished.stop(work, stop, at=f"transition {work.done:,}")
                    unfinished.save_if_due(work, SAVE_SECONDS)
                work.parts.append(batch.result())
        except NotFinite:
            if work.batch is not None:
                listener.end()
            raise
    listener.end()
    whole = Annealed(*(torch.cat(tensors, dim=-1) for tensors in zip(*map(_tensors, work.parts), strict=True)))
    return SecondOpinion(annealing, whole, estimates)


@dataclass
class _Chains:
    """Batches with finished chains, and the batch in progress."""

    parts: list[Annealed]
    batch: AnnealedBatch | None = None

    @property
    def done(self) -> int:
        """Finished transitions of one chain, summed over examples."""
        if self.batch is None:
            return 0
        examples = sum(len(part.acceptance) for part in self.parts)
        return examples * self.batch.work + self.batch.worked * self.batch.examples

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """See ``HasState``."""
        assert self.batch is not None
        numbers, tensors = self.batch.state()
        found = {f"{_CURRENT}{name}": tensor for name, tensor in tensors.items()}
        for i, part in enumerate(self.parts):
            found |= {f"{i}/{name}": tensor for name, tensor in zip(_NAMES, _tensors(part), strict=True)}
        return {"batch": self.batch.batch, **numbers}, found


_NAMES = ("log_weights", "acceptance")


def _tensors(part: Annealed) -> tuple[Tensor, Tensor]:
    return part.log_weights, part.acceptance


def _finished(numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Annealed]:
    """Return the batches that an earlier process finished."""
    return [Annealed(*(_under(f"{i}/", tensors)[name] for name in _NAMES)) for i in range(numbers["batch"])]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
