"""Estimates of log p(x) from importance weights: bounds at many K from one pass, and how reliable they are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.diagnostics.pareto import pareto_shape
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.objectives.jvi import Jvi
from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp
from dregcli.names import EvalNoise

_JACKKNIFE = Jvi(order=1)


@dataclass(frozen=True)
class Curve:
    """Estimates of log p(x) at several K, from disjoint groups of the same draws.

    Attributes:
        bound: the IWAE bound, shape (C, B) for C values of K, float64, nats.
        jackknife: the jackknife of the bound (JVI of order 1), which is not a bound, shape (C, B); NaN at K = 1.
        squares: sum over groups of squared deviations of a group's bound from ``bound``, shape (C, B); 0 for a single
            group. Groups are independent, so the bound's error computed from it is right for any weights.
    """

    bound: Tensor
    jackknife: Tensor
    squares: Tensor


def curve(log_w: Tensor, ks: Sequence[int]) -> Curve:
    """Compute bounds at several K: the draws are cut into groups of K samples, and the groups' bounds are averaged.

    All bounds use the same draws, so that their differences have little noise; the smaller K is, the less noise.

    Args:
        log_w: log-weights, shape (K, B), float64, nats.
        ks: numbers from 1 to K. If one does not divide K, its bound omits the draws beyond the last whole group.
    """
    examples = log_w.shape[1]
    bounds: list[Tensor] = []
    jackknives: list[Tensor] = []
    squares: list[Tensor] = []
    for k in ks:
        columns = columns_of(log_w, k)
        of_groups = log_mean_exp(columns).reshape(-1, examples)
        bounds.append(of_groups.mean(dim=0))
        squares.append((of_groups - bounds[-1]).square().sum(dim=0))
        if k < _JACKKNIFE.smallest_k:
            jackknives.append(torch.full_like(bounds[-1], math.nan))
        else:
            jackknives.append(_JACKKNIFE.value(columns).reshape(-1, examples).mean(dim=0))
    return Curve(torch.stack(bounds), torch.stack(jackknives), torch.stack(squares))


def _one_bound(log_w: Tensor) -> Curve:
    """Return the bound of samples that depend on each other: they have no groups, and the jackknife is not known."""
    bound = log_mean_exp(log_w).unsqueeze(0)
    return Curve(bound, torch.full_like(bound, math.nan), torch.zeros_like(bound))


def columns_of(log_w: Tensor, k: int) -> Tensor:
    """Return the whole groups of K draws as columns, (K, groups x B), as functions of log-weights take them."""
    examples = log_w.shape[1]
    groups = log_w.shape[0] // k
    return log_w[: groups * k].reshape(groups, k, examples).transpose(0, 1).reshape(k, groups * examples)


def rises(log_w: Tensor) -> Tensor | None:
    """Return the bound's rise at each of the last three doublings of K, up to all draws, shape (3, B), nats.

    All bounds use the same draws, so that the rises have little noise; draws beyond a multiple of 8 are omitted. The
    speed at which the rises shrink shows how much is still missing. None with fewer than eight draws.
    """
    eighth, examples = log_w.shape[0] // 8, log_w.shape[1]
    if not eighth:
        return None
    of_groups = log_mean_exp(columns_of(log_w[: 8 * eighth], eighth)).reshape(8, examples)
    bounds = [of_groups.mean(dim=0)]
    while len(of_groups) > 1:
        of_groups = torch.logaddexp(of_groups[0::2], of_groups[1::2]) - math.log(2.0)
        bounds.append(of_groups.mean(dim=0))
    return torch.stack(bounds).diff(dim=0)


@dataclass(frozen=True)
class BatchEstimates:
    """Results of R independent passes over one batch; all float64, log-densities in nats.

    Attributes:
        bound: the IWAE bound, shape (C, R, B) for C values of K.
        jackknife: see ``Curve``, shape (C, R, B).
        squares: see ``Curve``, shape (C, R, B).
        left_out: variance of the bound at the largest K, see ``left_out_variance``, shape (R, B); None if samples
            depend on each other.
        rises: see ``rises``, shape (3, R, B); None if K is too small, or if samples depend on each other.
        ess: effective sample size at the largest K, shape (R, B).
        khat: see ``pareto_shape``, shape (R, B); None if K is too small, or if samples depend on each other.
        elbo: the mean log-weight, an estimate of the ELBO, shape (R, B).
        kl_prior: exact KL(q(z | x) || p(z)), shape (B,); for a conditional prior, with p(z | c); None if it
            has no closed form.
        kl_prior_sampled: the KL as a mean over the draws, shape (R, B); None if it is known exactly.
        kl_layers: the same KL by layer, whose sum it is, shape (R, L, B), or (1, L, B) if it is known exactly; None
            for a model with one layer.
        means: means of the posterior, shape (B, Z); None if they are not known.
        model_log_p: exact log p(x) of the model, shape (B,); None if it is unknown.
    """

    bound: Tensor
    jackknife: Tensor
    squares: Tensor
    left_out: Tensor | None
    rises: Tensor | None
    ess: Tensor
    khat: Tensor | None
    elbo: Tensor
    kl_prior: Tensor | None
    kl_prior_sampled: Tensor | None
    kl_layers: Tensor | None
    means: Tensor | None
    model_log_p: Tensor | None


@torch.no_grad()
def estimate(
    batch: SeenBatch,
    ks: Sequence[int],
    *,
    repeats: int,
    k_chunk: int | None,
    keep: Callable[[Tensor], None] | None = None,
) -> BatchEstimates:
    """Compute importance estimates of log p(x) for a batch.

    Args:
        batch: the examples.
        ks: samples per example, ascending; the largest number is drawn, and the others use groups of these draws. It
            is one number if the batch's samples depend on each other.
        repeats: number of independent passes, R.
        k_chunk: samples in one pass over rows; None takes all at once.
        keep: receives the log-weights of each pass, (K, B), float64, nats.
    """
    curves: list[Curve] = []
    left_out: list[Tensor] = []
    risen: list[Tensor] = []
    ess: list[Tensor] = []
    khat: list[Tensor] = []
    elbo: list[Tensor] = []
    kl_prior = batch.kl_prior()
    sampled: list[Tensor] = []
    for repeat in range(repeats):
        log_w, kl = batch.weighed(k=ks[-1], k_chunk=k_chunk, repeat=repeat)
        if kl_prior is None and kl is not None:
            sampled.append(kl)
        if keep is not None:
            keep(log_w)
        ess.append(effective_sample_size(log_w))
        elbo.append(log_w.mean(dim=0))
        if batch.noise is not EvalNoise.IID:
            curves.append(_one_bound(log_w))
            continue
        curves.append(curve(log_w, ks))
        left_out.append(left_out_variance(log_w))
        if (rise := rises(log_w)) is not None:
            risen.append(rise)
        if (shape := pareto_shape(log_w)) is not None:
            khat.append(shape)
    return BatchEstimates(
        bound=torch.stack([each.bound for each in curves], dim=1),
        jackknife=torch.stack([each.jackknife for each in curves], dim=1),
        squares=torch.stack([each.squares for each in curves], dim=1),
        left_out=torch.stack(left_out) if left_out else None,
        rises=torch.stack(risen, dim=1) if risen else None,
        ess=torch.stack(ess),
        khat=torch.stack(khat) if khat else None,
        elbo=torch.stack(elbo),
        kl_prior=kl_prior if kl_prior is None else kl_prior.sum(0),
        kl_prior_sampled=torch.stack(sampled).sum(1) if sampled else None,
        kl_layers=_by_layer(sampled if kl_prior is None else [kl_prior]),
        means=batch.means(),
        model_log_p=batch.model.log_marginal(batch.pixels),
    )


def _by_layer(kl: Sequence[Tensor]) -> Tensor | None:
    """Join the KL by layer of some draws, (L, B) each; None if there is one layer."""
    return torch.stack([*kl]) if kl and len(kl[0]) > 1 else None
