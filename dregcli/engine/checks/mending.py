"""Distributions of a user's programs with the axes that they should have, where the meaning is clear."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from dregcli.engine.checks.finding import Finding, Place, error
from dregcli.engine.programs.densities import Rows


def mended_q(q: Distribution, rows: Rows, name: str, place: Place | None) -> tuple[Distribution, list[Finding]]:
    """Return a posterior of batch_shape (B,) or (K, B); axes after these become its event."""
    shape = tuple(q.batch_shape)
    for good in (rows[1:], rows):
        if shape == good:
            return q, []
    for good in (rows, rows[1:]):
        if shape[: len(good)] == good:
            extra = len(shape) - len(good)
            what = f"q of '{name}' has batch_shape {shape}; it must be (B,) = ({rows[1]},), or (K, B) = {rows} if it "
            what += "depends on an earlier latent."
            return Independent(q, extra), [error("shape", what, _wrap(extra), place)]
    return q, []  # the engine reports it


def mended_prior(p: Distribution, z: Tensor, name: str, place: Place | None) -> tuple[Distribution, list[Finding]]:
    """Return a prior with the event_shape of the latent."""
    event, shape = tuple(z.shape[2:]), tuple(p.event_shape)
    if shape == event:
        return p, []
    what = f"The prior of '{name}' has event_shape {shape}, but the posterior draws values of shape {event}."
    missing = len(event) - len(shape)
    if missing > 0 and (*tuple(p.batch_shape)[-missing:], *shape) == event:
        return Independent(p, missing), [error("event-shape", what, _wrap(missing), place)]
    change = "Give both distributions of this latent the same event_shape."
    return p, [error("event-shape", what, change, place)]


def mended_likelihood(
    p: Distribution, rows: Rows, width: int, place: Place | None
) -> tuple[Distribution | None, list[Finding]]:
    """Return a likelihood of batch_shape (K, B), or None if no axes can be meant."""
    shape, event = tuple(p.batch_shape), p.event_shape
    if shape == rows and event.numel() == width:
        return p, []
    what = f"p(x | z) must have batch_shape (K, B) = {rows} and an event of {width} values, but it has batch_shape "
    what += f"{shape} and event_shape {tuple(event)}."
    extra = len(shape) - 2
    if extra > 0 and shape[:2] == rows and torch.Size((*shape[2:], *event)).numel() == width:
        return Independent(p, extra), [error("shape", what, _wrap(extra), place)]
    change = "Return a distribution with one batch entry for each sample of each example."
    if len(shape) < 2 and (*shape, *event)[:2] == rows:
        change = "Give Independent fewer axes: K and B must stay in the batch_shape, or they are summed over."
    return None, [error("shape", what, change, place)]


def _wrap(axes: int) -> str:
    return f"Wrap it in torch.distributions.Independent(..., {axes})."
