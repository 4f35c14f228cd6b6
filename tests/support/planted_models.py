"""Models with one fault each, as a user would write them; all derive from one sound model."""

import itertools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Distribution,
    Independent,
    LogNormal,
    Normal,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Uniform,
)
from torch.utils import checkpoint

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, rows, standard_normal

WIDTH = 2


class Sound(LatentModel):
    """The sound model that the others change."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.levels = data.levels
        self.encoder = nn.Sequential(nn.Linear(count, 8), nn.Tanh(), nn.Linear(8, 2 * WIDTH))
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, count))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", self.q(self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return Independent(self.pixels(self.decoder(z["z"])), 1)

    def q(self, outputs: Tensor) -> Distribution:
        return gaussian(outputs)

    def prior(self) -> Distribution:
        return standard_normal(WIDTH)

    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits)


class BatchNormInDecoder(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.decoder.insert(1, nn.BatchNorm1d(6))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return Independent(Bernoulli(logits=rows(self.decoder, z["z"])), 1)  # mixes rows


class BatchNormInEncoder(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.encoder.insert(1, nn.BatchNorm1d(8))


class TransposedReshape(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        k, batch = z["z"].shape[:2]
        logits = self.decoder(z["z"].flatten(0, 1)).reshape(batch, k, -1).transpose(0, 1)
        return Independent(Bernoulli(logits=logits), 1)


class MeanOverSamples(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        logits = self.decoder(z["z"])
        logits = logits - logits.mean(0)  # mixes samples
        return Independent(Bernoulli(logits=logits), 1)


class SoftmaxOverExamples(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        weights = torch.softmax(x.flatten(1), dim=0)
        draw("z", gaussian(self.encoder(weights)))


class KeepsTheBatch(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        self.skip = x.flatten(1).mean(1, keepdim=True)
        super().posterior(x, draw)

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return Independent(Bernoulli(logits=self.decoder(z["z"]) + self.skip), 1)


class NoIndependentPixels(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return Bernoulli(logits=self.decoder(z["z"]))


class NoIndependentPrior(Sound):
    def prior(self) -> Distribution:
        return Normal(torch.zeros(WIDTH), torch.ones(WIDTH))


class NoIndependentPosterior(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        loc, raw = outputs.chunk(2, -1)
        return Normal(loc, nn.functional.softplus(raw))


class SummedOverTheBatch(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 2)


class OtherEventShape(Sound):
    def prior(self) -> Distribution:
        return standard_normal(WIDTH + 1)


class _SummedNormal(Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value).sum()


class SummedDensity(Sound):
    def prior(self) -> Distribution:
        return Independent(_SummedNormal(torch.zeros(WIDTH), torch.ones(WIDTH)), 1)


class SummedPosterior(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return _SummedOfBatch(*outputs.chunk(2, -1))


class _SummedOfBatch(Distribution):
    has_rsample = True

    def __init__(self, loc: Tensor, raw: Tensor) -> None:
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)
        self.base = Normal(loc, nn.functional.softplus(raw))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value).sum((-1, -2))


class DetachedLatent(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        hidden = z["z"].detach()  # cut
        return Independent(Bernoulli(logits=self.decoder(hidden)), 1)


class DetachedPosterior(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        outputs = self.encoder(x.flatten(1)).detach()  # cut
        draw("z", gaussian(outputs))


class NoGradDecoder(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        with torch.no_grad():
            logits = self.decoder(z["z"])  # cut
        return Independent(Bernoulli(logits=logits), 1)


class _DetachedSamples(_SummedOfBatch):
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base.rsample(sample_shape).detach()  # cut

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value).sum(-1)


class DetachedSamples(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return _DetachedSamples(*outputs.chunk(2, -1))


class _DetachedDensity(_SummedOfBatch):
    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value).sum(-1).detach()  # cut


class DetachedDensity(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return _DetachedDensity(*outputs.chunk(2, -1))


class DetachedEarlierLatent(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.top = nn.Linear(WIDTH, 2 * WIDTH)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        z = draw("z", self.q(self.encoder(x.flatten(1))))
        draw("top", gaussian(self.top(z.detach())))  # cut

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("top", standard_normal(WIDTH))
        return super().model({"z": z["z"] + z["top"]}, given)


class NumbersOfAParameter(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.shift = nn.Parameter(torch.ones(()))

    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits + float(self.shift))  # cut


class PriorMadeOnce(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.log_scale = nn.Parameter(torch.zeros(WIDTH))
        self.made = Independent(Normal(torch.zeros(WIDTH), self.log_scale.exp()), 1)

    def prior(self) -> Distribution:
        return self.made


class UnreachedParameter(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.forgotten = nn.Linear(3, 3)


class UnreachedLazyLayer(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.forgotten = nn.LazyLinear(3)


class PlainList(Sound):
    """Torch does not know the layers of a list."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.hidden = [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)]

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        hidden = self.hidden[1](torch.tanh(self.hidden[0](z["z"])))
        return Independent(Bernoulli(logits=self.decoder(hidden)), 1)


