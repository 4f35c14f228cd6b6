"""Check each posterior's support against its prior's, and whether it moves with the posterior's parameters."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    ExpTransform,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    StudentT,
)

from dregcli.engine.checks.finding import Finding, error, warning
from dregcli.engine.checks.score_identity import declares_moving_support, support_moves
from dregcli.engine.checks.subject import Subject
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.families import innermost, words_of
from dregcli.engine.programs.latents import seeded

_REGULAR = (Normal, MultivariateNormal, Laplace, StudentT, LogNormal, Categorical, OneHotCategorical, Bernoulli)
"""Families of torch's whose support is fixed, and whose samples have their density."""

_MOVES = (
    "Take a posterior with a fixed support, such as a Normal or a transformed Normal; or train with the estimator "
    "'reparam', which needs no score identity."
)


def check_supports(subject: Subject) -> list[Finding]:
    """Compare the supports of q and of the prior, latent by latent, by declaration and by samples."""
    found: list[Finding] = []
    for name, prior in subject.model.priors.items():
        drawn = subject.posterior.drawn[name]
        if tuple(prior.p.event_shape) != tuple(drawn.q.event_shape):
            continue
        q, p = _is_discrete(drawn.q), _is_discrete(prior.p)
        if q is not None and p is not None and q != p:
            kinds = ("a density", "a probability mass")
            what = f"q of '{name}' has {kinds[q]}, but its prior has {kinds[p]}: their ratio is no weight."
            change = "Give the prior of this latent the family of its posterior."
            found.append(error("support", what, change, prior.place))
        elif _outside(prior.p, drawn.value):
            what = f"q of '{name}' ({words_of(drawn.q)}) draws values outside the support of its prior: log p of "
            what += "them is minus infinity, or means nothing."
            change = "Give the posterior a support within the prior's, by a transform such as exp or sigmoid."
            found.append(error("support", what, change, drawn.place))
        elif _outside(drawn.q, _sample(prior.p)):
            what = (
                f"The prior of '{name}' has values outside the support of q: q cannot fit the true posterior there, "
            )
            what += "so the bound stays below log p(x) for every K."
            change = "Give both the same support."
            found.append(warning("support", what, change, prior.place))
    return found


def check_fixed(subject: Subject, *, thorough: bool) -> list[Finding]:
    """Check that no support moves with its parameters, and that rsample and log_prob match.

    Args:
        subject: the model.
        thorough: whether the identity of the score is tested with samples; otherwise only the declaration is read.
    """
    found: list[Finding] = []
    for name, drawn in subject.posterior.drawn.items():
        unfolded = Unfolded.of(drawn.q)
        if declares_moving_support(drawn.q):
            what = f"The support of q of '{name}' moves with its parameters: no score identity holds, and every "
            what += "estimator that needs it, such as dreg, is biased."
            found.append(error("support-moves", what, _MOVES, drawn.place))
        elif thorough and not _is_regular(unfolded) and support_moves(unfolded, drawn.value.detach(), drawn.q):
            what = f"The score of q of '{name}' has not the mean 0: its support moves with its parameters, or its "
            what += "rsample and log_prob do not match. Estimators that need this identity, such as dreg, are biased."
            found.append(error("support-moves", what, _MOVES, drawn.place))
    return found


def _is_regular(unfolded: Unfolded) -> bool:
    """Whether a posterior has one of torch's plain families, for which there is nothing to test."""
    base = innermost(unfolded.base)
    others = [step for step in unfolded.steps if not isinstance(step.transform, ExpTransform)]
    return type(base) in _REGULAR and not others


def _is_discrete(p: Distribution) -> bool | None:
    try:
        return bool(cast("Any", p).support.is_discrete)
    except (NotImplementedError, AttributeError):
        return None


def _outside(p: Distribution, value: Tensor | None) -> bool:
    """Whether values lie outside a distribution's support; False if the support is not known."""
    if value is None:
        return False
    try:
        return not bool(cast("Any", p).support.check(value.detach()).all())
    except (NotImplementedError, AttributeError, RuntimeError):
        return False


def _sample(p: Distribution) -> Tensor | None:
    with seeded(0, torch.device("cpu")):
        try:
            with torch.no_grad():
                return p.sample(torch.Size((8,)) if len(p.batch_shape) < 2 else torch.Size())
        except (NotImplementedError, RuntimeError):
            return None
