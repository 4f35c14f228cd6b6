"""Samples of any torch posterior and what their gradients start from; what would silently train a part is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

from dregcli.engine.estimators import Coefficients
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair, estimators_of
from dregcli.errors import Fault, NotFinite, SpecError

LogJoint = Callable[[Tensor], Tensor]
"""Maps samples (K, B, ...) to log p(x, z), shape (K, B), nats."""


@dataclass(frozen=True)
class Samples:
    """K samples of every example and their log-densities.

    Attributes:
        z: the samples, shape (K, B, ...), on the posterior's graph.
        leaf: the same numbers, cut off from it. The log-densities are those of the leaf, so that what is
            differentiated through z and what with z held fixed never mix.
        log_p: shape (K, B), nats.
        log_q: shape (K, B), nats.
        log_w: their difference.
    """

    z: Tensor
    leaf: Tensor
    log_p: Tensor
    log_q: Tensor
    log_w: Tensor

    @cached_property
    def dz(self) -> Tensor:
        """d log w / d z with q's parameters held fixed, unweighted, shape (K, B, ...).

        Only the leaf is asked for, which is what holds them fixed; the graph is kept for the passes that follow.
        """
        ones = torch.ones_like(self.log_w)
        return torch.autograd.grad(self.log_w, self.leaf, ones, retain_graph=True)[0]


def draw_samples(log_joint: LogJoint, posterior: Distribution, k: int, *, has_path: bool) -> Samples:
    """Draw samples and take their log-densities.

    Args:
        log_joint: log p(x, z) of samples.
        posterior: accepted by ``require_posterior``.
        k: samples per example.
        has_path: whether anything will be differentiated through the samples.

    Raises:
        SpecError: what came back is not of shape (K, B), or of half precision.
    """
    shape = (k, *posterior.batch_shape)
    z = posterior.rsample(torch.Size((k,))) if has_path else posterior.sample(torch.Size((k,)))
    if tuple(z.shape[:2]) != shape:
        message = f"samples must have shape (K, B, ...) = ({k}, {shape[1]}, ...), got {tuple(z.shape)}."
        raise SpecError([Fault("posterior", message)])
    leaf = z.detach()
    if has_path and z.requires_grad:
        # The loss's backward pass reaches the leaf again; what it would add up there is of no use and K x B rows big.
        leaf.requires_grad_().register_post_accumulate_grad_hook(_forget)
    log_q = posterior.log_prob(leaf)
    log_p = log_joint(leaf)
    faults = _density_faults("posterior", "log_prob(z)", log_q, z, shape)
    faults += _density_faults("log_joint", "log_joint(z)", log_p, z, shape)
    if faults:
        raise SpecError(faults)
    return Samples(z, leaf, log_p, log_q, log_p - log_q)


def _forget(leaf: Tensor) -> None:
    leaf.grad = None


def gradient_seeds(
    draw: Samples, posterior: Distribution, weights: Coefficients, *, path: bool, score: bool, word: str
) -> list[tuple[Tensor, Tensor]]:
    """What a backward pass starts from, to give a pair's descent directions for the mean over the batch.

    Args:
        draw: the samples.
        posterior: where they are from.
        weights: of model, path and score, each (K, B).
        path: False says that the path weights are 0.
        score: False says that the score weights are 0.
        word: the pair, for errors.

    Returns:
        Tensors, each with the gradient by it.

    Raises:
        SpecError: a part of the gradient would silently be missing.
        NotFinite: the gradient of a sample that has weight is not finite.
    """
    reached = _Reached.by(draw)
    _require_trainable(reached)
    if path:
        _require_live(draw, posterior, reached, score=score)
    elif score and not reached.phi and _has_live_parameters(posterior):
        message = "a dead score: its parameters require grad, and log_prob does not depend on them."
        raise SpecError([Fault("posterior", f"{message} Look for detach() or no_grad() in its log_prob.")])
    to_descent = -1.0 / draw.log_p.shape[1]
    found: list[tuple[Tensor, Tensor]] = []
    if reached.theta and weights.model.any():
        if torch.isneginf(draw.log_p).any():
            _require_spared(draw.log_p, reached.theta)
        # Not for a frozen model: the pass would run through it for the leaf alone.
        found.append((draw.log_p, (weights.model * to_descent).to(draw.log_p.dtype)))
    if score and reached.phi:
        found.append((draw.log_q, (weights.score * to_descent).to(draw.log_q.dtype)))
    if path and draw.leaf.requires_grad:
        found.append((draw.z, _path(draw.dz, weights.path * to_descent, word)))
    return found


def _path(dz: Tensor, weights: Tensor, word: str) -> Tensor:
    """Weights (K, B) times d log w / d z (K, B, ...), where 0 times anything is 0."""
    weights = weights.to(dz.dtype).reshape(*weights.shape, *(1,) * (dz.ndim - 2))
    product = torch.where(weights == 0, 0.0, weights * dz)
    broken = ~torch.isfinite(product).reshape(*weights.shape[:2], -1).all(dim=-1).all(dim=0)
    if broken.any():
        examples: list[int] = broken.nonzero()[:, 0].tolist()  # pyright: ignore[reportUnknownVariableType]
        what = f"d log w / d z is not finite for samples that have weight in '{word}'."
        where = f"examples {', '.join(map(str, examples[:10]))}{', ...' if len(examples) > 10 else ''} of the batch"
        raise NotFinite(what, where=where, hint="look for log(0), sqrt(0) or 0/0 in log_joint and log_prob")
    return product


def _require_spared(log_p: Tensor, theta: set[Tensor]) -> None:
    """Refuse a log_joint that turns a row weight of exactly 0 into NaN: torch has 0 * inf inside it.

    Costs a backward pass, so only asked of batches with samples outside the support.
    """
    found = torch.autograd.grad(
        log_p, list(theta), torch.zeros_like(log_p), retain_graph=True, materialize_grads=True
    )
    if not all(torch.isfinite(each).all() for each in found):
        what = "log_joint's gradient is NaN for samples whose weight is 0, and would be for all parameters."
        hint = "outside the support, put safe inputs in with torch.where before log, sqrt or a division, not after"
        raise NotFinite(what, where="log_joint, at samples with log p = -inf", hint=hint)


def _leaves(output: Tensor) -> set[Tensor]:
    """The tensors to whose ``grad`` a backward pass from ``output`` would add."""
    if output.grad_fn is None:
        return {output} if output.requires_grad else set()
    found: set[Tensor] = set()
    todo, seen = [output.grad_fn], {output.grad_fn}
    while todo:
        node = todo.pop()
        if node.name() == "torch::autograd::AccumulateGrad":
            found.add(cast("Any", node).variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return found


def reached_leaves(draw: Samples) -> set[Tensor]:
    """All leaves that a gradient made of a draw can reach."""
    reached = _Reached.by(draw)
    return reached.theta | reached.phi | reached.z


@dataclass(frozen=True)
class _Reached:
    """The autograd leaves that the parts of a draw reach, parameters for the most part.

    Attributes:
        theta: by log p, with z held fixed.
        phi: by log q, with z held fixed.
        z: by the samples.
        from_log_p: whether log p reaches z.
        from_log_q: whether log q does.
    """

    theta: set[Tensor]
    phi: set[Tensor]
    z: set[Tensor]
    from_log_p: bool
    from_log_q: bool

    @classmethod
    def by(cls, draw: Samples) -> "_Reached":
        """What a draw reaches."""
        log_p, log_q = _leaves(draw.log_p), _leaves(draw.log_q)
        samples = _leaves(draw.z) if draw.leaf.requires_grad else set[Tensor]()
        itself = {draw.leaf}
        return cls(log_p - itself, log_q - itself, samples, draw.leaf in log_p, draw.leaf in log_q)


def _require_trainable(reached: _Reached) -> None:
    if not (reached.theta or reached.phi or reached.z):
        message = "nothing to train: neither log_joint nor the posterior reaches a tensor that requires grad."
        hint = "to evaluate, call it under torch.no_grad(); to train, build the posterior outside of it"
        raise SpecError([Fault("posterior", message)], hint=hint)


def _require_live(draw: Samples, posterior: Distribution, reached: _Reached, *, score: bool) -> None:
    """Refuse what would train, silently, on a part of the gradient."""
    faults: list[Fault] = []
    if dead := reached.phi - reached.z:
        message = f"a dead path: log_prob depends on {_shapes(dead)}, and the samples do not."
        faults.append(Fault("posterior", f"{message} Look for detach() or no_grad() in its rsample."))
    if score and (dead := reached.z - reached.phi):
        message = f"a dead score: the samples depend on {_shapes(dead)}, and log_prob does not."
        faults.append(Fault("posterior", f"{message} Look for detach() or no_grad() in its log_prob."))
    if draw.leaf.requires_grad:
        if not (reached.from_log_q or _is_flat(posterior)):
            message = "log_prob(z) does not depend on z for autograd, so that d log q / d z would be missing."
            advice = "Compute it from its argument, not from a sample it remembers; if it is flat, add 0 * z to it."
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
    """Whether a parameter of it, or of what it is made of, requires grad. Without a path no sample tells."""
    if any(isinstance(value, Tensor) and value.requires_grad for value in vars(posterior).values()):
        return True
    inner = getattr(posterior, "base_dist", None)
    return isinstance(inner, Distribution) and _has_live_parameters(inner)


def _is_flat(posterior: Distribution) -> bool:
    """Whether its density is known not to depend on z where it is not 0."""
    inner: Any = posterior
    while isinstance(inner, Independent):
        inner = cast("Any", inner).base_dist
    return isinstance(inner, Uniform)


def require_posterior(posterior: Distribution, pair: Pair) -> None:
    """Refuse what cannot be sampled and weighed for each example.

    Raises:
        SpecError: with all of its faults.
    """
    if not isinstance(posterior, Distribution):  # pyright: ignore[reportUnnecessaryIsInstance]
        message = f"must be a torch.distributions.Distribution, got {type(posterior).__name__}."
        raise SpecError([Fault("posterior", message)])
    faults: list[Fault] = []
    batch = tuple(posterior.batch_shape)
    if len(batch) != 1 or 0 in batch:
        message = f"must have batch_shape (B,), one entry an example, got {batch}."
        if len(batch) > 1:
            message += f" Wrap it: torch.distributions.Independent(posterior, {len(batch) - 1})."
        elif not batch:
            message += " Give its parameters a first axis for the examples."
        faults.append(Fault("posterior", message))
    if pair.uses_path and not posterior.has_rsample:
        message = f"has no rsample (has_rsample is False), and '{pair.word}' differentiates through the samples."
        faults.append(Fault("posterior", f"{message} {_score_only(pair.objective)}"))
    if faults:
        raise SpecError(faults)


def _score_only(objective: Objective) -> str:
    names = [str(each.name) for each in estimators_of(objective) if not each.uses_path(objective)]
    if names:
        return f"Estimators that need the score alone: {', '.join(names)}."
    return f"All estimators of '{objective.name}' do; objective 'iwae' has some that do not, such as 'vimco'."


def _density_faults(field: str, call: str, found: Tensor, z: Tensor, shape: tuple[int, ...]) -> list[Fault]:
    """Why what ``call`` returned cannot be log-densities of samples z, for each of (K, B)."""
    if not isinstance(found, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        return [Fault(field, f"{call} must return a tensor, got {type(found).__name__}.")]
    faults: list[Fault] = []
    if tuple(found.shape) != shape:
        message = (
            f"{call} must have shape (K, B) = {shape} for z of shape {tuple(z.shape)}, got {tuple(found.shape)}."
        )
        if tuple(found.shape[:2]) == shape:
            message += " Sum it over the axes behind the first two."
        faults.append(Fault(field, message))
    if found.dtype not in (torch.float32, torch.float64):
        message = f"{call} must be float32 or float64, got {str(found.dtype).removeprefix('torch.')}."
        faults.append(Fault(field, f"{message} Leave autocast, or call .float(), before log-densities are summed."))
    return faults