class PlainTensor(Sound):
    """The prior's mean is learned, but is no parameter."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.loc = torch.zeros(WIDTH, requires_grad=True)

    def prior(self) -> Distribution:
        return Independent(Normal(self.loc, torch.ones(WIDTH)), 1)


class LearnedBuffer(Sound):
    shift: Tensor

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.register_buffer("shift", torch.zeros(2 * WIDTH, requires_grad=True))

    def q(self, outputs: Tensor) -> Distribution:
        return gaussian(outputs + self.shift)


class ReentrantCheckpoint(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        logits = cast("Any", checkpoint).checkpoint(self.decoder, z["z"], use_reentrant=True)
        return Independent(Bernoulli(logits=logits), 1)


class StraightThrough(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.shift = nn.Parameter(torch.ones(()))

    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits + self.shift * self.shift.detach())


class StraightThroughSamples(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return OneHotCategoricalStraightThrough(logits=outputs[..., :WIDTH])

    def prior(self) -> Distribution:
        return OneHotCategorical(torch.full((WIDTH,), 0.5))


class Dropout(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.decoder.insert(2, nn.Dropout(0.5))


class HalfLogits(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits.half())


class HalfParameters(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.half()


class HalfPosterior(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return gaussian(outputs.half())


class Continuous(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return ContinuousBernoulli(logits=logits)


class NormalPixels(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return Normal(logits, torch.ones(()))


class LevelsByNumber(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        steps = torch.arange(self.levels + 1.0).to(logits)
        return Categorical(logits=logits[..., None] * steps)


class _MeanBernoulli(Bernoulli):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) / 4.0


class Tempered(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return _MeanBernoulli(logits=logits)


class _MeanOverPixels(Independent[Any]):
    def log_prob(self, value: Tensor) -> Tensor:
        found: Tensor = self.base_dist.log_prob(value)
        return found.mean(-1)


class MeanOverPixels(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        return _MeanOverPixels(Bernoulli(logits=self.decoder(z["z"])), 1)


class PositivePrior(Sound):
    def prior(self) -> Distribution:
        return Independent(LogNormal(torch.zeros(WIDTH), torch.ones(WIDTH)), 1)


class PositivePosterior(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        loc, raw = outputs.chunk(2, -1)
        return Independent(LogNormal(loc, nn.functional.softplus(raw)), 1)


class MassAgainstDensity(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return OneHotCategorical(logits=outputs[..., :WIDTH])


class MovingSupport(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        loc, raw = outputs.chunk(2, -1)
        half = nn.functional.softplus(raw)
        return Independent(Uniform(loc - half, loc + half), 1)


class _Shifted(_SummedOfBatch):
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return 1.5 * self.base.rsample(sample_shape) + 0.5

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value).sum(-1)


class OtherSamplesThanDensity(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return _Shifted(*outputs.chunk(2, -1))


class NumpyNoise(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        shift = float(np.random.default_rng().normal())
        draw("z", self.q(self.encoder(x.flatten(1)) + shift))


class CountsCalls(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.calls = itertools.count()

    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits + next(self.calls))


class SpectralNorm(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.encoder[0] = nn.utils.parametrizations.spectral_norm(self.encoder[0])


class CountingBuffer(Sound):
    seen: Tensor

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.register_buffer("seen", torch.zeros(()))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        self.seen += 1
        super().posterior(x, draw)


class DividesByLight(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        light = x.flatten(1).sum(1, keepdim=True)
        draw("z", gaussian(self.encoder(x.flatten(1) / light)))  # breaks


class RootAtZero(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        weight: Any = self.decoder[0].weight
        return Bernoulli(logits=logits + (weight - weight.detach()).square().sum().sqrt())


class Fails(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x)))  # not flattened


class NoPrior(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)


class PriorOfAnother(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("y", standard_normal(WIDTH))
        return super().model(z, given)


class PriorTwice(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(WIDTH))
        return super().model(z, given)


class DrawnTwice(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        super().posterior(x, draw)
        super().posterior(x, draw)


class DrawsNothing(Sound):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        self.encoder(x.flatten(1))


class ReturnsLogits(Sound):
    def model(self, z: dict[str, Tensor], given: Given) -> Any:
        given("z", self.prior())
        return self.decoder(z["z"])


class _Bits(Sound):
    def q(self, outputs: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=outputs[..., :WIDTH]), 1)

    def prior(self) -> Distribution:
        return Independent(Bernoulli(torch.full((WIDTH,), 0.5)), 1)


class ModelInPlace(_Bits):
    """Samples that need no derivative can be changed in place, unlike leaves."""

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        z["z"].mul_(2.0).sub_(1.0)
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)


class PosteriorInPlace(_Bits):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        z = draw("z", self.q(self.encoder(x.flatten(1))))
        z *= 0.0


class ProbabilitiesAboveOne(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(probs=1.5 * torch.sigmoid(logits + 3.0))


class FrozenEncoder(Sound):
    """A sound model, a part of which is not trained."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.encoder[0].requires_grad_(requires_grad=False)


