"""Oracles: gradients computed the slow, obvious way, and small models to compute them on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from dregcli.engine.likelihoods import Likelihood, make_likelihood
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import LikelihoodName

AnyVae = TypeVar("AnyVae", Vae, StructuredVae)
LEVELS = 8
"""Of pixels for the discretised logistic."""


def small_spread(pixels: int = 12) -> Tensor:
    """Standard deviations that differ between pixels."""
    return torch.linspace(0.4, 1.5, pixels)


def _made(model: AnyVae) -> AnyVae:
    """In float64, with weights large enough that importance weights differ."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


def small_vae(
    *,
    pixels: int = 12,
    hidden: tuple[int, ...] = (7, 5),
    latent_dim: int = 3,
    seed: int = 0,
    likelihood: Likelihood | None = None,
    spread: Tensor | None = None,
) -> Vae:
    """A float64 VAE with weights large enough that its importance weights differ."""
    return _made(
        Vae(
            torch.linspace(0.05, 0.9, pixels),
            hidden=hidden,
            latent_dim=latent_dim,
            generator=Randomness(seed).generator(Stream.INITIALISATION),
            likelihood=likelihood,
            spread=spread,
        )
    )


def small_structured(
    *,
    pixels: int = 12,
    context: int = 5,
    hidden: tuple[int, ...] = (7, 5),
    latent_dim: int = 3,
    seed: int = 1,
    likelihood: Likelihood | None = None,
    spread: Tensor | None = None,
    crossed: bool = False,
) -> StructuredVae:
    """The same of structured prediction. At its seed no pair loses more than two digits to cancellation."""
    return _made(
        StructuredVae(
            torch.linspace(0.05, 0.9, pixels),
            context=context,
            hidden=hidden,
            latent_dim=latent_dim,
            generator=Randomness(seed).generator(Stream.INITIALISATION),
            likelihood=likelihood,
            spread=spread,
            crossed=crossed,
        )
    )


def _likelihood(name: LikelihoodName, part: slice = slice(None)) -> Likelihood:
    return make_likelihood(name, spread=small_spread()[part], levels=LEVELS)


@dataclass(frozen=True)
class Case:
    """A small model, and what an oracle must know of it beside its parameters."""

    build: Callable[[], Vae | StructuredVae]
    crossed: bool = False


MODELS = {
    "vae": Case(small_vae),
    "structured": Case(small_structured),
    "structured-crossed": Case(lambda: small_structured(context=6, crossed=True), crossed=True),
    "gaussian": Case(lambda: small_vae(likelihood=_likelihood(LikelihoodName.GAUSSIAN), spread=small_spread())),
    "discretised-logistic": Case(lambda: small_vae(likelihood=_likelihood(LikelihoodName.DISCRETISED_LOGISTIC))),
    "structured-gaussian": Case(
        lambda: small_structured(
            likelihood=_likelihood(LikelihoodName.GAUSSIAN, slice(5, None)), spread=small_spread()
        )
    ),
    "structured-gaussian-crossed": Case(
        lambda: small_structured(
            context=6,
            crossed=True,
            likelihood=_likelihood(LikelihoodName.GAUSSIAN, slice(0, 6)),
            spread=small_spread(),
            seed=0,  # of seed 1 the naive weights are below what a float64 can hold
        ),
        crossed=True,
    ),
    "structured-discretised-logistic": Case(
        lambda: small_structured(likelihood=_likelihood(LikelihoodName.DISCRETISED_LOGISTIC, slice(5, None)))
    ),
}
"""Every kind of model by name; the contract tests run them all."""


