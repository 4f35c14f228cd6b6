"""Means of a posterior and its divergence from the prior, from the distributions that the two programs use."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution, kl_divergence

from dregcli.engine.draws import LatentNoise
from dregcli.engine.programs.contract import Draw
from dregcli.engine.programs.families import mean_or_none, words_of
from dregcli.engine.programs.latents import Latents, Posterior, draw_latents
from dregcli.engine.wide import widened

Distributions = Mapping[str, Distribution]


def drawn_with_distributions(posterior: Posterior, x: Tensor, noise: LatentNoise) -> tuple[Latents, Distributions]:
    """Run a posterior's program for one sample of each example, (1, B); return the latents and their q."""
    seen: dict[str, Distribution] = {}

    def recorded(x: Tensor, draw: Draw) -> None:
        def draw_and_record(name: str, distribution: Distribution) -> Tensor:
            seen[name] = distribution
            return draw(name, distribution)

        posterior(x, draw_and_record)

    return draw_latents(recorded, x, noise, first=0, count=1, has_path=False), seen


def missing_mean(distributions: Distributions) -> str | None:
    """Return why a posterior has no means, or None if all its latents have."""
    for name, q in distributions.items():
        if mean_or_none(q) is None:
            return f"q of '{name}' ({words_of(q)}) has no mean in closed form"
    return None


def stacked_means(distributions: Distributions, examples: int) -> Tensor | None:
    """Return the means of all latents of one sample, (B, Z), float64, or None if one has no mean."""
    found: list[Tensor] = []
    for q in distributions.values():
        if (mean := mean_or_none(q)) is None:
            return None
        found.append(widened(mean.reshape(examples, -1)))
    return torch.cat(found, dim=1)


def exact_kl(posterior: Distributions, priors: Distributions, examples: int) -> Tensor | None:
    """Return KL(q(z | x) || p(z)) by latent where torch has it in closed form, (L, B), float64, nats; else None.

    It has one if no latent depends on another, and each pair of families is torch's own and registered.

    Args:
        posterior: q of each latent, for one sample.
        priors: the prior of each latent, for one sample.
        examples: number of examples, B.
    """
    each_latent: list[Tensor] = []
    for name, q in posterior.items():
        p = priors[name]
        depends = len(q.batch_shape) == 2 or (len(p.batch_shape) == 2 and len(posterior) > 1)
        if depends or not (_is_torchs(q) and _is_torchs(p)):
            return None
        try:
            shape = cast("torch.Size", torch.broadcast_shapes(p.batch_shape, q.batch_shape))
            found = kl_divergence(_expanded(q, shape), _expanded(p, shape))
        except NotImplementedError:
            return None
        if found.numel() != examples:
            return None
        each_latent.append(widened(found.reshape(examples)))
    return torch.stack(each_latent)


def _expanded(distribution: Distribution, shape: torch.Size) -> Distribution:
    """Return a distribution with this batch_shape, since some of torch's closed forms do not broadcast."""
    try:
        return cast("Any", distribution).expand(shape)
    except NotImplementedError:
        return distribution


def _is_torchs(distribution: Distribution) -> bool:
    """Return whether a distribution has no density of its own, which torch's closed forms would not know."""
    names = ("log_prob", "rsample", "sample")
    kind = type(distribution)
    if issubclass(kind, Independent | TransformedDistribution) and not _is_torchs(
        cast("Any", distribution).base_dist
    ):
        return False
    owners = [next(each for each in kind.__mro__ if name in vars(each)) for name in names]
    return all(each.__module__.startswith("torch.distributions.") for each in owners)
