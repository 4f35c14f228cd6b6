"""Executors whose every random choice is prescribed, the expectation over all choices, and first passes that err."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine.execution import Execution, WeighedRows
from dregcli.engine.execution.batch import Named, Sums
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.screening import CORRECTION_RATE
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair
from dregcli.engine.prior_rule import PriorRule
from dregcli.names import Precision, SampleNoise
from tests.support.exact import off_networks

VALUES = ("bound", "value", "effective sample size")


@dataclass
class Prescribed:
    """Draws that somebody else made.

    Attributes:
        given: noise, (K, B, Z).
        kept: which rows, (K, B); or what makes them of their probabilities.
        chosen: which examples, (B,).
        probability: those that rows were kept with, call by call.
        counts: how many samples' noise was asked for, call by call.
    """

    given: Tensor
    kept: Tensor | Callable[[Tensor], Tensor]
    chosen: Tensor
    probability: list[Tensor] = field(default_factory=list[Tensor])
    counts: list[int] = field(default_factory=list[int])

    @property
    def k(self) -> int:
        return self.given.shape[0]

    def noise(self, first: int, count: int) -> Tensor:
        assert 0 <= first < first + count <= self.k
        self.counts.append(count)
        return self.given[first : first + count]

    def of_latent(self, latent: int, width: int) -> "Prescribed":
        """Layers of one width lie next to each other in the noise."""
        if width == self.given.shape[-1]:
            assert latent == 0
            return self
        part = self.given[..., latent * width : (latent + 1) * width]
        assert part.shape[-1] == width
        return Prescribed(part, self.kept, self.chosen)

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        """The probabilities below the noise, which are uniform if the noise is normal."""
        return Normal(0.0, 1.0).cdf(self.of_latent(latent, width).noise(first, count))

    def seed(self, latent: int, block: int) -> int:
        return 1000 * latent + block

    def keep(self, probability: Tensor) -> Tensor:
        self.probability.append(probability.clone())
        return self.kept if isinstance(self.kept, Tensor) else self.kept(probability)

    def choose(self, rate: float, batch: int) -> Tensor:
        assert (rate, (batch,)) == (CORRECTION_RATE, self.chosen.shape)
        return self.chosen


Outcome = Callable[[Tensor, Tensor, Tensor], Prescribed]
"""Noise, which rows are kept and which examples are chosen -> draws."""


@dataclass
class Expectation:
    """What gradients are on average over all that can be drawn, and the probabilities that rows are kept with."""

    values: Named
    model: Named
    posterior: Named
    probability: Tensor

    def off(self, dense: Gradients, tolerance: float = 1e-10) -> dict[str, float]:
        """Networks and values that are not dense's, and how far they are off, as ``off_networks`` measures it."""
        return (
            off_networks(self.values, named_values(dense), tolerance)
            | off_networks(self.model, dense.model, tolerance)
            | off_networks(self.posterior, dense.posterior, tolerance)
        )

    @property
    def uncertain(self) -> int:
        """Rows that are neither always nor never kept."""
        return int(((self.probability > 0.0) & (self.probability < 1.0)).sum())


def named_values(gradients: Gradients) -> Named:
    """A batch's values, each a network of its own for ``off_networks``."""
    return dict(zip(VALUES, gradients.values, strict=True))


def every(*shape: int) -> Iterator[Tensor]:
    """All tensors of truth values of a shape."""
    for each in product((False, True), repeat=torch.Size(shape).numel()):
        yield torch.tensor(each).reshape(shape)


def chance(happened: Tensor, probability: Tensor) -> float:
    """With which probability independent events turn out so."""
    return float(torch.where(happened, probability, 1.0 - probability).prod())


def expectation(
    model: Model,
    pixels: Tensor,
    noise: Tensor,
    pair: Pair,
    execution: Execution,
    *,
    train_model: bool = True,
    outcome: Outcome = Prescribed,
    rule: PriorRule | None = None,
    samples: SampleNoise = SampleNoise.IID,
) -> Expectation:
    """The average over all keep masks, and all choices of examples where there are any, each by its probability."""
    k, b = noise.shape[:2]
    exact = execution.precision is Precision.FLOAT32
    choices = [torch.zeros(b, dtype=torch.bool)] if exact else list(every(b))
    rate = torch.full((b,), CORRECTION_RATE if len(choices) > 1 else 0.0, dtype=torch.float64)
    nothing = Prescribed(noise, torch.zeros(k, b, dtype=torch.bool), choices[0])
    Step(model, pixels, nothing, execution, rule=rule, noise=samples).gradients(pair, train_model=train_model)
    (probability,) = nothing.probability
    found = Expectation({}, {}, {}, probability)
    total = 0.0
    for mask, chosen in product(every(k, b), choices):
        weight = chance(mask, probability) * chance(chosen, rate)
        if weight == 0.0:
            continue
        draws = outcome(noise, mask, chosen)
        step = Step(model, pixels, draws, execution, rule=rule, noise=samples)
        gradients = step.gradients(pair, train_model=train_model)
        assert torch.equal(draws.probability[0], probability)
        total += weight
        for mean, one in (
            (found.values, named_values(gradients)),
            (found.model, gradients.model),
            (found.posterior, gradients.posterior),
        ):
            for name, each in one.items():
                mean[name] = mean.get(name, 0.0) + weight * each
    assert abs(total - 1.0) < 1e-12
    return found


def errors(k: int, b: int) -> Tensor:
    """Of log-weights, (K, B), nats: half a nat that an example's rows share, and a tenth or so of each one's own.

    Fixed, not drawn: that they are not on average zero is the point.
    """
    own = torch.linspace(-1.3, 1.7, k * b, dtype=torch.float64).sin().reshape(b, k).mT
    common = 0.5 - 0.9 * torch.arange(b, dtype=torch.float64)
    return common + 0.15 * own


def erring() -> Callable[..., Tensor]:
    """``GaussianBatch.log_weights`` whose passes in bfloat16 are off by ``errors``, and exact otherwise."""
    right = GaussianBatch.log_weights

    def log_weights(self: GaussianBatch, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        exact = right(self, k_chunk=k_chunk)
        return exact + errors(*exact.shape) if precision is Precision.BFLOAT16 else exact

    return log_weights


def off_sums(found: Sums, expected: Sums, tolerance: float = 1e-12) -> dict[str, float]:
    """Networks, and the posterior's parameters, whose sums are too far apart."""
    assert len(found.model) == len(expected.model)
    off = off_networks(found.posterior, expected.posterior, tolerance)
    for i, (mine, theirs) in enumerate(zip(found.model, expected.model, strict=True)):
        off |= {f"{i}.{name}": far for name, far in off_networks(mine, theirs, tolerance).items()}
    return off


def off_values(found: WeighedRows, expected: WeighedRows, tolerance: float = 1e-12) -> dict[str, float]:
    names = ("value", "model", "path", "score")
    mine, theirs = (
        {n: a for n, a in zip(names, w.weights.arrays()[:4], strict=True) if a is not None} for w in (found, expected)
    )
    return off_networks(mine, theirs, tolerance)


def off_gradients(found: Gradients, expected: Gradients, tolerance: float = 1e-12) -> dict[str, float]:
    return (
        off_networks(named_values(found), named_values(expected), tolerance)
        | off_networks(found.model, expected.model, tolerance)
        | off_networks(found.posterior, expected.posterior, tolerance)
        | off_networks(found.learned, expected.learned, max(tolerance, 1e-10))
    )