def small_batch(model: Vae | StructuredVae, *, k: int, batch: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels (B, D), such as the model's likelihood is for, and noise (K, B, Z), float64."""
    randomness = Randomness(seed)
    uniform = randomness.uniform(Stream.PIXELS, 0, batch, model.mean.shape[0])
    noise = randomness.normal(Stream.NOISE, 0, k=k, batch=batch, width=model.latent_width)
    kinds: dict[str, Callable[[], Tensor]] = {
        "Bernoulli": lambda: (uniform < model.mean).double(),
        "Gaussian": lambda: model.mean + 3.0 * (uniform.double() - 0.5),
        "DiscretisedLogistic": lambda: (uniform.double() * (LEVELS + 1)).floor() / LEVELS,
    }
    return kinds[type(model.likelihood).__name__](), noise.double()


@dataclass(frozen=True)
class Naive:
    """Gradients of the mean objective over the batch, as descent directions."""

    value: Tensor
    model: dict[str, Tensor]
    posterior: dict[str, Tensor]


def _naive_network(layers: nn.ModuleList, inputs: Tensor) -> Tensor:
    for i, layer in enumerate(layers):
        inputs = layer(torch.tanh(inputs) if i else inputs)
    return inputs


def _naive_gaussian(layers: nn.ModuleList, inputs: Tensor) -> tuple[Tensor, Tensor]:
    loc, raw = _naive_network(layers, inputs).chunk(2, dim=-1)
    return loc, nn.functional.softplus(raw + 0.25)


def naive_log_likelihood(likelihood: Likelihood, outputs: Tensor, pixels: Tensor) -> Tensor:
    """Summed over pixels, written down as on paper; of the likelihood only the numbers it holds are used."""
    name, width = type(likelihood).__name__, pixels.shape[-1]
    x = pixels.expand(*outputs.shape[:-1], width)
    if name == "Bernoulli":
        return -nn.functional.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(-1)
    spread = likelihood.get_buffer("spread")
    loc, soft = spread * outputs[..., :width], nn.functional.softplus(outputs[..., width:])
    if name == "Gaussian":
        return Normal(loc, spread * (0.01 + soft)).log_prob(x).sum(-1)
    scale = spread * soft + 0.05 / LEVELS
    upper = torch.where(x > 1.0 - 0.25 / LEVELS, math.inf, (x + 0.5 / LEVELS - loc) / scale)
    lower = torch.where(x < 0.25 / LEVELS, -math.inf, (x - 0.5 / LEVELS - loc) / scale)
    # A difference of two small numbers, from whichever side it is: above loc both sigmoids are near 1.
    above, below = torch.sigmoid(-lower) - torch.sigmoid(-upper), torch.sigmoid(upper) - torch.sigmoid(lower)
    return torch.where(x > loc, above, below).log().sum(-1)


def naive_log_joint(
    model: Vae | StructuredVae, pixels: Tensor, z: Tensor, *, crossed: bool = False, kl_weight: float = 1.0
) -> Tensor:
    """log p(x, z), or log p(x, z | c): plain torch modules on concatenated inputs, torch's distributions."""
    if isinstance(model, Vae):
        prior = Normal(torch.zeros_like(z), torch.ones_like(z))
        likelihood = naive_log_likelihood(model.likelihood, _naive_network(model.decoder, z), pixels)
        return likelihood + kl_weight * prior.log_prob(z).sum(-1)
    size = model.context_layer.weight.shape[1]
    first, second = pixels[:, :size], pixels[:, size:]
    target, context = (first, second) if crossed else (second, first)
    centred = context - model.mean[:size]
    if model.spread is not None:
        # By the context's own spread, whichever half it is.
        context = centred = centred / (model.spread[size:] if crossed else model.spread[:size])
    inputs = torch.cat([z, context.expand(z.shape[0], -1, -1)], dim=-1)
    first_layer, *others = model.decoder
    weight = torch.cat([first_layer.get_parameter("weight"), model.context_layer.weight], dim=1)
    h = inputs @ weight.T + first_layer.get_parameter("bias")
    for layer in others:
        h = layer(torch.tanh(h))
    prior = Normal(*_naive_gaussian(model.prior, centred))
    return naive_log_likelihood(model.likelihood, h, target) + kl_weight * prior.log_prob(z).sum(-1)


def naive_posterior(model: Vae | StructuredVae, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """loc and scale of q(z | x), (B, Z) each."""
    centred = pixels - model.mean
    return _naive_gaussian(model.encoder, centred if model.spread is None else centred / model.spread)


def naive_parameters(model: Vae | StructuredVae) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """theta and phi: what is not the encoder's, and what is; not asked of the model itself."""
    named = dict(model.named_parameters())
    phi = {name: each for name, each in named.items() if name.startswith("encoder.")}
    return {name: each for name, each in named.items() if name not in phi}, phi


def naive_gradients(
    model: Vae | StructuredVae,
    pixels: Tensor,
    noise: Tensor,
    pair: Pair,
    *,
    crossed: bool = False,
    kl_weight: float = 1.0,
) -> Naive:
    """Two losses and two backward passes through plain torch modules, as the reference's authors would write them.

    Nothing of the executor, of its tape or of its likelihood is used here; only the pair's weights.
    """
    loc, scale = naive_posterior(model, pixels)
    z = loc + scale * noise
    log_q = Normal(loc.detach(), scale.detach()).log_prob(z).sum(-1)
    log_w = naive_log_joint(model, pixels, z, crossed=crossed, kl_weight=kl_weight) - kl_weight * log_q
    terms, c = pair.at(log_w, kl_weight)
    theta, phi = naive_parameters(model)
    batch = pixels.shape[0]
    model_loss = -(c.model * log_w).sum() / batch
    score = (c.score * Normal(loc, scale).log_prob(z.detach()).sum(-1)).sum()
    posterior_loss = -((c.path * log_w).sum() + score) / batch
    model_gradients = torch.autograd.grad(model_loss, list(theta.values()), retain_graph=True)
    posterior_gradients = torch.autograd.grad(posterior_loss, list(phi.values()))
    return Naive(
        terms.value,
        dict(zip(theta, model_gradients, strict=True)),
        dict(zip(phi, posterior_gradients, strict=True)),
    )


def _norm(vector: Tensor) -> float:
    return vector.square().sum().sqrt().item()


def relative_distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The norm of the difference over the norm of what is expected, all tensors together; of 0, the difference's."""
    assert list(found) == list(expected)
    mine, theirs = (torch.cat([t.flatten() for t in each.values()]).double() for each in (found, expected))
    return _norm(mine - theirs) / (_norm(theirs) or 1.0)


def off_networks(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-12) -> dict[str, float]:
    """The networks, by the first part of their parameters' names, whose relative distance is above a tolerance."""
    assert list(found) == list(expected)
    distances: dict[str, float] = {}
    for network, names in groupby(expected, key=lambda name: name.partition(".")[0]):
        listed = list(names)
        distances[network] = relative_distance({n: found[n] for n in listed}, {n: expected[n] for n in listed})
    return {network: distance for network, distance in distances.items() if not distance <= tolerance}
