"""Models of every kind that a user may write, each tiny, by name; those of flows need zuko and stand apart."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Distribution,
    Independent,
    Kumaraswamy,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
    VonMises,
)
from torch.nn.utils.parametrizations import weight_norm

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, rows, standard_normal
from dregcli.engine.programs.conv import ConvVae
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.sbn import SigmoidBeliefNetwork
from dregcli.names import DataKind
from tests.support.plain_models import ConvVae as SmallConv
from tests.support.plain_models import Shared, SmallModel, TwoLayers, small_data

BATCH = 3


def _positive(values: Tensor) -> Tensor:
    return nn.functional.softplus(values) + 0.3


def _square(values: Tensor) -> Tensor:
    return values.reshape(*values.shape[:-1], 2, 2)


def _count(data: ModelData) -> int:
    return torch.Size(data.shape).numel()


class WithPrior(LatentModel):
    """Any posterior and any prior of two numbers, each made of a network's or a parameter's eight numbers."""

    def __init__(
        self, data: ModelData, q: Callable[[Tensor], Distribution], p: Callable[[Tensor], Distribution]
    ) -> None:
        super().__init__()
        self.encoder = nn.Linear(_count(data), 8)
        self.decoder = nn.Linear(2, _count(data))
        self.prior = nn.Parameter(torch.linspace(-0.3, 0.4, 8))
        self.q, self.p = q, p

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", self.q(self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.p(self.prior))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


def _of_two(family: Any) -> Callable[[Tensor], Distribution]:
    return lambda numbers: Independent(family(_positive(numbers[..., :2]), _positive(numbers[..., 2:4])), 1)


def _von_mises(numbers: Tensor) -> Distribution:
    return Independent(VonMises(numbers[..., :2], _positive(numbers[..., 2:4])), 1)


def _mixture(numbers: Tensor) -> Distribution:
    """Two Gaussians in two dimensions."""
    means = _square(numbers[..., :4])
    scales = _positive(numbers[..., 4:6]).unsqueeze(-2).expand_as(means)
    return MixtureSameFamily(Categorical(logits=numbers[..., 6:8]), Independent(Normal(means, scales), 1))


class Vamp(LatentModel):
    """A VampPrior (arXiv 1705.07120): the prior is a mixture of the posteriors of learned inputs."""

    def __init__(self, data: ModelData, components: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Linear(_count(data), 4)
        self.decoder = nn.Linear(2, _count(data))
        self.inputs = nn.Parameter(torch.linspace(0.1, 0.9, components * _count(data)).sin().reshape(components, -1))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        components = gaussian(self.encoder(self.inputs))
        given("z", MixtureSameFamily(Categorical(logits=torch.zeros(len(self.inputs))), components))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


class Dressed(LatentModel):
    """What modules have beside plain parameters: weight norm, tied weights, a buffer, a frozen part, batch norm in p.

    The batch norm uses its running statistics, so that rows stay independent. Both parameters of a sum have one
    tensor as their gradient.
    """

    centre: Tensor

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        self.register_buffer("centre", data.mean.clone())
        self.encoder = weight_norm(nn.Linear(_count(data), 4))
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(2, 2).requires_grad_(requires_grad=False)
        self.norm = nn.BatchNorm1d(2).eval()
        self.norm.running_mean = torch.tensor([0.2, -0.1])
        self.decoder = weight_norm(nn.Linear(2, _count(data)))
        self.bias, self.change = (nn.Parameter(torch.full((_count(data),), each)) for each in (0.2, -0.1))

    def train(self, mode: bool = True) -> "Dressed":
        super().train(mode)
        self.norm.eval()
        return self

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder((x - self.centre).flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        h = self.second(torch.tanh(self.first(z["z"])))
        h = rows(self.norm, torch.tanh(self.frozen(h)))
        return Independent(Bernoulli(logits=self.decoder(h) + (self.bias + self.change)), 1)


class ThreeDraws(LatentModel):
    """Three latents, one of them a matrix and one independent of the others; all of them meet in the decoder."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        self.qa, self.qb, self.qc = nn.Linear(_count(data), 2), nn.Linear(1, 8), nn.Linear(_count(data), 4)
        self.pb, self.decoder = nn.Linear(1, 4), nn.Linear(7, _count(data))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        a = draw("a", gaussian(self.qa(x.flatten(1))))
        loc, raw = self.qb(torch.tanh(a)).chunk(2, dim=-1)
        draw("b", Independent(Normal(_square(loc), _square(_positive(raw))), 2))
        draw("c", gaussian(self.qc(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("c", standard_normal(2))
        given("a", standard_normal(1))
        loc = _square(self.pb(z["a"]))
        given("b", Independent(Normal(loc, torch.ones_like(loc)), 2))
        together = torch.cat([z["a"], z["b"].flatten(2), z["c"]], -1)
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(together))), 1)


