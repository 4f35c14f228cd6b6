"""What gradients of one's own model rest on, tried out where it cannot be read off: rows and the score identity."""

import functools
import weakref
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from dregcli.engine.pairs import Pair
from dregcli.engine.reach import Ends, ends_before_compiled
from dregcli.engine.samples import Located, LogJoint, Samples, locate
from dregcli.errors import Fault, SpecError

_SIZE = 2**19
"""Numbers that are drawn, at most, to try out the score identity."""

_GROUPS = 16
"""Independent means behind its test; half of all samples learn the direction that the other half tests."""

_SURELY = 8.0
"""Its t with 15 degrees of freedom: beyond it by chance in 4 of 10 million."""

_NOTICEABLE = 0.02
"""The smallest gap that counts, as a share of the gradients that the identity makes equal."""

_FEW = 0.75
"""The share of a sum of squares that 1 % of the samples may have: of a jump it is .01 to .5, of (z - a)^.2 .87."""

Function = Callable[[Tensor], Tensor]
"""Of samples, (samples, B, latent dimensions), and for each of them."""

_seen: "weakref.WeakKeyDictionary[Any, set[tuple[Any, ...]]]" = weakref.WeakKeyDictionary()


def require_assumptions(draw: Samples, posterior: Distribution, pair: Pair, *, check: bool | None) -> None:
    """Try out, once for each kind of model, what a gradient rests on.

    Each row (k, b) must depend on its own sample alone, and the score's mean must be 0 if the pair needs that.

    Args:
        draw: samples of the model.
        posterior: where they are from.
        pair: what they are for.
        check: True tries it out now, False never; None does so where log_joint and the graphs of both densities have
            not been seen together before.

    Raises:
        SpecError: naming what depends on what.
    """
    if check is False:
        return
    known = _seen.setdefault(_code_of(draw.log_joint), set())
    kind = _kind_of(draw, posterior, pair)
    if check is None and kind in known:
        return
    if faults := _row_faults(draw):
        raise SpecError(faults, hint="call .eval() on modules with batch statistics; check=False skips this check")
    if pair.needs_score_identity and torch.is_grad_enabled() and _support_moves(draw, posterior):
        message = "its support moves with its parameters, and it has density at the border that moves: the mean of "
        message += f"d log q / d phi is not 0, no score identity holds, and '{pair.word}' would be biased."
        hint = (
            "use estimator 'reparam' of an objective that has a path, as 'iwae': it needs no such identity, and no "
        )
        hint += "check of bias; or take a posterior of fixed support, as a transformed Normal"
        raise SpecError([Fault("posterior", message)], hint=hint)
    known.add(kind)


def _kind_of(draw: Samples, posterior: Distribution, pair: Pair) -> tuple[Any, ...]:
    """What two models have in common of which one need not be tried out after the other."""
    k, batch = draw.log_p.shape
    kinds = (type(posterior), type(draw.unfolded.base), *(type(step.transform) for step in draw.unfolded.steps))
    graphs = (draw.reach_of_p.names, draw.reach_of_q.names)
    return k == 1, batch == 1, k == batch, kinds, graphs, pair.needs_score_identity


def _code_of(log_joint: LogJoint) -> object:
    """What stays the same when a function is made anew for every batch."""
    found: Any = log_joint
    while isinstance(found, functools.partial):
        found = cast("Any", found).func
    found = getattr(found, "__func__", found)
    found = getattr(found, "__code__", found)
    try:
        weakref.ref(found)
        hash(found)
    except TypeError:
        return cast("object", type(found))
    return found


# Rows.


def _row_faults(draw: Samples) -> list[Fault]:
    """Whether some rows change when others do: samples are replaced in two patterns, and the rest must stay."""
    start = draw.start.detach()
    k, batch = start.shape[:2]
    if k * batch == 1:
        return []
    with torch.no_grad(), torch.random.fork_rng(devices=[start.device] if start.is_cuda else []):
        base = draw.densities(start)
        # Of another size, since a sampler may remember its noise by it.
        other = draw.unfolded.draw(k + 1, has_path=False)[1:].to(start.dtype)
        found = {"log_joint": False, "log_prob": False}
        for pattern in _patterns(k, batch):
            replaced = pattern.to(start.device)
            mixed = torch.where(replaced.reshape(k, batch, *(1,) * (start.ndim - 2)), other, start)
            for name, before, after in zip(found, base, draw.densities(mixed), strict=True):
                found[name] |= bool((_differ(before, after) & ~replaced).any())
        if k == batch and not found["log_joint"]:
            with draw.replay():
                before = torch.get_rng_state()
                draw.log_joint(draw.located.z)
                is_random = not torch.equal(before, torch.get_rng_state())
            if not is_random:
                log_p, _ = draw.densities(start.roll(1, dims=0))
                found["log_joint"] = bool(_differ(base[0].roll(1, dims=0), log_p).any())
    what = {
        "log_joint": "log p of a sample changes when only other samples do, or with its place among the K samples. "
        "Entry (k, b) must depend on sample (k, b) and example b alone. Look for BatchNorm in training mode, for a "
        "sum, mean or softmax over the first two axes, and for a view or transpose that swaps K and B.",
        "log_prob": "log q of a sample changes when only other samples do. Entry (k, b) must depend on sample (k, b) "
        "alone. Look for batch statistics in log_prob or in a transform.",
    }
    fields = {"log_joint": "log_joint", "log_prob": "posterior"}
    return [Fault(fields[name], what[name]) for name, is_wrong in found.items() if is_wrong]


