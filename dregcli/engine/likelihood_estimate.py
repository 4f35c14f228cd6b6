"""What importance weights say of log p(x): bounds at many K from one pass, and how far they can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.diagnostics.pareto import pareto_shape
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.objectives.jvi import Jvi
from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp

_JACKKNIFE = Jvi(order=1)


@dataclass(frozen=True)
class Curve:
    """Estimates of log p(x) at several K, from disjoint groups of the same draws.

    Attributes:
        bound: the IWAE bound, shape (C, B) for C values of K, float64, nats.
        jackknife: the jackknife of it (JVI of order 1), which is no bound, shape (C, B); NaN at K = 1.
        squares: the sum over groups of squared deviations of a group's bound from ``bound``, shape (C, B); 0 of a
            single group. Groups are independent: what it says of the bound's chance holds whatever the weights.
    """

    bound: Tensor
    jackknife: Tensor
    squares: Tensor


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
    squares: list[Tensor] = []
    for k in ks:
        columns = _columns(log_w, k)
        of_groups = log_mean_exp(columns).reshape(-1, examples)
        bounds.append(of_groups.mean(dim=0))
        squares.append((of_groups - bounds[-1]).square().sum(dim=0))
        if k < _JACKKNIFE.smallest_k:
            jackknives.append(torch.full_like(bounds[-1], math.nan))
        else:
            jackknives.append(_JACKKNIFE.value(columns).reshape(-1, examples).mean(dim=0))
    return Curve(torch.stack(bounds), torch.stack(jackknives), torch.stack(squares))


def _columns(log_w: Tensor, k: int) -> Tensor:
    """The whole groups of K draws as columns, (K, groups x B): what every function of log-weights takes."""
    examples = log_w.shape[1]
    groups = log_w.shape[0] // k
    return log_w[: groups * k].reshape(groups, k, examples).transpose(0, 1).reshape(k, groups * examples)


def rises(log_w: Tensor) -> Tensor | None:
    """What the bound rises by at each of the three last doublings of K, up to all draws, shape (3, B), nats.

    Of the same draws, so that there is little noise in it; what 8 does not divide is left out. How fast they shrink
    says what is still missing. None of fewer than eight.
    """
    eighth, examples = log_w.shape[0] // 8, log_w.shape[1]
    if not eighth:
        return None
    of_groups = log_mean_exp(_columns(log_w[: 8 * eighth], eighth)).reshape(8, examples)
    bounds = [of_groups.mean(dim=0)]
    while len(of_groups) > 1:
        of_groups = torch.logaddexp(of_groups[0::2], of_groups[1::2]) - math.log(2.0)
        bounds.append(of_groups.mean(dim=0))
    return torch.stack(bounds).diff(dim=0)


@dataclass(frozen=True)
class BatchEstimates:
    """What R independent passes over one batch gave; all float64, log-densities in nats.

    Attributes:
        bound: the IWAE bound, shape (C, R, B) for C values of K.
        jackknife: see ``Curve``, shape (C, R, B).
        squares: see ``Curve``, shape (C, R, B).
        left_out: see ``left_out_variance``, of the bound at the largest K, shape (R, B).
        rises: see ``rises``, shape (3, R, B); None where K is too small.
        ess: effective sample size at the largest K, shape (R, B).
        khat: see ``pareto_shape``, shape (R, B); None where K is too small.
        elbo: the mean log-weight, an estimate of the ELBO, shape (R, B).
        kl_prior: KL(q(z | x) || p(z)), exact, shape (B,); of a conditional prior to p(z | c).
        means: the posterior's means, shape (B, Z).
        model_log_p: the model's exact log p(x), shape (B,), where it is known.
    """

    bound: Tensor
    jackknife: Tensor
    squares: Tensor
    left_out: Tensor
    rises: Tensor | None
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
    left_out: list[Tensor] = []
    risen: list[Tensor] = []
    ess: list[Tensor] = []
    khat: list[Tensor] = []
    elbo: list[Tensor] = []
    for repeat in range(repeats):
        log_w = batch.log_weights(k=ks[-1], k_chunk=k_chunk, repeat=repeat)
        curves.append(curve(log_w, ks))
        left_out.append(left_out_variance(log_w))
        if (rise := rises(log_w)) is not None:
            risen.append(rise)
        ess.append(effective_sample_size(log_w))
        elbo.append(log_w.mean(dim=0))
        if (shape := pareto_shape(log_w)) is not None:
            khat.append(shape)
    return BatchEstimates(
        bound=torch.stack([each.bound for each in curves], dim=1),
        jackknife=torch.stack([each.jackknife for each in curves], dim=1),
        squares=torch.stack([each.squares for each in curves], dim=1),
        left_out=torch.stack(left_out),
        rises=torch.stack(risen, dim=1) if risen else None,
        ess=torch.stack(ess),
        khat=torch.stack(khat) if khat else None,
        elbo=torch.stack(elbo),
        kl_prior=batch.posterior.kl_from(batch.model.latent_prior(batch.pixels)),
        means=batch.posterior.loc.double(),
        model_log_p=batch.model.log_marginal(batch.pixels),
    )
