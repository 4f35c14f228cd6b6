"""What an advice rests on: measured numbers with their errors, and how two pairs compare."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.engine.diagnostics.jackknife import Statistic, jackknife_stderr
from dregcli.names import Network

ERRORS: Final = 3.0
"""Standard errors by which a difference must be away from none. Two are not enough. An error from ten groups has
Student's t with 9 degrees of freedom: 8 % of equal numbers differ by two errors, 1.5 % by three. One from the median
deviation of seven rounds varies more: 16 % and 7 %. And the best of eight equal pairs is ahead of a given one by two
errors in 15 % of the measurements, by three in 4 %."""

LEAST_RATIO: Final = 1.1
"""Smallest ratio that matters. Screening alone may increase a variance by 15 %."""

SUSPECT: Final = 5.0
"""Standard errors from 0 of the squared bias of a pair that promises to be unbiased: more than for a difference,
since the error of a square is known from few groups."""

SUSPECT_SHARE: Final = 0.1
"""Relative bias from which on a measured bias matters."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    stderr: float

    @property
    def is_above_zero(self) -> bool:
        """Whether the number is above 0 by more than its error explains."""
        return self.value > ERRORS * self.stderr


@dataclass(frozen=True)
class Ratio:
    """A ratio of two positive numbers, as its logarithm.

    Attributes:
        log: the logarithm.
        stderr: its standard error.
    """

    log: float
    stderr: float

    @property
    def value(self) -> float:
        """The ratio."""
        return math.exp(self.log) if self.log < 700.0 else math.inf

    @property
    def error(self) -> float:
        """The standard error of the ratio."""
        return self.value * self.stderr if self.stderr else 0.0

    @property
    def is_larger(self) -> bool:
        """Whether the ratio is above 1: by enough to matter, and by more than its error explains."""
        return self.log >= math.log(LEAST_RATIO) and self.log >= ERRORS * self.stderr

    @property
    def inverse(self) -> "Ratio":
        """The ratio of the two numbers the other way round."""
        return Ratio(-self.log, self.stderr)

    def __mul__(self, other: "Ratio") -> "Ratio":
        """Return the product with a ratio whose error is independent."""
        return Ratio(self.log + other.log, math.hypot(self.stderr, other.stderr))


SAME: Final = Ratio(0.0, 0.0)


@dataclass(frozen=True)
class Gradient:
    """Signal and noise of one network's gradient in one step; see ``engine.diagnostics.step_study.Numbers``."""

    variance: Statistic
    signal: Statistic

    @property
    def squared_snr(self) -> Estimate:
        """The squared expectation divided by the variance; NaN where nothing varies."""
        both = _joined(
            self.signal, self.variance, lambda signal, variance: signal / variance if variance else math.nan
        )
        return Estimate(both.value, both.stderr)

    @property
    def is_lost(self) -> bool:
        """Whether the expectation cannot be distinguished from noise."""
        return not Estimate(self.signal.value, self.signal.stderr).is_above_zero


@dataclass(frozen=True)
class Candidate:
    """A pair at one K, measured.

    Attributes:
        label: the pair as people read it, such as ``iwae/dreg``.
        objective: word for ``--objective``.
        estimator: word for ``--estimator``.
        k: samples per example.
        encoder: gradient of the posterior.
        decoder: gradient of the model; None if no parameters of its own are trained.
        along: product of the encoder's expectation with that of the objective's own gradient.
        squared_bias: squared difference between these two.
        target: squared expectation of the objective's own gradient.
        promises: whether the pair promises the objective's own gradient, and not another one.
        follows: what it follows instead, in words; None if nothing is known about it.
        cost: milliseconds of a training step, one number for each round; pairs that are compared share the rounds.
            Empty if no step was timed.
        plainness: sorts the pairs: the smaller, the plainer.
        refusal: why ``dreg train`` cannot train by the pair here; None if it can.
    """

    label: str
    objective: str
    estimator: str
    k: int
    encoder: Gradient
    decoder: Gradient | None
    along: Statistic
    squared_bias: Statistic
    target: Statistic
    promises: bool = True
    follows: str | None = None
    cost: tuple[float, ...] = ()
    plainness: tuple[int, ...] = ()
    refusal: str | None = None

    @property
    def moves(self) -> bool:
        """Whether the gradient is anything but exactly 0."""
        return self.encoder.variance.value > 0.0 or self.encoder.signal.value > 0.0

    def gradient(self, network: Network) -> Gradient | None:
        """Return the gradient of a network; None if it was not measured, or if nothing of it is trained."""
        return {Network.ENCODER: self.encoder, Network.DECODER: self.decoder}.get(network)

    @property
    def is_suspect(self) -> bool:
        """Whether the pair promises to be unbiased, but is measured not to be."""
        found = self.squared_bias
        matters = found.value > SUSPECT_SHARE**2 * max(self.target.value, 0.0)
        return self.promises and matters and found.value > SUSPECT * found.stderr

    @property
    def is_biased(self) -> bool:
        """Whether the pair must not be advised without a word about its bias."""
        return not self.promises or self.is_suspect

    @property
    def relative_bias(self) -> Estimate | None:
        """The size of the bias divided by the size of the objective's gradient; None if that is lost in noise."""
        if not Estimate(self.target.value, self.target.stderr).is_above_zero:
            return None
        found = _joined(self.squared_bias, self.target, lambda bias, size: math.sqrt(max(bias, 0.0) / abs(size)))
        return Estimate(found.value, found.stderr)

    @property
    def milliseconds(self) -> Estimate | None:
        """Time of a step: the median of the rounds; None if no step was timed."""
        return _median(self.cost) if self.cost else None


