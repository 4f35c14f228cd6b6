"""Independent replicates of many pairs' gradients on the same noise, of a frozen model or of the Gaussian toy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.models.base import LatentModel
from dregcli.engine.models.gaussian_toy import GaussianToy, ToyProblem
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Network


@dataclass(frozen=True)
class Drawn:
    """n independent replicates, as descent directions.

    Attributes:
        gradients: of the encoder one sequence a pair, of the decoder one for each distinct objective in the order of
            the pairs; (P, n, D) each.
        bound: the IWAE bound at K, mean over the examples, shape (n,), float64, nats.
        ess: effective sample size, mean over the examples, shape (n,), float64.
    """

    gradients: dict[Network, Tensor]
    bound: Tensor
    ess: Tensor


class Replicates(Protocol):
    """Gradients that vary with the noise of the samples alone.

    The noise is addressed: the same number of a stream is the same noise whatever the pairs, and that of fewer
    samples is the beginning of that of more.
    """

    @property
    def at_once(self) -> int:
        """Replicates of one draw."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are."""
        ...

    def draw(self, stream: Stream, number: int, count: int, pairs: Sequence[Pair], k: int) -> Drawn:
        """The first ``count`` replicates of draw ``number``, the same for the same number."""
        ...


class ModelReplicates:
    """Gradients of a model at fixed examples and pixels, for the mean over these.

    Args:
        model: frozen.
        pixels: shape (B, D).
        randomness: addresses the noise.
        k_chunk: samples at once; None is all.
    """

    at_once = 1

    def __init__(
        self, model: LatentModel, pixels: Tensor, randomness: Randomness, *, k_chunk: int | None = None
    ) -> None:
        self._model, self._pixels, self._randomness = model, pixels, randomness
        self._execution = Execution(k_chunk=k_chunk)

    @property
    def device(self) -> torch.device:
        """The pixels'."""
        return self._pixels.device

    def draw(self, stream: Stream, number: int, count: int, pairs: Sequence[Pair], k: int) -> Drawn:
        """One replicate: one forward and one backward pass for all pairs."""
        noise = AddressedNoise(
            self._randomness,
            stream,
            number,
            k=k,
            batch=len(self._pixels),
            width=self._model.latent_width,
            dtype=self._pixels.dtype,
        )
        step = Step(self._model, self._pixels, noise, self._execution)
        theta, phi = step.each(tuple(pairs), train_model=True)
        gradients = {Network.ENCODER: _flat(phi), Network.DECODER: _flat(theta)}
        bound, _, ess = step.values.mean(dim=1, keepdim=True)
        return Drawn(gradients, bound, ess)


def _flat(gradients: Named) -> Tensor:
    """Gradients by parameter, (P, ...) each, as one vector a pair: (P, 1, D)."""
    return torch.cat([each.reshape(len(each), -1) for each in gradients.values()], dim=1).unsqueeze(1)


class ToyReplicates:
    """Gradients of the toy's b (encoder) and theta (decoder) at its data point, many replicates a batch.

    Args:
        problem: the toy.
        randomness: addresses the noise.
    """

    at_once = 50

    def __init__(self, problem: ToyProblem, randomness: Randomness) -> None:
        self._problem, self._randomness = problem, randomness
        self._models: dict[int, GaussianToy] = {}

    @property
    def device(self) -> torch.device:
        """The data point's."""
        return self._problem.x.device

    def draw(self, stream: Stream, number: int, count: int, pairs: Sequence[Pair], k: int) -> Drawn:
        """Each replicate is an example of one batch."""
        if count not in self._models:
            self._models[count] = self._problem.model.repeated(count)
        model, x = self._models[count], self._problem.x.expand(count, -1)
        noise = AddressedNoise(
            self._randomness,
            stream,
            number,
            k=k,
            batch=self.at_once,
            width=model.latent_width,
            dtype=x.dtype,
            examples=count,
        )
        step = Step(model, x, noise, Execution())
        theta, phi = step.each(tuple(pairs), train_model=True)
        bound, _, ess = step.values
        # A step's gradients are of the mean over its batch: each replicate's own is as much larger.
        return Drawn({Network.ENCODER: phi["b"] * count, Network.DECODER: theta["theta"] * count}, bound, ess)
