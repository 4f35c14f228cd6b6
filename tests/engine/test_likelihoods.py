"""The fused likelihood against torch's own, values and gradients."""

import pytest
import torch

from dregcli.engine.likelihoods import bernoulli_log_likelihood


@pytest.mark.parametrize("width", [1, 7, 64, 784, 1024])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 500.0])
def test_value_and_gradient(width: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(width)
    logits = spread * torch.randn(4, 3, width, generator=generator)
    pixels = (torch.rand(3, width, generator=generator) < 0.3).float()
    weights = torch.rand(4, 3, generator=generator)

    exact = logits.double().requires_grad_()
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(
        exact, pixels.double().expand_as(exact), reduction="none"
    ).sum(-1)
    (expected_gradient,) = torch.autograd.grad((weights * expected).sum(), exact)

    leaf = logits.clone().requires_grad_()
    found = bernoulli_log_likelihood(leaf, pixels)
    (gradient,) = torch.autograd.grad((weights * found).sum(), leaf)
    torch.testing.assert_close(found.double(), expected, rtol=3e-6, atol=1e-4)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-6)


def test_float64_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(5, 2, 50, generator=generator, dtype=torch.float64)
    pixels = torch.rand(2, 50, generator=generator, dtype=torch.float64)
    expected = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(pixels).sum(-1)
    torch.testing.assert_close(bernoulli_log_likelihood(logits, pixels), expected, rtol=1e-13, atol=1e-12)
