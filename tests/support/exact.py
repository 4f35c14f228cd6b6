"""Oracles: gradients computed the slow, obvious way, and a small model to compute them on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream


def small_vae(*, pixels: int = 12, hidden: tuple[int, ...] = (7, 5), latent_dim: int = 3, seed: int = 0) -> Vae:
    """A float64 VAE with weights large enough that its importance weights differ."""
    generator = Randomness(seed).generator(Stream.INITIALISATION)
    model = Vae(torch.linspace(0.05, 0.9, pixels), hidden=hidden, latent_dim=latent_dim, generator=generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


def small_batch(model: Vae, *, k: int, batch: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Binary pixels (B, D) and noise (K, B, Z), float64."""
    randomness = Randomness(seed)
    pixels = (randomness.uniform(Stream.PIXELS, 0, batch, model.mean.shape[0]) < model.mean).double()
    noise = randomness.normal(Stream.NOISE, 0, k=k, batch=batch, width=model.latent_width)
    return pixels, noise.double()


@dataclass(frozen=True)
class Naive:
    """Gradients of the mean objective over the batch, as descent directions."""

    value: Tensor
    model: dict[str, Tensor]
    posterior: dict[str, Tensor]


def naive_gradients(model: Vae, pixels: Tensor, noise: Tensor, pair: Pair) -> Naive:
    """Two losses and two backward passes through plain torch modules, as the reference's authors would write them.

    Nothing of the executor, of its tape or of its likelihood is used here; only the pair's weights.
    """

    def log_joint(z: Tensor) -> Tensor:
        h = z
        for i, layer in enumerate(model.decoder):
            h = layer(torch.tanh(h) if i else h)
        log_likelihood = -nn.functional.binary_cross_entropy_with_logits(
            h, pixels.expand_as(h), reduction="none"
        ).sum(-1)
        return log_likelihood + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    h = pixels - model.mean
    for i, layer in enumerate(model.encoder):
        h = layer(torch.tanh(h) if i else h)
    loc, raw = h.chunk(2, dim=-1)
    scale = nn.functional.softplus(raw + 0.25)
    z = loc + scale * noise
    stopped = torch.distributions.Normal(loc.detach(), scale.detach())
    live = torch.distributions.Normal(loc, scale)
    log_w = log_joint(z) - stopped.log_prob(z).sum(-1)
    terms, c = pair.at(log_w)
    theta, phi = model.model_parameters(), model.posterior_parameters()
    batch = pixels.shape[0]
    model_loss = -(c.model * log_w).sum() / batch
    score = (c.score * live.log_prob(z.detach()).sum(-1)).sum()
    posterior_loss = -((c.path * log_w).sum() + score) / batch
    model_gradients = torch.autograd.grad(model_loss, list(theta.values()), retain_graph=True)
    posterior_gradients = torch.autograd.grad(posterior_loss, list(phi.values()))
    return Naive(
        terms.value,
        dict(zip(theta, model_gradients, strict=True)),
        dict(zip(phi, posterior_gradients, strict=True)),
    )


def relative_distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The norm of the difference over the norm of what is expected, all tensors together; of 0, the difference's."""
    assert list(found) == list(expected)
    flat = [torch.cat([t.flatten() for t in gradients.values()]).double() for gradients in (found, expected)]
    return float((flat[0] - flat[1]).norm() / (flat[1].norm() or 1.0))
