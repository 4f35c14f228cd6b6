"""Samples of learned priors that have the numbers of the posterior's samples, and gradients along them.

The mathematics is in ``dregcli.engine.prior_rule``. With e = T^-1(z; theta) held fixed, zhat = T(e; theta) has the
numbers of z. What zhat depends on besides theta are the values of the latents in its prior, and these are leaves. So
the samples of all latents move together if a gradient by such a leaf is added to the gradient along that latent's own
zhat: the lower latents come first.

All gradients along a latent are by its leaf, where q's sample is cut. If q ends in transforms without parameters, z
is a function of the leaf, and zhat is taken back to the leaf by the inverses.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from dregcli.engine.located import Located
from dregcli.engine.posteriors import Step, Unfolded
from dregcli.engine.prior_rule import FIXED_PRIOR, PriorRule
from dregcli.engine.programs.densities import JointRun
from dregcli.engine.programs.families import innermost, scale_or_none, words_of
from dregcli.engine.programs.latents import Latents
from dregcli.engine.programs.normals import from_normals, to_normals
from dregcli.engine.reach import Reach

Map = Callable[[Tensor], Tensor]

_FLOW = ("zuko.distributions", "NormalizingFlow")
"""Module and name of zuko's flows, a package that may be missing."""


def same_sample(prior: Distribution, z: Tensor) -> Tensor | None:
    """Return values equal to z that move with the prior's parameters; None if the prior has no such samples.

    Args:
        prior: p of a latent.
        z: its values, (K', B', ...).

    Raises:
        NotImplementedError, KeyError: a transform has no inverse.
    """
    base, forward, back = _unfolded(prior)
    start = z.detach()
    for undo in back:
        start = undo(start)
    start = start.detach()
    if (e := to_normals(base, start)) is not None:
        fixed = e.detach()
        moved = from_normals(base, lambda _: fixed, batched=0)
        assert moved is not None
    elif base.log_prob(start).requires_grad:
        return None
    else:
        moved = start
    for step in forward:
        moved = step(moved)
    return moved


def _unfolded(prior: Distribution) -> tuple[Distribution, list[Map], list[Map]]:
    """Return a base distribution, the maps from its samples to the prior's, and the maps back."""
    flows = [kind for kind in type(prior).__mro__ if (kind.__module__, kind.__name__) == _FLOW]
    # A subclass with a density of its own is no transform of the base.
    if any(type(prior).log_prob is kind.log_prob for kind in flows):
        # Its transform leads from the values to the base's; another package's may lead the other way.
        flow = cast("Any", prior)
        return flow.base, [flow.transform.inv], [flow.transform]
    unfolded = Unfolded.of(prior)
    transforms = [cast("Any", step.transform) for step in unfolded.steps]
    return unfolded.base, transforms, [each.inv for each in reversed(transforms)]


def _at_leaf(posterior: Distribution, located: Located, z: Tensor) -> Tensor:
    """Return values z where q's sample is cut: before q's last transforms if these have no parameters."""
    return undone(Unfolded.of(posterior).steps[located.first :], z)


def undone(steps: Sequence[Step], z: Tensor) -> Tensor:
    """Return the values before some transforms of a posterior."""
    for step in reversed(steps):
        z = cast("Tensor", cast("Any", step.transform).inv(z))
    return z


@dataclass(frozen=True)
class LearnedPrior:
    """What is known of one latent's prior.

    Attributes:
        parameters: leaves of theta that its log-density reaches.
        moved_by: leaves of theta that its samples reach.
        upper: latents that its samples depend on.
        refusal: why the gradient cannot go along its samples; None if it can.
        is_blended: whether the shares of a blend are known: it is a diagonal Gaussian, and q has a known variance.
    """

    parameters: frozenset[Tensor]
    moved_by: frozenset[Tensor] = frozenset()
    upper: tuple[str, ...] = ()
    refusal: str | None = None
    is_blended: bool = False


