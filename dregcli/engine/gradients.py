"""The gradient executor: coefficients in, parameter gradients out. It knows no objective and no estimator."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dregcli.engine.models.base import LatentModel
from dregcli.engine.pairs import Pair
from dregcli.engine.rows import RowTape


@dataclass(frozen=True)
class Gradients:
    """One batch's gradients, as descent directions for the mean over the batch.

    Attributes:
        log_w: log-weights, shape (K, B), nats, detached.
        value: the objective's value, shape (B,), nats per example.
        model: minus d mean(objective) / d theta, by parameter name.
        posterior: minus d mean(objective) / d phi, by parameter name.
    """

    log_w: Tensor
    value: Tensor
    model: dict[str, Tensor]
    posterior: dict[str, Tensor]


def dense_gradients(model: LatentModel, pixels: Tensor, noise: Tensor, pair: Pair) -> Gradients:
    """Gradients from one forward and one backward pass over all K x B rows.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        noise: standard normal, shape (K, B, Z).
        pair: the objective and its estimator.

    Returns:
        The gradients, with the log-weights and the objective's value they came from.
    """
    posterior = model.posterior(pixels)
    samples = posterior.rsample(noise)
    latents = tuple(z.detach().requires_grad_() for z in samples)
    tape = RowTape()
    log_w = model.log_joint(pixels, latents, tape.linear) - posterior.stopped().log_prob(latents)
    # Unit row weights: the tape's deltas and dz are d log w, unweighted.
    dz = torch.autograd.grad(log_w, latents, torch.ones_like(log_w))

    terms, coefficients = pair.at(log_w)
    to_descent = -1.0 / pixels.shape[0]
    model_weights, path, score = (
        (array * to_descent).to(log_w.dtype) for array in (coefficients.model, coefficients.path, coefficients.score)
    )
    theta = model.model_parameters()
    with torch.no_grad():
        theta_gradients = tape.contract(model_weights, theta.values())

    outputs: list[Tensor] = list(samples)
    seeds: list[Tensor] = [path.unsqueeze(-1) * gradient for gradient in dz]
    if pair.estimator.uses_score:
        outputs.append(posterior.log_prob(tuple(z.detach() for z in latents)))
        seeds.append(score)
    phi = model.posterior_parameters()
    phi_gradients = torch.autograd.grad(outputs, list(phi.values()), seeds)
    return Gradients(
        log_w=log_w.detach(),
        value=terms.value,
        model=dict(zip(theta, theta_gradients, strict=True)),
        posterior=dict(zip(phi, phi_gradients, strict=True)),
    )


def assign(parameters: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> None:
    """Hand gradients to the parameters of the same names, for an optimiser's step."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
