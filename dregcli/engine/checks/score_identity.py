"""A test for a moving support: does E[f(z) d log q / d phi] = E[f'(z) dz / d phi] hold for every f?

This identity fails if q has density at a border that moves with a parameter: a term for this border is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from dregcli.engine.located import Located, locate
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.reach import Ends, Reach, ends_before
from dregcli.errors import DregError

_SIZE = 2**18
"""Largest count of numbers to draw, unless a single draw has more."""

_MOST = 2**12
"""Largest number of draws in each half."""

_GROUPS = 16
"""Number of independent means in the test; half of all draws find the direction, and the other half tests it."""

_CRITICAL_T = 8.0
"""Threshold of the t statistic with 15 degrees of freedom; chance exceeds it in 4 of 10 million cases."""

_SMALLEST_GAP = 0.02
"""The smallest gap that counts, as a share of the gradients that the identity makes equal."""

_TAIL_SHARE = 0.75
"""Largest share of a sum of squares that 1 % of the samples may have: .01 to .5 for a jump, .87 for (z - a)^.2."""

_FIXED_SHARE = 0.05
"""A border counts as fixed if it moves by at most this share of the middle's motion: no sample lies exactly on it."""

Function = Callable[[Tensor], Tensor]
"""Maps samples, (samples, B, latent dimensions), to values of the same shape."""


@dataclass(frozen=True)
class _Part:
    """Some of the samples: the half that finds the direction, or one group of the other half.

    Attributes:
        live: the samples on the posterior's graph, (samples, B, latent dimensions).
        leaf: the same numbers without a graph.
        log_q: their log-density, (samples, B).
    """

    live: Tensor
    leaf: Tensor
    log_q: Tensor

    @classmethod
    def of(cls, located: Located, rows: slice = slice(None)) -> "_Part":
        shape = (*located.log_q.shape, -1)
        live, leaf = located.live.reshape(shape), located.leaf.detach().reshape(shape)
        return cls(live[rows], leaf[rows], located.log_q[rows])


def support_moves(unfolded: Unfolded, start: Tensor, posterior: Distribution) -> bool:
    """Whether the identity certainly fails at the posterior's present parameters.

    Args:
        unfolded: the posterior, unfolded.
        start: some base samples of it, (K, B, ...), for their number and device.
        posterior: the posterior.
    """
    try:
        if posterior.support.is_discrete:  # pyright: ignore[reportOptionalMemberAccess]
            return False
    except NotImplementedError:
        pass
    if not unfolded.base.has_rsample and declares_moving_support(posterior):
        return True
    with torch.random.fork_rng(devices=[start.device] if start.is_cuda else []):
        try:
            return _gap(unfolded, start, posterior)
        except (RuntimeError, DregError):
            # The test is impossible, so nothing is known against the posterior.
            return False


def declares_moving_support(posterior: Distribution) -> bool:
    """Whether a bound of the posterior's support requires grad."""
    try:
        todo: list[Any] = [posterior.support]
    except NotImplementedError:
        return False
    while todo:
        value = todo.pop()
        if isinstance(value, Tensor) and value.requires_grad:
            return True
        if isinstance(value, Constraint):
            todo.extend(vars(value).values())
        elif isinstance(value, (list, tuple)):
            todo.extend(cast("list[Any]", value))
    return False


