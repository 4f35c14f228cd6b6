"""One forward pass over rows of a user's model, and the gradients that autograd computes from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.execution.batch import Named, Sums
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.latents import Latents
from dregcli.engine.programs.prior_path import LearnedPriors, PriorPath, Slopes, differentiated

Parameters = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Chosen:
    """Chosen rows among all rows of some samples.

    Attributes:
        k: sample of each row, counted from the first of these samples, int64, (R,).
        b: example of each row, int64, (R,).
    """

    k: Tensor
    b: Tensor

    def take(self, values: Tensor) -> Tensor:
        """Return the rows' entries of (K', B, ...), as (1, R, ...)."""
        return values[self.k, self.b].unsqueeze(0)

    def spread(self, weights: Tensor, rows: tuple[int, int]) -> Tensor:
        """Return weights (1, R) at their places among all rows (K', B); a row that occurs twice gets the sum."""
        return weights.new_zeros(rows).index_put((self.k, self.b), weights[0], accumulate=True)

    def shares(self, rows: tuple[int, int], like: Tensor) -> Tensor:
        """Return 1 / the number of times that each row occurs, (1, R), in ``like``'s dtype."""
        times = self.spread(like.new_ones(1, len(self.k)), rows)
        return self.take(times).reciprocal()


class ProgramRowPass:
    """Rows of a model, with a graph.

    Two gradient calls serve on one graph: with unit weights to the latents, for the path of any number of pairs; with
    row weights to theta.

    Args:
        densities: the model's program.
        latents: latents of all rows of some samples, with their graphs.
        x: pixels of all examples, (B, D).
        theta: parameters of the model.
        phi: parameters of the posterior.
        chosen: the rows; all rows of the samples if it is not given.
        priors: what is known of the priors; needed for gradients along their samples alone.
    """

    def __init__(
        self,
        densities: ModelDensities,
        latents: Latents,
        x: Tensor,
        theta: Parameters,
        phi: Parameters,
        chosen: Chosen | None = None,
        priors: LearnedPriors | None = None,
    ) -> None:
        self._priors = priors
        self._prior_paths: dict[PriorRule, PriorPath] = {}
        self._slopes: Slopes | None = None
        self._latents, self._theta, self._phi, self._chosen = latents, theta, phi, chosen
        self._examples = len(x)
        values, log_q = latents.values, latents.log_q
        if chosen:
            values, log_q = {name: chosen.take(z) for name, z in values.items()}, chosen.take(log_q)
            x = x[chosen.b]
        self._run = densities.run(values, x)
        self.log_p: Tensor = self._run.log_joint
        self._log_q = log_q
        self.log_w: Tensor = (self.log_p - log_q).detach()

    @property
    def _rows(self) -> tuple[int, int]:
        """Numbers of samples and of examples of the latents, K' and B."""
        return self._latents.log_q.shape[0], self._examples

    @cached_property
    def _ones(self) -> Tensor:
        """Unit weights of the rows. A repeated row fills up a pass of one size; its derivative counts once."""
        ones = torch.ones_like(self.log_p)
        return self._chosen.shares(self._rows, ones) if self._chosen else ones

    @cached_property
    def _dz(self) -> dict[str, Tensor]:
        """The derivative d log w / d leaf of each latent with a path, at fixed parameters, unweighted."""
        if self._slopes:
            return {name: self._slopes.of_log_w(name) for name in self._latents.paths}
        by_p, by_q = self._by_leaves(self.log_p), self._by_leaves(self._log_q)
        return {name: each - by_q[name] for name, each in by_p.items()}

    def _density_by_density(self) -> Slopes:
        """Compute the derivatives of every density, which cost one pass through the likelihood, too."""
        if self._slopes is None:
            priors = {name: self._by_leaves(each) for name, each in self._run.log_priors.items()}
            self._slopes = Slopes(self._by_leaves(self._run.log_likelihood), priors, self._by_leaves(self._log_q))
        return self._slopes

    def _by_leaves(self, density: Tensor) -> dict[str, Tensor]:
        """Differentiate a density of the rows; only the leaves' gradients are requested, so parameters are fixed."""
        leaves = {name: each.leaf for name, each in self._latents.paths.items()}
        return dict(zip(leaves, differentiated([density], list(leaves.values()), [self._ones]), strict=True))

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums that the weights request for model and path."""
        if weights.square is not None:
            self._density_by_density()  # first: the path's derivative is then their sum
        path: Named = {}
        if weights.path is not None:
            path = stacked([self._path(each) for each in self._descent(weights.path)], self._phi)
        if weights.square is None:
            return Sums([self._model(each) for each in self._descent(weights.model)], path)
        arrays = zip(self._descent(weights.model), self._descent(weights.square), weights.rules, strict=True)
        return Sums(
            [self._along_priors(rule, *each) if rule else self._model(each[0]) for *each, rule in arrays], path
        )

    def score_sums(self, weights: RowWeights) -> Named:
        """Compute the score's sums for all rows of the samples."""
        return score_sums(self._latents, self._phi, weights, self._examples)

    def _model(self, weights: Tensor) -> Named:
        found = _named(self._theta, _gradients(self.log_p, list(self._theta.values()), weights))
        # Autograd gives both parameters of a sum one tensor, or views of it. Sums over other rows are added in place.
        return {name: each.clone() for name, each in found.items()}

    def _along_priors(self, rule: PriorRule, model: Tensor, square: Tensor) -> Named:
        """Compute theta's gradient along samples of the priors."""
        found = self._prior_path(rule).gradient(list(self._theta.values()), model, square)
        return {name: each.clone() for name, each in zip(self._theta, found, strict=True)}

    def _prior_path(self, rule: PriorRule) -> PriorPath:
        if rule not in self._prior_paths:
            assert self._priors is not None
            take = self._chosen.take if self._chosen else _all
            moving = self._priors.moving(rule)
            slopes = self._density_by_density()
            self._prior_paths[rule] = PriorPath(rule, moving, self._run, self._latents, take, self._ones, slopes)
        return self._prior_paths[rule]

    def _path(self, weights: Tensor) -> Named:
        if self._chosen:
            weights = self._chosen.spread(weights, self._rows)
        seeds = {name: _weighted(weights, each) for name, each in self._dz.items()}
        return _named(self._phi, through_paths(self._latents, self._phi, seeds))

    def _descent(self, weights: Tensor) -> Tensor:
        return descent(weights, self._examples, self.log_p)


def descent(weights: Tensor, examples: int, like: Tensor) -> Tensor:
    """Turn weights of ascent into weights of descent for the mean over the batch, in ``like``'s dtype."""
    return (weights * (-1.0 / examples)).to(like.dtype)


def stacked(gradients: list[Named], parameters: Parameters) -> Named:
    """Stack gradients by parameter, (P, ...) each."""
    return {
        name: torch.stack([each[name] for each in gradients]) if gradients else like.new_zeros(0, *like.shape)
        for name, like in parameters.items()
    }


def through_paths(latents: Latents, phi: Parameters, seeds: dict[str, Tensor]) -> list[Tensor | None]:
    """Return the gradient by phi of samples with given gradients: back through the latents, the last one first.

    Args:
        latents: the latents; each one's sample leads to phi and to the values of earlier latents.
        phi: parameters.
        seeds: a gradient by each sample that has a path, (K', B, ...).
    """
    paths, seeds = latents.paths, dict(seeds)
    total: list[Tensor | None] = [None] * len(phi)
    names = list(paths)
    for i in reversed(range(len(names))):
        earlier = [paths[name].leaf for name in names[:i]]
        found = _gradients(paths[names[i]].live, [*phi.values(), *earlier], seeds[names[i]])
        total = [_plus(one, other) for one, other in zip(total, found, strict=False)]
        for name, each in zip(names[:i], found[len(phi) :], strict=True):
            seeds[name] = seeds[name] if each is None else seeds[name] + each
    return total


def score_sums(latents: Latents, phi: Parameters, weights: RowWeights, examples: int) -> Named:
    """Return the score's sums for all rows of some samples: weights times d log q / d phi with the latents fixed.

    Where some latents have a path and others have none, the others' density also moves with the path of earlier
    latents. Its weight there is the difference of both scores' weights: the weights of the path already hold the
    rest, since log q of every latent is a part of the log-weight.

    Args:
        latents: the latents; with their paths if the weights distinguish latents.
        phi: parameters of the posterior.
        weights: row weights; (P, K', B) each.
        examples: number of examples, B.

    Returns:
        (P, ...) each.
    """
    if weights.pathless is None:
        assert weights.score is not None
        score = descent(weights.score, examples, latents.log_q)
        return stacked([_named(phi, _gradients(latents.log_q, list(phi.values()), each)) for each in score], phi)
    moved, others = latents.log_q_by_path
    pathless = descent(weights.pathless, examples, others)
    score = torch.zeros_like(pathless) if weights.score is None else descent(weights.score, examples, moved)
    leaves = {name: each.leaf for name, each in latents.paths.items()}
    found: list[Named] = []
    for mine, other in zip(score, pathless, strict=True):
        fixed = _gradients(moved, list(phi.values()), mine), _gradients(others, list(phi.values()), other)
        along = _gradients(others, list(leaves.values()), other - mine)
        seeds = {
            name: torch.zeros_like(leaf) if each is None else each
            for (name, leaf), each in zip(leaves.items(), along, strict=True)
        }
        parts = (*fixed, through_paths(latents, phi, seeds))
        found.append(_named(phi, [reduce(_plus, each) for each in zip(*parts, strict=True)]))
    return stacked(found, phi)


def _all(values: Tensor) -> Tensor:
    return values


def _gradients(output: Tensor, inputs: list[Any], weights: Tensor) -> list[Tensor | None]:
    """Return the gradients of a weighted sum and keep the graph; None for what the output does not depend on."""
    if not inputs or not output.requires_grad:
        return [None] * len(inputs)
    return list(torch.autograd.grad(output, inputs, weights, retain_graph=True, allow_unused=True))


def _weighted(weights: Tensor, dz: Tensor) -> Tensor:
    """Return weights (K', B) times derivatives (K', B, ...)."""
    return weights.reshape(*weights.shape, *(1,) * (dz.ndim - 2)) * dz


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _named(parameters: Parameters, gradients: Sequence[Tensor | None]) -> Named:
    """Return gradients by name, and zeros where there is none."""
    return {
        name: torch.zeros_like(parameter) if each is None else each
        for (name, parameter), each in zip(parameters.items(), gradients, strict=True)
    }
