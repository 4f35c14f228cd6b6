"""The linear Gaussian model: its exact log p(x), its gradients, and what follows when q is the posterior."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from dregcli.engine.models.linear_gaussian import LinearGaussian
from dregcli.engine.models.networks import RAW_SCALE_OFFSET
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import log_mean_exp
from tests.support.dense import dense_gradients

K, B, D, Z = 6, 4, 6, 3


def linear_gaussian(seed: int = 0) -> LinearGaussian:
    """D = 6, Z = 3, in float64."""
    model = LinearGaussian(
        torch.linspace(-1.0, 2.0, D),
        latent_dim=Z,
        generator=Randomness(seed).generator(Stream.INITIALISATION),
        spread=torch.linspace(0.5, 1.5, D),
    ).double()
    with torch.no_grad():
        model.log_noise.fill_(-0.4)
    return model


def exact_posterior(model: LinearGaussian, *, scale: float = 1.0) -> None:
    """Make W's columns orthogonal, and q the posterior, its standard deviations times ``scale``."""
    with torch.no_grad():
        orthogonal = torch.linalg.qr(model.decoder.weight)[0] * torch.tensor([1.2, 0.8, 0.5])
        model.decoder.weight.copy_(orthogonal)
        variance = torch.exp(2.0 * model.log_noise)
        total = variance + orthogonal.square().sum(dim=0)
        to_mean = (orthogonal / total).T / model.unit  # of x - u b
        raw = torch.log(torch.expm1(scale * torch.sqrt(variance / total))) - RAW_SCALE_OFFSET
        (encoder,) = model.encoder
        encoder.weight.zero_()
        encoder.weight[:Z] = to_mean * model.spread
        encoder.bias[:Z] = to_mean @ (model.mean - model.unit * model.decoder.bias)
        encoder.bias[Z:] = raw


def examples(model: LinearGaussian) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = model.mean + 2.0 * torch.randn(B, D, generator=generator, dtype=torch.float64)
    return pixels, torch.randn(K, B, Z, generator=generator, dtype=torch.float64)


def naive_log_weights(model: LinearGaussian, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Normal]:
    q = model.posterior(pixels)
    z = q.loc + q.scale * noise
    means = model.unit * (z @ model.decoder.weight.T + model.decoder.bias)
    log_p = Normal(means, model.unit * model.log_noise.exp()).log_prob(pixels).sum(-1)
    log_p = log_p + Normal(0.0, 1.0).log_prob(z).sum(-1)
    log_q = Normal(q.loc.detach(), q.scale.detach()).log_prob(z).sum(-1)
    return log_p - log_q, Normal(q.loc, q.scale)


def test_its_log_marginal_is_that_of_the_whole_covariance() -> None:
    model = linear_gaussian()
    pixels, _ = examples(model)
    weight, noise = model.unit * model.decoder.weight, model.unit * model.log_noise.exp()
    covariance = weight @ weight.T + torch.diag(noise.square().expand(D))
    exact = MultivariateNormal(model.unit * model.decoder.bias, covariance).log_prob(pixels)
    torch.testing.assert_close(model.log_marginal(pixels), exact.detach(), rtol=0, atol=1e-12)
    # In other units of the data, up to D log(unit).
    other = LinearGaussian(
        10.0 * model.mean.float(),
        latent_dim=Z,
        generator=Randomness(0).generator(Stream.INITIALISATION),
        spread=10.0 * model.spread.float(),
    ).double()
    with torch.no_grad():
        other.log_noise.fill_(-0.4)
    shift = D * math.log(10.0)
    torch.testing.assert_close(other.log_marginal(10.0 * pixels) + shift, exact.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/reparam", "rws/dreg", "jvi/reparam", "elbo/stl", "iwae/vimco"])
def test_gradients_equal_a_naive_two_loss_version(word: str) -> None:
    model = linear_gaussian()
    pixels, noise = examples(model)
    pair = resolve_pair(*word.split("/"), K)
    found = dense_gradients(model, pixels, noise, pair)
    log_w, q = naive_log_weights(model, pixels, noise)
    _, c = pair.at(log_w)
    z = (q.loc + q.scale * noise).detach()
    theta, phi = model.model_parameters(), model.posterior_parameters()
    assert set(theta) == {"decoder.weight", "decoder.bias", "log_noise"}
    by_theta = torch.autograd.grad(-(c.model * log_w).sum() / B, list(theta.values()), retain_graph=True)
    loss = -((c.path * log_w).sum() + (c.score * q.log_prob(z).sum(-1)).sum()) / B
    by_phi = torch.autograd.grad(loss, list(phi.values()))
    for name, expected in [*zip(theta, by_theta, strict=True), *zip(phi, by_phi, strict=True)]:
        torch.testing.assert_close((found.model | found.posterior)[name], expected, rtol=1e-9, atol=1e-12)


def test_where_q_is_the_posterior_every_weight_is_p_of_x_and_no_path_gradient_is_left() -> None:
    model = linear_gaussian()
    exact_posterior(model)
    pixels, noise = examples(model)
    log_w, _ = naive_log_weights(model, pixels, noise)
    exact = model.log_marginal(pixels)
    torch.testing.assert_close(log_w.detach(), exact.expand(K, B), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_mean_exp(log_w).detach(), exact, rtol=0, atol=1e-12)
    for estimator, is_zero in (("dreg", True), ("stl", True), ("reparam", False)):
        gradients = dense_gradients(model, pixels, noise, resolve_pair("iwae", estimator, K)).posterior
        assert (max(float(each.abs().max()) for each in gradients.values()) < 1e-12) is is_zero
