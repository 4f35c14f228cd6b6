"""Two latents of one dimension each: expected gradients at K = 2 by quadrature, through the real executor.

A gradient of a batch is a sum over rows of (row weight) x (vector of the row), and a row's vector does not depend on
the other samples. So the expectation over all pairs of rows needs the row weights of all pairs, which are arithmetic,
but only one pass over the rows themselves: each row's weight is first averaged over the other sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.weighing import PairWeigh, RowWeights
from dregcli.engine.objectives import Objective
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import DataKind
from tests.support.naive_values import naive_values

K = 2
ORDERS = ("bottom-up", "top-down")
X = torch.tensor([0.6, -0.5], dtype=torch.float64)


def _numbers(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


class TwoNumbers(LatentModel):
    """Nonlinear means and scales, a learned prior of the top, and a connection from the top to x.

    Args:
        order: bottom-up or top-down, q's order of drawing.
        bend: the function of the other latent that moves means and scales.
    """

    def __init__(self, order: str, bend: Callable[[Tensor], Tensor] = torch.sin) -> None:
        super().__init__()
        self.order, self.bend = order, bend
        # Near enough to each other that few nodes are enough.
        self.q1 = _numbers(0.2, 0.3, -0.5, 0.15)
        self.q2 = _numbers(0.0, 0.3, -0.45, -0.2)
        self.top = _numbers(0.1, -0.1)
        self.p1 = _numbers(0.2, 0.4, -0.1, 0.2)
        self.decoder = _numbers(0.6, 0.3, 0.3, 0.3, 0.5)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        nothing = x.new_zeros(len(x), 1)
        if self.order == "bottom-up":
            z1 = draw("z1", _gaussian(*conditional(self.q1, nothing)))
            draw("z2", _gaussian(*conditional(self.q2, self.bend(z1))))
        else:
            z2 = draw("z2", _gaussian(*conditional(self.q2, nothing)))
            draw("z1", _gaussian(*conditional(self.q1, self.bend(z2))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z2", _gaussian(self.top[:1], self.top[1:].exp()))
        given("z1", _gaussian(*conditional(self.p1, self.bend(z["z2"]))))
        return Independent(Normal(*self.seen(z["z1"], z["z2"])), 1)

    def seen(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of the two values of x."""
        a, b, c, d, log_noise = self.decoder
        mean = torch.cat([a * z1 + b * self.bend(z2), c * z2 + d * self.bend(z1)], -1)
        return mean, log_noise.exp().expand_as(mean)


