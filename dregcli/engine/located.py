"""Samples of any torch posterior and their log q, which separates dependence on z from the rest."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from dregcli.engine.pairs import examples_in_words
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.reach import Reach
from dregcli.engine.wide import widened
from dregcli.errors import Fault, NotFinite, SpecError


@dataclass(frozen=True)
class Located:
    """Samples of a posterior and their log-density.

    Transforms without parameters do not change a gradient: if their input is fixed, z is fixed. So the samples are
    taken before the last transforms if these have no parameters, because there rounding has lost less.

    Attributes:
        live: the samples, (samples, B, ...), on the posterior's graph, before the last transforms.
        leaf: the same numbers, detached from that graph.
        z: the samples that log_joint takes, computed from the leaf.
        log_q: log q(z | x), nats, (samples, B).
        is_apart: True if log_q is a function of the leaf. If False, log_q is a function of ``live``, so that its
            gradient by the posterior's parameters includes the gradient along the sample's path.
        first: number of transforms that come before ``live``.
    """

    live: Tensor
    leaf: Tensor
    z: Tensor
    log_q: Tensor
    is_apart: bool
    first: int


def locate(unfolded: Unfolded, start: Tensor, *, has_path: bool, apart: bool) -> Located:
    """Compute the density of base samples from the values on their way to z, without any inverse.

    Args:
        unfolded: the posterior.
        start: base samples, on the posterior's graph.
        has_path: whether a gradient will pass through the samples.
        apart: whether path and score must be separated. If not, a flow without an inverse is enough.

    Raises:
        NotFinite: path and score cannot be separated, since the transforms' slope is 0 or infinite in floating point.
        SpecError: path and score cannot be separated, since a transform without an inverse changes the number of
            coordinates.
    """
    leaf = _cut(start, has_path=has_path)
    after = unfolded.pushed(leaf)
    first = 0
    if torch.is_grad_enabled():
        lively = [i for i, value in enumerate(after) if Reach.of(value).leaves - {leaf}]
        first = max(lively, default=0)
    if first == 0:
        return Located(start, leaf, after[-1], unfolded.log_density(after), is_apart=True, first=0)
    before = unfolded.pushed(start, last=first)
    along = unfolded.log_density(before)
    live = before[-1]
    leaf = _cut(live, has_path=has_path)
    after = unfolded.pushed(leaf, first=first)
    log_q = _apart(unfolded, start, live, leaf, along, first) if apart else along
    return Located(live, leaf, after[-1], unfolded.spread(log_q, after, first=first), apart, first)


def _cut(live: Tensor, *, has_path: bool) -> Tensor:
    leaf = live.detach()
    if has_path and live.requires_grad:
        # The loss's backward pass reaches the leaf again. The gradient summed there is useless and has K x B rows.
        forgetting(leaf)
    return leaf


def forgetting(leaf: Tensor) -> Tensor:
    """Make a tensor require grad without a ``grad`` that stays."""
    leaf.requires_grad_().register_post_accumulate_grad_hook(_forget)
    return leaf


def _forget(leaf: Tensor) -> None:
    leaf.grad = None


def _apart(unfolded: Unfolded, start: Tensor, live: Tensor, leaf: Tensor, along: Tensor, first: int) -> Tensor:
    """Return the log-density ``along`` the samples as a function of the leaf, and of parameters at a fixed leaf.

    The inverse is used where it agrees with the values on the way to the leaf. Otherwise a first-order term is added:
    its value is 0, and it moves all dependence on z from the live samples to the leaf. Its factor, d log q / d z,
    costs one backward pass through the transforms for each latent dimension.
    """
    try:
        inverse = unfolded.log_density_by_inverse(leaf, steps=first)
    except (NotImplementedError, KeyError):
        inverse = torch.full_like(along, torch.nan)
    tolerance = torch.finfo(along.dtype).eps ** 0.5 * (1.0 + along.detach().abs())
    if ((inverse - along).detach().abs() <= tolerance).all():
        return inverse + (along - inverse).detach()
    moved = _slope(unfolded, start.detach(), first) * (leaf - live)
    return along + moved.reshape(*along.shape, -1).sum(-1)


def _slope(unfolded: Unfolded, start: Tensor, first: int) -> Tensor:
    """Return d log q / d x_first at fixed parameters, from the transforms' Jacobian at the base samples."""
    start.requires_grad_()
    values = unfolded.pushed(start, last=first)
    density = unfolded.log_density(values)
    rows, shape = density.shape, values[-1].shape
    by_start = torch.zeros_like(start)
    if density.requires_grad:
        (by_start,) = torch.autograd.grad(density.sum(), start, retain_graph=True, materialize_grads=True)
    outputs = values[-1].reshape(*rows, -1)
    if outputs.shape[-1] != start[0, 0].numel():
        message = "a transform without an inverse changes the number of coordinates of a sample."
        raise SpecError([Fault("posterior", f"{message} Use estimator 'reparam', which needs no inverse.")])
    jacobian = [
        torch.autograd.grad(outputs[..., i].sum(), start, retain_graph=True)[0].reshape(*rows, -1)
        for i in range(outputs.shape[-1])
    ]
    matrix = widened(torch.stack(jacobian, dim=-1))  # d output_j / d input_i at [..., i, j]
    solved = cast("Tensor", torch.linalg.solve_ex(matrix, widened(by_start.reshape(*rows, -1, 1)))[0])
    slope = solved.to(density).reshape(shape)
    broken = ~torch.isfinite(slope).reshape(*rows, -1).all(-1).all(0)
    if broken.any():
        what = "d log q / d z is not finite: a transform of the posterior is flat in floating point at its samples."
        where = examples_in_words(broken)
        hint = "use estimator 'reparam', which does not need this slope, float64, or a posterior that saturates less"
        raise NotFinite(what, where=where, hint=hint)
    return slope
