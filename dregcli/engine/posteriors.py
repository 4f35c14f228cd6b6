"""A torch posterior as a base distribution and transforms of its samples; its density then needs no inverse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Transform, TransformedDistribution


@dataclass(frozen=True)
class Step:
    """One transform of the samples.

    Attributes:
        transform: maps values of one step to values of the next one.
        summed: number of rightmost axes of its log-determinant that belong to one example's latent.
    """

    transform: Transform
    summed: int


@dataclass(frozen=True)
class Unfolded:
    """A posterior q(z | x) as a base distribution, whose samples x_0 go through transforms to z = x_n.

    ``log_prob(z)`` goes back through the inverses, which cannot restore what rounding removed from z: a logistic
    function of 18 is 1 in float32. From the values on the way to z the density is exact. Torch has a cache for this
    purpose, but the cache knows only one sample object, not its detached copy.

    Attributes:
        base: the distribution to draw from. Without steps it is the posterior itself.
        summed: number of rightmost axes of the base's log-density that belong to one example's latent.
        steps: transforms in the order in which samples go through them.
    """

    base: Distribution
    summed: int
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, posterior: Distribution) -> "Unfolded":
        """Unfold torch's own compositions; a class that defines its own density stays whole."""
        found = _unfold(posterior)
        return found if found.steps else cls(posterior, 0, ())

    def draw(self, samples: int, *, has_path: bool) -> Tensor:
        """Draw base samples, shape (samples, B, ...), on the posterior's graph if ``has_path``."""
        shape = torch.Size((samples,))
        return self.base.rsample(shape) if has_path else self.base.sample(shape)

    def pushed(self, start: Tensor, *, first: int = 0, last: int | None = None) -> list[Tensor]:
        """Return the values from ``start``, which is x_first, to x_last, or to z if ``last`` is not given."""
        values = [start]
        for step in self.steps[first:last]:
            values.append(cast("Tensor", step.transform(values[-1])))
        return values

    def log_density(self, values: Sequence[Tensor]) -> Tensor:
        """Return the log-density of the last of ``values``, which begin with base samples; nats, (samples, B)."""
        found = _sum_rightmost(self.base.log_prob(values[0]), self.summed)
        return self.spread(found, values)

    def spread(self, log_density: Tensor, values: Sequence[Tensor], *, first: int = 0) -> Tensor:
        """Turn the log-density of the first of ``values``, x_first, into the last value's, shape (samples, B)."""
        for step, before, after in zip(self.steps[first:], values, values[1:], strict=False):
            volume = cast("Tensor", step.transform.log_abs_det_jacobian(before, after))
            log_density = log_density - _sum_rightmost(volume, step.summed)
        return log_density

    def log_density_by_inverse(self, value: Tensor, *, steps: int) -> Tensor:
        """Return the log-density of values after the first ``steps`` steps, by the inverses, (samples, B).

        Raises:
            NotImplementedError, KeyError: a transform has no inverse.
        """
        values = [value]
        for step in reversed(self.steps[:steps]):
            values.insert(0, cast("Any", step.transform).inv(values[0]))
        return self.log_density(values)


def _unfold(posterior: Distribution) -> Unfolded:
    if _is_torchs_own(posterior, Independent):
        more = cast("Any", posterior).reinterpreted_batch_ndims
        return _with_more_summed(_unfold(cast("Any", posterior).base_dist), more)
    if _is_torchs_own(posterior, TransformedDistribution):
        # As in TransformedDistribution.log_prob: each step may change how many axes one event has.
        event = len(posterior.event_shape)
        base = cast("Distribution", cast("Any", posterior).base_dist)
        steps: list[Step] = []
        for transform in reversed(cast("list[Any]", cast("Any", posterior).transforms)):
            event += transform.domain.event_dim - transform.codomain.event_dim
            steps.insert(0, Step(transform, event - transform.domain.event_dim))
        inner = _with_more_summed(_unfold(base), event - len(base.event_shape))
        return Unfolded(inner.base, inner.summed, (*inner.steps, *steps))
    return Unfolded(posterior, 0, ())


def _is_torchs_own(posterior: Distribution, kind: type[Distribution]) -> bool:
    """Whether the posterior draws and weighs exactly as ``kind`` does, with no methods of its own."""
    names = ("log_prob", "rsample", "sample")
    if not isinstance(posterior, kind) or any(name in vars(posterior) for name in names):
        return False
    return all(getattr(type(posterior), name) is getattr(kind, name) for name in names)


def _with_more_summed(inner: Unfolded, more: int) -> Unfolded:
    steps = tuple(Step(each.transform, each.summed + more) for each in inner.steps)
    return Unfolded(inner.base, inner.summed + more, steps)


def _sum_rightmost(values: Tensor, axes: int) -> Tensor:
    return values.flatten(-axes).sum(-1) if axes else values
