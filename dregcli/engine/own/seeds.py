"""The tensors and gradients that start a backward pass for a pair; models with missing gradients are refused."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

from dregcli.engine.estimators import Coefficients
from dregcli.engine.objectives import Objective
from dregcli.engine.own.samples import Samples
from dregcli.engine.pairs import Pair, estimators_of, examples_in_words
from dregcli.engine.programs.families import is_discrete
from dregcli.engine.reach import NO_REENTRANT, Reach
from dregcli.errors import Fault, NotFinite, SpecError


def gradient_seeds(
    draw: Samples,
    posterior: Distribution,
    weights: Coefficients,
    pair: Pair,
    *,
    path: bool,
    score: bool,
    square: Tensor | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return the start of a backward pass that gives a pair's descent directions for the mean over the batch.

    Args:
        draw: the samples.
        posterior: the posterior that they were drawn from.
        weights: weights of model, path and score, each (K, B).
        pair: the objective and its estimator, for errors.
        path: False means that the path weights are 0.
        score: False means that the score weights are 0.
        square: weights model - d model / d log w, (K, B), if theta's gradient goes along samples of the prior.

    Returns:
        Tensors, each with the gradient by this tensor.

    Raises:
        SpecError: a part of the gradient would silently be missing.
        NotFinite: the gradient of a sample with weight is not finite.
    """
    require_no_checkpoint("log_joint", draw.reach_of_p)
    require_no_checkpoint("posterior", draw.reach_of_q)
    reached = _Reached.by(draw)
    _require_trainable(reached)
    if path:
        _require_live(draw, reached, score=score)
    elif score and not reached.phi and _has_live_parameters(posterior):
        message = "a dead score: its parameters require grad, and log_prob does not depend on them."
        raise SpecError([Fault("posterior", f"{message} Look for detach() or no_grad() in its log_prob.")])
    to_descent = -1.0 / draw.log_p.shape[1]
    found: list[tuple[Tensor, Tensor]] = []
    outside = torch.isneginf(draw.log_p)
    has_path = path and draw.live.requires_grad
    if has_path and outside.any():
        _refuse_jump(outside, pair)
    # Theta's gradient is skipped for a frozen model: the pass would run through the model only for the leaf.
    has_model = bool(reached.theta) and bool(weights.model.any())
    rows = draw.row_gradients(
        weights.model * to_descent if has_model else None,
        weights.path * to_descent if has_path else None,
        square * to_descent if square is not None and has_model else None,
    )
    found.extend(rows.model)
    if score and reached.phi:
        found.append((draw.log_q, (weights.score * to_descent).to(draw.log_q.dtype)))
    if rows.path is not None and rows.dz is not None:
        found.append((draw.live, _path(rows.dz, rows.path, pair)))
    return found


def _path(dz: Tensor, weights: Tensor, pair: Pair) -> Tensor:
    """Return weights (K, B) times d log w / d z (K, B, ...), where 0 times anything is 0."""
    weights = weights.to(dz.dtype).reshape(*weights.shape, *(1,) * (dz.ndim - 2))
    product = torch.where(weights == 0, 0.0, weights * dz)
    broken = ~torch.isfinite(product).reshape(*weights.shape[:2], -1).all(dim=-1).all(dim=0)
    if broken.any():
        what = f"d log w / d z is not finite for samples with weight in '{pair.word}'."
        hint = "look for log(0), sqrt(0) or 0/0 in log_joint and log_prob"
        raise NotFinite(what, where=examples_in_words(broken), hint=hint)
    return product


def _refuse_jump(outside: Tensor, pair: Pair) -> None:
    what = f"log_joint is -inf for some samples, and '{pair.word}' differentiates through the samples: it would miss"
    what += " the jump of the weights at the border of the support and so be biased."
    hint = f"{_score_only(pair.objective)} Or take a posterior that draws only inside the support"
    raise SpecError([Fault("log_joint", what)], where=examples_in_words(outside.any(dim=0)), hint=hint)


def require_no_checkpoint(field: str, reach: Reach) -> None:
    """Refuse a reentrant checkpoint, which allows ``backward()`` alone, and only if its input requires grad.

    Raises:
        SpecError: there is one.
    """
    if reach.is_reentrant:
        message = "it calls torch's checkpoint with use_reentrant=True, which allows no derivatives by samples, and "
        message += "leaves out the parameters inside where samples have none."
        raise SpecError([Fault(field, message)], hint=NO_REENTRANT)


def reached_leaves(draw: Samples) -> set[Tensor]:
    """Return all leaves that a gradient computed from a draw can reach."""
    reached = _Reached.by(draw)
    return reached.theta | reached.phi | reached.z


@dataclass(frozen=True)
class _Reached:
    """The autograd leaves that the parts of a draw reach, mostly parameters.

    Attributes:
        theta: leaves that log p reaches with z held fixed.
        phi: leaves that log q reaches with z held fixed.
        z: leaves that the samples reach.
        from_log_p: whether log p reaches z.
        from_log_q: whether log q reaches z.
    """

    theta: set[Tensor]
    phi: set[Tensor]
    z: set[Tensor]
    from_log_p: bool
    from_log_q: bool

    @classmethod
    def by(cls, draw: Samples) -> "_Reached":
        """Find the leaves that a draw reaches."""
        log_p, log_q = set(draw.reach_of_p.leaves), set(draw.reach_of_q.leaves)
        samples = set(Reach.of(draw.live).leaves) if draw.leaf.requires_grad else set[Tensor]()
        itself = {draw.leaf}
        # If log q is not apart, it is a function of the samples themselves, and so of z.
        from_log_q = draw.leaf in log_q or not draw.located.is_apart
        return cls(log_p - itself, log_q - itself, samples, draw.leaf in log_p, from_log_q)


