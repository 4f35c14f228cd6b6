"""Training as one would write it from the paper (arXiv 1810.04152), in plain torch: two losses, two backward passes.

Nothing of dregcli is imported: neither its engine nor its words. Each way of training is a function from the
log-weights of a step to two losses, theta's and phi's, and autograd does the rest. Weights in front of a gradient are
detached. l = log w, v = softmax(l) over K, L = logsumexp(l) - log K.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

Parameters = Mapping[str, Tensor]
Batch = tuple[Tensor, Tensor]
"""Pixels, (B, D), and standard normal noise, (K, B, Z)."""


@dataclass(frozen=True)
class LogWeights:
    """Log-weights of a step's samples, each (K, B): the same values with different derivatives by phi.

    Attributes:
        live: q's mean and scale are differentiated in the samples and in log q.
        path: they are differentiated in the samples only.
        log_q: log q of the samples held fixed: mean and scale are differentiated.
    """

    live: Tensor
    path: Tensor
    log_q: Tensor


Losses = Callable[[LogWeights], tuple[Tensor, Tensor]]
"""Theta's loss and phi's loss of each example, (B,)."""


def log_weights(parameters: Parameters, mean: Tensor, pixels: Tensor, noise: Tensor) -> LogWeights:
    """Sample and weigh: q is N(loc, softplus(raw + 1/4)^2), the prior is standard normal, pixels are Bernoulli."""
    loc, raw = _network(parameters, "encoder", pixels - mean).chunk(2, dim=-1)
    scale = softplus(raw + 0.25)
    z = loc + scale * noise
    logits = _network(parameters, "decoder", z)
    cross = binary_cross_entropy_with_logits(logits, pixels.expand_as(logits), reduction="none").sum(-1)
    log_p = _log_normal(z, torch.zeros_like(loc), torch.ones_like(scale)) - cross
    return LogWeights(
        live=log_p - _log_normal(z, loc, scale),
        path=log_p - _log_normal(z, loc.detach(), scale.detach()),
        log_q=_log_normal(z.detach(), loc, scale),
    )


def bound(log_w: Tensor) -> Tensor:
    """L, (B,)."""
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def without_each(log_w: Tensor) -> Tensor:
    """Log-weights with each sample left out in turn, that one at -inf; (K left out, K, B)."""
    k = log_w.shape[0]
    return log_w.expand(k, *log_w.shape).masked_fill(torch.eye(k, dtype=torch.bool).unsqueeze(-1), -math.inf)


def jackknife(log_w: Tensor) -> Tensor:
    """K L - (K - 1) times the mean of the bounds of K - 1 samples; (B,)."""
    k = log_w.shape[0]
    parts = torch.logsumexp(without_each(log_w), dim=1) - math.log(k - 1)
    return k * bound(log_w) - (k - 1) * parts.mean(dim=0)


def weighted(weights: Tensor, terms: Tensor) -> Tensor:
    """The loss whose descent ascends ``terms`` by weights held fixed; (B,)."""
    return -(weights.detach() * terms).sum(dim=0)


def iwae_reparam(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """L for both networks."""
    return -bound(log_w.live), -bound(log_w.live)


def iwae_stl(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """L, where log q's own parameters are held fixed."""
    return -bound(log_w.live), -bound(log_w.path)


def iwae_dreg(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """Equation 6 of the paper: the squared weights on the path."""
    return -bound(log_w.live), weighted(log_w.live.softmax(0).square(), log_w.path)


def rws_reparam(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """Reweighted wake-sleep with its wake update of phi: v on log q of the samples held fixed."""
    return -bound(log_w.live), weighted(log_w.live.softmax(0), log_w.log_q)


def rws_dreg(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """The same update by v - v^2 on the path."""
    v = log_w.live.softmax(0)
    return -bound(log_w.live), weighted(v - v.square(), log_w.path)


def jvi_reparam(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """The jackknife of order 1 for both networks."""
    return -jackknife(log_w.live), -jackknife(log_w.live)


def jvi_dreg(log_w: LogWeights) -> tuple[Tensor, Tensor]:
    """The squared weights of every part of the jackknife, inside the part, on the path."""
    k = len(log_w.live)
    squares = without_each(log_w.live).softmax(1).square().sum(dim=0)
    weights = k * log_w.live.softmax(0).square() - (k - 1) / k * squares
    return -jackknife(log_w.live), weighted(weights, log_w.path)


def train(start: Parameters, mean: Tensor, batches: Iterable[Batch], losses: Losses, *, lr: float) -> list[float]:
    """Train by Adam, one step for each batch.

    Args:
        start: the parameters, ``encoder.0.weight`` and so on; these tensors are trained.
        mean: mean of the training pixels, (D,), which the encoder's input is centred by.
        batches: pixels and noise of each step.
        losses: theta's and phi's.
        lr: learning rate.

    Returns:
        The bound of each step before its update, as a mean over examples, nats.
    """
    theta, phi = (
        [each.requires_grad_() for name, each in start.items() if name.startswith(network)]
        for network in ("decoder.", "encoder.")
    )
    adam = torch.optim.Adam([*theta, *phi], lr=lr)
    bounds: list[float] = []
    for pixels, noise in batches:
        log_w = log_weights(start, mean, pixels, noise)
        of_theta, of_phi = losses(log_w)
        gradients = [
            *torch.autograd.grad(of_theta.mean(), theta, retain_graph=True),
            *torch.autograd.grad(of_phi.mean(), phi),
        ]
        for parameter, gradient in zip([*theta, *phi], gradients, strict=True):
            parameter.grad = gradient
        adam.step()
        bounds.append(float(bound(log_w.live.detach()).mean()))
    return bounds


def _network(parameters: Parameters, name: str, inputs: Tensor) -> Tensor:
    """Linear layers with tanh between them."""
    for i in range(sum(each.startswith(f"{name}.") for each in parameters) // 2):
        weight, bias = parameters[f"{name}.{i}.weight"], parameters[f"{name}.{i}.bias"]
        inputs = (torch.tanh(inputs) if i else inputs) @ weight.T + bias
    return inputs


def _log_normal(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(z; loc, scale^2) over the last axis."""
    return -(((z - loc) / scale).square() / 2 + scale.log() + math.log(2 * math.pi) / 2).sum(-1)
