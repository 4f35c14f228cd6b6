"""The prior of a user's own model as a product of factors, each a distribution of its own part of z."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.own.rows import RowChoice, required_parameters, with_rows
from dregcli.engine.prior_rule import RULES, PriorRule
from dregcli.engine.programs.densities import density_faults
from dregcli.engine.programs.prior_path import differentiated
from dregcli.engine.reach import Reach
from dregcli.errors import Fault, SpecError
from dregcli.names import PriorGradient

Factors = Sequence[tuple[Distribution, Tensor]]
"""Pairs of a distribution and of its part of z, (K, B, ...). Its batch_shape is (), (B,) or (K, B)."""

Prior = Distribution | Callable[[Tensor], Factors] | Callable[[Tensor, RowChoice], Factors]
"""The distribution of z; or a function that returns the factors of p(z) for samples (K, B, ...)."""

_HINT = (
    "a prior is a torch Distribution of z, or a function such as "
    "`lambda z: [(top, z[..., 5:]), (below(z[..., 5:]), z[..., :5])]`"
)


@dataclass(frozen=True)
class Factor:
    """One factor of the prior at some rows.

    Attributes:
        name: what messages call it.
        distribution: its distribution, which may depend on other parts of z.
        part: the values that it is the density of, (K', B', ...).
        log_p: their log-density, (K', B'), nats.
    """

    name: str
    distribution: Distribution
    part: Tensor
    log_p: Tensor


@dataclass(frozen=True)
class OwnPrior:
    """A user's prior of any form, behind one form.

    Attributes:
        given: what the user gave.
        takes_rows: whether it is a function with a second parameter, the rows.
        rule: how the gradient goes along the prior's samples; None for the score.
    """

    given: Prior
    takes_rows: bool
    rule: PriorRule | None

    @classmethod
    def checked(cls, prior: Prior | None, gradient: PriorGradient | str) -> "OwnPrior | None":
        """Return the prior that a user asked for; None if log_joint has all of p(x, z).

        Raises:
            SpecError: it is no prior, the gradient has another name, or a gradient is chosen without a prior.
        """
        if gradient not in list(PriorGradient):
            message = f"must be one of {', '.join(map(repr, map(str, PriorGradient)))}, got {gradient!r}."
            raise SpecError([Fault("prior_gradient", message)])
        rule = RULES[PriorGradient(gradient)]
        if prior is None:
            if rule is None:
                return None
            message = (
                f"'{gradient}' needs to know the prior: pass prior=, and let log_joint return log p(x | z) alone."
            )
            raise SpecError([Fault("prior_gradient", message)], hint=_HINT)
        if isinstance(prior, Distribution):
            return cls(prior, takes_rows=False, rule=rule)
        if not callable(prior):
            raise SpecError([Fault("prior", f"cannot be a {type(prior).__name__}.")], hint=_HINT)
        return cls(prior, required_parameters(prior) == 2, rule)

    def factors(self, z: Tensor, rows: RowChoice) -> list[Factor]:
        """Return the factors of p(z) at rows of samples.

        Args:
            z: samples, (K, B, ...), or chosen rows of them, (1, R, ...).
            rows: which rows these are.

        Raises:
            SpecError: they are no factors, or shapes do not fit.
        """
        pairs = self._pairs(z, rows)
        return [_factor(i, len(pairs), pair, (z.shape[0], z.shape[1])) for i, pair in enumerate(pairs)]

    def _pairs(self, z: Tensor, rows: RowChoice) -> Sequence[Any]:
        if isinstance(self.given, Distribution):
            if rows.examples is not None and self.given.batch_shape:
                message = f"has one distribution for each example (batch_shape {tuple(self.given.batch_shape)}), and "
                message += "screening needs those of chosen rows."
                hint = "give it as a function: def prior(z, rows), which returns [(distribution of rows(x), z)]"
                raise SpecError([Fault("prior", message)], hint=hint)
            return [(self.given, z)]
        function = cast("Any", self.given)
        found: object = with_rows("prior", function, z, rows) if self.takes_rows else function(z)
        if not isinstance(found, list | tuple) or not found:
            kind = type(cast("object", found)).__name__
            message = f"must return a list of pairs of a distribution and its part of z, got {kind}."
            raise SpecError([Fault("prior", message)], hint=_HINT)
        return cast("Sequence[Any]", found)

    def log_p(self, z: Tensor, rows: RowChoice) -> Tensor:
        """Return log p(z) of rows, (K, B), nats; see ``factors``."""
        return torch.stack([each.log_p for each in self.factors(z, rows)]).sum(0)


def _factor(index: int, count: int, pair: Any, rows: tuple[int, int]) -> Factor:  # noqa: ANN401 - a user's value
    name = "prior" if count == 1 else f"prior[{index}]"
    if not (
        isinstance(pair, tuple)
        and len(cast("tuple[object, ...]", pair)) == 2
        and isinstance(pair[0], Distribution)
        and isinstance(pair[1], Tensor)
    ):
        message = f"{name} must be a pair (distribution, part of z), got {type(cast('object', pair)).__name__}."
        raise SpecError([Fault("prior", message)], hint=_HINT)
    distribution, part = cast("tuple[Distribution, Tensor]", pair)
    if tuple(part.shape[:2]) != rows or tuple(distribution.event_shape) != tuple(part.shape[2:]):
        message = (
            f"{name} has event_shape {tuple(distribution.event_shape)}, and its part of z has shape "
            f"{tuple(part.shape)}; the part must be (K, B) = {rows} and the event_shape."
        )
        hint = "dregcli.gaussian and dregcli.standard_normal are such distributions; or wrap yours in "
        hint += "torch.distributions.Independent(..., number of axes of the latent)"
        raise SpecError([Fault("prior", message)], hint=hint)
    log_p = distribution.log_prob(part)
    if faults := density_faults("prior", f"log p of {name}", log_p, rows):
        raise SpecError(faults)
    return Factor(name, distribution, part, log_p)


@dataclass(frozen=True)
class Places:
    """Where the factors' parts lie in z.

    Attributes:
        shape: shape of z, (K', B', ...).
        of: for each factor, the place in one flattened sample of z of each number of its part, int64.
    """

    shape: torch.Size
    of: list[Tensor]

    @classmethod
    def found(cls, factors: Sequence[Factor], z: Tensor) -> "Places":
        """Find the places by autograd.

        Args:
            factors: the factors at z.
            z: samples that require grad, (K', B', ...).

        Raises:
            SpecError: the parts do not have each number of z exactly once.
        """
        numbers = _flat(z).shape[-1]
        found: list[Tensor] = []
        for each in factors:
            count = _flat(each.part).shape[-1]
            order = torch.arange(1, count + 1, dtype=z.dtype, device=z.device).reshape(each.part.shape[2:])
            (of_z,) = differentiated([each.part], [z], [order.expand(each.part.shape)])
            marks = _flat(of_z)[0, 0]
            places = marks.nonzero().squeeze(1)
            places = places[marks[places].argsort()]
            if len(places) != count or not torch.equal(_flat(z.detach())[..., places], _flat(each.part.detach())):
                message = f"the part of {each.name} must be numbers of z as they are, such as z[..., :5]."
                raise SpecError([Fault("prior", message)], hint=_HINT)
            found.append(places)
        every = torch.cat(found).bincount(minlength=numbers)
        if not (every == 1).all():
            what = "misses numbers of z" if (every == 0).any() else "has numbers of z more than once"
            message = f"it {what}: each of the {numbers} numbers of a sample must be in the part of one factor."
            raise SpecError([Fault("prior", message)], hint=_HINT)
        return cls(z.shape, found)

    def take(self, values: Tensor, index: int) -> Tensor:
        """Return the part of a factor, flattened, (K', B', N), from values of z's shape."""
        return _flat(values.expand(self.shape))[..., self.of[index]]

    def whole(self, parts: dict[int, Tensor], like: Tensor) -> Tensor:
        """Return values of z's shape from those of some factors; 0 elsewhere."""
        flat = torch.zeros_like(_flat(like))
        for index, part in parts.items():
            flat[..., self.of[index]] = _flat(part)
        return flat.reshape(self.shape)


