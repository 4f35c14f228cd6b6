"""Objectives as one would write them on paper: explicit subsets, explicit groups, autograd for the rest.

Nothing of the engine's log-space or leave-one-out machinery is used. Log-weights are (K, B), float64.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair

Value = Callable[[Tensor], Tensor]


def _bound(log_w: Tensor) -> Tensor:
    return log_w.exp().mean(dim=0).log()


def _groups(log_w: Tensor, groups: int) -> list[Tensor]:
    size = log_w.shape[0] // groups
    return [log_w[m * size : (m + 1) * size] for m in range(groups)]


def _jackknife(log_w: Tensor, order: int) -> Tensor:
    k = log_w.shape[0]
    total = torch.zeros_like(log_w[0])
    for j in range(order + 1):
        c = (-1) ** j * (k - j) ** order / (math.factorial(order - j) * math.factorial(j))
        kept = list(itertools.combinations(range(k), k - j))
        total = total + c * torch.stack([_bound(log_w[list(subset)]) for subset in kept]).mean(dim=0)
    return total


def _vr(log_w: Tensor, alpha: float) -> Tensor:
    if alpha == 1.0:
        return log_w.mean(dim=0)
    return (log_w.exp() ** (1.0 - alpha)).mean(dim=0).log() / (1.0 - alpha)


def _thermodynamic(log_w: Tensor, tvo: Any) -> Tensor:
    """The sum of each part's length times its height."""
    between = range(tvo.partitions - 1)
    if tvo.schedule == "log":
        steps = [math.exp(math.log(tvo.beta) * (1 - j / len(between))) for j in between]
    else:
        steps = [tvo.beta + (1 - tvo.beta) / len(between) * j for j in between]
    ends = [0.0, *steps, 1.0]

    def height(power: float) -> Tensor:
        weights = log_w.exp() ** power
        return (weights * log_w).sum(dim=0) / weights.sum(dim=0)

    total = torch.zeros_like(log_w[0])
    for start, end in itertools.pairwise(ends):
        heights = {"left": height(start), "right": height(end), "trapezoid": (height(start) + height(end)) / 2}
        total = total + (end - start) * heights[str(tvo.rule)]
    return total


def naive_values(objective: Objective) -> tuple[Value, Value | None]:
    """The value that theta ascends and the one that phi ascends; None where phi follows no function."""

    parameters: Any = objective

    def elbo(log_w: Tensor) -> Tensor:
        return log_w.mean(dim=0)

    def jvi(log_w: Tensor) -> Tensor:
        return _jackknife(log_w, parameters.order)

    def vr_iwae(log_w: Tensor) -> Tensor:
        return _vr(log_w, parameters.alpha)

    def ciwae(log_w: Tensor) -> Tensor:
        return parameters.beta * elbo(log_w) + (1.0 - parameters.beta) * _bound(log_w)

    def miwae(log_w: Tensor) -> Tensor:
        return torch.stack([_bound(group) for group in _groups(log_w, parameters.groups)]).mean(dim=0)

    def tvo(log_w: Tensor) -> Tensor:
        return _thermodynamic(log_w, parameters)

    def own(log_w: Tensor) -> Tensor:
        return objective.terms(log_w).value

    values: dict[str, tuple[Value, Value | None]] = {
        "elbo": (elbo, elbo),
        "iwae": (_bound, _bound),
        "rws": (_bound, None),
        "jvi": (jvi, jvi),
        "vr-iwae": (vr_iwae, vr_iwae),
        "ciwae": (ciwae, ciwae),
        "miwae": (miwae, miwae),
        "piwae": (_bound, miwae),
        "tvo": (tvo, tvo),
    }
    return values.get(objective.name, (own, own))


def naive_targets(pair: Pair) -> tuple[Value, Value | None]:
    """The values that theta and phi ascend with a pair: ``ovis-mc`` leaves its auxiliary samples out."""
    of_model, of_posterior = naive_values(pair.objective)
    if pair.estimator.name != "ovis-mc":
        return of_model, of_posterior
    estimator: Any = pair.estimator

    def first(log_w: Tensor) -> Tensor:
        return _bound(log_w[: len(log_w) - estimator.samples])

    return (first if estimator.exclusive else of_model), first