class DropoutInPosterior(Sound):
    """A sound model: the engine seeds the random numbers of this program."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.encoder.insert(2, nn.Dropout(0.5))


class DifferentiatesInside(Sound):
    """A sound model, whose posterior makes a leaf in each run, to differentiate by it."""

    def q(self, outputs: Tensor) -> Distribution:
        loc = torch.full((len(outputs), WIDTH), 0.5, dtype=outputs.dtype, requires_grad=True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.decoder(loc).square().sum(), loc, create_graph=True)
        return gaussian(outputs - 0.1 * torch.cat([slope, slope], -1))


class Recurrent(Sound):
    """A sound model, whose recurrent decoder begins at a state of torch's default type."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.memory = nn.GRU(WIDTH, 5, batch_first=True)
        self.out = nn.Linear(5, 1)
        self.count = torch.Size(data.shape).numel()

    def hidden(self, z: Tensor) -> Tensor:
        start = torch.zeros(1, len(z), 5, device=z.device)
        return self.memory(z[:, None].expand(-1, self.count, -1), start)[0]

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        logits = rows(lambda each: self.out(self.hidden(each)).squeeze(-1), z["z"])
        return Independent(Bernoulli(logits=logits + self.decoder(z["z"])), 1)


class HalfCutRecurrent(Recurrent):
    def hidden(self, z: Tensor) -> Tensor:
        found = super().hidden(z)
        return found + found.detach()


class DoubleParameters(Sound):
    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.double()


class ConstantPrior(Sound):
    """A sound model, whose prior is made once and has no parameters."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.constant = Independent(Normal(torch.zeros(WIDTH), torch.full((WIDTH,), 0.9)), 1)

    def prior(self) -> Distribution:
        return self.constant


class FloatLogits(Sound):
    """A sound model, whose logits are float32 whatever its type is."""

    def pixels(self, logits: Tensor) -> Distribution:
        return Bernoulli(logits=logits.float())


class _Levels(Distribution):
    """A user's own distribution of grey levels, by a table."""

    def __init__(self, logits: Tensor, levels: int) -> None:
        super().__init__(logits.shape, validate_args=False)
        self.logits, self.levels = logits, levels

    def log_prob(self, value: Tensor) -> Tensor:
        steps = torch.arange(self.levels + 1.0).to(self.logits) / self.levels
        return self.logits * value - torch.logsumexp(self.logits[..., None] * steps, -1)


