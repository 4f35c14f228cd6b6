"""Models with a discrete and a continuous latent: expected gradients are exact, by enumeration and quadrature.

The path moves the continuous latent, and the score weighs the discrete one. If the discrete latent depends on the
continuous one, its density moves along the path, too.
"""

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine.execution.batch import Batch, Named
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.tempered import TemperedBatch
from dregcli.engine.execution.weighing import PairWeigh, RowWeights
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs import row_pass
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.errors import SpecError
from dregcli.names import DataKind
from tests.support.sweep import swept

K, NODES, NOISE = 2, 28, 1.2
ORDERS = ("bit first", "bit last")
WORDS = [
    *product(("iwae", "vr-iwae:alpha=0.3", "jvi", "elbo"), ("reparam", "dreg")),
    ("rws", "reparam"),
    ("rws", "dreg"),
]
X = torch.tensor([0.3, -0.8], dtype=torch.float64)


class _GivenBits(Bernoulli):
    """Bits that the test gives, with a Bernoulli's density."""

    def __init__(self, logits: Tensor, given: Tensor | None) -> None:
        super().__init__(logits=logits)
        self.given = given

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return super().sample(sample_shape) if self.given is None else self.given


class _Mixed(LatentModel):
    """A bit and a number; each order of drawing them has its own conditional."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.bits: Tensor | None = None
        self.q = nn.Parameter(torch.tensor([0.4, -0.3, 0.2, 0.7, -0.5], dtype=torch.float64))
        self.p = nn.Parameter(torch.tensor([0.3, -0.6, 0.5, 0.9], dtype=torch.float64))

    def _number(self, bit: Tensor | None, like: Tensor) -> Distribution:
        loc = self.q[0] + like.new_zeros(like.shape) if bit is None else self.q[0] + self.q[3] * bit
        return Independent(Normal(loc, self.q[1].exp().expand_as(loc)), 1)

    def _bit(self, number: Tensor | None, like: Tensor) -> Distribution:
        logits = self.q[2] + like.new_zeros(like.shape) if number is None else self.q[2] + self.q[4] * number
        return Independent(_GivenBits(logits, self.bits), 1)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        like = x[:, :1]
        if self.order == "bit first":
            bit = draw("bit", self._bit(None, like))
            draw("number", self._number(bit, like))
        else:
            number = draw("number", self._number(None, like))
            draw("bit", self._bit(number, like))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        bit, number = z["bit"], z["number"]
        given("bit", Independent(Bernoulli(logits=self.p[0].expand_as(bit[0, :1])[0]), 1))
        given("number", Independent(Normal(self.p[1] * bit, torch.ones_like(bit)), 1))
        loc = torch.cat([self.p[2] * number + bit, torch.sin(number) * self.p[3] - bit], dim=-1)
        return Independent(Normal(loc, torch.full_like(loc, NOISE)), 1)


class _GivenNormals:
    """Normals that the test gives, for whichever latent asks."""

    def __init__(self, normals: Tensor) -> None:
        self.normals = normals
        self.k = len(normals)

    def noise(self, first: int, count: int) -> Tensor:
        return self.normals[first : first + count]

    def of_latent(self, latent: int, width: int) -> "_GivenNormals":
        return self

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        raise AssertionError

    def seed(self, latent: int, block: int) -> int:
        return 0


@cache
def _columns() -> tuple[Tensor, Tensor, Tensor]:
    """All bits and nodes of K samples: bits and normals (K, columns, 1), and the nodes' weight (columns,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    every = list(product(product((0.0, 1.0), range(NODES)), repeat=K))
    bits = torch.tensor([[bit for bit, _ in column] for column in every], dtype=torch.float64)
    normals = torch.tensor([[nodes[i] for _, i in column] for column in every], dtype=torch.float64)
    weight = torch.tensor([float(np.prod([weights[i] for _, i in column])) for column in every], dtype=torch.float64)
    return bits.T.unsqueeze(-1), normals.T.unsqueeze(-1), weight


@cache
def _model(order: str) -> ProgramModel:
    data = ModelData((2,), DataKind.REAL, 1, X.float(), torch.ones(2))
    return ProgramModel(_Mixed(order), data)


