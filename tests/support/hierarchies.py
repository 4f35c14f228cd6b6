"""Gaussian hierarchies with tanh networks, as a user writes them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.program_zoo import made

WIDTHS = (3, 2, 2)


def _network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, outputs))


class ThreeLayers(LatentModel):
    """Three latents; in q each depends on x and on the one drawn before, in p on the one above; x on z1 and z3.

    Args:
        data: the data.
        order: bottom-up or top-down, q's order of drawing.
        top: "learned", or "fixed" for N(0, I).
    """

    def __init__(self, data: ModelData, order: str, top: str = "learned") -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.names = ("z1", "z2", "z3") if order == "bottom-up" else ("z3", "z2", "z1")
        width = dict(zip(("z1", "z2", "z3"), WIDTHS, strict=True))
        before = (0, *(width[name] for name in self.names[:-1]))
        self.q = nn.ModuleDict(
            {name: _network(count + more, 2 * width[name]) for name, more in zip(self.names, before, strict=True)}
        )
        self.p1, self.p2 = _network(2, 6), _network(2, 4)
        self.top = nn.Parameter(torch.tensor([0.2, -0.3, 0.4, 0.1])) if top == "learned" else None
        self.decoder = _network(5, count)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        x, before = x.flatten(1), None
        for name in self.names:
            inputs = x if before is None else torch.cat([x.expand(len(before), -1, -1), before], -1)
            before = draw(name, gaussian(self.q[name](inputs)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z3", standard_normal(2) if self.top is None else gaussian(self.top))
        given("z2", gaussian(self.p2(z["z3"])))
        given("z1", gaussian(self.p1(z["z2"])))
        return Independent(Bernoulli(logits=self.decoder(torch.cat([z["z1"], z["z3"]], -1))), 1)


class Ladder(LatentModel):
    """Networks that q and p share: q of the lower latent is p's mean and scale, moved by x, as in a ladder."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.up, self.shift = _network(count, 4), _network(count, 3)
        self.down = _network(2, 6)
        self.top = nn.Parameter(torch.tensor([0.2, -0.3]))
        self.decoder = nn.Linear(3, count)

    def _below(self, z2: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw = self.down(z2).chunk(2, -1)
        return loc, nn.functional.softplus(raw) + 0.3

    def posterior(self, x: Tensor, draw: Draw) -> None:
        loc, raw = self.up(x.flatten(1)).chunk(2, -1)
        # The top of q has p's mean in it, too.
        z2 = draw("z2", Independent(Normal(loc + self.top, nn.functional.softplus(raw) + 0.3), 1))
        loc, scale = self._below(z2)
        draw("z1", Independent(Normal(loc + self.shift(x.flatten(1)), 0.7 * scale), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z2", Independent(Normal(self.top, torch.ones_like(self.top)), 1))
        loc, scale = self._below(z["z2"])
        given("z1", Independent(Normal(loc, scale), 1))
        # A network of the prior in the likelihood, too.
        hidden = torch.tanh(z["z1"]) + 0.3 * loc
        return Independent(Bernoulli(logits=self.decoder(hidden)), 1)


class OneEncoder(LatentModel):
    """The prior is q at a learned input, as a VampPrior of one component: all parameters of q are theta, too."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.encoder, self.decoder = _network(count, 4), _network(2, count)
        self.input = nn.Parameter(torch.linspace(0.1, 0.9, count))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", gaussian(self.encoder(self.input)))
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)


HIERARCHIES: dict[str, Callable[[], ProgramModel]] = {
    "bottom-up": lambda: made(lambda data: ThreeLayers(data, "bottom-up")),
    "top-down": lambda: made(lambda data: ThreeLayers(data, "top-down")),
    "fixed top": lambda: made(lambda data: ThreeLayers(data, "top-down", "fixed")),
    "ladder": lambda: made(Ladder),
    "a prior by the encoder": lambda: made(OneEncoder),
}
