"""A check, by trial, that the rows (k, b) of a log_joint and a log_prob depend only on their own samples."""

from collections.abc import Callable

import torch
from torch import Tensor

from dregcli.engine.checks.row_patterns import row_patterns, rows_differ
from dregcli.engine.own.samples import Samples
from dregcli.errors import Fault, SpecError

Densities = Callable[[Tensor], tuple[Tensor, Tensor]]
"""log p and log q of base samples, each (K, B), detached."""

_FIELDS = ("log_joint", "posterior")
_WRONG = (
    "log p of a sample changes when only other samples change, or with its place among the K samples. Entry (k, b) "
    "must depend on sample (k, b) and example b alone. Look for BatchNorm in training mode, for a sum, mean or "
    "softmax over the first two axes, and for a view, repeat or transpose that swaps K and B.",
    "log q of a sample changes when only other samples change. Entry (k, b) must depend on sample (k, b) alone. Look "
    "for batch statistics in log_prob or in a transform.",
)


def row_faults(draw: Samples, *, insist: bool) -> list[Fault]:
    """Replace samples in some patterns and check that the others' log-densities stay; then change the samples' order.

    Args:
        draw: the samples and their densities.
        insist: True raises an error if the check is impossible; False then reports no fault.

    Raises:
        SpecError: the log_joint has a state of its own, so that it returns other values for the same samples.
    """
    start = draw.start.detach()
    k, batch = start.shape[:2]
    if k * batch == 1:
        return []
    with torch.random.fork_rng(devices=[start.device] if start.is_cuda else []):
        evaluate = _densities_of(draw, start)

        def densities(value: Tensor) -> tuple[Tensor, Tensor]:
            with draw.replay():
                return evaluate(value)

        before, again = densities(start), densities(start)
        if any(bool(rows_differ(one, other).any()) for one, other in zip(before, again, strict=True)):
            if insist:
                message = "it returns other values for the same samples and random numbers, so that its rows cannot "
                message += "be checked: it has a state, or random numbers of its own."
                raise SpecError([Fault("log_joint", message)], hint="leave check=True out")
            return []
        # Draw another number of samples, since a sampler may cache its noise by size.
        other = draw.unfolded.draw(k + 1, has_path=False)[1:].to(start.dtype)
        wrong = [False, False]
        for pattern in row_patterns(k, batch):
            replaced = pattern.to(start.device)
            mixed = torch.where(replaced.reshape(k, batch, *(1,) * (start.ndim - 2)), other, start)
            for i, after in enumerate(densities(mixed)):
                wrong[i] |= bool((rows_differ(before[i], after) & ~replaced).any())
        # Only a changed order shows which example a sample belongs to. Random numbers (dropout) have an order, too.
        if k > 1 and not draw.replay.moves(lambda: evaluate(start)):
            rolled = densities(start.roll(1, dims=0))[0]
            wrong[0] |= bool(rows_differ(before[0].roll(1, dims=0), rolled).any())
    return [Fault(_FIELDS[i], _WRONG[i]) for i in range(2) if wrong[i]]


def _densities_of(draw: Samples, start: Tensor) -> Densities:
    """Return the densities without graphs, which cost memory, unless log_joint itself needs autograd."""

    def without_graph(value: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return draw.densities(value)

    def with_graph(value: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            log_p, log_q = draw.densities(value.detach().requires_grad_(draw.start.requires_grad))
        return log_p.detach(), log_q.detach()

    try:
        without_graph(start)
    except RuntimeError:
        return with_graph
    return without_graph
