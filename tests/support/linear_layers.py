"""A linear Gaussian model with two layers, whose log p(x) and whose KL by layer are known exactly."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import DataKind

X, LOWER, UPPER = 6, 3, 2
NOISE = 0.5
DATA = ModelData((X,), DataKind.REAL, 1, torch.zeros(X), torch.ones(X))


class LinearLayers(LatentModel):
    """z2 ~ N(0, I), z1 given z2 ~ N(A z2 + a, S), x given z1 ~ N(W z1, NOISE^2 I), with learned A, a and S.

    Args:
        order: ``up``: q draws z1 from x, then z2 from z1. ``down``: q draws z2 from x, then z1 from both.
        prior_as_q: layer whose q is its prior given the layers above: ``z1`` needs the order ``down``.
    """

    def __init__(self, order: str = "up", prior_as_q: str = "") -> None:
        super().__init__()
        self.order, self.prior_as_q = order, prior_as_q
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.p1 = nn.Linear(UPPER, LOWER)
            self.p1.weight.data *= 2.0  # so that the lower layer depends on the upper one
            self.raw = nn.Parameter(torch.linspace(-0.6, 0.3, LOWER))
            self.decoder = nn.Linear(LOWER, X, bias=False)
            self.q1 = nn.Linear(X + (UPPER if order == "down" else 0), 2 * LOWER)
            self.q2 = nn.Linear(X if order == "down" else LOWER, 2 * UPPER)
        self.double()

    def prior1(self, z2: Tensor) -> Distribution:
        loc = self.p1(z2)
        return Independent(Normal(loc, self.raw.exp().expand_as(loc)), 1)

    def given_upper(self, x: Tensor, z2: Tensor) -> Distribution:
        """q of z1 given z2, in the order ``down``."""
        if self.prior_as_q == "z1":
            return self.prior1(z2)
        return gaussian(self.q1(torch.cat([x.expand(*z2.shape[:-1], X), z2], -1)))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        if self.order == "up":
            z1 = draw("z1", gaussian(self.q1(x)))
            draw("z2", standard_rows(z1) if self.prior_as_q == "z2" else gaussian(self.q2(z1)))
        else:
            draw("z1", self.given_upper(x, draw("z2", gaussian(self.q2(x)))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z2", standard_normal(UPPER))
        given("z1", self.prior1(z["z2"]))
        return Independent(Normal(self.decoder(z["z1"]), NOISE), 1)

    def exact(self, x: Tensor) -> Tensor:
        """log p(x), shape (B,)."""
        with torch.no_grad():
            covariance = self.p1.weight @ self.p1.weight.T + torch.diag((2.0 * self.raw).exp())
            w = self.decoder.weight
            whole: Any = MultivariateNormal(
                w @ self.p1.bias, w @ covariance @ w.T + NOISE**2 * torch.eye(X, dtype=torch.float64)
            )
            return whole.log_prob(x)

    def draw(self, n: int, seed: int) -> Tensor:
        """Draw x from the model, (n, X)."""
        generator = torch.Generator().manual_seed(seed)
        e2, e1, ex = (torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (UPPER, LOWER, X))
        with torch.no_grad():
            return self.decoder(self.p1(e2) + self.raw.exp() * e1) + NOISE * ex


def standard_rows(like: Tensor) -> Distribution:
    """N(0, I) of the upper layer for all rows of ``like``."""
    zero = like.new_zeros(*like.shape[:2], UPPER)
    return Independent(Normal(zero, torch.ones_like(zero)), 1)


def kl_given(q: Distribution, p: Distribution) -> Tensor:
    """The closed form of KL(q || p), row by row."""
    return kl_divergence(q, p)


def linear_layers(order: str = "up", prior_as_q: str = "") -> ProgramModel:
    """The model as the engine has it."""
    return ProgramModel(LinearLayers(order, prior_as_q), DATA)
