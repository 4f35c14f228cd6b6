"""Gradients by the plainest execution, which every other execution is compared with."""

from dataclasses import dataclass

from torch import Tensor

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair


@dataclass(frozen=True)
class GivenNoise:
    """Noise that the caller gives.

    Attributes:
        given: the noise, shape (K, B, Z).
    """

    given: Tensor

    @property
    def k(self) -> int:
        """Samples per example."""
        return self.given.shape[0]

    def noise(self, first: int, count: int) -> Tensor:
        """Return ``count`` samples of the noise, starting at ``first``."""
        return self.given[first : first + count]


def dense_gradients(
    model: Model, pixels: Tensor, noise: Tensor, pair: Pair, *, train_model: bool = True
) -> Gradients:
    """Compute gradients in one forward and one backward pass over all K x B rows.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        noise: standard normal, shape (K, B, Z).
        pair: the objective and its estimator.
        train_model: False skips theta's gradients and the work for them.
    """
    return Step(model, pixels, GivenNoise(noise), Execution()).gradients(pair, train_model=train_model)
