"""How much the gradients of one's own torch model vary, estimator by estimator."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.columns import at_floor, snr_floor
from dregcli.engine.diagnostics.own_model import Make, OwnModelSource, own_pairs
from dregcli.engine.diagnostics.source import Parts, StackedWeights
from dregcli.engine.estimators import Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.engine.snr import signal_to_noise
from dregcli.engine.weights import effective_sample_size
from dregcli.errors import Fault, SpecError


@dataclass(frozen=True)
class Moments:
    """How much a gradient varies, over the coordinates of some parameters.

    Attributes:
        variance: mean over coordinates of the variance, squared nats per example and unit of parameter.
        snr: see ``signal_to_noise``. Of pure noise it is about ``snr_floor``; where nothing varies it is 0 of no
            gradient, and infinite of any other.
    """

    variance: float
    snr: float


@dataclass(frozen=True)
class GradientReport:
    """The gradients of one estimator over independent batches.

    Attributes:
        pair: objective and estimator.
        n: batches.
        total: over all parameters that it reaches.
        blocks: by parameter.
        ess: mean effective sample size of the batches, the same for all estimators.
        snr_floor: what ``snr`` measures where the true one is 0: sqrt(2 / pi / n).
    """

    pair: Pair
    n: int
    total: Moments
    blocks: dict[str, Moments]
    ess: float
    snr_floor: float

    @property
    def at_floor(self) -> bool:
        """Whether the total's ``snr`` cannot be told from that of noise alone."""
        return at_floor(self.total.snr, self.snr_floor)


def gradient_report(
    make: Make,
    parameters: Mapping[str, Tensor],
    k: int,
    objective: Objective | str = "iwae",
    estimators: Sequence[Estimator | str] = ("reparam", "stl", "dreg"),
    *,
    batches: int = 200,
) -> list[GradientReport]:
    """Variance and signal-to-noise ratio of estimators' gradients on one's own model, on the same samples.

    Args:
        make: builds ``log_joint`` and ``posterior`` anew for every batch; see ``check_bias``.
        parameters: whose gradients, by name.
        k: K, the number of samples an example.
        objective: an objective or its word.
        estimators: estimators or their words.
        batches: independent batches, at least 2.

    Returns:
        One report an estimator, in their order.

    Raises:
        SpecError: pairs, numbers or parameters that cannot work.
        NotFinite: an estimator has no finite weights here.
    """
    if batches < 2:
        raise SpecError([Fault("batches", f"must be at least 2, got {batches}.")])
    pairs = own_pairs(objective, estimators, k)
    source = OwnModelSource(make, parameters, k=k)
    running = [_RunningMoments() for _ in pairs]
    ess = 0.0
    for _ in range(batches):
        samples, posterior = source.samples(pairs)
        ess += float(effective_sample_size(samples.log_w.detach().double()).mean()) / batches
        weights = StackedWeights.at(pairs, samples.log_w)
        for i, (pair, moments) in enumerate(zip(pairs, running, strict=True)):
            moments.add(
                source.gradients(samples, posterior, weights.one(i), pair, path=pair.uses_path, score=pair.uses_score)
            )
    return [
        GradientReport(pair, batches, moments.total(), moments.blocks(), ess, snr_floor(batches))
        for pair, moments in zip(pairs, running, strict=True)
    ]


class _RunningMoments:
    """Means and sums of squared deviations, updated vector by vector (Welford's recurrence), float64."""

    def __init__(self) -> None:
        self._n = 0
        self._means: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}

    def add(self, parts: Parts) -> None:
        self._n += 1
        for name, part in parts.items():
            values = part.double()
            mean = self._means.get(name, torch.zeros_like(values))
            deviation = values - mean
            mean = mean + deviation / self._n
            self._means[name] = mean
            self._squares[name] = self._squares.get(name, torch.zeros_like(values)) + deviation * (values - mean)

    def _moments(self, names: Sequence[str]) -> Moments:
        means = torch.cat([self._means[name] for name in names])
        variances = torch.cat([self._squares[name] for name in names]) / (self._n - 1)
        if not (variances > 0.0).any():  # there is no noise
            return Moments(0.0, math.inf if means.any() else 0.0)
        return Moments(float(variances.mean()), float(signal_to_noise([(means[None], variances[None])])))

    def total(self) -> Moments:
        return self._moments(list(self._means))

    def blocks(self) -> dict[str, Moments]:
        return {name: self._moments([name]) for name in self._means}
