"""The score function with a baseline from auxiliary samples."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula, IwaeEstimator, ScoreEstimator
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.weights import largest, leave_one_out_logsumexp
from dregcli.names import Promise


@dataclass(frozen=True)
class OvisMc(ScoreEstimator, IwaeEstimator):
    """Score weight (L_n - v_k) - mean_s (L_n - v_k)[w_k <- w_s] for the first n = K - S samples.

    The last S of the K samples are auxiliary, and have no score: each takes the place of sample k in turn, which
    gives the baseline. L_n is the IWAE bound of the first n samples and v their normalised weights.

    Its two networks have different targets, as with piwae: phi ascends L_n, without bias, and theta ascends the bound
    of all K samples; with ``exclusive``, theta ascends L_n too. The program's bound is of all K samples in any case.

    Attributes:
        samples: the number S of auxiliary samples.
        exclusive: whether the auxiliary samples are left out of theta's gradient.

    Reference: Lievin, Dittadi, Christensen, Winther, arXiv 2008.01998 (OVIS-MC).
    """

    name: ClassVar[str] = "ovis-mc"
    reference: ClassVar[str] = "arXiv 2008.01998"
    cites: ClassVar[tuple[str, ...]] = ("lievin2020ovis",)
    own_target: ClassVar[str | None] = "L_n"

    samples: int = 1
    exclusive: bool = False

    def faults(self) -> list[str]:
        """Check that there is an auxiliary sample."""
        return [] if self.samples >= 1 else [f"samples must be at least 1, got {self.samples}."]

    def smallest_k(self, objective: Objective) -> int:
        """Return the number of auxiliary samples and one more."""
        return self.samples + 1

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (v, 0, the weight of the class's formula), in O(K S)."""
        n = len(terms.log_w) - self.samples
        log_w = terms.log_w - largest(terms.log_w)
        others = leave_one_out_logsumexp(log_w[:n])
        signal = _signal(others, log_w[:n], terms.kl_weight)
        baseline = _signal(others, log_w[n:, None], terms.kl_weight).mean(dim=0)
        model = _padded(_first(objective, terms, self.samples).model, terms) if self.exclusive else terms.model
        return Coefficients(model, torch.zeros_like(terms.path), _padded(signal - baseline, terms))

    @property
    def left_out(self) -> int:
        """The number of auxiliary samples with ``exclusive``; otherwise theta ascends the bound of all samples."""
        return self.samples if self.exclusive else 0

    def with_its_target(self, estimator: Estimator) -> Estimator:
        """Return the estimator on the first n samples, with theta's weights as they are here."""
        return FirstSamples(estimator, self.samples, self.exclusive)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias for each network's own target, since the baseline does not depend on the sample."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula("v_n" if self.exclusive else objective.formula.model, "0", "I_n*(L_n - v_n - A)")

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return one and two auxiliary samples, with theta on all samples and on the first ones."""
        return cls(), cls(samples=2, exclusive=True)


@dataclass(frozen=True)
class FirstSamples(IwaeEstimator):
    """An estimator that uses all samples except the last ones: a reference with the targets of ``ovis-mc``.

    Attributes:
        inner: the estimator, which must be unbiased for the IWAE bound.
        samples: the number of samples that are left out.
        exclusive: whether they are left out of theta's gradient too.
    """

    name: ClassVar[str] = "first-samples"
    reference: ClassVar[str] = "arXiv 2008.01998"
    cites: ClassVar[tuple[str, ...]] = ()

    inner: Estimator = field(default_factory=Reparam)
    samples: int = 1
    exclusive: bool = False

    def smallest_k(self, objective: Objective) -> int:
        """Return what the estimator needs and the samples that are left out."""
        return self.samples + self.inner.smallest_k(objective)

    def uses_path(self, objective: Objective) -> bool:
        """Whether the inner estimator has a path."""
        return self.inner.uses_path(objective)

    def uses_score(self, objective: Objective) -> bool:
        """Whether the inner estimator has a score."""
        return self.inner.uses_score(objective)

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute the inner estimator's weights at the first samples, and 0 for the others."""
        first = _first(objective, terms, self.samples)
        found = self.inner.coefficients(objective, first)
        model = _padded(found.model, terms) if self.exclusive else terms.model
        return Coefficients(model, _padded(found.path, terms), _padded(found.score, terms))

    @property
    def left_out(self) -> int:
        """The number of last samples with ``exclusive``."""
        return self.samples if self.exclusive else 0

    def promise(self, objective: Objective, k: int) -> Promise:
        """Return the inner estimator's promise."""
        return self.inner.promise(objective, k - self.samples)

    def formula(self, objective: Objective) -> Formula:
        """Return the inner estimator's formulas; the weights that they name are those of the first samples."""
        return self.inner.formula(objective)


def _first(objective: Objective, terms: Terms, samples: int) -> Terms:
    """Return the objective's terms at all samples except the last ones."""
    return objective.terms(terms.log_w[: len(terms.log_w) - samples]).tempered(terms.kl_weight)


def _padded(weights: Tensor, terms: Terms) -> Tensor:
    """Return the weights of the first samples with 0 for the others, shape (K, B)."""
    return torch.cat([weights, torch.zeros_like(terms.log_w[len(weights) :])])


def _signal(others: Tensor, log_w: Tensor, kl_weight: float) -> Tensor:
    """Compute L_n - v_k without the constant -log n, where sample k has the given log-weight.

    Args:
        others: logsumexp of the other log-weights for each k, shape (n, B); -inf with n = 1.
        log_w: log-weight of sample k, of a shape that is broadcast with ``others``.
        kl_weight: how much of log q the log-weights have.
    """
    total = torch.logaddexp(others, log_w)
    return total - kl_weight * (log_w - total).exp()
