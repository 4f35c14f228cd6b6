"""Turn measurements into advice: which estimator to use now, and with how many samples. Nothing here measures.

The rules, and why they are as they are:

**Estimators are compared within an objective.** Their cost and noise can be compared there, because they follow one
gradient. The criterion is the squared signal-to-noise ratio of a step's encoder gradient, per second: independent
steps average, so that n of them have n times the squared ratio, and a second holds 1 / cost of them. Unbiased pairs
of one objective have one expectation. It cancels in their ratio, which is that of the variances and is known well
even where the gradient itself is lost in noise, as near an optimum. Where expectations differ, only the part along
the objective's own gradient counts as signal.

**A difference must be decided.** It counts if it is at least three standard errors from none, and at least a tenth.
With less, the cheaper pair is advised, among equally cheap ones the one with fewer parameters, and the text says that
the measurement did not decide.

**A biased pair is never advised while an unbiased one fits.** The signal-to-noise ratio says how well a pair follows
its own direction, not where this leads. A biased pair that is better by the criterion is named with its bias. A pair
that promises to be unbiased, but is measured not to be, is treated as biased. A pair may be unbiased at one K alone:
then another K is not advised for it, and a pair that is unbiased at every K comes first.

**K pays if its bound gains more than its time.** With more samples the objective's bound is tighter, and learning is
slower. Its time could be spent on more steps instead, which gain about as much for every doubling as the last
doubling did: this is measured, too, from an earlier checkpoint of the run. So four times the samples are advised if
the bound gains a tenth of a nat, and more than the steps in their place; a quarter of the samples, if the steps that
they make room for gain more than the bound loses. The bound of an objective that is linear in the log-weights, such
as the ELBO, gains nothing. An objective whose value is not known to be a bound that rises with K keeps its K.

How much slower learning is, is said by the squared ratio per second of the network for which it falls most. If it is
known at one of two K alone, because a signal is lost in noise at the other, K stays: the loss of the signal may be
the effect of K. More samples that learn faster need no gain of the bound. Without an earlier checkpoint a slower K
is not advised, and the text says from when on it would pay. One move at a time: the next model is another one.

**Objectives are not ranked.** They ascend different things.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.app.diagnosis.advice_measured import (
    ERRORS,
    Bounds,
    Candidate,
    Estimate,
    Ratio,
    better,
    cost_ratio,
    mean_of,
    product_of_powers,
)
from dregcli.names import Network

LEAST_NATS: Final = 0.1
"""Smallest gain of the bound that matters, nats per example."""


@dataclass(frozen=True)
class Choice:
    """The pair of an objective to use, and how it compares.

    Attributes:
        use: the pair.
        compared: how every pair compares with it, the best first: ratios of ``better``, None where not defined.
        undecided: other pairs that the measurement cannot tell from the best one, or that differ too little.
        is_biased: whether no unbiased pair fits, so that this one is biased.
        beyond: biased pairs that are better than it by the criterion, the best first.
    """

    use: Candidate
    compared: tuple[tuple[Candidate, Ratio | None], ...]
    undecided: tuple[Candidate, ...]
    is_biased: bool
    beyond: tuple[Candidate, ...]


def choose(candidates: Sequence[Candidate]) -> Choice | None:
    """Choose among the pairs of one objective at one K; None if none can be trained."""
    can = [each for each in candidates if each.refusal is None and each.moves]
    fair = [each for each in can if not each.is_biased]
    among = fair or can
    if not among:
        return None
    top = among[0]
    for each in among[1:]:
        if (found := better(each, top)) and found.log > 0.0:
            top = each
    contenders = [each for each in among if each is top or not _is_decided(top, each)]
    cheapest = min(contenders, key=lambda each: each.milliseconds.value if each.milliseconds else 0.0)
    cheap = [each for each in contenders if not cost_ratio(each, cheapest).is_larger]
    use = min(cheap, key=lambda each: each.plainness)
    compared = [(each, better(each, use)) for each in candidates]
    compared.sort(key=lambda each: -math.inf if each[1] is None else each[1].log, reverse=True)
    beyond = [each for each, found in compared if each.is_biased and found and found.is_larger and each in can]
    rest = tuple(each for each in contenders if each is not use)
    return Choice(use, tuple(compared), rest, not fair, tuple(beyond) if fair else ())


def _is_decided(top: Candidate, other: Candidate) -> bool:
    found = better(top, other)
    return found is not None and found.is_larger


@dataclass(frozen=True)
class AtK:
    """What another number of samples would change, compared with the present one.

    Attributes:
        k: the number of samples.
        gain: the bound gained, nats per example; negative for fewer samples.
        milliseconds: time of a step.
        cost: time of a step divided by the present one.
        speed: by network that is trained, squared signal-to-noise ratio per second divided by the present one; None
            where a signal is lost in noise.
        slowdown: how much slower learning is; below 1 if it is faster.
        refusal: why it is not advised whatever it gains; None if the numbers decide.
        instead: the bound that more steps would gain in the time that this takes more, nats per example; below 0 for
            what it makes room for. None if it is not known how fast the bound rises.
        pays: whether it is worth it.
    """

    k: int
    gain: Estimate
    milliseconds: Estimate | None
    cost: Ratio
    speed: Mapping[Network, Ratio | None]
    slowdown: Ratio
    instead: Estimate | None
    pays: bool
    refusal: str | None = None

    @property
    def pays_below(self) -> Estimate | None:
        """The rise of the bound for each doubling of the steps below which it pays; None if it is not slower."""
        if not self.slowdown.is_larger:
            return None
        doublings = self.slowdown.log / math.log(2.0)
        value, by_time = self.gain.value / doublings, self.slowdown.stderr / self.slowdown.log
        return Estimate(value, math.hypot(self.gain.stderr / doublings, value * by_time))

    @property
    def nats_per_millisecond(self) -> float | None:
        """Bound gained for each millisecond that a step gets longer; None if it does not get longer."""
        return None if self.milliseconds is None else _per(self.gain.value, self.milliseconds.value, self.cost)


def _per(gain: float, milliseconds: float, cost: Ratio) -> float | None:
    added = milliseconds * (1.0 - 1.0 / cost.value)
    return gain / added + 0.0 if abs(cost.log) > ERRORS * cost.stderr and added else None


def speed(a: Candidate, b: Candidate, network: Network) -> Ratio | None:
    """Return the squared signal-to-noise ratio per second by ``a`` divided by that by ``b``, of different K."""
    one, two = a.gradient(network), b.gradient(network)
    if one is None or two is None or one.is_lost or two.is_lost:
        return None
    found = product_of_powers([(one.signal, 1.0), (one.variance, -1.0), (two.signal, -1.0), (two.variance, 1.0)])
    return found and found * cost_ratio(a, b).inverse


def at_other_ks(present: Candidate, others: Sequence[Candidate], bounds: Bounds) -> list[AtK]:
    """Return what each of the other numbers of samples would change, ascending.

    Args:
        present: the advised pair with the present number of samples.
        others: the same pair with other numbers.
        bounds: bounds at all of these numbers.
    """
    return [_at(each, present, bounds) for each in sorted(others, key=lambda each: each.k)]


def move(at: Sequence[AtK], now: int) -> AtK | None:
    """Return the nearest number of samples that pays; None to stay."""
    return min((each for each in at if each.pays), key=lambda each: abs(math.log(each.k / now)), default=None)


def _at(each: Candidate, present: Candidate, bounds: Bounds) -> AtK:
    cost, gains = cost_ratio(each, present), bounds.gains(present.k, each.k)
    gain = mean_of(gains)
    speeds = {network: speed(each, present, network) for network in Network if present.gradient(network)}
    # Where a signal is lost, the time of a step is all that is known.
    slowdown = max((cost if x is None else x.inverse for x in speeds.values()), key=lambda ratio: ratio.log)
    instead = _by_steps(bounds.rise, slowdown)
    is_faster = slowdown.inverse.is_larger
    matters = each.k < present.k or is_faster or _above(gain, LEAST_NATS)
    if instead is None:
        # A number of samples that costs nothing needs no such price.
        is_slower = slowdown.is_larger
        pays = (matters and not is_slower) if each.k > present.k else (is_faster and _above(gain, -LEAST_NATS))
    else:
        pays = matters and _net(gains, bounds, slowdown).is_above_zero
    refusal = _refusal(each, present, bounds)
    return AtK(each.k, gain, each.milliseconds, cost, speeds, slowdown, instead, pays and refusal is None, refusal)


def _refusal(each: Candidate, present: Candidate, bounds: Bounds) -> str | None:
    """Return why another number of samples is not advised whatever it gains; None if the numbers decide."""
    if each.refusal is not None:
        return each.refusal
    if not bounds.tightens:
        return f"the value of {each.objective} is not known to be a bound that rises with K"
    if each.is_biased and not present.is_biased:
        return f"{each.label} is biased there"
    for network in Network:
        one, two = each.gradient(network), present.gradient(network)
        if one and two and one.is_lost != two.is_lost:
            at = each.k if one.is_lost else present.k
            return f"the {network.value}'s signal is lost in noise at K={at} alone (a larger --budget may find it)"
    return None


def _above(found: Estimate, least: float) -> bool:
    """Whether a number is at least ``least``, which matters, and not below it by its error."""
    return (
        found.value - ERRORS * found.stderr >= least if least < 0.0 else found.is_above_zero and found.value >= least
    )


def _by_steps(rise: Estimate | None, slowdown: Ratio) -> Estimate | None:
    """Return what the steps gain whose time a slowdown takes; a bound that no longer rises gives nothing."""
    if rise is None:
        return None
    doublings = slowdown.log / math.log(2.0)
    value, by_time = max(0.0, rise.value), slowdown.stderr / math.log(2.0)
    return Estimate(value * doublings, math.hypot(rise.stderr * doublings, value * by_time))


def _net(gains: Sequence[float], bounds: Bounds, slowdown: Ratio) -> Estimate:
    """Return what samples gain beyond the steps in their place: both are of the same examples, so in pairs."""
    assert bounds.rises is not None
    assert bounds.rise is not None
    doublings, value = slowdown.log / math.log(2.0), max(0.0, bounds.rise.value)
    added = value - bounds.rise.value
    net = mean_of([gain - doublings * (rise + added) for gain, rise in zip(gains, bounds.rises, strict=True)])
    return Estimate(net.value, math.hypot(net.stderr, value * slowdown.stderr / math.log(2.0)))