class Mixed(LatentModel):
    """A discrete latent, and a continuous one that depends on it."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        self.which, self.where = nn.Linear(_count(data), 3), nn.Linear(3, 4)
        self.shift = nn.Linear(_count(data), 4)
        self.logits = nn.Parameter(torch.tensor([0.3, 0.0, -0.2]))
        self.centres, self.decoder = nn.Linear(3, 2), nn.Linear(2, _count(data))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        c = draw("c", OneHotCategorical(logits=self.which(x.flatten(1))))
        draw("z", gaussian(self.where(c) + self.shift(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("c", OneHotCategorical(logits=self.logits))
        loc = self.centres(z["c"])
        given("z", Independent(Normal(loc, torch.ones_like(loc)), 1))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


class Categories(LatentModel):
    """A category as a number, and above it two categories, one-hot, each of which depends on the first one."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(_count(data), 3), nn.Embedding(3, 4)
        self.prior = nn.Parameter(torch.tensor([[0.3, -0.2], [0.0, 0.4]]))
        self.down, self.decoder = nn.Linear(4, 3), nn.Embedding(3, _count(data))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        low = draw("low", Categorical(logits=self.low(x.flatten(1))))
        draw("high", Independent(OneHotCategorical(logits=_square(self.high(low))), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("high", Independent(OneHotCategorical(logits=self.prior), 1))
        given("low", Categorical(logits=self.down(z["high"].flatten(2))))
        return Independent(Bernoulli(logits=self.decoder(z["low"])), 1)


def _flow_above(data: ModelData) -> TwoLayers:
    model = TwoLayers(data, "flow")
    model.q2 = nn.Linear(2, 8)
    return model


def _conv(kind: DataKind, shape: tuple[int, ...]) -> Callable[[], ProgramModel]:
    return lambda: made(lambda data: ConvVae(data, latent_dim=2, channels=2), small_data(*shape, kind=kind))


def made(build: Callable[[ModelData], nn.Module], data: ModelData | None = None, *, seed: int = 3) -> ProgramModel:
    """A model in float64."""
    data = data or small_data()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build(data)
    return ProgramModel(module.double(), data)


def _family(name: str) -> Callable[[], ProgramModel]:
    return lambda: made(lambda data: SmallModel(data, name))


PATHS: dict[str, Callable[[], ProgramModel]] = {
    **{name: _family(name) for name in ("normal", "full", "laplace", "student", "lognormal", "squashed", "flow")},
    "beta": lambda: made(lambda data: WithPrior(data, _of_two(Beta), _of_two(Beta))),
    "kumaraswamy": lambda: made(lambda data: WithPrior(data, _of_two(Kumaraswamy), _of_two(Beta))),
    "mixture of Gaussians as prior": lambda: made(
        lambda data: WithPrior(data, lambda numbers: gaussian(numbers[..., :4]), _mixture)
    ),
    "VampPrior": lambda: made(Vamp),
    "shared matrix": lambda: made(Shared),
    "dressed": lambda: made(Dressed),
    "two layers": lambda: made(TwoLayers),
    "two layers, Laplace above": lambda: made(lambda data: TwoLayers(data, "laplace")),
    "two layers, flow above": lambda: made(_flow_above),
    "three draws": lambda: made(ThreeDraws),
    "small conv": lambda: made(SmallConv),
    "conv, binary": _conv(DataKind.BINARY, (1, 4, 4)),
    "conv, intensities": _conv(DataKind.INTENSITY, (1, 5, 3)),
    "conv, real colours": _conv(DataKind.REAL, (3, 2, 2)),
}
"""Models whose every latent has ``rsample``."""

SCORES: dict[str, Callable[[], ProgramModel]] = {
    **{name: _family(name) for name in ("categorical", "bernoulli")},
    "von Mises": lambda: made(lambda data: WithPrior(data, _von_mises, _von_mises)),
    "mixture as posterior": lambda: made(lambda data: WithPrior(data, _mixture, _mixture)),
    "discrete and continuous": lambda: made(Mixed),
    "bits on bits": lambda: made(lambda data: SigmoidBeliefNetwork(data, latent_dim=(2, 1), hidden=((3,), ()))),
    "categories on categories": lambda: made(Categories),
}
"""Models with a latent that has no ``rsample``."""


def pixels_of(model: ProgramModel, batch: int = BATCH) -> Tensor:
    """Pixels such as the model's data have, (B, D), float64."""
    uniform = torch.linspace(0.0, 50.0, batch * _count(model.data), dtype=torch.float64).sin() * 0.5 + 0.5
    uniform = uniform.reshape(batch, -1)
    if model.data.kind is DataKind.BINARY:
        return uniform.round()
    return (uniform * model.data.levels).round() / model.data.levels if model.data.levels > 1 else uniform
