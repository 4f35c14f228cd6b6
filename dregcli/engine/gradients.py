"""The gradient executor: coefficients in, parameter gradients out. It knows no objective and no estimator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from dregcli.engine.estimators import Coefficients
from dregcli.engine.models.base import DiagonalGaussian, LatentModel
from dregcli.engine.pairs import Pair
from dregcli.engine.rows import RowTape

Named = dict[str, Tensor]
"""Gradients by parameter name."""


@dataclass(frozen=True)
class Gradients:
    """One batch's gradients, as descent directions for the mean over the batch.

    Attributes:
        log_w: log-weights, shape (K, B), nats, detached.
        value: the objective's value, shape (B,), nats per example.
        model: minus d mean(objective) / d theta, by parameter name; empty where theta is frozen.
        posterior: minus d mean(objective) / d phi, by parameter name.
        learned: d (mean over phi of the squared posterior gradient) / d parameter, for each parameter that the
            estimator learns; scalars.
    """

    log_w: Tensor
    value: Tensor
    model: Named
    posterior: Named
    learned: Named = field(default_factory=dict[str, Tensor])


class RowPass:
    """One forward and one backward pass with unit weights over all K x B rows, for any number of estimators.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        noise: standard normal, shape (K, B, Z).
        posterior: q(z | x) with parameters of its own for each row, for ``posterior_sums``.
    """

    def __init__(
        self, model: LatentModel, pixels: Tensor, noise: Tensor, *, posterior: DiagonalGaussian | None = None
    ) -> None:
        self._theta, self._phi = model.model_parameters(), model.posterior_parameters()
        self._to_descent = -1.0 / pixels.shape[0]
        self._posterior = posterior or model.posterior(pixels)
        self._samples = self._posterior.rsample(noise)
        self._latents = tuple(z.detach().requires_grad_() for z in self._samples)
        self._tape = RowTape(noise.shape[0])
        log_w = model.log_joint(pixels, self._latents, self._tape)
        log_w = log_w - self._posterior.stopped().log_prob(self._latents)
        # Unit row weights: the tape's deltas and dz are d log w, unweighted.
        self._dz = self._tape.backward(log_w, self._latents)
        self.log_w = log_w.detach()

    def descent(self, weights: Tensor) -> Tensor:
        """Weights of ascent directions, as those of descent for the mean over the batch, in the model's dtype."""
        return (weights * self._to_descent).to(self.log_w.dtype)

    def model_gradients(self, weights: Tensor) -> Named:
        """Theta's gradients with these row weights, shape (K, B)."""
        with torch.no_grad():
            found = self._tape.contract(self.descent(weights), self._theta.values())
        return dict(zip(self._theta, found, strict=True))

    def posterior_gradients(self, weights: Coefficients, *, path: bool = True, score: bool = True) -> Named:
        """Phi's gradients with these path and score weights, through the posterior on B rows alone.

        Args:
            weights: of the path and the score.
            path: False says that the path weights are 0, and saves the work for them.
            score: False says that the score weights are 0, and saves the work for them.
        """
        outputs: list[Tensor] = []
        seeds: list[Tensor] = []
        if path:
            row_weights = self.descent(weights.path).unsqueeze(-1)
            outputs += self._samples
            seeds += [row_weights * gradient for gradient in self._dz]
        if score:
            outputs.append(self._score_density)
            seeds.append(self.descent(weights.score))
        found = torch.autograd.grad(outputs, list(self._phi.values()), seeds, retain_graph=True)
        return dict(zip(self._phi, found, strict=True))

    @cached_property
    def _score_density(self) -> Tensor:
        """log q(z | x) with z held fixed, shape (K, B); one graph for all estimators."""
        return self._posterior.log_prob(tuple(z.detach() for z in self._latents))

    def posterior_sums(self, path: Tensor, score: Tensor) -> Named:
        """Descent directions by the posterior's own parameters, for several estimators at once.

        Derivatives are taken once, row by row; every estimator is a weighted sum of them. What is left of phi's
        gradients is the way through the encoder: ``through_posterior``.

        Args:
            path: weights, shape (P, K, B).
            score: weights, shape (P, K, B).

        Returns:
            Gradients by parameter of the posterior, (P, B, Z) each.
        """
        path, score = self.descent(path), self.descent(score)
        return {
            name: torch.einsum("pkb,kbz->pbz", path, by_path) + torch.einsum("pkb,kbz->pbz", score, by_score)
            for name, (by_path, by_score) in self._row_derivatives.items()
        }

    @cached_property
    def _row_derivatives(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By each of the posterior's own parameters, row by row: of the path and of the score, (K, B, Z) each."""
        parameters = self._posterior.parameters()
        density = self._score_density
        by_path = torch.autograd.grad(self._samples, list(parameters.values()), self._dz)
        by_score = torch.autograd.grad(density, list(parameters.values()), torch.ones_like(density))
        return dict(zip(parameters, zip(by_path, by_score, strict=True), strict=True))


def through_posterior(
    posterior: DiagonalGaussian, phi: Mapping[str, nn.Parameter], by_posterior: Mapping[str, Tensor]
) -> list[Named]:
    """Gradients by a posterior's own parameters, as gradients by phi.

    Args:
        posterior: of B examples, on phi's graph, which is kept.
        phi: by name.
        by_posterior: some of the posterior's parameters, (P, B, Z) each.

    Returns:
        P sets of gradients.
    """
    outputs = posterior.parameters()
    wanted = [outputs[name] for name in by_posterior]
    found = (
        torch.autograd.grad(wanted, list(phi.values()), list(seeds), retain_graph=True)
        for seeds in zip(*by_posterior.values(), strict=True)
    )
    return [dict(zip(phi, each, strict=True)) for each in found]


def dense_gradients(
    model: LatentModel, pixels: Tensor, noise: Tensor, pair: Pair, *, train_model: bool = True
) -> Gradients:
    """Gradients from one forward and one backward pass over all K x B rows.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        noise: standard normal, shape (K, B, Z).
        pair: the objective and its estimator.
        train_model: False leaves theta's gradients out, and the work for them.

    Returns:
        The gradients, with the log-weights and the objective's value they came from.
    """
    if pair.estimator.learned:
        return _learning_gradients(model, pixels, noise, pair, train_model=train_model)
    rows = RowPass(model, pixels, noise)
    terms, weights = pair.at(rows.log_w)
    return Gradients(
        log_w=rows.log_w,
        value=terms.value,
        model=rows.model_gradients(weights.model) if train_model else {},
        posterior=rows.posterior_gradients(weights, path=pair.uses_path, score=pair.uses_score),
    )


def _learning_gradients(
    model: LatentModel, pixels: Tensor, noise: Tensor, pair: Pair, *, train_model: bool
) -> Gradients:
    """As ``dense_gradients``, for an estimator that learns: its gradient's derivatives come from the same rows."""
    posterior, phi = model.posterior(pixels), model.posterior_parameters()
    rows = RowPass(model, pixels, noise, posterior=posterior.by_row(noise.shape[0]))
    terms, weights = pair.at(rows.log_w)
    derivatives = pair.estimator.derivatives(pair.objective, terms)
    every = [weights, *derivatives.values()]
    sums = rows.posterior_sums(torch.stack([c.path for c in every]), torch.stack([c.score for c in every]))
    gradient, *slopes = through_posterior(posterior, phi, sums)
    return Gradients(
        log_w=rows.log_w,
        value=terms.value,
        model=rows.model_gradients(weights.model) if train_model else {},
        posterior=gradient,
        learned={name: _slope(gradient, each) for name, each in zip(derivatives, slopes, strict=True)},
    )


def _slope(gradient: Named, derivative: Named) -> Tensor:
    """d mean(gradient^2) / d parameter, when d gradient / d parameter is ``derivative``; float64 scalar."""
    products = [(gradient[name].double() * derivative[name].double()).sum() for name in gradient]
    return 2.0 * torch.stack(products).sum() / sum(each.numel() for each in gradient.values())


def assign(parameters: dict[str, nn.Parameter], gradients: Named) -> None:
    """Hand gradients to the parameters of the same names, for an optimiser's step."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
