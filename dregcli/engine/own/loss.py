"""A drop-in loss for your own torch model: any posterior, any network, right gradients from one ``backward()``."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.estimators import Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.own.assumptions import require_assumptions
from dregcli.engine.own.log_joint import LogJoint
from dregcli.engine.own.passes import Passes, draw_in_passes
from dregcli.engine.own.prior import OwnPrior, Prior
from dregcli.engine.own.samples import draw_samples
from dregcli.engine.own.seeds import gradient_seeds, require_along, require_posterior
from dregcli.engine.pairs import require_awake, require_finite, require_fitted, resolve_pair
from dregcli.engine.weights import log_mean_exp
from dregcli.errors import UsageError
from dregcli.names import PriorGradient

_COMPILER: Any = torch.compiler
"""Typed as Any, because ``disable`` has types for use as a decorator only."""


def multi_sample_loss(
    log_joint: LogJoint,
    posterior: Distribution,
    k: int,
    objective: Objective | str = "iwae",
    estimator: Estimator | str = "dreg",
    *,
    check: bool | None = None,
    k_chunk: int | None = None,
    screen: float | None = None,
    generator: torch.Generator | None = None,
    prior: Prior | None = None,
    prior_gradient: PriorGradient | str = "score",
) -> tuple[Tensor, Tensor]:
    """Compute a loss whose ``backward()`` gives a pair's gradients, for the model and the posterior at once.

    ``log_joint`` is called once, with samples that are detached from the posterior: gradients reach the posterior
    only through the pair's weights. Backward passes go through ``log_joint`` twice (once here, for d log w / d z, and
    once in the loss's own ``backward()``) and through the posterior once. Frozen parameters, accumulation over
    several losses, scaling and adding other losses work as with any loss; ``create_graph=True`` is refused.

    The gradients are right if log p(x, z) and log q(z | x) are differentiable in z and neither support moves with
    parameters. If samples of a continuous z lie outside the support of log p, only pairs without a path are right. At
    its first call with a model, and at the 10th, 100th, ... call, the function evaluates ``log_joint`` a few more
    times and draws some more samples, to find rows that are not independent and a support that moves. These checks do
    not change torch's later random numbers.

    With ``k_chunk`` or ``screen`` the log-weights are computed first, without a graph, and the gradients in a second
    pass: by chunks of samples, so that the memory of ``log_joint`` does not grow with K, or for a random choice of
    rows that matter, so that most rows go forward only. The choice changes no expectation: a kept row has its weight
    over its probability. What log p depends on is then differentiated in this call, and ``backward()`` adds the sums
    to the parameters, scaled as the loss is. Without ``screen`` the result is that of one call of ``log_joint`` up to
    rounding. The samples and log q have K x B x Z numbers in every mode.

    Under ``torch.no_grad()`` the values are the same and the loss carries no gradient. Modules may be compiled by
    ``torch.compile``; ``log_joint`` then runs twice at each call, since a compiled graph allows one backward pass
    only. In a step that is compiled as a whole, this function itself runs uncompiled, so leave ``fullgraph=True``
    out.

    Args:
        log_joint: function that maps samples z of shape (K, B, ...) to log p(x, z) of shape (K, B), nats, in float32
            or better. Each entry may depend on its own sample only, so there must be no batch statistics over K or B:
            ``BatchNorm`` must be in eval mode. A sample outside the support has -inf, made by ``torch.where`` or
            ``masked_fill``, and needs an estimator without a path, such as ``vimco``. It may have a second parameter
            without a default, ``rows``, and with ``screen`` it must: ``rows(x)`` turns a tensor of examples (B, ...)
            into those of the rows at hand. For all rows it returns x itself. For R chosen rows z has shape
            (1, R, ...), ``rows(x)`` has (R, ...) and the result (1, R). So the same code serves all calls.
        posterior: q(z | x) with batch_shape (B,), one entry per example; its ``rsample`` and ``log_prob`` are used.
            Pairs without a path (``vimco``, ``reinforce``, ...) draw by ``sample``, so their z may be discrete. The
            density of torch's ``TransformedDistribution`` is computed from the values between its base and z,
            without inverses. A flow without an inverse costs one backward pass through it for each latent dimension,
            and no extra pass with ``reparam``.
        k: K, the number of samples per example.
        objective: an objective or its word, e.g. ``"iwae"`` or ``"vr-iwae:alpha=0.3"``.
        estimator: an estimator or its word, e.g. ``"dreg"``. ``promise`` says which pairs are biased; this function
            gives no warning. ``dreg-cv`` takes the scalars from its word and learns none; only ``dreg train`` learns.
        check: whether to check by trial that rows are independent and that the score identity holds. None checks at
            the first call with this kind of model and more and more rarely later, True checks at this call, False
            never. None does not check a log_joint with a state, which returns other values for the same samples.
            A second pass is compared with the first one at every call, whatever ``check`` is.
        k_chunk: samples in one call of ``log_joint``, at least 1; None takes all at once.
        screen: the largest share by which screening may increase a gradient's second moment, above 0, such as 0.15;
            None differentiates all rows. Fewer rows are kept if it is larger. ``log_joint`` must then draw no random
            numbers, so dropout must be in eval mode.
        generator: generator of the uniform numbers by which ``screen`` chooses rows; None takes torch's global one.
        prior: p(z), if ``log_joint`` returns log p(x | z) alone; None if it returns log p(x, z). One torch
            Distribution of z; or a function of z that returns a list of factors, each a pair of a Distribution and
            its part of z: ``lambda z: [(top, z[..., 5:]), (below(z[..., 5:]), z[..., :5])]``. A factor may depend on
            other parts of z. Each number of z is in the part of one factor. With a second parameter without a
            default the function also gets ``rows``, as ``log_joint`` does.
        prior_gradient: how the prior's parameters get their gradient; all are unbiased. ``"score"``: by the score at
            the samples, as if the prior were in ``log_joint``. ``"gdreg"``: along samples of the prior that have the
            numbers of z (arXiv 2101.11046), which needs a Gaussian or a flow with an inverse. It is less noisy where
            q is close to the prior, and can be far noisier where q is much narrower. ``"blend"``: a mix of both for
            each number of z, by the variance of q as a share of the prior's; it needs a diagonal Gaussian prior and
            ``posterior.stddev`` of shape (B, ...). A posterior class of your own may define a rough ``stddev``, but
            it must not depend on samples. Gradients of all other parameters are the same with each of the three.

    Returns:
        loss: minus the mean over B of the objective's value, nats per example, a scalar to minimise.
        bound: the IWAE bound for every objective; shape (B,), nats, detached. Larger is better.

    Raises:
        SpecError: a pair or a K that cannot work; wrong shapes; log-densities of half precision; a posterior that
            cannot be reparameterised, or whose sample or density is detached from a parameter (checked for whole
            parameters: if one parameter feeds loc and scale, a detached half of it is not found); a log_joint that is
            detached from z; rows that depend on each other; a posterior whose support moves, except with ``reparam``;
            log p = -inf with a pair that has a path; nothing to train; a prior whose factors do not have each number
            of z once, or depend on their own part of z; a prior or posterior that ``prior_gradient`` cannot use;
            ``screen`` with a log_joint of one parameter or with random numbers; a second pass with other values than
            the first one, for example because ``rows(x)`` was forgotten.
        NotFinite: log-weights, or gradients of a sample with weight, are not finite; the error names the examples.

    Reference: Tucker et al., arXiv 1810.04152, for any posterior and any objective by the rule of ``Terms``. The
    choice of rows is described in the documentation, "Screening".

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
    if torch.compiler.is_dynamo_compiling():
        # _loss walks autograd graphs and takes gradients, which do not exist while a step is being traced.
        # Keep this a single expression: with several, torch would trace the loss itself.
        return _COMPILER.disable(_loss)(
            log_joint, posterior, k, objective, estimator, check, k_chunk, screen, generator, prior, prior_gradient
        )
    return _loss(
        log_joint, posterior, k, objective, estimator, check, k_chunk, screen, generator, prior, prior_gradient
    )


