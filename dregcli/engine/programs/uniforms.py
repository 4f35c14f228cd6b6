"""Discrete samples that are made from uniform numbers, for the distributions that allow it."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, OneHotCategorical

Uniforms = Callable[[tuple[int, ...]], Tensor]
"""Returns uniform numbers, greater than 0 and smaller than 1, of one sample's shape for all samples and examples,
(K', B', *shape)."""


@torch.no_grad()
def from_uniforms(distribution: Distribution, uniforms: Uniforms, *, batched: int) -> Tensor | None:
    """Return samples of bits or of categories, which have no gradient; None for other distributions.

    Args:
        distribution: torch's Bernoulli, Categorical or OneHotCategorical, possibly inside Independent.
        uniforms: gives the numbers.
        batched: number of the distribution's leading axes that are samples or examples.

    Returns:
        Shape (K', B', ...), of the type that ``sample`` returns.
    """
    base = distribution
    while type(base) is Independent:
        base = cast("Distribution", cast("Any", base).base_dist)
    shape = base.batch_shape[batched:]
    if type(base) is Bernoulli:
        # A probability that rounds to 0 or 1 makes the bit certain, as no uniform number is 0 or 1.
        probability = _probabilities(base, torch.sigmoid)
        return (uniforms(shape) < probability).to(probability.dtype)
    if type(base) in (Categorical, OneHotCategorical):
        probability = _probabilities(base, lambda logits: torch.softmax(logits, dim=-1))
        chosen = _first_above(probability, uniforms(shape))
        if type(base) is Categorical:
            return chosen
        return torch.nn.functional.one_hot(chosen, probability.shape[-1]).to(probability.dtype)
    return None


def _probabilities(distribution: Distribution, of_logits: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the probabilities of a distribution that has these or logits as its parameter."""
    own: Any = getattr(distribution, "_categorical", distribution)
    return of_logits(own.logits) if "logits" in vars(own) else own.probs


def _first_above(probability: Tensor, uniform: Tensor) -> Tensor:
    """Return the first category at which the summed probabilities exceed the uniform number times their total.

    The product is smaller than the total even after rounding, so that there is always such a category; and one of
    probability 0 never is the first.
    """
    summed = probability.cumsum(dim=-1)
    return (summed <= uniform.unsqueeze(-1) * summed[..., -1:]).sum(dim=-1)
