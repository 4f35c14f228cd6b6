"""A sigmoid belief network of 2 + 1 bits whose every tuple of K samples is a column of one batch: exact expectations.

The executors run as they are: columns are examples, whose row weights are scaled by the columns' probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.weighing import PairWeigh, RowWeights
from dregcli.engine.pairs import Pair
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.sbn import SigmoidBeliefNetwork
from dregcli.names import Backward, DataKind
from tests.support.naive_values import naive_targets
from tests.support.program_zoo import made
from tests.support.screening import every

LAYERS = (2, 1)
BITS = sum(LAYERS)
X = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)


@cache
def network(sharp: float = 1.0) -> ProgramModel:
    """The network, on three pixels, whose log-weights differ; by tens of nats if its pixels' logits are sharp."""
    data = ModelData((3,), DataKind.BINARY, 1, torch.tensor([0.3, 0.6, 0.5]), torch.ones(3))
    model = made(lambda data: SigmoidBeliefNetwork(data, latent_dim=LAYERS), data)
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            numbers = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((1.4 * numbers + i).sin().reshape(parameter.shape))
        for parameter in model.module.decoders[0].parameters():  # type: ignore[index, union-attr]
            parameter.mul_(sharp)
    return model


@cache
def tuples(k: int) -> Tensor:
    """All bits of K samples, (K, columns, bits)."""
    each = torch.tensor(list(product((0.0, 1.0), repeat=BITS)), dtype=torch.float64)
    columns = torch.tensor(list(product(range(len(each)), repeat=k)))
    return each[columns].transpose(0, 1)


@dataclass
class GivenBits:
    """Random numbers that give prescribed bits, and prescribed rows to keep: all, or those of a mask (K,)."""

    bits: Tensor
    mask: Tensor | None = None
    probability: Tensor | None = None

    @property
    def k(self) -> int:
        return len(self.bits)

    def noise(self, first: int, count: int) -> Tensor:
        raise AssertionError

    def of_latent(self, latent: int, width: int) -> Any:
        raise AssertionError

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        """A number above every probability for 0, and below every probability for 1."""
        start = sum(LAYERS[:latent])
        assert width == LAYERS[latent]
        return 1.0 - self.bits[first : first + count, :, start : start + width]

    def seed(self, latent: int, block: int) -> int:
        return 0

    def keep(self, probability: Tensor) -> Tensor:
        assert self.mask is not None
        self.probability = probability.clone()
        return self.mask.unsqueeze(1).expand_as(probability) & (probability > 0.0)

    def choose(self, rate: float, batch: int) -> Tensor:
        return torch.zeros(batch, dtype=torch.bool)


def written_out(k: int, sharp: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights (K, columns), log q (K, columns) and the columns' probabilities, all live, on paper."""
    module: Any = network(sharp).module
    bits = tuples(k)
    h1, h2 = bits[..., :2], bits[..., 2:]
    q1, q2 = (encoder[0] for encoder in module.encoders)
    p1, p2 = (decoder[0] for decoder in module.decoders)

    def log_prob(logits: Tensor, value: Tensor) -> Tensor:
        return Bernoulli(logits=logits).log_prob(value).sum(-1)

    log_q = log_prob(q1((X - module.mean + 1.0) / 2.0).expand_as(h1), h1) + log_prob(q2(2.0 * h1 - 1.0), h2)
    log_p = log_prob(module.prior.expand_as(h2), h2) + log_prob(p2(2.0 * h2 - 1.0), h1)
    pixels = p1(2.0 * h1 - 1.0)
    return log_p + log_prob(pixels, X.expand_as(pixels)) - log_q, log_q, log_q.sum(0).exp()


@cache
def expected(pair: Pair, k: int, sharp: float = 1.0) -> tuple[Named, Named]:
    """The exact gradients of theta and phi, ascent: of the expected value, or of the expected update by log q."""
    model = network(sharp)
    log_w, log_q, probability = written_out(k, sharp)
    of_model, of_posterior = naive_targets(pair)
    by_theta = (probability.detach() * of_model(log_w)).sum()
    if of_posterior is None:
        by_phi = (probability.detach() * (log_w.detach().softmax(0) * log_q).sum(0)).sum()
    else:
        by_phi = (probability * of_posterior(log_w)).sum()
    return _by(by_theta, model.model_parameters()), _by(by_phi, model.posterior_parameters())


def _by(value: Tensor, parameters: Any) -> Named:
    found = torch.autograd.grad(value, list(parameters.values()), retain_graph=True)
    return dict(zip(parameters, found, strict=True))


def found(pairs: Sequence[Pair], k: int, execution: Execution, sharp: float = 1.0) -> list[tuple[Named, Named]]:
    """What the executor's gradients by each pair are on average, ascent: over all tuples, and over all kept rows."""
    model, bits = network(sharp), tuples(k)
    total: list[tuple[Named, Named]] = []
    masks = every(k) if execution.backward is Backward.SCREENED else [None]
    thetas = list(dict.fromkeys(pair.theta for pair in pairs))
    share = -written_out(k, sharp)[2].detach() * bits.shape[1]
    for mask in masks:
        draws = GivenBits(bits, mask)
        batch = model.batch(X.expand(bits.shape[1], -1), draws)
        rows = execution.rows(batch, PairWeigh(tuple(pairs), learning=False))
        scale = share if mask is None else share * _chance(mask, draws.probability)
        value, *arrays = rows.weights.arrays()
        assert value is not None
        sums = rows.sums(RowWeights(value, *(None if each is None else each * scale for each in arrays)))  # pyright: ignore[reportArgumentType]
        phi = batch.through_posterior(sums.posterior)
        each = [(sums.model[thetas.index(pair.theta)], mine) for pair, mine in zip(pairs, phi, strict=True)]
        total = [(_sum(a, c), _sum(b, d)) for (a, b), (c, d) in zip(total, each, strict=True)] if total else each
    return total


def _chance(mask: Tensor, probability: Tensor | None) -> Tensor:
    """The probability of a mask (K,) in each column, (columns,)."""
    assert probability is not None
    return torch.where(mask.unsqueeze(1), probability, 1.0 - probability).prod(0)


def _sum(one: Named, other: Named) -> Named:
    return {name: each + other[name] for name, each in one.items()}


def off(found: Named, expected: Named) -> float:
    """The largest distance of a parameter's gradient, relative to the whole gradient."""
    whole = sum(float(each.square().sum()) for each in expected.values()) ** 0.5
    return max(float((found[name] - each).square().sum()) ** 0.5 / whole for name, each in expected.items())