def _require_trainable(reached: _Reached) -> None:
    if not (reached.theta or reached.phi or reached.z):
        message = "nothing to train: neither log_joint nor the posterior reaches a tensor that requires grad."
        hint = "to evaluate, use torch.no_grad(); to train, build the posterior outside of torch.no_grad()"
        raise SpecError([Fault("posterior", message)], hint=hint)


def _require_live(draw: Samples, reached: _Reached, *, score: bool) -> None:
    """Refuse models whose training would silently miss a part of the gradient."""
    faults: list[Fault] = []
    if dead := reached.phi - reached.z:
        message = f"a dead path: log_prob depends on {_shapes(dead)}, but the samples do not."
        faults.append(Fault("posterior", f"{message} Look for detach() or no_grad() in its rsample."))
    if score and draw.located.is_apart and (dead := reached.z - reached.phi):
        message = f"a dead score: the samples depend on {_shapes(dead)}, but log_prob does not."
        faults.append(Fault("posterior", f"{message} Look for detach() or no_grad() in its log_prob."))
    if draw.leaf.requires_grad:
        if not (reached.from_log_q or _is_flat(draw.unfolded.base)):
            message = "log_prob(z) does not depend on z for autograd, so that d log q / d z would be missing."
            advice = "Compute it from its argument, not from a stored sample; if it is flat, add 0 * z to it."
            faults.append(Fault("posterior", f"{message} {advice}"))
        if not reached.from_log_p:
            message = "log_joint(z) does not depend on z for autograd, so that d log p / d z would be missing."
            advice = "Compute it from its argument, without detach() and no_grad()."
            faults.append(Fault("log_joint", f"{message} {advice}"))
    if faults:
        raise SpecError(faults)


def _shapes(parameters: set[Tensor]) -> str:
    shown = sorted(str(tuple(parameter.shape)) for parameter in parameters)
    return f"parameters of shape {', '.join(shown[:5])}{', ...' if len(shown) > 5 else ''}"


def _has_live_parameters(posterior: Distribution) -> bool:
    """Whether a parameter of the posterior or its base requires grad. Without a path, samples cannot show this."""
    if any(isinstance(value, Tensor) and value.requires_grad for value in vars(posterior).values()):
        return True
    inner = getattr(posterior, "base_dist", None)
    return isinstance(inner, Distribution) and _has_live_parameters(inner)


def _is_flat(posterior: Distribution) -> bool:
    """Whether the density is known not to depend on z inside its support."""
    inner: Any = posterior
    while isinstance(inner, Independent):
        inner = cast("Any", inner).base_dist
    return isinstance(inner, Uniform)


def require_posterior(posterior: Distribution, pair: Pair) -> None:
    """Refuse a posterior that cannot be sampled and weighted for each example.

    Raises:
        SpecError: the posterior has faults; all are reported.
    """
    if not isinstance(posterior, Distribution):  # pyright: ignore[reportUnnecessaryIsInstance]
        message = f"must be a torch.distributions.Distribution, got {type(posterior).__name__}."
        raise SpecError([Fault("posterior", message)])
    faults: list[Fault] = []
    batch = tuple(posterior.batch_shape)
    if len(batch) != 1 or 0 in batch:
        message = f"must have batch_shape (B,), one entry per example, got {batch}."
        if len(batch) > 1:
            message += f" Wrap it: torch.distributions.Independent(posterior, {len(batch) - 1})."
        elif not batch:
            message += " Give its parameters a first axis for the examples."
        faults.append(Fault("posterior", message))
    if pair.uses_path and (reason := no_path(posterior)):
        message = f"{reason}, and '{pair.word}' differentiates through the samples."
        faults.append(Fault("posterior", f"{message} {_score_only(pair.objective)}"))
    if faults:
        raise SpecError(faults)


def no_path(posterior: Distribution) -> str | None:
    """Return why samples have no derivative by the posterior's parameters; None if they have.

    A straight-through family has ``rsample``, but its derivative is not that of the samples' expectation.
    """
    if not posterior.has_rsample:
        return "has no rsample (has_rsample is False)"
    if is_discrete(posterior):
        return "is discrete, so that the derivative of its rsample (straight-through) is no derivative of a mean"
    return None


def require_along(posterior: Distribution, pair: Pair) -> None:
    """Refuse what has no gradient along samples of the prior.

    Raises:
        SpecError: the posterior has no ``rsample``, or the pair leaves samples out of theta's gradient.
    """
    hint = "take prior_gradient='score'"
    if reason := no_path(posterior):
        message = f"{reason}; so the prior's gradient cannot go along samples."
        raise SpecError([Fault("posterior", message)], hint=hint)
    if not pair.keeps_theta:
        message = (
            f"'{pair.word}' leaves samples out of theta's gradient, which then cannot go along the prior's samples."
        )
        raise SpecError([Fault("prior_gradient", message)], hint=hint)


def _score_only(objective: Objective) -> str:
    names = [str(each.name) for each in estimators_of(objective) if not each.uses_path(objective)]
    if names:
        return f"Estimators that need only the score: {', '.join(names)}."
    return (
        f"All estimators of '{objective.name}' differentiate through the samples; "
        "objective 'iwae' has some that do not, such as 'vimco'."
    )
