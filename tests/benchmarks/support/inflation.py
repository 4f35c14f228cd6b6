"""By how much an estimate of a gradient varies more than the exact one of the same noise.

Where E[estimate | noise] = exact, Var(estimate) = Var(exact) + E |estimate - exact|^2: the share that the second term
adds to the first is the inflation. Variances are over noise with the examples held fixed, which is the strictest: the
variance over examples would make the first term larger, and not the second.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

Gradient = Callable[[int], Mapping[str, Tensor]]
"""The gradient, by parameter name, of one draw of the noise, by its number."""


@dataclass(frozen=True)
class Inflation:
    """A share, 0.01 for one per cent, with its standard error."""

    value: float
    stderr: float


def inflation(
    sources: Iterable[tuple[Gradient, Gradient]], *, draws: int, group: Callable[[str], str]
) -> dict[str, Inflation]:
    """The inflation of each group of parameters, of several batches of examples together.

    Draws are taken in pairs: half the squared distance of a pair's exact gradients has their variance as expectation.

    Args:
        sources: for each batch of examples the exact gradient and the estimate, on the same noise where the draw's
            number is the same.
        draws: of each, at least 2.
        group: of a parameter's name.
    """
    extra: dict[str, list[float]] = {}
    exact_variance: dict[str, list[float]] = {}
    for exact, estimate in sources:
        for first in range(0, draws - 1, 2):
            one, other = dict(exact(first)), dict(exact(first + 1))
            apart = _squared(one, other, group)
            errors = [_squared(one, estimate(first), group), _squared(other, estimate(first + 1), group)]
            for name, distance in apart.items():
                exact_variance.setdefault(name, []).append(distance / 2.0)
                extra.setdefault(name, []).append(sum(error[name] for error in errors) / 2.0)
    return {name: _ratio(extra[name], exact_variance[name]) for name in extra}


def _squared(a: Mapping[str, Tensor], b: Mapping[str, Tensor], group: Callable[[str], str]) -> dict[str, float]:
    """|a - b|^2 of each group."""
    found: dict[str, float] = {}
    for name, tensor in a.items():
        distance = float((tensor.double() - b[name].double()).square().sum())
        found[group(name)] = found.get(group(name), 0.0) + distance
    return found


def _ratio(above: list[float], below: list[float]) -> Inflation:
    """The ratio of two means of independent pairs, with its standard error by linearisation."""
    n, total = len(above), sum(below)
    value = sum(above) / total
    residual = sum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    return Inflation(value, math.sqrt(residual * n / max(n - 1, 1)) / total)