def _flat(values: Tensor) -> Tensor:
    """Return (K', B', ...) as (K', B', N)."""
    return values.reshape(*values.shape[:2], -1)


def prior_faults(prior: OwnPrior, z: Tensor) -> list[Fault]:
    """Check by trial that the factors are those of a density: no factor depends on its own part, not even by others.

    Args:
        prior: the prior.
        z: samples of all examples, (K, B, ...).

    Raises:
        SpecError: the parts do not have each number of z exactly once.
    """
    if not z.is_floating_point():
        return []
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        factors = prior.factors(leaf, RowChoice(leaf.shape[1]))
        if any(Reach.of(each.log_p).is_compiled for each in factors):
            return []
        places = Places.found(factors, leaf)
        needs: list[set[int]] = []
        for each in factors:
            # At values that do not move, the density changes with the parts that the distribution depends on. Those
            # of another row are taken, since at its own mean a density does not change with the mean.
            values = each.part.detach().flatten(0, 1).roll(1, dims=0).reshape(each.part.shape)
            fixed = each.distribution.log_prob(values)
            (slope,) = differentiated([fixed], [leaf], [torch.ones_like(fixed)])
            needs.append({i for i in range(len(factors)) if (places.take(slope, i) != 0.0).any()})
    left = set(range(len(factors)))
    while free := {i for i in left if not needs[i] & left}:
        left -= free
    if not left:
        return []
    names = ", ".join(factors[i].name for i in sorted(left))
    message = f"the distribution of {names} depends on the part of z that it is the density of, perhaps by way of "
    message += "another factor, so that their product is no density."
    return [Fault("prior", message)]
