"""The built-in sigmoid belief network, written as any user's model is."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData
from dregcli.errors import Fault, SpecError
from dregcli.names import DataKind

MEAN_CLIP = 1e-4
"""Mean pixels are clipped to [1e-4, 1 - 1e-4] before their logit is taken, as in the code of arXiv 1907.00031."""


class SigmoidBeliefNetwork(LatentModel):
    """Layers of bits, each of which depends on the layer above: h_L -> ... -> h_1 -> x.

    Every conditional is Bernoulli(logits = f(2 h - 1)), where f is linear, or has layers of tanh between. The prior
    of the top layer has learned logits, 0 at first. The posterior goes from x up: h_1 from (x - mean + 1) / 2, each
    layer above from 2 h - 1 of the layer below. With the defaults these are the networks of 200-200-200 bits on which
    VIMCO (1602.06725), the thermodynamic objective (1907.00031) and OVIS (2008.01998) were compared. One layer with
    two layers of tanh is their non-linear variant: ``latent_dim=(200,), hidden=((200, 200),)``.

    Args:
        data: shape and statistics of the data, which must be binary.
        latent_dim: number of bits of each layer, from the one next to x on.
        hidden: sizes of the tanh layers between each layer of bits and the layer below it, from below on; none if it
            is not given. The posterior's networks have them in this order, the model's networks in the opposite one.

    Raises:
        SpecError: the data are not binary, or the numbers of layers or units cannot be used.
    """

    mean: Tensor

    def __init__(
        self,
        data: ModelData,
        *,
        latent_dim: Sequence[int] = (200, 200, 200),
        hidden: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        between = [tuple(each) for each in hidden] or [()] * len(latent_dim)
        _require(data, latent_dim, between)
        self._shape = data.shape
        self.names = [f"h{i + 1}" for i in range(len(latent_dim))]
        mean = data.mean.flatten()
        self.register_buffer("mean", mean.clone())
        widths = [len(mean), *latent_dim]
        steps = [(below, *layers, above) for (below, above), layers in zip(pairwise(widths), between, strict=True)]
        self.encoders = nn.ModuleList(_network(step) for step in steps)
        self.decoders = nn.ModuleList(_network(tuple(reversed(step))) for step in steps)
        self.prior = nn.Parameter(torch.zeros(latent_dim[-1]))
        *_, last = self.decoders[0].children()
        with torch.no_grad():
            cast("nn.Linear", last).bias.copy_(torch.logit(mean.clamp(MEAN_CLIP, 1.0 - MEAN_CLIP)))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        """Draw the layers from x up."""
        below = (x.flatten(1) - self.mean + 1.0) / 2.0
        for name, encoder in zip(self.names, self.encoders, strict=True):
            below = _signs(draw(name, _bits(encoder(below))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Return the distribution of the pixels."""
        given(self.names[-1], _bits(self.prior))
        for name, above, decoder in zip(self.names, self.names[1:], self.decoders[1:], strict=False):
            given(name, _bits(decoder(_signs(z[above]))))
        logits = self.decoders[0](_signs(z[self.names[0]]))
        return _bits(logits.reshape(*logits.shape[:-1], *self._shape), len(self._shape))


def _bits(logits: Tensor, axes: int = 1) -> Distribution:
    return Independent(Bernoulli(logits=logits, validate_args=False), axes, validate_args=False)


def _signs(bits: Tensor) -> Tensor:
    return 2.0 * bits - 1.0


def _network(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def _require(data: ModelData, latent_dim: Sequence[int], hidden: Sequence[Sequence[int]]) -> None:
    faults: list[Fault] = []
    if data.kind is not DataKind.BINARY:
        message = f"a sigmoid belief network needs binary pixels, but these are {data.kind} values."
        way = "Give --binarisation dynamic." if data.kind is DataKind.INTENSITY else "Use --model vae or conv."
        faults.append(Fault("model", f"{message} {way}"))
    if not latent_dim:
        faults.append(Fault("latent_dim", "there must be at least one layer of bits."))
    if len(hidden) != len(latent_dim):
        message = f"there are {len(latent_dim)} layers of bits, but hidden layers for {len(hidden)} of them."
        faults.append(Fault("hidden", message))
    for name, numbers in (("latent_dim", latent_dim), ("hidden", [each for layer in hidden for each in layer])):
        faults += [Fault(name, f"must be at least 1, got {each}.") for each in numbers if each < 1]
    if faults:
        raise SpecError(faults)
