"""Log-densities of bits from logits, which torch's Bernoulli computes several times slower."""

from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.likelihoods.bernoulli import Bernoulli as BernoulliLikelihood

_LIKELIHOOD: Final = BernoulliLikelihood()


def log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """Return the log-density of samples, (K', B', ...), nats: as ``distribution.log_prob`` but for rounding.

    The log-density of bits is a sum of h*l + log(1 - sigmoid(l)). If the logits do not depend on the sample, the
    first term is a product of matrices, and the second one is computed once for all samples.
    """
    logits = logits_of_bits(distribution)
    # The fused density has no derivative by its bits, which relaxed bits, between 0 and 1, need.
    if logits is None or value.requires_grad or value.dtype != logits.dtype or value.ndim < 2:
        return distribution.log_prob(value)
    batch, width = tuple(distribution.batch_shape), distribution.event_shape.numel()
    rows = value.shape[:2]
    logits, bits = logits.reshape(*batch, width), value.reshape(*rows, -1)
    if bits.shape[-1] == width:
        if batch == rows:
            return _LIKELIHOOD.log_prob(logits, bits)
        if batch == ():
            return bits @ logits + _log_of_zeros(logits)
        if batch == rows[1:]:
            return torch.einsum("kbd,bd->kb", bits, logits) + _log_of_zeros(logits)
    return distribution.log_prob(value)


def _log_of_zeros(logits: Tensor) -> Tensor:
    """Return the log-probability that all bits are 0. Torch's softplus would be 1e-9 off at a logit of 20."""
    return torch.nn.functional.logsigmoid(-logits).sum(dim=-1)


def logits_of_bits(distribution: Distribution) -> Tensor | None:
    """Return the logits of torch's own Bernoulli, possibly in Independent; None for any other distribution."""
    base = cast("Any", distribution)
    while type(base) is Independent:
        base = cast("Any", base).base_dist
    return base.__dict__.get("logits") if type(base) is Bernoulli else None