def conditional(numbers: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of a latent given a function of another one."""
    a, b, c, d = numbers
    return a + b * given, (c + d * given).exp()


def _gaussian(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 1)


def built(module: nn.Module) -> ProgramModel:
    return ProgramModel(module, ModelData((2,), DataKind.REAL, 1, X.float(), torch.ones(2)))


@cache
def model(order: str) -> ProgramModel:
    return built(TwoNumbers(order))


class Normals:
    """Given normals, (K, B, Z); the latents' numbers lie next to each other."""

    def __init__(self, given: Tensor) -> None:
        self.given, self.k = given, len(given)

    def noise(self, first: int, count: int) -> Tensor:
        return self.given[first : first + count]

    def of_latent(self, latent: int, width: int) -> "Normals":
        return Normals(self.given[..., latent * width : (latent + 1) * width])

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        raise AssertionError

    def seed(self, latent: int, block: int) -> int:
        return 0


@dataclass(frozen=True)
class Nodes:
    """Points of one row's noise.

    Attributes:
        noise: (N, 2).
        probability: probability of each, (N,).
    """

    noise: Tensor
    probability: Tensor


@cache
def nodes(count: int, least: float = 0.0) -> Nodes:
    """Gauss-Hermite points of both dimensions; points that are less probable than ``least`` are left out."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    noise = torch.cartesian_prod(torch.from_numpy(points), torch.from_numpy(points))
    each = torch.from_numpy(weights / weights.sum())
    probability = (each[:, None] * each).flatten()
    kept = probability > least
    return Nodes(noise[kept], probability[kept])


def written_out(order: str, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Log-weights along the path, and log q at fixed latents, both live; (N,) each."""
    module = model(order).module
    assert isinstance(module, TwoNumbers)
    first, second = noise[:, :1], noise[:, 1:]
    nothing = torch.zeros_like(first)
    if order == "bottom-up":
        z1 = _moved(*conditional(module.q1, nothing), first)
        z2 = _moved(*conditional(module.q2, torch.sin(z1)), second)
    else:
        z2 = _moved(*conditional(module.q2, nothing), first)
        z1 = _moved(*conditional(module.q1, torch.sin(z2)), second)

    def log_q(z1: Tensor, z2: Tensor) -> Tensor:
        over, under = (nothing, torch.sin(z1)) if order == "bottom-up" else (torch.sin(z2), nothing)
        parts = (
            Normal(*conditional(module.q1, over)).log_prob(z1),
            Normal(*conditional(module.q2, under)).log_prob(z2),
        )
        return (parts[0] + parts[1])[:, 0]

    top = Normal(module.top[0], module.top[1].exp()).log_prob(z2)
    below = Normal(*conditional(module.p1, torch.sin(z2))).log_prob(z1)
    log_x = Normal(*module.seen(z1, z2)).log_prob(X).sum(-1)
    return log_x + (top + below)[:, 0] - log_q(z1, z2), log_q(z1.detach(), z2.detach())


def _moved(loc: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
    return loc + scale * noise


def target(order: str, objective: Objective, at: Nodes) -> Named:
    """Derivatives of the objective's expected value, ascent; of rws its own update of phi."""
    named = dict(model(order).module.named_parameters())
    log_w, log_q = written_out(order, at.noise)
    of_model, of_posterior = naive_values(objective)
    # Row i is the first sample of column (i, j), and row j the second.
    columns = torch.stack([log_w[:, None].expand(-1, len(log_w)), log_w.expand(len(log_w), -1)]).flatten(1)
    probability = (at.probability[:, None] * at.probability).flatten()
    theta, phi = ([name for name in named if name.startswith("q") is posterior] for posterior in (False, True))
    by_theta = _by((probability * of_model(columns)).sum(), [named[name] for name in theta])
    if of_posterior is None:
        v = torch.softmax(columns.detach(), 0) * probability
        weight = v.reshape(2, len(log_w), -1)
        weight = weight[0].sum(1) + weight[1].sum(0)
        by_phi = torch.autograd.grad((weight * log_q).sum(), [named[name] for name in phi])
    else:
        by_phi = _by((probability * of_posterior(columns)).sum(), [named[name] for name in phi])
    return dict(zip(theta, by_theta, strict=True)) | dict(zip(phi, by_phi, strict=True))


def _by(value: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, parameters, retain_graph=True)


def averaged(weigh: PairWeigh, log_w: Tensor, probability: Tensor, *, at_once: int = 2**16) -> RowWeights:
    """Row weights of K = 1, (P, 1, N): each row's own, averaged over the other sample, both as first and as second.

    The executor descends on the mean over the batch: the number of rows is taken back, and the sign.
    """
    count = len(log_w)
    like = weigh(torch.zeros_like(log_w[:1]).expand(K, -1), values=False)
    total = [None if each is None else each.new_zeros(len(each), count) for each in like.arrays()[1:]]
    step = max(1, at_once // count)
    for first, end in pairwise([*range(0, count, step), count]):
        mine = log_w[first:end]
        columns = torch.stack([mine[:, None].expand(-1, count), log_w.expand(len(mine), -1)]).flatten(1)
        for sum_, each in zip(total, weigh(columns, values=False).arrays()[1:], strict=True):
            if sum_ is None or each is None:
                continue
            found = each.reshape(len(each), K, len(mine), count)
            sum_[:, first:end] += (found[:, 0] @ probability) * probability[first:end]
            sum_ += (probability[first:end] @ found[:, 1]) * probability
    scaled = [None if each is None else each.unsqueeze(1) * -count for each in total]
    return like.with_arrays((log_w.new_empty(0, count), *scaled))


def rows(of: ProgramModel, noise: Tensor) -> DenseRows:
    """The real executor at given noise, (K', N, 2)."""
    batch = of.batch(X.expand(noise.shape[1], -1), Normals(noise))
    return DenseRows(batch, _no_weights, k_chunk=None)


def _no_weights(log_w: Tensor, *, values: bool = True) -> RowWeights:
    return RowWeights(log_w, log_w.new_zeros(0, *log_w.shape), None, None)


def expected(found: DenseRows, weights: RowWeights) -> tuple[list[Named], list[Named]]:
    """The executor's expected gradients of theta and phi, ascent."""
    sums = found.sums(weights)
    count = len(next(iter(sums.posterior.values())))
    return sums.model, [{name: each[i] for name, each in sums.posterior.items()} for i in range(count)]
