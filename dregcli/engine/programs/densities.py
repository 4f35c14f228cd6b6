"""The model's program: log p(x, z) of rows from the distributions that it returns."""

import copy
import functools
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli as BernoulliLikelihood
from dregcli.engine.programs.bits import log_prob, logits_of_bits
from dregcli.engine.programs.contract import Given
from dregcli.errors import Fault, SpecError

Rows = tuple[int, int]
"""Number of samples and of examples, (K', B')."""


class ModelProgram(Protocol):
    """The model's program."""

    def __call__(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Return p(x | z), and pass each prior to ``given``."""
        ...


def require_densities(field: str, what: str, found: Tensor, rows: Rows) -> None:
    """Check the log-densities of rows; see ``density_faults``.

    Raises:
        SpecError: the shape or the type is wrong.
    """
    if faults := density_faults(field, what, found, rows):
        raise SpecError(faults)


def density_faults(field: str, what: str, found: Tensor, rows: Rows) -> list[Fault]:
    """Return the faults in the shape and the type of the log-densities of rows.

    Args:
        field: the program that they come from, for the message.
        what: the log-density, for the message.
        found: shape (K', B') is right.
        rows: K' and B'.
    """
    faults: list[Fault] = []
    if tuple(found.shape) != rows:
        message = f"{what} must have shape (K, B) = {rows}, got {tuple(found.shape)}."
        if tuple(found.shape[:2]) == rows:
            message += f" Wrap the distribution in torch.distributions.Independent(..., {found.ndim - 2})."
        faults.append(Fault(field, message))
    if found.dtype not in (torch.float32, torch.float64):
        message = f"{what} must be float32 or float64, got {str(found.dtype).removeprefix('torch.')}."
        faults.append(Fault(field, f"{message} Leave autocast, or call .float(), before log-densities are summed."))
    return faults


def versions(z: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how often each latent's samples were changed in place; torch does not count in inference mode."""
    return {name: 0 if each.is_inference() else each._version for name, each in z.items()}


def require_unchanged(program: str, z: Mapping[str, Tensor], before: Mapping[str, int]) -> None:
    """Check that a program computed new tensors instead of changing samples in place.

    The densities of the samples are those of the values that they had.

    Raises:
        SpecError: samples were changed since ``versions`` returned ``before``.
    """
    if changed := [repr(name) for name, version in versions(z).items() if version != before[name]]:
        message = f"it changes the samples of {', '.join(changed)} in place."
        raise SpecError([Fault(program, message)], hint="compute a new tensor, such as z * 2 instead of z.mul_(2)")


def joined(log_likelihood: Tensor, log_priors: Mapping[str, Tensor]) -> Tensor:
    """Return log p(x, z) from log p(x | z) and log p of each latent, (K', B') each, nats."""
    return functools.reduce(torch.add, log_priors.values(), log_likelihood)


@contextmanager
def without_validation() -> Generator[None]:
    """Switch off torch's checks of arguments, which cost a pass over all numbers; ``check-model`` makes them once."""
    kind = cast("Any", Distribution)
    before = kind._validate_args
    Distribution.set_default_validate_args(value=False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(value=before)


class _Priors:
    """The ``given`` of one run."""

    def __init__(self, z: Mapping[str, Tensor], rows: Rows) -> None:
        self._z, self._rows = z, rows
        self.log_p: dict[str, Tensor] = {}
        self.distributions: dict[str, Distribution] = {}

    def __call__(self, name: str, distribution: Distribution) -> None:
        """Add log p of a latent."""
        if name not in self._z:
            message = f"given('{name}', ...) names no latent; the posterior draws {', '.join(self._z)}."
            raise SpecError([Fault("model", message)])
        if name in self.log_p:
            raise SpecError([Fault("model", f"the prior of '{name}' is given twice.")])
        z = self._z[name]
        if tuple(distribution.event_shape) != tuple(z.shape[2:]):
            message = (
                f"the prior of '{name}' has event_shape {tuple(distribution.event_shape)}, but the posterior draws "
                f"values of shape {tuple(z.shape[2:])}."
            )
            raise SpecError([Fault("model", message)])
        found = log_prob(distribution, z)
        require_densities("model", f"log p of '{name}'", found, self._rows)
        self.log_p[name] = found
        self.distributions[name] = distribution


@dataclass(frozen=True)
class JointRun:
    """The log-densities of rows from one run of the model's program.

    Attributes:
        log_likelihood: log p(x | z), or 0 after ``ModelDensities.prior``, (K', B'), nats.
        log_priors: log p of each latent given those that it depends on, (K', B') each, nats.
        priors: these distributions.
    """

    log_likelihood: Tensor
    log_priors: Mapping[str, Tensor]
    priors: Mapping[str, Distribution]

    @property
    def log_joint(self) -> Tensor:
        """log p(x, z), (K', B'), nats."""
        return joined(self.log_likelihood, self.log_priors)


class ModelDensities:
    """Log-densities of a model's program.

    Args:
        model: the program.
        likelihood: computes the density of binary pixels; its arithmetic may be compiled.
    """

    def __init__(self, model: ModelProgram, likelihood: Likelihood | None = None) -> None:
        self._model = model
        self._has_likelihood = True
        self.bernoulli = likelihood or BernoulliLikelihood()

    def prior(self) -> "ModelDensities":
        """Return the densities log p(z) of the same program."""
        other = copy.copy(self)
        other._has_likelihood = False
        return other

    def log_joint(self, z: dict[str, Tensor], x: Tensor) -> Tensor:
        """Return log p(x, z), or log p(z) after ``prior``, shape (K', B'), nats; see ``run``."""
        return self.run(z, x).log_joint

    def run(self, z: dict[str, Tensor], x: Tensor) -> JointRun:
        """Run the program, and compute the log-densities of rows.

        Args:
            z: latents by name, (K', B', ...) each.
            x: pixels, shape (B', D).

        Raises:
            SpecError: a prior is missing, or shapes do not fit.
        """
        priors, before = _Priors(z, _rows(z)), versions(z)
        p = self._model(dict(z), priors)
        require_unchanged("model", z, before)
        if missing := [name for name in z if name not in priors.log_p]:
            message = f"the prior of {', '.join(repr(name) for name in missing)} is missing: call given(name, prior)."
            raise SpecError([Fault("model", message)])
        if self._has_likelihood:
            log_likelihood = self.log_likelihood(p, x, _rows(z))
        else:
            log_likelihood = torch.zeros_like(next(iter(priors.log_p.values())))
        return JointRun(log_likelihood, priors.log_p, priors.distributions)

    def log_likelihood(self, p: Distribution, x: Tensor, rows: Rows) -> Tensor:
        """Return log p(x | z), shape (K', B'), nats.

        Args:
            p: what the program returned.
            x: pixels, shape (B', D).
            rows: K' and B'.
        """
        if not isinstance(p, Distribution):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's return value
            message = f"it must return the distribution p(x | z), got {type(p).__name__}."
            raise SpecError([Fault("model", message)])
        width = p.event_shape.numel()
        if tuple(p.batch_shape) != rows or width != x.shape[1]:
            message = (
                f"p(x | z) must have batch_shape (K, B) = {rows} and an event of {x.shape[1]} values, got "
                f"batch_shape {tuple(p.batch_shape)} and event_shape {tuple(p.event_shape)}."
            )
            hint = "wrap it in torch.distributions.Independent(..., n), where n is the number of an example's axes"
            raise SpecError([Fault("model", message)], hint=hint)
        logits = logits_of_bits(p)
        if logits is not None:
            return self.bernoulli.log_prob(logits.reshape(*rows, width), x)
        # A distribution reads torch's switch when its density is computed, after the program has returned.
        with without_validation():
            found = p.log_prob(x.reshape(-1, *p.event_shape))
        require_densities("model", "log p(x | z)", found, rows)
        return found


def _rows(z: Mapping[str, Tensor]) -> Rows:
    first = next(iter(z.values()))
    return first.shape[0], first.shape[1]
