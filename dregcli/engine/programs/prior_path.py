"""Samples of learned priors that have the numbers of the posterior's samples, and gradients along them.

The mathematics is in ``dregcli.engine.prior_rule``. With e = T^-1(z; theta) held fixed, zhat = T(e; theta) has the
numbers of z. What zhat depends on besides theta are the values of the latents in its prior, and these are leaves. So
the samples of all latents move together if a gradient by such a leaf is added to the gradient along that latent's own
zhat: the lower latents come first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from dregcli.engine.posteriors import Unfolded
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.ancestral import through_normals
from dregcli.engine.programs.densities import JointRun
from dregcli.engine.programs.families import innermost, scale_or_none, words_of
from dregcli.engine.programs.latents import Latents
from dregcli.engine.programs.normals import to_normals
from dregcli.engine.reach import Reach


def same_sample(prior: Distribution, z: Tensor) -> Tensor | None:
    """Return values equal to z that move with the prior's parameters; None if the prior has no such samples.

    Args:
        prior: p of a latent.
        z: its values, (K', B', ...).
    """
    unfolded = Unfolded.of(prior)
    start = z.detach()
    try:
        for step in reversed(unfolded.steps):
            start = cast("Tensor", cast("Any", step.transform).inv(start))
    except (NotImplementedError, KeyError):
        return None
    e = to_normals(unfolded.base, start)
    if e is None:
        return None
    fixed = e.detach()
    return through_normals(prior, lambda _: fixed, batched=0)


@dataclass(frozen=True)
class LearnedPrior:
    """What is known of one latent's prior.

    Attributes:
        parameters: leaves of theta that its log-density reaches.
        moves_with: leaves of theta that its samples reach, and the latents that they depend on; None if the gradient
            cannot go along them.
        family: the name of its family.
        is_blended: whether the shares of a blend are known: it is a diagonal Gaussian, and q has a known variance.
        is_discrete: whether its values have no path in q.
    """

    parameters: frozenset[Tensor]
    moves_with: tuple[frozenset[Tensor], tuple[str, ...]] | None
    family: str
    is_blended: bool
    is_discrete: bool


@dataclass(frozen=True)
class LearnedPriors:
    """The priors of a model.

    Attributes:
        by_latent: each latent's prior, by name.
    """

    by_latent: Mapping[str, LearnedPrior]

    @classmethod
    def found(cls, latents: Latents, run: JointRun) -> "LearnedPriors":
        """Return what one run of both programs with graphs shows.

        Args:
            latents: latents with paths.
            run: the model's program at these latents.
        """
        leaves = {each.leaf: name for name, each in latents.located.items()}
        return cls({name: _look(name, latents, run, leaves) for name in latents.located})

    def moving(self, rule: PriorRule) -> tuple[str, ...]:
        """Return the latents whose prior's samples move with theta; lower ones before those that they depend on."""
        able = {name: each.moves_with for name, each in self.by_latent.items() if each.moves_with is not None}
        moving = [name for name, (theta, _) in able.items() if theta]
        if rule.joint:
            while more := [
                name for name, (_, upper) in able.items() if name not in moving and set(upper) & set(moving)
            ]:
                moving += more
        ordered: list[str] = []
        while len(ordered) < len(moving):
            # The first one that no other depends on: a chain of conditional distributions has no circle.
            ordered.append(
                next(
                    name
                    for name in moving
                    if name not in ordered
                    and not any(name in able[each][1] for each in moving if each not in (*ordered, name))
                )
            )
        return tuple(ordered)

    @property
    def parameters(self) -> frozenset[Tensor]:
        """The leaves of theta that any prior reaches."""
        return frozenset[Tensor]().union(*(each.parameters for each in self.by_latent.values()))

    def refusal(self, rule: PriorRule) -> str | None:
        """Return why no gradient can go along the priors' samples; None if it can."""
        learned = {name: each for name, each in self.by_latent.items() if each.parameters}
        if not learned:
            return "the model's prior has no parameters to learn."
        if all(each.is_discrete for each in learned.values()):
            return "the latents with a learned prior have no path."
        for name, each in learned.items():
            if each.is_discrete:
                continue
            if each.moves_with is None:
                return (
                    f"the prior of '{name}' ({each.family}) has no samples that are an invertible function of normal "
                    "numbers and of its parameters alone."
                )
            if rule.blended and not each.is_blended:
                return (
                    f"a blend needs standard deviations of q and of the prior, which must be a diagonal Gaussian; "
                    f"'{name}' has none."
                )
        return None


