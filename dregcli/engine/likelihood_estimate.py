"""What importance weights say of log p(x): bounds at many K from one pass, and how far they can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.diagnostics.pareto import pareto_shape
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.objectives.jvi import Jvi
from dregcli.engine.weights import effective_sample_size, log_mean_exp

_JACKKNIFE = Jvi(order=1)


@dataclass(frozen=True)
class Curve:
    """Estimates of log p(x) at several K, from disjoint groups of the same draws.

    Attributes:
        bound: the IWAE bound, shape (C, B) for C values of K, float64, nats.
        jackknife: the jackknife of it (JVI of order 1), which is no bound, shape (C, B); NaN at K = 1.
    """

    bound: Tensor
    jackknife: Tensor


def curve(log_w: Tensor, ks: Sequence[int]) -> Curve:
    """Bounds at several K: of the draws' whole groups of K samples, each group's bound averaged over groups.

    All are of the same draws, so that their differences have little noise, and the smaller K the less there is.

    Args:
        log_w: log-weights, shape (K, B), float64, nats.
        ks: each from 1 to K; where one does not divide K, the draws beyond its last whole group are left out of it.
    """
    examples = log_w.shape[1]
    bounds: list[Tensor] = []
    jackknives: list[Tensor] = []
    for k in ks:
        groups = log_w.shape[0] // k
        grouped = log_w[: groups * k].reshape(groups, k, examples)
        # (K, groups x B): what every function of log-weights takes.
        columns = grouped.transpose(0, 1).reshape(k, groups * examples)
        bounds.append(log_mean_exp(columns).reshape(groups, examples).mean(dim=0))
        if k < _JACKKNIFE.smallest_k:
            jackknives.append(torch.full_like(bounds[-1], math.nan))
        else:
            jackknives.append(_JACKKNIFE.value(columns).reshape(groups, examples).mean(dim=0))
    return Curve(torch.stack(bounds), torch.stack(jackknives))


@dataclass(frozen=True)
class BatchEstimates:
    """What R independent passes over one batch gave; all float64, log-densities in nats.

    Attributes:
        bound: the IWAE bound, shape (C, R, B) for C values of K.
        jackknife: see ``Curve``, shape (C, R, B).
        ess: effective sample size at the largest K, shape (R, B).
        khat: see ``pareto_shape``, shape (R, B); None where K is too small.
        elbo: the mean log-weight, an estimate of the ELBO, shape (R, B).
        kl_prior: KL(q(z | x) || p(z)), exact, shape (B,); of a conditional prior to p(z | c).
        means: the posterior's means, shape (B, Z).
        model_log_p: the model's exact log p(x), shape (B,), where it is known.
    """

    bound: Tensor
    jackknife: Tensor
    ess: Tensor
    khat: Tensor | None
    elbo: Tensor
    kl_prior: Tensor
    means: Tensor
    model_log_p: Tensor | None


@torch.no_grad()
def estimate(batch: SeenBatch, ks: Sequence[int], *, repeats: int, k_chunk: int | None) -> BatchEstimates:
    """Importance estimates of log p(x) of a batch.

    Args:
        batch: the examples.
        ks: samples per example, ascending; the largest is drawn, and the others are of its groups.
        repeats: independent passes, R.
        k_chunk: samples in one pass over rows; None is all of them at once.
    """
    curves: list[Curve] = []
    ess: list[Tensor] = []
    khat: list[Tensor] = []
    elbo: list[Tensor] = []
    for repeat in range(repeats):
        log_w = batch.log_weights(k=ks[-1], k_chunk=k_chunk, repeat=repeat)
        curves.append(curve(log_w, ks))
        ess.append(effective_sample_size(log_w))
        elbo.append(log_w.mean(dim=0))
        if (shape := pareto_shape(log_w)) is not None:
            khat.append(shape)
    return BatchEstimates(
        bound=torch.stack([each.bound for each in curves], dim=1),
        jackknife=torch.stack([each.jackknife for each in curves], dim=1),
        ess=torch.stack(ess),
        khat=torch.stack(khat) if khat else None,
        elbo=torch.stack(elbo),
        kl_prior=batch.posterior.kl_from(batch.model.latent_prior(batch.pixels)),
        means=batch.posterior.loc.double(),
        model_log_p=batch.model.log_marginal(batch.pixels),
    )