@dataclass(frozen=True)
class LearnedPriors:
    """The priors of a model.

    Attributes:
        by_latent: each latent's prior, by name.
        discrete: latents without a path, whose priors follow the score.
    """

    by_latent: Mapping[str, LearnedPrior]
    discrete: tuple[str, ...]

    @classmethod
    def found(cls, latents: Latents, run: JointRun) -> "LearnedPriors":
        """Return what one run of both programs with graphs shows.

        Args:
            latents: latents with paths.
            run: the model's program at these latents.
        """
        leaves = {each.leaf: name for name, each in latents.located.items()}
        return cls({name: _look(name, latents, run, leaves) for name in latents.located}, latents.discrete)

    def moving(self, rule: PriorRule) -> tuple[str, ...]:
        """Return the latents whose prior's samples move with theta; lower ones before those that they depend on."""
        able = {name: each for name, each in self.by_latent.items() if each.refusal is None}
        moving = [name for name, each in able.items() if each.moved_by]
        if rule.joint:
            while more := [
                name for name, each in able.items() if name not in moving and set(each.upper) & set(moving)
            ]:
                moving += more
        ordered: list[str] = []
        while left := [name for name in moving if name not in ordered]:
            # A chain of conditional distributions has no circle, so that one of them is in no other's prior.
            ordered.append(next(name for name in left if all(name not in able[each].upper for each in left)))
        return tuple(ordered)

    @property
    def parameters(self) -> frozenset[Tensor]:
        """The leaves of theta that any prior reaches."""
        return frozenset[Tensor]().union(*(each.parameters for each in self.by_latent.values()))

    def refusal(self, rule: PriorRule) -> str | None:
        """Return why no gradient can go along the priors' samples; None if it can."""
        learned = {name: each for name, each in self.by_latent.items() if each.parameters}
        if not learned:
            return FIXED_PRIOR
        able = {name: each for name, each in learned.items() if name not in self.discrete}
        if not able:
            return f"the prior of {', '.join(map(repr, learned))} is discrete, so that its samples cannot move."
        for name, each in able.items():
            if each.refusal:
                return each.refusal
            if rule.blended and not each.is_blended:
                return (
                    f"a blend needs a prior of '{name}' that is a diagonal Gaussian, and the standard deviation of "
                    f"its q; gdreg needs neither."
                )
        return None


def _look(name: str, latents: Latents, run: JointRun, leaves: Mapping[Tensor, str]) -> LearnedPrior:
    parameters = Reach.of(run.log_priors[name]).leaves - set(leaves)
    prior, q, located = run.priors[name], latents.posteriors[name], latents.located[name]
    if name in latents.discrete:
        return LearnedPrior(parameters, refusal=f"the posterior of '{name}' has no rsample.")
    if name not in latents.paths:
        return LearnedPrior(parameters, refusal=f"the posterior of '{name}' has no parameters to learn.")
    try:
        z = same_sample(prior, located.z)
    except Exception:  # A user's transform without an inverse may fail in any way.
        z = None
    reached = frozenset[Tensor]() if z is None else Reach.of(z).leaves
    # Parameters that do not move the samples would lose their gradient.
    if z is None or not parameters <= reached or not is_equal(z, located.z):
        return LearnedPrior(
            parameters,
            refusal=f"the prior of '{name}' ({words_of(prior)}) is neither a Gaussian nor an invertible transform of "
            "one, so that its samples do not move with its parameters.",
        )
    try:
        # One row must be able to stand alone, since rows are chosen.
        leaf = _at_leaf(q, located, z[:1, :1])
    except Exception:
        leaf = None
    if leaf is None or not is_equal(leaf, located.leaf[:1, :1]):
        return LearnedPrior(
            parameters,
            refusal=f"samples of '{name}' go through transforms of q ({words_of(q)}) that cannot be undone.",
        )
    return LearnedPrior(
        parameters,
        moved_by=reached - set(leaves),
        upper=tuple(leaves[each] for each in reached if each in leaves),
        is_blended=isinstance(innermost(prior), Normal)
        and located.z is located.leaf
        and scale_or_none(q) is not None,
    )


def is_equal(found: Tensor, expected: Tensor) -> bool:
    """Return whether values are the same up to the rounding of an inverse."""
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


