"""K samples of any torch posterior with their log-densities, and the gradients of log p that a pair asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.located import Located, forgetting, locate
from dregcli.engine.own.log_joint import Joint, LogJoint
from dregcli.engine.own.prior import OwnPrior
from dregcli.engine.own.prior_seeds import Slopes, prior_seeds
from dregcli.engine.own.rows import RowChoice, density_faults
from dregcli.engine.pairs import Pair, examples_in_words
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.prior_path import differentiated, is_equal, undone
from dregcli.engine.reach import Reach
from dregcli.engine.replay import Replay
from dregcli.errors import Fault, NotFinite, SpecError


@dataclass(frozen=True)
class RowGradients:
    """What a backward pass through log p starts with, for a pair's weights of rows.

    Attributes:
        model: tensors, each with the gradient by this tensor, which train theta.
        path: weights (K, B) of the derivative by the samples; 0 for a row that screening left out. None without path.
        dz: the derivative d log w / d leaf, unweighted, (K, B, ...), right where ``path`` is not 0.
    """

    model: list[tuple[Tensor, Tensor]]
    path: Tensor | None
    dz: Tensor | None


@dataclass(frozen=True)
class Samples:
    """K samples of every example and their log-densities. Log p has its graph.

    Attributes:
        unfolded: the posterior that they were drawn from.
        start: the base samples, shape (K, B, ...), on the posterior's graph.
        located: the place where they are differentiated.
        joint: the user's log_joint.
        replay: state of the generators before log_joint was called.
        log_p: log p(x, z), shape (K, B), nats.
        log_w: log p minus log q, shape (K, B), nats.
        spread: standard deviation of q, (B, ...); None if it is not known or not needed.
    """

    unfolded: Unfolded
    start: Tensor
    located: Located
    joint: Joint
    replay: Replay
    log_p: Tensor
    log_w: Tensor
    spread: Tensor | None

    @property
    def live(self) -> Tensor:
        """The samples on the posterior's graph."""
        return self.located.live

    @property
    def leaf(self) -> Tensor:
        """The values of the samples, detached from the posterior's graph: gradients at a fixed z end here."""
        return self.located.leaf

    @property
    def log_q(self) -> Tensor:
        """log q(z | x) of the samples, shape (K, B), nats."""
        return self.located.log_q

    @cached_property
    def reach_of_p(self) -> Reach:
        """The autograd graph behind log p."""
        return Reach.of(self.log_p)

    @cached_property
    def reach_of_q(self) -> Reach:
        """The autograd graph behind log q."""
        return Reach.of(self.log_q)

    def row_gradients(self, model: Tensor | None, path: Tensor | None, square: Tensor | None = None) -> RowGradients:
        """Differentiate log p.

        Args:
            model: weights of rows in theta's gradient, (K, B); None if nothing in log p is trained.
            path: weights of rows in the path, (K, B); None if there is no path.
            square: weights model - d model / d log w, if theta's gradient goes along samples of the prior; else None.

        Raises:
            SpecError: the gradient cannot go along samples of the prior.
            NotFinite: log_joint turns a weight of 0 into NaN for a sample outside the support.
        """
        dz = None if path is None else self._dz
        if model is None:
            return RowGradients([], path, dz)
        if torch.isneginf(self.log_p).any():
            # This check costs a backward pass, so it is made only for batches with samples outside the support.
            theta = list(self.reach_of_p.leaves - {self.leaf})
            require_spared(self._gradients_of_log_p(theta, torch.zeros_like(self.log_p)))
        along = [] if square is None else self.along_prior(model, square)
        return RowGradients([(self.log_p, model.to(self.log_p.dtype)), *along], path, dz)

    def along_prior(self, model: Tensor, square: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what makes theta's gradient go along samples of the prior, which is evaluated again for this.

        Args:
            model: weights of rows in theta's gradient, (K, B).
            square: model - d model / d log w.

        Raises:
            SpecError: the gradient cannot go along samples of the prior.
            NotFinite: the gradient of a sample with weight is not finite.
        """
        assert self.joint.prior is not None
        require_inside(self.log_p)
        z = forgetting(self.located.z.detach())
        slopes = Slopes(self.by_z(self._slope_of_p), self.by_z(self.slope_of_q()), self.spread)
        with self.replay():
            return prior_seeds(self.joint.prior, z, RowChoice(z.shape[1]), slopes, model, square)

    def by_z(self, of_leaf: Tensor) -> Tensor:
        """Turn derivatives by the leaf into derivatives by z, through the inverses of transforms without parameters.

        Raises:
            SpecError: a transform cannot be undone.
        """
        if self.located.z is self.leaf:
            return of_leaf
        z = self.located.z.detach().requires_grad_()
        try:
            back = undone(self.unfolded.steps[self.located.first :], z)
        except Exception:  # A user's transform may fail in any way.
            back = None
        if back is None or not is_equal(back, self.leaf):
            message = "its last transforms cannot be undone, and the prior's gradient needs derivatives by z."
            raise SpecError([Fault("posterior", message)], hint="take prior_gradient='score'")
        return differentiated([back], [z], [of_leaf])[0]

    def _gradients_of_log_p(self, inputs: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, ...]:
        """Return gradients of the weighted sum of log p, and keep log_p's own graph for a later pass.

        A compiled graph allows one backward pass only; for it, log_joint is called again on the same numbers.
        """
        if not self.reach_of_p.is_compiled:
            return torch.autograd.grad(self.log_p, list(inputs), weights, retain_graph=True, materialize_grads=True)
        with self.replay():
            z = self.unfolded.pushed(self.leaf, first=self.located.first)[-1]
            again = self.joint(z, RowChoice(z.shape[1]))
        return torch.autograd.grad(again, list(inputs), weights, materialize_grads=True)

    @cached_property
    def _dz(self) -> Tensor:
        """The derivative d log w / d leaf with q's parameters held fixed, unweighted, shape (K, B, ...).

        Only the leaf's gradient is requested; this holds the parameters fixed. The graph is kept for later passes.
        """
        return self._slope_of_p - self.slope_of_q()

    @cached_property
    def _slope_of_p(self) -> Tensor:
        """The derivative d log p / d leaf with parameters held fixed, shape (K, B, ...)."""
        return self._gradients_of_log_p([self.leaf], torch.ones_like(self.log_p))[0]

    def slope_of_q(self) -> Tensor:
        """Return the derivative d log q / d leaf with q's parameters held fixed, shape (K, B, ...)."""
        if not self.log_q.requires_grad:  # a density that is flat
            return torch.zeros_like(self.leaf)
        (of_q,) = torch.autograd.grad(
            self.log_q, [self.leaf], torch.ones_like(self.log_q), retain_graph=True, materialize_grads=True
        )
        return of_q

    def densities(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and log q of other base samples of the same shape."""
        values = self.unfolded.pushed(start)
        return self.joint(values[-1], RowChoice(start.shape[1])), self.unfolded.log_density(values)


def require_inside(log_p: Tensor) -> None:
    """Refuse samples outside the support, where a gradient along the prior's samples would be biased.

    Args:
        log_p: log p(x, z), (K, B), nats.

    Raises:
        SpecError: there are such samples.
    """
    outside = torch.isneginf(log_p)
    if outside.any():
        what = "log p is -inf for some samples, and the prior's gradient would miss the jump of the weights at the "
        what += "border of the support."
        hint = "take prior_gradient='score'"
        raise SpecError([Fault("log_joint", what)], where=examples_in_words(outside.any(dim=0)), hint=hint)


def require_spared(gradients: Sequence[Tensor]) -> None:
    """Refuse a log_joint that turns a row weight of exactly 0 into NaN, because torch computes 0 * inf inside it."""
    if not all(torch.isfinite(each).all() for each in gradients):
        what = "log_joint's gradient is NaN for samples whose weight is 0; this would make all parameters NaN."
        hint = "outside the support, use torch.where to put in safe inputs before log, sqrt or a division, not after"
        raise NotFinite(what, where="log_joint, at samples with log p = -inf", hint=hint)


def draw_samples(
    log_joint: LogJoint, posterior: Distribution, pairs: Sequence[Pair], k: int, prior: OwnPrior | None = None
) -> Samples:
    """Draw samples and compute their log-densities; log p keeps its graph.

    Args:
        log_joint: function that returns log p(x, z) of samples.
        posterior: a posterior that ``require_posterior`` accepts.
        pairs: pairs that will use the samples.
        k: samples per example.
        prior: the prior, if ``log_joint`` returns log p(x | z) alone.

    Raises:
        SpecError: a returned tensor does not have shape (K, B) or has half precision, or a density cannot be
            computed.
        NotFinite: the derivative of a density by z cannot be computed.
    """
    along = prior is not None and prior.rule is not None
    unfolded, start, located = draw_located(posterior, pairs, k, along=along)
    joint, replay = Joint.of(log_joint, prior), Replay(start.device)
    log_p = joint.values(located.z, None)
    return Samples(unfolded, start, located, joint, replay, log_p, log_p - located.log_q, spread_of(posterior, prior))


def spread_of(posterior: Distribution, prior: OwnPrior | None) -> Tensor | None:
    """Return the standard deviation of q, (B, ...), if the prior's gradient needs it and the posterior has it."""
    if prior is None or prior.rule is None or not prior.rule.blended:
        return None
    try:
        found = posterior.stddev.detach()
    except (NotImplementedError, AttributeError):
        return None
    return found if tuple(found.shape) == (*posterior.batch_shape, *posterior.event_shape) else None


def draw_located(
    posterior: Distribution, pairs: Sequence[Pair], k: int, *, along: bool
) -> tuple[Unfolded, Tensor, Located]:
    """Draw samples and compute their log q: the unfolded posterior, the base samples, and the samples in place.

    Other arguments and errors are those of ``draw_samples``.

    Args:
        posterior: the posterior.
        pairs: the pairs.
        k: samples per example.
        along: whether theta's gradient goes along samples of the prior, which needs derivatives by z for every pair.
    """
    shape = (k, *posterior.batch_shape)
    has_path = along or any(pair.uses_path for pair in pairs)
    unfolded = Unfolded.of(posterior)
    try:
        start = unfolded.draw(k, has_path=has_path)
    except NotImplementedError as error:
        kind, method = type(unfolded.base).__name__, "rsample" if has_path else "sample"
        message = f"{kind} cannot draw samples: it has no method {method}(sample_shape)."
        raise SpecError([Fault("posterior", message)], hint="give its class this method") from error
    if tuple(start.shape[:2]) != shape:
        message = f"samples must have shape (K, B, ...) = ({k}, {shape[1]}, ...), got {tuple(start.shape)}."
        raise SpecError([Fault("posterior", message)])
    apart = along or any(pair.needs_score_identity for pair in pairs)
    # Samples of a frozen posterior have no path, but theta's gradient needs the derivatives by them.
    is_frozen = along and not start.requires_grad and torch.is_grad_enabled()
    source = start.detach().requires_grad_() if is_frozen else start
    try:
        located = locate(unfolded, source, has_path=has_path, apart=apart)
        located = replace(located, live=located.live.detach()) if is_frozen else located
    except (NotImplementedError, KeyError) as error:
        message = f"its density cannot be computed at a copy of its own sample ({type(error).__name__}: {error})."
        advice = "Give it a log_prob that works for any z, or build it from torch's TransformedDistribution, "
        advice += "which then needs no inverse."
        raise SpecError([Fault("posterior", f"{message} {advice}")]) from error
    if faults := density_faults("posterior", "log_prob(z)", located.log_q, located.z, shape):
        raise SpecError(faults)
    return unfolded, start, located