def _patterns(k: int, batch: int) -> list[Tensor]:
    """Which samples are replaced, bool (K, B): two patterns in which (i, j) and (j, i) are never treated alike."""
    generator = torch.Generator().manual_seed(0)
    side = max(k, batch)
    upper = torch.rand(2, side, side, generator=generator).lt(0.5).triu(1)
    lower = (~upper).triu(1).mT
    diagonal = torch.diag_embed(torch.rand(2, side, generator=generator).lt(0.5))
    patterns = list((upper | lower | diagonal)[:, :k, :batch])
    # Alike over one axis, so that what mixes the other is seen with two samples, too.
    return [*patterns, (torch.arange(k) % 2 == 0)[:, None].expand(k, batch)]


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Where two log-densities differ by more than rounding."""
    tolerance = 64.0 * torch.finfo(one.dtype).eps * (1.0 + one.abs())
    same = (one == other) | ((one - other).abs() <= tolerance) | (one.isnan() & other.isnan())
    return ~same


# The score identity: E[f(z) d log q / d phi] = E[f'(z) dz / d phi] for every f, unless q has density where it moves.


def _support_moves(draw: Samples, posterior: Distribution) -> bool:
    if not draw.unfolded.base.has_rsample:
        return _declares_it(posterior)
    with torch.random.fork_rng(devices=[draw.start.device] if draw.start.is_cuda else []):
        return _gap(draw)


def _declares_it(posterior: Distribution) -> bool:
    """Whether a bound of its support requires grad."""
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


def _gap(draw: Samples) -> bool:
    """Whether the identity fails, for three functions: 1, and two that are largest at the ends of each coordinate."""
    one = max(1, draw.start[0].numel())
    half = _GROUPS * max(4, min(_SIZE // one, 4096) // (2 * _GROUPS))
    start = draw.unfolded.draw(2 * half, has_path=True)
    if start.shape[0] != 2 * half:
        return False
    located = locate(draw.unfolded, start, has_path=True, apart=True)
    rows = located.log_q.shape
    live, leaf = located.live.reshape(*rows, -1), located.leaf.detach().reshape(*rows, -1)
    of_q, of_z = ends_before_compiled(located.log_q), ends_before_compiled(located.live)
    of_q.pop(located.leaf, None)
    both = {key: end for key, end in of_q.items() if key in of_z}
    if not both:
        return False
    can_be_told = _light_tailed(located, half)
    # Not the extremes, on which a function would rest that few samples see; beyond these it is constant.
    ordered = leaf[:half].sort(dim=0).values
    low, high = ordered[half // 20], ordered[-1 - half // 20]
    width = (high - low).clamp_min(torch.finfo(leaf.dtype).tiny)

    def at_low(z: Tensor) -> Tensor:
        return (can_be_told * ((high - torch.minimum(torch.maximum(z, low), high)) / width).pow(4)).sum(-1)

    def at_high(z: Tensor) -> Tensor:
        return (can_be_told * ((torch.minimum(torch.maximum(z, low), high) - low) / width).pow(4)).sum(-1)

    tried: list[tuple[Function | None, Ends]] = [(at_low, both), (at_high, both)]
    if can_be_told.all():
        tried.append((None, of_q))
    return any(_fails(f, live, leaf, located.log_q, list(ends.values()), half) for f, ends in tried)


def _light_tailed(located: Located, half: int) -> Tensor:
    """Coordinates whose d log q / d z is not made by a few samples alone, as 0 and 1, of the shape of one latent.

    Where it is, as for a density that vanishes at a border slowly, the mean score is 0 by samples that are not seen.
    """
    if not located.leaf.requires_grad:
        return torch.ones(())
    (slope,) = torch.autograd.grad(located.log_q.sum(), located.leaf, retain_graph=True, materialize_grads=True)
    squares = slope.reshape(*located.log_q.shape, -1).double().square().flatten(0, 1).sort(dim=0).values
    share = squares[-max(1, squares.shape[0] // 100) :].sum(0) / squares.sum(0).clamp_min(1e-300)
    return (share < _FEW).to(slope.dtype)


def _fails(f: Function | None, live: Tensor, leaf: Tensor, log_q: Tensor, ends: list[Any], half: int) -> bool:
    """The identity's t along a direction that the first half of the samples shows, at the second half."""
    weighed = log_q if f is None else f(leaf) * log_q
    moved = None if f is None else f(live)

    def gradient(value: Tensor) -> Tensor:
        found = torch.autograd.grad(value, ends, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found]).double()

    score = gradient(weighed[:half].mean())
    path = torch.zeros_like(score) if moved is None else gradient(moved[:half].mean())
    direction = score - path
    length, size = _norm(direction), _norm(score) + _norm(path)
    if length == 0.0 or not size < float("inf"):
        return False
    means: list[float] = []
    for group in range(_GROUPS):
        part = slice(half + group * half // _GROUPS, half + (group + 1) * half // _GROUPS)
        value = weighed[part].mean() if moved is None else (weighed[part] - moved[part]).mean()
        means.append(float(gradient(value) @ direction) / length)
    found = torch.tensor(means, dtype=torch.float64)
    mean, stderr = float(found.mean()), float(found.std()) / _GROUPS**0.5
    return mean > _NOTICEABLE * size and mean > _SURELY * stderr


def _norm(vector: Tensor) -> float:
    return float(vector.square().sum().sqrt())