def _gap(unfolded: Unfolded, few: Tensor, posterior: Distribution) -> bool:
    """Test functions that are largest at the lower and at the upper end of each coordinate."""
    one = max(1, few[0].numel())
    group = max(1, min(_SIZE // (2 * one), _MOST) // _GROUPS)
    has_path = unfolded.base.has_rsample

    def drawn(samples: int) -> Located | None:
        start = unfolded.draw(samples, has_path=has_path)
        return locate(unfolded, start, has_path=has_path, apart=True) if start.shape[0] == samples else None

    first = drawn(_GROUPS * group)
    if first is None:
        return False
    if Reach.of(first.log_q).is_compiled or Reach.of(first.live).is_compiled:
        # Gradients end at the edges into compiled parts, which are other ones in each draw: all groups share one.
        shared = drawn(2 * _GROUPS * group)
        if shared is None:
            return False
        begins = range(_GROUPS * group, 2 * _GROUPS * group, group)
        found = _Part.of(shared, slice(_GROUPS * group))
        groups = [_Part.of(shared, slice(begin, begin + group)) for begin in begins]
    else:
        # Each group has its own graph, so that its gradient does not go through the samples of the others.
        shared, found = first, _Part.of(first)
        drawn_groups = [drawn(group) for _ in range(_GROUPS)]
        groups = [_Part.of(each) for each in drawn_groups if each is not None]
    held = _tensors_of(posterior)
    of_q, of_z = ends_before(shared.log_q, held), ends_before(shared.live, held)
    of_q.pop(shared.leaf, None)
    if not has_path:
        # Without a derivative of z only f = 1 can be tested: the mean score.
        return bool(of_q) and _fails(None, found, groups, of_q)
    slope = _slope(shared)[: _GROUPS * group]
    return any(_fails_at(end, found, groups, slope, of_q, of_z) for end in (-1.0, 1.0))


def _tensors_of(value: object, depth: int = 0) -> list[Tensor]:
    """Return the tensors that a distribution holds, usually outputs of a network."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, (list, tuple)):
        inner: list[Any] = list(cast("list[Any]", value))
    elif isinstance(value, (Distribution, torch.distributions.Transform)):
        inner = list(vars(value).values())
    else:
        return []
    return [tensor for each in inner for tensor in _tensors_of(each, depth + 1)] if depth < 8 else []


def _slope(located: Located) -> Tensor:
    """Return d log q / d z at the samples, (samples, B, latent dimensions)."""
    rows = located.log_q.shape
    if not (located.leaf.requires_grad and located.log_q.requires_grad):
        return torch.zeros_like(located.leaf).reshape(*rows, -1)
    (found,) = torch.autograd.grad(located.log_q.sum(), located.leaf, retain_graph=True, materialize_grads=True)
    return found.reshape(*rows, -1)


def _fails_at(end: float, found: _Part, groups: list[_Part], slope: Tensor, of_q: Ends, of_z: Ends) -> bool:
    """Whether the identity fails for functions with their maximum at each coordinate's lower (-1) or upper end."""
    leaf = found.leaf
    # Quantiles, not the extremes: few samples would determine a function of these. It is constant beyond them.
    ordered = leaf.sort(dim=0).values
    low, high = ordered[len(leaf) // 20], ordered[-1 - len(leaf) // 20]
    width = (high - low).clamp_min(torch.finfo(leaf.dtype).tiny)

    def near(z: Tensor) -> Tensor:
        inside = torch.minimum(torch.maximum(z, low), high)
        return ((inside - low if end > 0 else high - inside) / width).pow(4)

    # If a few samples dominate d log q / d z, as for a density that vanishes slowly, the mean score is 0 only
    # because of samples that were not drawn.
    squares = (near(leaf) * slope).double().square().flatten(0, 1).sort(dim=0).values
    share = squares[-max(1, squares.shape[0] // 100) :].sum(0) / squares.sum(0).clamp_min(1e-300)
    is_light, is_flat = (share < _TAIL_SHARE).to(leaf.dtype), (slope == 0.0).flatten(0, 1).all(0).to(leaf.dtype)
    both = {key: at for key, at in of_q.items() if key in of_z}
    # A parameter that only the samples depend on moves a flat density; otherwise log_prob omits it on purpose.
    alone = {key: at for key, at in of_z.items() if key not in of_q}
    for ends, mask in ((both, is_light), (alone, is_flat)):
        if ends and mask.any() and _fails(lambda z, mask=mask: mask * near(z), found, groups, ends):
            return True
    return bool(of_z) and _is_infinite_and_moves(end, found, slope, (1.0 - is_light) * (1.0 - is_flat), of_z)


def _is_infinite_and_moves(end: float, found: _Part, slope: Tensor, heavy: Tensor, of_z: Ends) -> bool:
    """Whether a density with a heavy-tailed slope still rises at the outermost samples, and whether these move."""
    live, leaf = found.live, found.leaf
    order = (end * leaf).argsort(dim=0, descending=True)
    outermost = (end * slope).gather(0, order[:4]) > 0.0
    rises = heavy.bool() & (outermost.flatten(0, 1).double().mean(0) > 0.9)
    if not rises.any():
        return False
    moved: list[Tensor] = []
    for chosen in (order[:1], order[leaf.shape[0] // 2][None]):
        value = (live.gather(0, chosen) * rises.to(live.dtype)).sum()
        moved.append(_gradient(value, of_z))
    return _norm(moved[0]) > _FIXED_SHARE * _norm(moved[1])


def _fails(f: Function | None, found: _Part, groups: list[_Part], ends: Ends) -> bool:
    """Test the identity with the groups, along a direction found from the first half of the samples."""

    def weighed(part: _Part) -> Tensor:
        return (part.log_q if f is None else f(part.leaf).sum(-1) * part.log_q).mean()

    def moved(part: _Part) -> Tensor | float:
        return 0.0 if f is None else f(part.live).sum(-1).mean()

    def gradient(value: Tensor | float) -> Tensor:
        if not (isinstance(value, Tensor) and value.requires_grad):
            return torch.zeros(1, dtype=torch.float64)
        return _gradient(value, ends)

    score, path = gradient(weighed(found)), gradient(moved(found))
    direction = score - path
    length, size = _norm(direction), _norm(score) + _norm(path)
    if length == 0.0 or not size < float("inf"):
        return False
    along = [float((gradient(weighed(each) - moved(each)) * direction).sum()) / length for each in groups]
    means = torch.tensor(along, dtype=torch.float64)
    mean, stderr = float(means.mean()), float(means.std()) / _GROUPS**0.5
    return mean > _SMALLEST_GAP * size and mean > _CRITICAL_T * stderr


def _gradient(value: Tensor, ends: Ends) -> Tensor:
    """Return the gradient by all ends, in one vector, float64."""
    places = cast("list[Tensor]", list(ends.values()))  # also edges, which torch's types omit
    found = torch.autograd.grad(value, places, retain_graph=True, materialize_grads=True)
    return torch.cat([each.detach().flatten() for each in found]).double()


def _norm(vector: Tensor) -> float:
    return float(vector.square().sum().sqrt())
