"""Annealed importance sampling run to its end, and its wrong twins."""

from collections.abc import Callable

import torch
from torch import Tensor

from dregcli.engine.annealed import Annealed
from dregcli.engine.annealing import AnnealedBatch, Annealing
from dregcli.engine.hamiltonian import energy, leapfrog, transition
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.randomness import Stream
from dregcli.names import Split
from tests.support.linear_gaussian import LinearGaussian

GAUSSIAN = LinearGaussian()


def run(batch: AnnealedBatch) -> Annealed:
    """The result of a batch, advanced until it is done."""
    while not batch.done:
        batch.advance()
    return batch.result()


def measured(
    model: GaussianModel,
    pixels: Tensor,
    annealing: Annealing,
    *,
    seed: int = 0,
    batch: int = 0,
    kind: type[AnnealedBatch] = AnnealedBatch,
) -> Annealed:
    """The result of an annealing of some pixels of the test split."""
    return run(kind(model, pixels, annealing, split=Split.TEST, batch=batch, seed=seed))


class WeighedAfter(AnnealedBatch):
    """The weights' increments are taken where the transition has led, not where it began."""

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        increment = self._b[self._index + 1] - self._b[self._index]
        before = self._points.log_likelihood
        probability = super()._move(b, step_size)
        self._log_weights = self._log_weights + increment * (self._points.log_likelihood - before)
        return probability


class Uncorrected(AnnealedBatch):
    """Steps are a quarter larger, and every proposal is taken."""

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        momentum = self._draws.normal(Stream.ANNEALING_MOMENTA, self._index, self._chains, pilot=self._pilot)
        start, count = self._points, self.annealing.leapfrogs
        self._points, arrived = leapfrog(
            self._likelihood, start, momentum, b=b, step_size=1.25 * step_size, leapfrogs=count
        )
        return (energy(start, momentum, b) - energy(self._points, arrived, b)).clamp(max=0.0).exp()


class StepsByState(AnnealedBatch):
    """A chain takes smaller steps where x is less likely."""

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        scale = torch.sigmoid(3.0 + self._points.log_likelihood)
        return super()._move(b, step_size * scale)


class AdaptedThroughout(AnnealedBatch):
    """The measured chains go on adapting, by their own acceptance."""

    def advance(self) -> None:
        index, pilot = self._index, self._pilot
        before = self._accepted
        super().advance()
        if not pilot and index + 1 < self.annealing.steps - 1:
            self._step_sizes[index + 1 :] *= (self._accepted - before).sub(0.65).exp()


class Consumed(AnnealedBatch):
    """Momenta come from a generator that counts what was drawn before."""

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        self.__dict__.setdefault("generator", torch.Generator().manual_seed(0))
        momentum = torch.randn(self._points.e.shape, generator=self.__dict__["generator"]).to(self._points.e)
        uniform = self._draws.uniform(self._index, self._chains, pilot=self._pilot)[0]
        self._points, probability = transition(
            self._likelihood, self._points, momentum, uniform, b=b, step_size=step_size, leapfrogs=1
        )
        return probability


class Unmoved(AnnealedBatch):
    """No transitions. Not wrong: importance sampling from the prior."""

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        return torch.ones_like(self._log_weights)


def as_stored(stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
    """Pixels are the values as they are, in their own precision."""
    return stored
