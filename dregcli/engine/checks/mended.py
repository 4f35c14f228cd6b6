"""Distributions of the wrong shape: what is wrong, and the distribution that was meant, so that checks can follow."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from dregcli.engine.checks.finding import Finding, Place, error
from dregcli.engine.programs.densities import Rows, density_faults
from dregcli.errors import Fault, SpecError


def of_engine(refusal: SpecError, place: Place | None) -> list[Finding]:
    """Return the engine's faults as findings."""
    change = (
        f"{refusal.hint[0].upper()}{refusal.hint[1:]}." if refusal.hint else "Write the programs as LatentModel says."
    )
    return [_of_fault(_with_subject(each), change, place) for each in refusal.faults]


def of_densities(field_: str, what: str, found: Tensor, rows: Rows, place: Place | None) -> list[Finding]:
    """Return faults in the shape and the type of log-densities as findings."""
    change = "A log-density is one number for each sample of each example: sum over the event, never over K or B."
    return [_of_fault(each.message, change, place) for each in density_faults(field_, what, found, rows)]


def _with_subject(fault: Fault) -> str:
    """Return a fault's message as a whole sentence."""
    return f"the program '{fault.field}'{fault.message[2:]}" if fault.message.startswith("it ") else fault.message


def _of_fault(message: str, change: str, place: Place | None) -> Finding:
    what = f"{message[0].upper()}{message[1:]}"
    if "float32 or float64" in message:
        what, _, change = what.partition(" Leave autocast")
        return error("half-precision", what, f"Leave autocast{change}", place)
    return error("shape" if "shape" in message else "contract", what, change, place)


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