def _look(name: str, latents: Latents, run: JointRun, leaves: Mapping[Tensor, str]) -> LearnedPrior:
    prior, located = run.priors[name], latents.located[name]
    moves_with = None
    # z is a function of the leaf if transforms without parameters come last; the leaf itself is needed here.
    if name in latents.paths and located.z is located.leaf and (zhat := same_sample(prior, located.z)) is not None:
        reached = Reach.of(zhat).leaves
        upper = tuple(leaves[each] for each in reached if each in leaves)
        moves_with = (reached - set(leaves), upper)
    diagonal = type(innermost(prior)) is Normal or isinstance(innermost(prior), Normal)
    return LearnedPrior(
        parameters=Reach.of(run.log_priors[name]).leaves - set(leaves),
        moves_with=moves_with,
        family=words_of(prior),
        is_blended=diagonal and scale_or_none(latents.posteriors[name]) is not None,
        is_discrete=name not in latents.paths,
    )


class PriorPath:
    """The gradient of theta along samples of the priors, at some rows.

    Args:
        rule: how the gradient goes.
        moving: latents whose samples move: see ``LearnedPriors.moving``.
        run: the model's program at these rows, with its graph.
        latents: latents of all rows of the samples, with their graphs.
        take: returns the rows of (K', B, ...).
        ones: unit weights of the rows, (K'', B''); a row that is there twice has half of it.
        dz: d log w / d z of all rows of each latent, unweighted.
    """

    def __init__(
        self,
        rule: PriorRule,
        moving: Sequence[str],
        run: JointRun,
        latents: Latents,
        take: Callable[[Tensor], Tensor],
        ones: Tensor,
        dz: Mapping[str, Tensor],
    ) -> None:
        self._rule, self._moving, self._run, self._take, self._ones = rule, tuple(moving), run, take, ones
        self._leaves = {name: latents.located[name].leaf for name in moving}
        self._values = {name: take(leaf.detach()) for name, leaf in self._leaves.items()}
        self._g = {name: take(dz[name]) for name in moving}
        others = [each for name, each in run.log_priors.items() if name not in moving]
        self._rest = sum(others, run.log_likelihood)
        self._along = self._slopes()
        self._shares = {name: self._share(name, latents) for name in moving} if rule.blended else {}

    def _slopes(self) -> dict[str, Tensor]:
        """Return A of each moving latent at the rows: d log p(x, z) / d z without the priors that move."""
        leaves = list(self._leaves.values())
        if self._rule.joint:
            found = _gradients(self._rest, leaves, self._ones)
        else:
            whole = _gradients(self._run.log_joint, leaves, self._ones)
            own = [
                _gradients(self._run.log_priors[name], [leaf], self._ones)[0] for name, leaf in self._leaves.items()
            ]
            found = [every - mine for every, mine in zip(whole, own, strict=True)]
        return {name: self._take(each) for name, each in zip(self._leaves, found, strict=True)}

    def _share(self, name: str, latents: Latents) -> Tensor:
        """Return the part of a latent's gradient that goes along samples, for each of its numbers at each row."""
        of_q, of_p = (scale_or_none(each) for each in (latents.posteriors[name], self._run.priors[name]))
        assert of_q is not None
        assert of_p is not None
        leaf = self._leaves[name]
        ratio = self._take(of_q.detach().expand(leaf.shape)) / of_p.detach()
        return ratio.square().clamp(max=1.0)

    def gradient(self, theta: Sequence[Tensor], model: Tensor, square: Tensor) -> list[Tensor]:
        """Return the gradient by each parameter.

        Args:
            theta: parameters.
            model: weights of theta's gradient, (K'', B'').
            square: model - d model / d log w.
        """
        found = _gradients(self._rest, theta, model)
        seeds = {
            name: _weighted(model, along) - _weighted(square, self._g[name]) for name, along in self._along.items()
        }
        for name, share in self._shares.items():
            # The factors of a diagonal Gaussian, one for each number of the latent.
            factors = innermost(self._run.priors[name]).log_prob(self._values[name])
            found = _added(found, _gradients(factors, theta, _weighted(model, 1.0 - share)))
            seeds[name] = share * seeds[name]
        for i, name in enumerate(self._moving):
            zhat = same_sample(self._run.priors[name], self._values[name])
            assert zhat is not None
            upper = self._moving[i + 1 :] if self._rule.joint else ()
            by = _gradients(zhat, [*theta, *(self._leaves[each] for each in upper)], seeds[name])
            found = _added(found, by[: len(theta)])
            for each, more in zip(upper, by[len(theta) :], strict=True):
                # A row that is there twice has the sum of both in the leaf.
                seeds[each] = seeds[each] + _weighted(self._ones, self._take(more))
        return found


def _gradients(output: Tensor, inputs: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
    """Return the gradients of a weighted sum and keep the graph; zeros for what the output does not depend on."""
    if not inputs or not output.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    return list(torch.autograd.grad(output, list(inputs), weights, retain_graph=True, materialize_grads=True))


def _added(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    return [mine + more for mine, more in zip(one, other, strict=True)]


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Return weights (K', B') times values (K', B', ...)."""
    return weights.reshape(*weights.shape, *(1,) * (values.ndim - 2)) * values
