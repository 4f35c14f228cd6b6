"""The gradient of a user's own prior along its samples; the mathematics is in ``dregcli.engine.prior_rule``."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine.own.prior import Factor, OwnPrior, Places
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.pairs import examples_in_words
from dregcli.engine.programs.families import innermost, scale_or_none, words_of
from dregcli.engine.programs.prior_path import differentiated, is_equal, same_sample, share_along, weighted
from dregcli.engine.reach import Reach
from dregcli.errors import Fault, NotFinite, SpecError

_WAY_OUT = "or take prior_gradient='score'"


@dataclass(frozen=True)
class Slopes:
    """Derivatives by z at fixed parameters, unweighted, (K', B', ...) each.

    Attributes:
        of_p: those of log p(x, z).
        of_q: those of log q(z | x).
        spread: the standard deviation of q, which must not depend on z; None if it is not known.
    """

    of_p: Tensor
    of_q: Tensor
    spread: Tensor | None


def prior_seeds(
    prior: OwnPrior, z: Tensor, rows: RowChoice, slopes: Slopes, model: Tensor, square: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Return what turns the gradient ``model`` times d log p(x, z) / d theta into that along the prior's samples.

    Args:
        prior: the prior, with a rule.
        z: samples that require grad and have no graph, (K', B', ...).
        rows: which rows these are.
        slopes: derivatives at these rows.
        model: weights of log p(x, z), (K', B').
        square: model - d model / d log w.

    Returns:
        Tensors, each with the gradient by this tensor. They take the score of the factors that move out again.

    Raises:
        SpecError: the gradient cannot go along the prior's samples.
        NotFinite: the gradient of a sample with weight is not finite.
    """
    rule = prior.rule
    assert rule is not None
    factors = prior.factors(z, rows)
    moved = {i: each for i, factor in enumerate(factors) if (each := _moved(factor, z)) is not None}
    if not moved:
        return []
    places = Places.found(factors, z)
    moving = [factors[i] for i in moved]
    model, square = model.to(z.dtype), square.to(z.dtype)
    own = {} if rule.joint else {i: _own_slope(factors[i]) for i in moved}
    left_out = _by_z(moving, z) if rule.joint else places.whole(own, z)
    along, g = slopes.of_p - left_out, slopes.of_p - slopes.of_q
    seeds = _finite(weighted(model, along) - weighted(square, g), (model != 0.0) | (square != 0.0))
    outputs = [(each.log_p, -model) for each in moving]
    if rule.blended:
        shares = {i: _share(factors[i], places, i, slopes.spread) for i in moved}
        outputs = [
            # The factors of a diagonal Gaussian, one for each number of the part.
            (innermost(factors[i].distribution).log_prob(factors[i].part.detach()), weighted(-model, share))
            for i, share in shares.items()
        ]
        seeds = places.whole(shares, z) * seeds
    if rule.joint:
        seeds = _with_lower(seeds, moved, places, z)
    along_samples = [(each, places.take(seeds, i).reshape(each.shape)) for i, each in moved.items()]
    return [*outputs, *along_samples]


def _moved(factor: Factor, z: Tensor) -> Tensor | None:
    """Return the values of a factor's part as they move with theta and with other parts; None if they do not move.

    Raises:
        SpecError: the factor has parameters that its samples do not move with.
    """
    reach = Reach.of(factor.log_p)
    parameters = reach.leaves - {z}
    if reach.is_compiled:
        message = f"{factor.name} is compiled by torch.compile, so that its graph allows only one backward pass."
        raise SpecError([Fault("prior", message)], hint=f"pass the uncompiled module, {_WAY_OUT}")
    try:
        moved = same_sample(factor.distribution, factor.part)
    except Exception:  # A user's transform without an inverse may fail in any way.
        moved = None
    # Parameters that do not move the samples would lose their gradient.
    if moved is None or not parameters <= Reach.of(moved).leaves or not is_equal(moved, factor.part):
        if not parameters:
            return None  # It is a part of the likelihood, as far as the other factors are concerned.
        message = (
            f"{factor.name} ({words_of(factor.distribution)}) is neither a Gaussian nor an invertible transform "
        )
        message += "of one, so that its samples do not move with its parameters."
        raise SpecError([Fault("prior", message)], hint=f"take a Gaussian or a flow with an inverse, {_WAY_OUT}")
    return moved if moved.requires_grad else None


def _by_z(factors: Sequence[Factor], z: Tensor) -> Tensor:
    ones = [torch.ones_like(each.log_p) for each in factors]
    return differentiated([each.log_p for each in factors], [z], ones)[0]


def _own_slope(factor: Factor) -> Tensor:
    """Return the derivative of a factor by its own part, with its distribution held fixed."""
    part = factor.part.detach().requires_grad_()
    log_p = factor.distribution.log_prob(part)
    return differentiated([log_p], [part], [torch.ones_like(log_p)])[0]


def _share(factor: Factor, places: Places, index: int, spread: Tensor | None) -> Tensor:
    """Return the part of a factor's gradient that goes along samples, for each of its numbers at each row."""
    of_p = scale_or_none(factor.distribution)
    if not isinstance(innermost(factor.distribution), Normal) or of_p is None:
        message = f"a blend needs a diagonal Gaussian, and {factor.name} is {words_of(factor.distribution)}."
        raise SpecError([Fault("prior", message)], hint=f"take prior_gradient='gdreg', {_WAY_OUT}")
    if spread is None:
        message = "a blend needs its standard deviation, and it has no `stddev` of shape (B, ...)."
        hint = "give its class a property stddev, which may be rough but must not depend on samples; or take "
        hint += "prior_gradient='gdreg' or 'score'"
        raise SpecError([Fault("posterior", message)], hint=hint)
    of_q = places.take(spread, index).reshape(factor.part.shape)
    return share_along(of_q, of_p).expand(factor.part.shape)


def _with_lower(seeds: Tensor, moved: dict[int, Tensor], places: Places, z: Tensor) -> Tensor:
    """Add the gradients that each part gets from the samples of the factors that depend on it.

    The factors form a chain or a tree without a circle, so that all are added after as many rounds as it is long.
    """
    total = seeds
    for _ in range(len(moved) - 1):
        given = [places.take(total, i).reshape(each.shape) for i, each in moved.items()]
        total = seeds + differentiated(list(moved.values()), [z], given)[0]
    return total


def _finite(seeds: Tensor, has_weight: Tensor) -> Tensor:
    """Return the seeds, where 0 times anything is 0."""
    has_weight = has_weight.reshape(*has_weight.shape, *(1,) * (seeds.ndim - 2))
    seeds = torch.where(has_weight, seeds, 0.0)
    broken = ~torch.isfinite(seeds).reshape(*seeds.shape[:2], -1).all(dim=-1).all(dim=0)
    if broken.any():
        what = "d log w / d z is not finite for samples with weight in the prior's gradient."
        hint = "look for log(0), sqrt(0) or 0/0 in log_joint, in the prior and in log_prob"
        raise NotFinite(what, where=examples_in_words(broken), hint=hint)
    return seeds
