"""Discrete samples are exact functions of uniform numbers, and their fast log-densities are those of torch."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Laplace, OneHotCategorical

from dregcli.engine.programs import uniforms
from dregcli.engine.programs.bits import log_prob
from dregcli.engine.programs.uniforms import from_uniforms
from dregcli.engine.randomness import Randomness, Stream

LEAST, MOST = 2.0**-25, 1.0 - 2.0**-24
"""The smallest and the largest uniform number."""
WEIGHTS = torch.tensor([0.0, 0.1, 0.0, 0.2, 0.3, 0.4, 0.0])


def drawn(distribution: Distribution, uniform: Tensor) -> Tensor:
    """Samples of a distribution without batch axes for each of some numbers, (N, 1, ...)."""
    found = from_uniforms(
        distribution, lambda shape: uniform.reshape(-1, 1, *(1,) * len(shape)).expand(-1, 1, *shape), batched=0
    )
    assert found is not None
    return found


def grid(n: int) -> Tensor:
    return torch.cat([(torch.arange(n) + 0.5) / n, torch.tensor([LEAST, MOST])])


def test_uniform_noise_is_never_0_or_1_and_its_prefix_is_that_of_a_larger_k() -> None:
    randomness = Randomness(0)
    long = randomness.uniform_noise(Stream.NOISE, 3, k=64, batch=500, width=300)
    assert long.min() >= LEAST
    assert long.max() <= MOST
    assert torch.equal(randomness.uniform_noise(Stream.NOISE, 3, k=40, batch=500, width=300), long[:40])
    assert torch.equal(randomness.uniform_noise(Stream.NOISE, 3, k=5, batch=500, width=300, first=16), long[16:21])
    counts = long.mul(10.0).long().flatten().bincount(minlength=10)
    assert (counts / long.numel() - 0.1).abs().max() < 5e-4
    with pytest.raises(ValueError, match="starts at a block"):
        randomness.uniform_noise(Stream.NOISE, 0, k=1, batch=1, width=1, first=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_are_1_where_the_number_is_below_their_probability(dtype: torch.dtype) -> None:
    logits = torch.tensor([-2.0, 0.0, 1.5], dtype=dtype)
    for q in (Bernoulli(logits=logits), Independent(Bernoulli(probs=logits.sigmoid()), 1)):
        bits = drawn(q, grid(10_000))
        assert bits.dtype is dtype
        assert (bits.mean(0)[0] - logits.sigmoid()).abs().max() < 2e-4
        assert set(bits.unique().tolist()) == {0.0, 1.0}


def test_a_certain_bit_is_never_missed() -> None:
    """Infinite logits, and logits whose probability rounds to 1 or is below the smallest number."""
    logits = torch.tensor([-math.inf, -40.0, 40.0, math.inf])
    bits = drawn(Independent(Bernoulli(logits=logits), 1), grid(5))
    assert torch.equal(bits[:, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(7, -1))
    rounded = torch.tensor([0.0, 1.0])  # what torch.rand may give, and what adding half a step to it may
    wrong = drawn(Independent(Bernoulli(logits=logits), 1), rounded)
    assert wrong[0, 0, 1] == 1.0
    assert wrong[1, 0, 3] == 0.0


def test_categories_have_their_probabilities_and_impossible_ones_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    uniform = grid(10_000)
    for q in (Categorical(probs=3.0 * WEIGHTS), Categorical(logits=WEIGHTS.log())):
        chosen = drawn(q, uniform)
        assert chosen.shape == (len(uniform), 1)
        shares = chosen.flatten().bincount(minlength=len(WEIGHTS)) / len(uniform)
        assert (shares - WEIGHTS).abs().max() < 2e-4
        assert not shares[WEIGHTS == 0.0].any()
    hot = drawn(OneHotCategorical(logits=WEIGHTS.log()), uniform)
    assert torch.equal(hot.argmax(-1), chosen)
    assert torch.equal(hot.sum(-1), torch.ones_like(hot[..., 0]))
    # Sums of rounded probabilities may be below the largest number.
    third = Categorical(probs=torch.full((3000,), 1.0 / 3000.0))
    assert int(drawn(third, torch.tensor([MOST]))) == 2999
    monkeypatch.setattr(uniforms, "_first_above", lambda p, u: (p.cumsum(-1) * 0.9999 <= u.unsqueeze(-1)).sum(-1))
    assert int(drawn(third, torch.tensor([MOST]))) == 3000


def test_distributions_of_another_kind_are_left_alone() -> None:
    class Own(Bernoulli):
        pass

    for q in (Own(logits=torch.zeros(2)), Laplace(torch.zeros(2), torch.ones(2))):
        assert from_uniforms(q, lambda shape: torch.rand(3, 1, *shape), batched=0) is None


K, B = 5, 3
BATCHES = {"of rows": (K, B), "of examples": (B,), "none": ()}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("event", [(7,), (2, 4), ()])
def test_the_fast_log_density_of_bits_is_that_of_torch(batch: str, event: tuple[int, ...]) -> None:
    shape = (*BATCHES[batch], *event)
    logits = torch.linspace(-40.0, 39.0, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    logits = (logits * torch.linspace(0.0, 1.0, logits.numel(), dtype=torch.float64).reshape(shape)).requires_grad_()
    bits = torch.arange(K * B * torch.Size(event).numel(), dtype=torch.float64).reshape(K, B, *event).sin().sign()
    bits = bits.clamp(min=0.0)
    q = Independent(Bernoulli(logits=logits), len(event))
    weights = torch.linspace(-1.0, 1.0, K * B, dtype=torch.float64).reshape(K, B)
    for value in (log_prob(q, bits), q.log_prob(bits)):
        assert value.shape == (K, B)
    fast, slow = log_prob(q, bits), q.log_prob(bits)
    torch.testing.assert_close(fast, slow, rtol=1e-13, atol=1e-13)
    (mine,) = torch.autograd.grad(fast, logits, weights)
    (torchs,) = torch.autograd.grad(slow, logits, weights)
    torch.testing.assert_close(mine, torchs, rtol=1e-13, atol=1e-13)


def test_relaxed_bits_keep_their_derivative() -> None:
    q = Independent(Bernoulli(logits=torch.linspace(-1.0, 2.0, 4), validate_args=False), 1, validate_args=False)
    value = torch.full((K, B, 4), 0.3, requires_grad=True)
    (slope,) = torch.autograd.grad(log_prob(q, value).sum(), value)
    torch.testing.assert_close(slope, torch.linspace(-1.0, 2.0, 4).expand(K, B, 4))
