"""The built-in VAE with any number of stochastic layers, written as any user's model is (arXiv 1509.00519)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine.likelihoods import fitting, make_likelihood
from dregcli.engine.models.networks import RAW_SCALE_OFFSET, network, tanh_network
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.heads import make_head
from dregcli.engine.programs.pixels import Pixels
from dregcli.names import LikelihoodName, PosteriorOrder, TopPrior
from dregcli.posteriors import Family, parse_posterior

_RAW_UNIT_SCALE = math.log(math.expm1(1.0)) - RAW_SCALE_OFFSET
"""Raw scale whose softplus(raw + 0.25) is 1."""


class HierarchicalVae(LatentModel):
    """A VAE with the stochastic layers z1 (nearest to x) to zL: p(x | z1) p(z1 | z2) ... p(zL).

    All networks have tanh layers. With hidden layers h_l = ``hidden[l - 1]``, of which w_l is the last:

    - p(z_l | z_(l+1)): z_(l+1) - h_(l+1) reversed - a diagonal Gaussian; p(x | z1): z1 - h_1 reversed - x.
    - q, bottom-up: q(z1 | x): x - h_1 - z1, and q(z_(l+1) | z_l): z_l - h_(l+1) - z_(l+1).
    - q, top-down: features of x, x - h_1 - ... - h_L, of which those after h_l have the width w_l. The features after
      h_L give q(zL | x). For l < L, one tanh layer of width w_l of the features after h_l and of z_(l+1) gives
      q(z_l | z_(l+1), x). Further layers are not needed: given z_(l+1), z_l does not depend on the layers above it.

    Two layers with ``hidden`` (200, 200) and (100, 100), ``latent_dim`` (100, 50), bottom-up, are the model of Burda
    et al. One layer is the built-in VAE.

    Args:
        data: shape and statistics of the data.
        latent_dim: numbers of latent dimensions of z1, ..., zL.
        hidden: sizes of the hidden layers that belong to z1, ..., zL, at least one each, counted from x on.
        likelihood: distribution of the pixels; the default for the kind of the data if it is not given.
        posterior: family of q of each layer: ``diagonal``, ``full`` or ``flow:maf,layers=2``.
        posterior_order: order in which q draws the layers.
        top_prior: prior of zL.

    Raises:
        SpecError: the posterior needs a package that is not installed.
        ValueError: the lists have different lengths, or the word of the posterior is not valid.
    """

    mean: Tensor
    unit: Tensor

    def __init__(
        self,
        data: ModelData,
        *,
        latent_dim: Sequence[int],
        hidden: Sequence[Sequence[int]],
        likelihood: LikelihoodName | None = None,
        posterior: str = Family.DIAGONAL,
        posterior_order: PosteriorOrder = PosteriorOrder.BOTTOM_UP,
        top_prior: TopPrior = TopPrior.STANDARD,
    ) -> None:
        super().__init__()
        name = likelihood or fitting(data.kind, data.levels)[0]
        mean, spread = data.mean.flatten(), data.spread.flatten()
        self._shape, self._top = data.shape, latent_dim[-1]
        self._is_bernoulli = name is LikelihoodName.BERNOULLI
        self._is_top_down = posterior_order is PosteriorOrder.TOP_DOWN
        self.likelihood = make_likelihood(name, spread=spread, levels=data.levels)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("unit", spread.clone() if self.likelihood.standardises else torch.ones_like(spread))
        generator = torch.default_generator
        layers = list(zip(latent_dim, hidden, strict=True))
        inputs = [len(mean), *([each[-1] for each in hidden] if self._is_top_down else latent_dim)]
        rule = parse_posterior(posterior)
        self.encoders = nn.ModuleList(
            [network([seen, *sizes], generator) for seen, sizes in zip(inputs, hidden, strict=False)]
        )
        self.merges = nn.ModuleList(
            [
                network([below[-1] + above, below[-1]], generator)[0]
                for (_, below), (above, _) in pairwise(layers)
                if self._is_top_down
            ]
        )
        self.heads = nn.ModuleList([make_head(rule, sizes[-1], size, generator) for size, sizes in layers])
        outputs = [self.likelihood.outputs_per_pixel * len(mean), *(2 * size for size in latent_dim)]
        self.decoders = nn.ModuleList(
            [
                network([size, *reversed(sizes), given], generator)
                for (size, sizes), given in zip(layers, outputs, strict=False)
            ]
        )
        with torch.no_grad():  # training starts from the mean image
            self._last_bias.copy_(self.likelihood.initial_bias(mean))
        self.prior: nn.ParameterDict | None = None
        if top_prior is TopPrior.LEARNED:
            raw = torch.full((self._top,), _RAW_UNIT_SCALE)
            self.prior = nn.ParameterDict({"loc": torch.zeros(self._top), "raw": raw})

    @property
    def _last_bias(self) -> nn.Parameter:
        layers = self.decoders[0]
        assert isinstance(layers, nn.ModuleList)
        output = layers[-1]
        assert isinstance(output, nn.Linear)
        return output.bias

    def posterior(self, x: Tensor, draw: Draw) -> None:
        """Draw the layers, bottom-up or top-down."""
        start = (x.flatten(1) - self.mean) / self.unit
        if self._is_top_down:
            self._top_down(start, draw)
            return
        for i, (encoder, head) in enumerate(zip(self.encoders, self.heads, strict=True)):
            start = draw(f"z{i + 1}", head(_features(encoder, start)))

    def _top_down(self, x: Tensor, draw: Draw) -> None:
        features: list[Tensor] = []
        for encoder in self.encoders:
            x = _features(encoder, x)
            features.append(x)
        for i in reversed(range(len(features))):
            if i < len(features) - 1:
                merge = self.merges[i]
                assert isinstance(merge, nn.Linear)
                # The part of x is the same for all samples.
                seen = features[i].shape[-1]
                of_x, of_z = merge.weight[:, :seen], merge.weight[:, seen:]
                features[i] = torch.tanh(features[i] @ of_x.T + nn.functional.linear(x, of_z, merge.bias))
            x = draw(f"z{i + 1}", self.heads[i](features[i]))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Return the distribution of the pixels."""
        count = len(self.decoders)
        given(f"z{count}", self._top_prior())
        for i in reversed(range(1, count)):
            given(f"z{i}", gaussian(_outputs(self.decoders[i], z[f"z{i + 1}"])))
        outputs = _outputs(self.decoders[0], z["z1"])
        if self._is_bernoulli:
            logits = outputs.reshape(*outputs.shape[:-1], *self._shape)
            return Independent(Bernoulli(logits=logits, validate_args=False), len(self._shape), validate_args=False)
        return Pixels(self.likelihood, outputs, self._shape)

    def _top_prior(self) -> Distribution:
        if self.prior is None:
            return standard_normal(self._top)
        scale = nn.functional.softplus(self.prior["raw"] + RAW_SCALE_OFFSET)
        return Independent(Normal(self.prior["loc"], scale, validate_args=False), 1, validate_args=False)


def _features(layers: nn.Module, inputs: Tensor) -> Tensor:
    """Return the last tanh layer of a network, (..., W)."""
    return torch.tanh(_outputs(layers, inputs))


def _outputs(layers: nn.Module, inputs: Tensor) -> Tensor:
    assert isinstance(layers, nn.ModuleList)
    return tanh_network(layers, inputs)
