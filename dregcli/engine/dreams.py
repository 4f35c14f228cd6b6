"""Dreams: samples of the model itself, on which the posterior learns in the sleep phase of wake-sleep."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.randomness import Randomness, Stream

_STREAMS: Final[Mapping[Stream, Stream]] = {
    Stream.NOISE: Stream.DREAMS,
    Stream.DIAGNOSTIC_NOISE: Stream.DIAGNOSTIC_DREAMS,
    Stream.VARIANCE_NOISE: Stream.VARIANCE_DREAMS,
    Stream.VARIANCE_REFERENCE: Stream.VARIANCE_REFERENCE_DREAMS,
}
_PIXELS: Final = 2**62
"""Block of the random numbers of the pixels, beyond the blocks of all latents."""


class DreamNoise(AddressedNoise):
    """Random numbers of one dream for each example of a batch, in a stream of their own.

    Args:
        randomness: the seed and the device.
        beside: stream of the batch's own noise.
        step: the training step or the batch.
        batch: number of examples that the numbers are drawn for, B.
        width: latent dimensions of all layers together, Z.
        dtype: type of the returned noise.
        examples: number of examples to use, from the first on; all if it is not given.
    """

    def __init__(
        self,
        randomness: Randomness,
        beside: Stream,
        step: int,
        *,
        batch: int,
        width: int,
        dtype: torch.dtype = torch.float32,
        examples: int | None = None,
    ) -> None:
        stream = _STREAMS[beside]
        super().__init__(randomness, stream, step, k=1, batch=batch, width=width, dtype=dtype, examples=examples)
        self._pixels = (randomness, stream, step)

    def generator(self) -> torch.Generator:
        """Return the generator of the pixels, at its address; draw before another one is used."""
        randomness, stream, step = self._pixels
        return randomness.generator(stream, step, _PIXELS)


@dataclass(frozen=True)
class Dreams:
    """Samples (x, z) of a model, one for each example of a batch. Nothing in them has a gradient.

    Attributes:
        pixels: x, shape (B, D). A model with a context keeps the context of each example.
        latents: z by name, (1, B, ...) each.
        seed: seed of random numbers that the posterior draws itself, such as dropout's.
    """

    pixels: Tensor
    latents: Mapping[str, Tensor]
    seed: int = 0


class Dreamer(Protocol):
    """The part of a model that the sleep phase needs."""

    def dream(self, pixels: Tensor, draws: DreamNoise) -> Dreams:
        """Return samples of the model."""
        ...

    def log_posterior(self, dreams: Dreams) -> Tensor:
        """Return log q(z | x) at dreams, shape (B,), nats."""
        ...

    def posterior_parameters(self) -> Mapping[str, nn.Parameter]:
        """Return phi, by name."""
        ...


def sleep_gradient(model: Dreamer, dreams: Dreams) -> dict[str, Tensor]:
    """Return minus the gradient of the mean of log q(z | x) over dreams, by each parameter of phi.

    Its expectation is minus d/dphi E_{p(x, z)} log q(z | x): a step down it brings q nearer to the posterior of the
    model on data of the model. Without parameters there is none. Reference: arXiv 1406.2751, section 3; Hinton et al.
    1995.
    """
    if not (phi := model.posterior_parameters()):
        return {}
    with torch.enable_grad():
        loss = -model.log_posterior(dreams).mean()
    found = torch.autograd.grad(loss, list(phi.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(phi, found, strict=True))