def _joined(a: Statistic, b: Statistic, function: Callable[[float, float], float]) -> Statistic:
    """Apply a function to two statistics of the same groups, so that their common noise is accounted for."""
    without = tuple(function(x, y) for x, y in zip(a.without, b.without, strict=True))
    return Statistic(function(a.value, b.value), without)


def _median(values: Sequence[float]) -> Estimate:
    """Return a median and its standard error, both indifferent to a few rounds that something else disturbed."""
    middle = _middle(values)
    # For normal numbers 1.4826 median deviations are a standard deviation, and the median has 1.2533 times the error
    # of the mean.
    spread = 1.4826 * _middle([abs(each - middle) for each in values])
    return Estimate(middle, 1.2533 * spread / math.sqrt(len(values)))


def _middle(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])


def cost_ratio(a: Candidate, b: Candidate) -> Ratio:
    """Return the time of a step by ``a`` divided by that by ``b``, from rounds that they share; 1 if not timed."""
    if not (a.cost and b.cost):
        return SAME
    found = _median([math.log(x / y) for x, y in zip(a.cost, b.cost, strict=True)])
    return Ratio(found.value, found.stderr)


def product_of_powers(parts: Sequence[tuple[Statistic, float]]) -> Ratio | None:
    """Return a product of powers of statistics of the same groups; None if one of them is not above 0."""
    numbers = [(each.value, *each.without) for each, _ in parts]
    if any(not 0.0 < x < math.inf for values in numbers for x in values):
        return None
    powers = [power for _, power in parts]
    logs = [math.fsum(p * math.log(x) for p, x in zip(powers, xs, strict=True)) for xs in zip(*numbers, strict=True)]
    return Ratio(logs[0], jackknife_stderr(logs[1:]))


def better(a: Candidate, b: Candidate) -> Ratio | None:
    """Return the squared signal-to-noise ratio per second of ``a`` divided by that of ``b``, at one K.

    Only the part of an expectation along the objective's own gradient is signal. Pairs that share the expectation
    have the same signal, which cancels.

    Returns:
        The ratio; None if it is not defined: a signal is lost in noise, or the steps of one of the two have no time.
    """
    if bool(a.cost) != bool(b.cost):
        return None
    noise = [(b.encoder.variance, 1.0), (a.encoder.variance, -1.0)]
    exact = [each for each in (a, b) if each.encoder.variance.value == 0.0]
    if exact:  # a pair without noise: no ratio, but no doubt either
        return SAME if len(exact) == 2 else Ratio(math.inf if a in exact else -math.inf, 0.0)
    if a.is_biased or b.is_biased:
        noise += [(a.along, 2.0), (b.along, -2.0)]
        lost = [x for x in (a, b) if not Estimate(x.along.value, x.along.stderr).is_above_zero]
        if lost:
            return None
    found = product_of_powers(noise)
    return found and found * cost_ratio(a, b).inverse


@dataclass(frozen=True)
class Bounds:
    """Bounds of the same validation examples at several K, and what their weights say about the posterior.

    Attributes:
        by_k: for each K, the IWAE bound of each example, nats.
        values: for each K of the advice, the value of each example that is weighed against time, nats: the
            objective's own if ``tightens``, otherwise the IWAE bound.
        elbo: the ELBO of each example, nats.
        ess: effective sample size at the K of the advice, mean over examples.
        khat: median over examples of the shape of the weights' tail; None if there are too few samples.
        khat_high: share of examples whose k-hat is above 0.7.
        rises: how much the value of each example at the K of the advice has risen for each doubling of the steps,
            from an earlier checkpoint to this one, nats; None without one.
        tightens: whether a gain of the objective's value by more samples is known to be a tighter bound.
    """

    by_k: Mapping[int, Sequence[float]]
    values: Mapping[int, Sequence[float]]
    elbo: Sequence[float]
    ess: Estimate
    khat: float | None
    khat_high: float | None
    rises: Sequence[float] | None = None
    tightens: bool = True

    def gains(self, few: int, many: int) -> list[float]:
        """Return by how much the value of each example with many samples is above that with few."""
        return [b - a for a, b in zip(self.values[few], self.values[many], strict=True)]

    @property
    def rise(self) -> Estimate | None:
        """How much the value rises for each doubling of the steps, nats per example; None if it is not known."""
        return None if self.rises is None else mean_of(self.rises)

    @property
    def most(self) -> int:
        """The largest K."""
        return max(self.by_k)

    @property
    def distance(self) -> Estimate:
        """How far q is from the posterior: the bound at the largest K minus the ELBO, at most KL(q || posterior)."""
        return mean_of([b - a for a, b in zip(self.elbo, self.by_k[self.most], strict=True)])


def mean_of(values: Sequence[float]) -> Estimate:
    """Return a mean over examples, and its standard error."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((each - mean) ** 2 for each in values) / (n - 1) if n > 1 else math.nan
    return Estimate(mean, math.sqrt(variance / n))