class OwnLevels(Sound):
    """A sound model of grey levels."""

    def pixels(self, logits: Tensor) -> Distribution:
        return _Levels(logits, self.levels)


class _HalfOfLevels(_Levels):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) - 0.7


class HalfOfLevels(Sound):
    def pixels(self, logits: Tensor) -> Distribution:
        return _HalfOfLevels(logits, self.levels)


class TwoFaults(Sound):
    """Two faults in different programs, which are reported together."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.decoder.insert(2, nn.Dropout(0.5))

    def q(self, outputs: Tensor) -> Distribution:
        loc, raw = outputs.chunk(2, -1)
        return Normal(loc, nn.functional.softplus(raw))


Planted = Callable[[ModelData], LatentModel]

ON_BINARY: dict[Planted, str] = {
    BatchNormInDecoder: "rows",
    BatchNormInEncoder: "rows",
    TransposedReshape: "rows",
    MeanOverSamples: "rows",
    SoftmaxOverExamples: "rows",
    KeepsTheBatch: "rows",
    NoIndependentPixels: "shape",
    NoIndependentPrior: "event-shape",
    NoIndependentPosterior: "shape",
    SummedOverTheBatch: "shape",
    SummedDensity: "shape",
    SummedPosterior: "shape",
    OtherEventShape: "event-shape",
    DetachedLatent: "detached",
    DetachedPosterior: "detached",
    NoGradDecoder: "detached",
    DetachedSamples: "detached",
    DetachedDensity: "detached",
    DetachedEarlierLatent: "detached",
    NumbersOfAParameter: "detached",
    PriorMadeOnce: "kept",
    ReentrantCheckpoint: "checkpoint",
    UnreachedParameter: "unreached",
    UnreachedLazyLayer: "unsized",
    PlainList: "unregistered",
    PlainTensor: "unregistered",
    LearnedBuffer: "unregistered",
    StraightThrough: "gradient",
    StraightThroughSamples: "gradient",
    HalfCutRecurrent: "gradient",
    FloatLogits: "not-compared",
    Dropout: "random-model",
    HalfLogits: "half-precision",
    HalfParameters: "half-precision fails",
    DoubleParameters: "double-precision",
    HalfPosterior: "half-precision",
    Continuous: "likelihood",
    NormalPixels: "likelihood",
    Tempered: "normalisation",
    MeanOverPixels: "normalisation",
    PositivePrior: "support not-finite",
    PositivePosterior: "support",
    MassAgainstDensity: "support",
    MovingSupport: "support-moves",
    OtherSamplesThanDensity: "support-moves",
    NumpyNoise: "not-repeatable",
    CountsCalls: "not-repeatable",
    SpectralNorm: "not-repeatable",
    CountingBuffer: "buffers",
    DividesByLight: "not-finite",
    RootAtZero: "not-finite",
    Fails: "fails",
    NoPrior: "contract",
    PriorOfAnother: "contract",
    PriorTwice: "contract",
    DrawnTwice: "contract",
    DrawsNothing: "contract",
    ReturnsLogits: "contract",
    ModelInPlace: "contract",
    PosteriorInPlace: "contract",
    ProbabilitiesAboveOne: "argument",
}
"""The key of the finding, by the model, for binary pixels."""

ON_INTENSITY: dict[Planted, str] = {
    Sound: "error: likelihood",
    Continuous: "warning: likelihood",
    NormalPixels: "warning: likelihood",
    LevelsByNumber: "error: likelihood",
    HalfOfLevels: "error: normalisation",
}
"""The finding, by the model, for grey levels in [0, 1]."""
