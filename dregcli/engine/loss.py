"""A drop-in loss for one's own torch model: any posterior, any network, right gradients from one ``backward()``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

from dregcli.engine.estimators import Coefficients, Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair, estimators_of, require_finite, resolve_pair
from dregcli.engine.weights import log_mean_exp
from dregcli.errors import Fault, NotFinite, SpecError, UsageError

LogJoint = Callable[[Tensor], Tensor]
"""Maps samples (K, B, ...) to log p(x, z), shape (K, B), nats."""


def multi_sample_loss(
    log_joint: LogJoint,
    posterior: Distribution,
    k: int,
    objective: Objective | str = "iwae",
    estimator: Estimator | str = "dreg",
) -> tuple[Tensor, Tensor]:
    """A loss whose ``backward()`` gives a pair's gradients, for the model and the posterior at once.

    ``log_joint`` is called once, with samples that are cut off from the posterior: gradients reach the posterior by
    the pair's weights alone. Back-propagated through are ``log_joint`` twice (once here, for d log w / d z, and once
    by the loss's own ``backward()``) and the posterior once. Frozen parameters, accumulation over several losses,
    scaling and adding other losses work as with any loss; ``create_graph=True`` is refused.

    Under ``torch.no_grad()`` the values are the same and the loss carries no gradient.

    Args:
        log_joint: maps samples z of shape (K, B, ...) to log p(x, z) of shape (K, B), nats, in float32 or better.
            Each entry may depend on its own sample only, so there must be no batch statistics over K or B. A sample
            outside the support has -inf, made by ``torch.where`` or ``masked_fill``.
        posterior: q(z | x) with batch_shape (B,), one entry an example; its ``rsample`` and ``log_prob`` are used.
            Pairs without a path (``vimco``, ``reinforce``, ...) draw by ``sample``: there z may be discrete.
        k: K, the number of samples an example.
        objective: an objective or its word, e.g. ``"iwae"`` or ``"vr-iwae:alpha=0.3"``.
        estimator: an estimator or its word, e.g. ``"dreg"``. ``promise`` says which pairs are biased.

    Returns:
        loss: minus the mean over B of the objective's value, nats per example, a scalar to minimise.
        bound: the IWAE bound, whatever the objective is; shape (B,), nats, detached. Larger is better.

    Raises:
        SpecError: a pair or a K that cannot work; wrong shapes; log-densities of half precision; a posterior that
            cannot be reparameterised, or whose sample or density is detached from its parameters; a log_joint that
            is detached from z; nothing to train.
        NotFinite: log-weights, or gradients of a sample that has weight, that are not finite, naming the examples.

    Reference: Tucker et al., arXiv 1810.04152, for any posterior and any objective by the rule of ``Terms``.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal
        >>> from dregcli.engine import multi_sample_loss
        >>> loc = torch.zeros(5, requires_grad=True)
        >>> loss, bound = multi_sample_loss(Normal(1.0, 1.0).log_prob, Normal(loc, 1.0), k=64)
        >>> loss.backward()
        >>> bound.shape, bool((loc.grad < 0).all())  # descent moves the posterior towards 1
        (torch.Size([5]), True)
    """
    pair = resolve_pair(objective, estimator, k)
    _require_posterior(posterior, pair)
    draw = _draw(log_joint, posterior, k, has_path=pair.uses_path)
    terms, weights = pair.at(draw.log_w)
    require_finite(pair, (weights.model, weights.path, weights.score, terms.value.unsqueeze(0)))
    dtype = draw.log_w.dtype
    loss, bound = -terms.value.mean().to(dtype), log_mean_exp(terms.log_w).to(dtype)
    if torch.is_grad_enabled():
        loss = _attach(loss, _gradients(draw, posterior, pair, weights))
    return loss, bound


@dataclass(frozen=True)
class _Draw:
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


def _draw(log_joint: LogJoint, posterior: Distribution, k: int, *, has_path: bool) -> _Draw:
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
    return _Draw(z, leaf, log_p, log_q, log_p - log_q)


def _forget(leaf: Tensor) -> None:
    leaf.grad = None


def _gradients(
    draw: _Draw, posterior: Distribution, pair: Pair, weights: Coefficients
) -> list[tuple[Tensor, Tensor]]:
    """What the loss's backward pass starts from: tensors, each with the loss's gradient by it."""
    reached = _Reached.by(draw)
    _require_trainable(reached)
    if pair.uses_path:
        _require_live(draw, posterior, pair, reached)
    to_descent = -1.0 / draw.log_p.shape[1]
    found: list[tuple[Tensor, Tensor]] = []
    if reached.theta:
        if torch.isneginf(draw.log_p).any():
            _require_spared(draw.log_p, reached.theta)
        # Not for a frozen model: the pass would run through it for the leaf alone.
        found.append((draw.log_p, (weights.model * to_descent).to(draw.log_p.dtype)))
    if pair.uses_score and reached.phi:
        found.append((draw.log_q, (weights.score * to_descent).to(draw.log_q.dtype)))
    if draw.leaf.requires_grad:
        # Only the leaf is asked for, which holds q's parameters fixed; the graph is kept for the loss's own pass.
        (dz,) = torch.autograd.grad(draw.log_w, draw.leaf, torch.ones_like(draw.log_w), retain_graph=True)
        found.append((draw.z, _path(dz, weights.path * to_descent, pair)))
    return found


def _path(dz: Tensor, weights: Tensor, pair: Pair) -> Tensor:
    """Weights (K, B) times d log w / d z (K, B, ...), where 0 times anything is 0."""
    weights = weights.to(dz.dtype).reshape(*weights.shape, *(1,) * (dz.ndim - 2))
    product = torch.where(weights == 0, 0.0, weights * dz)
    broken = ~torch.isfinite(product).reshape(*weights.shape[:2], -1).all(dim=-1).all(dim=0)
    if broken.any():
        examples: list[int] = broken.nonzero()[:, 0].tolist()  # pyright: ignore[reportUnknownVariableType]
        what = f"d log w / d z is not finite for samples that have weight in '{pair.word}'."
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


class _WithGradients(torch.autograd.Function):
    """A value whose gradients by some tensors are given.

    No surrogate, whose value would be another one, and no ``surrogate - surrogate.detach()``, which is NaN as soon
    as one log-density is infinite.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, *tensors: Tensor) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if torch.is_grad_enabled():
            # torch's once_differentiable would let this pass: it looks at what comes in, which is a constant here.
            what = "multi_sample_loss has first derivatives only: its weights are fixed numbers to autograd."
            raise UsageError(what, where="create_graph=True", hint="leave create_graph out for this loss")
        gradients: tuple[Tensor, ...] = ctx.saved_tensors
        return None, *(grad_outputs[0] * gradient for gradient in gradients), *(None,) * len(gradients)


def _attach(value: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The value, with these gradients by these tensors."""
    by, given = zip(*gradients, strict=True)
    return cast("Tensor", _WithGradients.apply(value, *by, *given))


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
    def by(cls, draw: _Draw) -> "_Reached":
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


def _require_live(draw: _Draw, posterior: Distribution, pair: Pair, reached: _Reached) -> None:
    """Refuse what would train, silently, on a part of the gradient."""
    faults: list[Fault] = []
    if dead := reached.phi - reached.z:
        message = f"a dead path: log_prob depends on {_shapes(dead)}, and the samples do not."
        faults.append(Fault("posterior", f"{message} Look for detach() or no_grad() in its rsample."))
    if pair.uses_score and (dead := reached.z - reached.phi):
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


def _is_flat(posterior: Distribution) -> bool:
    """Whether its density is known not to depend on z where it is not 0."""
    inner: Any = posterior
    while isinstance(inner, Independent):
        inner = cast("Any", inner).base_dist
    return isinstance(inner, Uniform)


def _require_posterior(posterior: Distribution, pair: Pair) -> None:
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