def _written_out(order: str, kl_weight: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights (K, columns); log q(z | x) at fixed z; and the columns' probability; all live.

    ``kl_weight`` is the weight of log p(z) - log q(z | x) in the log-weights.
    """
    module = _model(order).module
    assert isinstance(module, _Mixed)
    bits, normals, weight = _columns()
    q, p = module.q, module.p
    loc = q[0] + (q[3] * bits if order == "bit first" else 0.0)
    number = loc + q[1].exp() * normals
    logits = q[2] + (q[4] * number if order == "bit last" else torch.zeros_like(number))
    log_bit = Bernoulli(logits=logits).log_prob(bits)
    log_q = (Normal(loc, q[1].exp()).log_prob(number) + log_bit)[..., 0]
    log_p = Bernoulli(logits=p[0]).log_prob(bits) + Normal(p[1] * bits, 1.0).log_prob(number)
    mean = torch.cat([p[2] * number + bits, torch.sin(number) * p[3] - bits], dim=-1)
    log_w = Normal(mean, NOISE).log_prob(X).sum(-1) + kl_weight * (log_p[..., 0] - log_q)
    fixed = number.detach()
    at_fixed = Normal(loc, q[1].exp()).log_prob(fixed)
    at_fixed = at_fixed + Bernoulli(logits=q[2] + (q[4] * fixed if order == "bit last" else 0.0)).log_prob(bits)
    return log_w, at_fixed[..., 0], weight * log_bit[..., 0].sum(0).exp()


def _value(word: str, log_w: Tensor) -> Tensor:
    """F of each column, live."""
    if word == "elbo":
        return log_w.mean(0)
    if word.startswith("vr-iwae"):
        return (torch.logsumexp(0.7 * log_w, 0) - np.log(K)) / 0.7
    bound = torch.logsumexp(log_w, 0) - np.log(K)
    return K * bound - (K - 1) * log_w.mean(0) if word == "jvi" else bound


@cache
def _expected(order: str, objective: str, kl_weight: float = 1.0) -> Tensor:
    """The exact gradient of phi: of E[F], or of rws's direction."""
    module = _model(order).module
    assert isinstance(module, _Mixed)
    log_w, at_fixed, probability = _written_out(order, kl_weight)
    if objective == "rws":
        v = torch.softmax(log_w, 0).detach()
        target = (probability.detach() * (v * at_fixed).sum(0)).sum()
    else:
        target = (probability * _value(objective, log_w)).sum()
    return torch.autograd.grad(target, module.q)[0]


def _found(order: str, pair: Pair, kl_weight: float = 1.0) -> Named:
    """The executor's expected gradient, ascent: each column weighted by its probability."""
    model = _model(order)
    module = model.module
    assert isinstance(module, _Mixed)
    bits, normals, _ = _columns()
    _, _, probability = _written_out(order)
    module.bits = bits
    try:
        batch: Batch = model.batch(X.expand(len(probability), -1), _GivenNormals(normals))
        batch = batch if kl_weight == 1.0 else TemperedBatch(batch, kl_weight, k_chunk=None)
        weigh = PairWeigh((pair,), learning=False, mixed=batch.mixed, kl_weight=kl_weight)
        rows = DenseRows(batch, weigh, k_chunk=None)
        share = -probability.detach() * len(probability)
        value, *arrays = rows.weights.arrays()
        scaled = [None if each is None else each * share for each in arrays]
        assert value is not None
        return batch.through_posterior(rows.sums(RowWeights(value, *scaled)).posterior)[0]  # pyright: ignore[reportArgumentType]
    finally:
        module.bits = None


@swept("order, word", product(ORDERS, WORDS))
def test_expected_gradients_are_exact(order: str, word: tuple[str, str]) -> None:
    assert _model(order).discrete == ("bit",)
    pair = resolve_pair(*word, K)
    assert _model(order).faults(pair) == []
    expected = _expected(order, word[0])
    torch.testing.assert_close(_found(order, pair)["q"], expected, rtol=0.0, atol=5e-6)
    assert expected.abs().max() > 0.01


@swept("order, word", product(ORDERS, [word for word in WORDS if word[0] != "rws"]))
def test_they_are_exact_at_a_smaller_weight_of_the_kl(order: str, word: tuple[str, str]) -> None:
    expected = _expected(order, word[0], 0.3)
    found = _found(order, resolve_pair(*word, K), 0.3)["q"]
    torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-6)
    assert (expected - _expected(order, word[0])).abs().max() > 0.01


def test_a_bits_density_that_does_not_move_along_the_path_is_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_pass, "_gradients", _without_path_of_bits(row_pass._gradients))
    off = _found("bit last", resolve_pair("iwae", "dreg", K))["q"] - _expected("bit last", "iwae")
    assert off.abs().max() > 1e-3


def _without_path_of_bits(right: Any) -> Any:
    def gradients(output: Tensor, inputs: list[Any], weights: Tensor) -> list[Tensor | None]:
        if len(inputs) == 1 and inputs[0].shape == (*output.shape, 1) and "SumBackward" in output.grad_fn.name():  # type: ignore[union-attr]
            return [None]
        return right(output, inputs, weights)

    return gradients


def test_an_objective_without_a_score_function_is_refused() -> None:
    pair = resolve_pair("piwae:groups=1", "dreg", K)
    (fault,) = _model("bit last").faults(pair)
    assert "not one function" in fault.message
    with pytest.raises(SpecError):
        _found("bit last", pair)
    assert _model("bit last").faults(resolve_pair("iwae", "vimco", K)) == []