@dataclass(frozen=True)
class Slopes:
    """Unweighted derivatives of densities by the leaf of each latent with a path, at fixed parameters.

    Attributes:
        likelihood: those of log p(x | z), by latent, (K', B, ...) each.
        priors: those of each latent's log p, by the latent whose prior it is.
        posterior: those of log q(z | x).
    """

    likelihood: Mapping[str, Tensor]
    priors: Mapping[str, Mapping[str, Tensor]]
    posterior: Mapping[str, Tensor]

    def of_log_w(self, name: str) -> Tensor:
        """Return d log w / d leaf of a latent."""
        return self.without((), name) - self.posterior[name]

    def without(self, left_out: Collection[str], name: str) -> Tensor:
        """Return the derivative of log p(x, z) without the priors of some latents."""
        return sum(
            (each[name] for prior, each in self.priors.items() if prior not in left_out), self.likelihood[name]
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
        slopes: derivatives of the densities.
    """

    def __init__(
        self,
        rule: PriorRule,
        moving: Sequence[str],
        run: JointRun,
        latents: Latents,
        take: Map,
        ones: Tensor,
        slopes: Slopes,
    ) -> None:
        self._rule, self._run, self._take, self._ones = rule, run, take, ones
        self._leaves = {name: latents.located[name].leaf for name in moving}
        self._values = {name: take(latents.located[name].z.detach()) for name in moving}
        self._g = {name: take(slopes.of_log_w(name)) for name in moving}
        self._along = {name: take(slopes.without(moving if rule.joint else (name,), name)) for name in moving}
        self._moved = {name: self._move(name, latents) for name in moving}
        self._rest = sum((each for name, each in run.log_priors.items() if name not in moving), run.log_likelihood)
        self._shares = {name: self._share(name, latents) for name in moving} if rule.blended else {}

    def _move(self, name: str, latents: Latents) -> Tensor:
        """Return the leaf's numbers as they move with theta and with the latents in the prior."""
        z = same_sample(self._run.priors[name], self._values[name])
        assert z is not None
        return _at_leaf(latents.posteriors[name], latents.located[name], z)

    def _share(self, name: str, latents: Latents) -> Tensor:
        """Return the part of a latent's gradient that goes along samples, for each of its numbers at each row."""
        of_q, of_p = (scale_or_none(each) for each in (latents.posteriors[name], self._run.priors[name]))
        assert of_q is not None
        assert of_p is not None
        return share_along(self._take(of_q.detach().expand(self._leaves[name].shape)), of_p)

    def gradient(self, theta: Sequence[Tensor], model: Tensor, square: Tensor) -> list[Tensor]:
        """Return the gradient by each parameter.

        Args:
            theta: parameters.
            model: weights of theta's gradient, (K'', B'').
            square: model - d model / d log w.
        """
        outputs, weights = [self._rest], [model]
        seeds = {
            name: weighted(model, along) - weighted(square, self._g[name]) for name, along in self._along.items()
        }
        for name, share in self._shares.items():
            # The factors of a diagonal Gaussian, one for each number of the latent.
            outputs.append(innermost(self._run.priors[name]).log_prob(self._values[name]))
            weights.append(weighted(model, 1.0 - share))
            seeds[name] = share * seeds[name]
        if self._rule.joint:
            self._add_to_upper(seeds)
        return differentiated([*outputs, *self._moved.values()], theta, [*weights, *seeds.values()])

    def _add_to_upper(self, seeds: dict[str, Tensor]) -> None:
        """Add the gradients that upper latents get from the lower ones' samples, which move with them."""
        names = list(seeds)
        for i, name in enumerate(names):
            upper = names[i + 1 :]
            by_upper = differentiated([self._moved[name]], [self._leaves[each] for each in upper], [seeds[name]])
            for each, more in zip(upper, by_upper, strict=True):
                # A row that is there twice has the sum of both in the leaf.
                seeds[each] = seeds[each] + weighted(self._ones, self._take(more))


def share_along(of_q: Tensor, of_p: Tensor) -> Tensor:
    """Return the part of a blend that goes along samples, from the standard deviations of q and of the prior.

    Where q has none, as Student's t with one degree of freedom or less, all of the gradient is the score.
    """
    return (of_q / of_p.detach()).square().nan_to_num(nan=0.0).clamp(max=1.0)


def differentiated(outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of a weighted sum and keep the graph; zeros for what no output depends on."""
    live = [(output, weight) for output, weight in zip(outputs, weights, strict=True) if output.requires_grad]
    if not inputs or not live:
        return [torch.zeros_like(each) for each in inputs]
    kept, seeds = zip(*live, strict=True)
    return list(torch.autograd.grad(kept, list(inputs), seeds, retain_graph=True, materialize_grads=True))


def weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Return weights (K', B') times values (K', B', ...)."""
    return weights.reshape(*weights.shape, *(1,) * (values.ndim - 2)) * values