def _loss(
    log_joint: LogJoint,
    posterior: Distribution,
    k: int,
    objective: Objective | str,
    estimator: Estimator | str,
    check: bool | None,  # noqa: FBT001 - passed on
    k_chunk: int | None,
    screen: float | None,
    generator: torch.Generator | None,
    prior: Prior | None,
    prior_gradient: PriorGradient | str,
) -> tuple[Tensor, Tensor]:
    pair = resolve_pair(objective, estimator, k)
    require_awake(pair, "multi_sample_loss")
    require_fitted(pair)
    passes = Passes.checked(k_chunk, screen, generator)
    require_posterior(posterior, pair)
    own_prior = OwnPrior.checked(prior, prior_gradient)
    along = own_prior is not None and own_prior.rule is not None
    if along:
        require_along(posterior, pair)
    if passes.are_needed(k):
        draw = draw_in_passes(log_joint, posterior, [pair], k, passes, own_prior)
    else:
        draw = draw_samples(log_joint, posterior, [pair], k, own_prior)
    terms, weights = pair.at(draw.log_w)
    require_finite(pair, (weights.model, weights.path, weights.score, terms.value.unsqueeze(0)))
    dtype = draw.log_w.dtype
    loss, bound = -terms.value.mean().to(dtype), log_mean_exp(terms.log_w).to(dtype)
    if torch.is_grad_enabled():
        square = weights.model - terms.dmodel if along else None
        seeds = gradient_seeds(
            draw, posterior, weights, pair, path=pair.uses_path, score=pair.uses_score, square=square
        )
        loss = _attach(loss, seeds)
    require_assumptions(draw, posterior, pair, check=check, insist=check is True)
    return loss, bound


class _WithGradients(torch.autograd.Function):
    """A value with given gradients by some tensors.

    A surrogate would have another value, and ``surrogate - surrogate.detach()`` is NaN as soon as one log-density
    is infinite.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, *tensors: Tensor) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if torch.is_grad_enabled():
            # torch's once_differentiable would not refuse this: it checks the incoming gradient, which is a constant
            # here.
            what = "multi_sample_loss has first derivatives only: its weights are fixed numbers to autograd."
            raise UsageError(what, where="create_graph=True", hint="leave create_graph out for this loss")
        gradients: tuple[Tensor, ...] = ctx.saved_tensors
        return None, *(grad_outputs[0] * gradient for gradient in gradients), *(None,) * len(gradients)


def _attach(value: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the value with given gradients, as pairs of a tensor and the gradient by it."""
    by, given = zip(*gradients, strict=True)
    return cast("Tensor", _WithGradients.apply(value, *by, *given))
