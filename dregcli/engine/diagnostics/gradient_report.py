"""Variance of the gradients of a user's own torch model, estimator by estimator."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dregcli.columns import at_floor, snr_floor
from dregcli.engine.diagnostics.own_model import Make, OwnModelSource, own_pairs
from dregcli.engine.diagnostics.source import StackedWeights
from dregcli.engine.estimators import Estimator
from dregcli.engine.moments import RunningMoments
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.engine.weights import effective_sample_size
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient


@dataclass(frozen=True)
class Moments:
    """Variance and signal-to-noise ratio of a gradient, over the coordinates of some parameters.

    Attributes:
        variance: mean over coordinates of the variance, squared nats per squared unit of a parameter.
        snr: see ``signal_to_noise``. For pure noise it is about ``snr_floor``. If nothing varies, it is 0 for a zero
            gradient and infinite for any other gradient.
    """

    variance: float
    snr: float


@dataclass(frozen=True)
class GradientReport:
    """The gradients of one estimator over independent batches.

    Attributes:
        pair: objective and estimator.
        n: number of batches.
        total: moments over all parameters that it reaches.
        blocks: moments by parameter.
        ess: mean effective sample size of the batches, the same for all estimators.
        snr_floor: measured ``snr`` if the true one is 0: sqrt(2 / pi / n).
    """

    pair: Pair
    n: int
    total: Moments
    blocks: dict[str, Moments]
    ess: float
    snr_floor: float

    @property
    def at_floor(self) -> bool:
        """Whether the total's ``snr`` cannot be distinguished from pure noise."""
        return at_floor(self.total.snr, self.snr_floor)


def gradient_report(
    make: Make,
    parameters: Mapping[str, Tensor],
    k: int,
    objective: Objective | str = "iwae",
    estimators: Sequence[Estimator | str] = ("reparam", "stl", "dreg"),
    *,
    batches: int = 200,
    prior_gradient: PriorGradient | str = PriorGradient.SCORE,
) -> list[GradientReport]:
    """Measure variance and signal-to-noise ratio of estimators' gradients on your own model, on the same samples.

    Args:
        make: function that builds ``log_joint`` and ``posterior``, and perhaps the prior, again for every batch; see
            ``check_bias``.
        parameters: parameters whose gradients are measured, by name.
        k: K, the number of samples per example.
        objective: an objective or its word.
        estimators: estimators or their words.
        batches: number of independent batches, at least 2.
        prior_gradient: how the prior's parameters get their gradient, as in ``multi_sample_loss``.

    Returns:
        One report per estimator, in their order.

    Raises:
        SpecError: pairs, numbers or parameters that cannot work.
        NotFinite: an estimator has no finite weights for this model.
    """
    if batches < 2:
        raise SpecError([Fault("batches", f"must be at least 2, got {batches}.")])
    pairs = own_pairs(objective, estimators, k)
    source = OwnModelSource(make, parameters, k=k, prior_gradient=prior_gradient)
    running = [RunningMoments() for _ in pairs]
    ess = 0.0
    for _ in range(batches):
        samples, posterior = source.samples(pairs)
        ess += float(effective_sample_size(samples.log_w.detach().double()).mean()) / batches
        weights = StackedWeights.at(pairs, samples.log_w)
        for i, (pair, moments) in enumerate(zip(pairs, running, strict=True)):
            found = source.gradients(
                samples, posterior, weights.one(i), pair, path=pair.uses_path, score=pair.uses_score
            )
            moments.add({name: part.double().reshape(1, -1) for name, part in found.items()})
    return [_report(pair, moments, ess, batches) for pair, moments in zip(pairs, running, strict=True)]


def _report(pair: Pair, running: RunningMoments, ess: float, batches: int) -> GradientReport:
    blocks = {name: _moments(running, name) for name in running.means}
    return GradientReport(pair, batches, _moments(running), blocks, ess, snr_floor(batches))


def _moments(running: RunningMoments, *names: str) -> Moments:
    """Return the moments over some parameters, or over all."""
    variance, snr = (float(each) for each in running.variance_and_snr(*names)[:, 0])
    if variance == 0.0:  # there is no noise
        return Moments(0.0, math.inf if any(running.means[name].any() for name in names or running.means) else 0.0)
    return Moments(variance, snr)
