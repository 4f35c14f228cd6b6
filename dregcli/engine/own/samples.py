"""K samples of any torch posterior with their log-densities, and the gradients of log p that a pair asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.located import Located, locate
from dregcli.engine.own.log_joint import Joint, LogJoint, RowChoice, density_faults
from dregcli.engine.pairs import Pair
from dregcli.engine.posteriors import Unfolded
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
    """

    unfolded: Unfolded
    start: Tensor
    located: Located
    joint: Joint
    replay: Replay
    log_p: Tensor
    log_w: Tensor

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

    def row_gradients(self, model: Tensor | None, path: Tensor | None) -> RowGradients:
        """Differentiate log p.

        Args:
            model: weights of rows in theta's gradient, (K, B); None if nothing in log p is trained.
            path: weights of rows in the path, (K, B); None if there is no path.

        Raises:
            NotFinite: log_joint turns a weight of 0 into NaN for a sample outside the support.
        """
        dz = None if path is None else self._dz
        if model is None:
            return RowGradients([], path, dz)
        if torch.isneginf(self.log_p).any():
            # This check costs a backward pass, so it is made only for batches with samples outside the support.
            theta = list(self.reach_of_p.leaves - {self.leaf})
            require_spared(self._gradients_of_log_p(theta, torch.zeros_like(self.log_p)))
        return RowGradients([(self.log_p, model.to(self.log_p.dtype))], path, dz)

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
        (of_p,) = self._gradients_of_log_p([self.leaf], torch.ones_like(self.log_p))
        return of_p - self.slope_of_q()

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


def require_spared(gradients: Sequence[Tensor]) -> None:
    """Refuse a log_joint that turns a row weight of exactly 0 into NaN, because torch computes 0 * inf inside it."""
    if not all(torch.isfinite(each).all() for each in gradients):
        what = "log_joint's gradient is NaN for samples whose weight is 0; this would make all parameters NaN."
        hint = "outside the support, use torch.where to put in safe inputs before log, sqrt or a division, not after"
        raise NotFinite(what, where="log_joint, at samples with log p = -inf", hint=hint)


def draw_samples(log_joint: LogJoint, posterior: Distribution, pairs: Sequence[Pair], k: int) -> Samples:
    """Draw samples and compute their log-densities; log p keeps its graph.

    Args:
        log_joint: function that returns log p(x, z) of samples.
        posterior: a posterior that ``require_posterior`` accepts.
        pairs: pairs that will use the samples.
        k: samples per example.

    Raises:
        SpecError: a returned tensor does not have shape (K, B) or has half precision, or a density cannot be
            computed.
        NotFinite: the derivative of a density by z cannot be computed.
    """
    unfolded, start, located = draw_located(posterior, pairs, k)
    joint, replay = Joint.of(log_joint), Replay(start.device)
    log_p = joint.values(located.z, None)
    return Samples(unfolded, start, located, joint, replay, log_p, log_p - located.log_q)


def draw_located(posterior: Distribution, pairs: Sequence[Pair], k: int) -> tuple[Unfolded, Tensor, Located]:
    """Draw samples and compute their log q: the unfolded posterior, the base samples, and the samples in place.

    Arguments and errors are those of ``draw_samples``.
    """
    shape = (k, *posterior.batch_shape)
    has_path = any(pair.uses_path for pair in pairs)
    unfolded = Unfolded.of(posterior)
    start = unfolded.draw(k, has_path=has_path)
    if tuple(start.shape[:2]) != shape:
        message = f"samples must have shape (K, B, ...) = ({k}, {shape[1]}, ...), got {tuple(start.shape)}."
        raise SpecError([Fault("posterior", message)])
    apart = any(pair.needs_score_identity for pair in pairs)
    try:
        located = locate(unfolded, start, has_path=has_path, apart=apart)
    except (NotImplementedError, KeyError) as error:
        message = f"its density cannot be computed at a copy of its own sample ({type(error).__name__}: {error})."
        advice = "Give it a log_prob that works for any z, or build it from torch's TransformedDistribution, "
        advice += "which then needs no inverse."
        raise SpecError([Fault("posterior", f"{message} {advice}")]) from error
    if faults := density_faults("posterior", "log_prob(z)", located.log_q, located.z, shape):
        raise SpecError(faults)
    return unfolded, start, located
