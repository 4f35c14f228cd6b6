"""Turn measurements into advice: which estimator to use now, and with how many samples. Nothing here measures.

The rules, and why they are as they are:

**Estimators are compared within an objective.** Their cost and noise can be compared there, because they follow one
gradient. The criterion is the squared signal-to-noise ratio of a step's encoder gradient, per second: independent
steps average, so that n of them have n times the squared ratio, and a second holds 1 / cost of them. Unbiased pairs
of one objective have one expectation. It cancels in their ratio, which is that of the variances and is known well
even where the gradient itself is lost in noise, as near an optimum. Where expectations differ, only the part along
the objective's own gradient counts as signal.

**A difference must be decided.** It counts if it is at least two standard errors from none, and at least a tenth.
With less, the cheaper pair is advised, among equally cheap ones the one with fewer parameters, and the text says that
the measurement did not decide.

**A biased pair is never advised while an unbiased one fits.** The signal-to-noise ratio says how well a pair follows
its own direction, not where this leads. A biased pair that is better by the criterion is named with its bias. A pair
that promises to be unbiased, but is measured not to be, is treated as biased.

**K pays if its bound gains more than its time.** With more samples the bound is tighter, and learning is slower. Its
time could be spent on more steps instead, which gain about as much for every doubling as the last doubling did: this
is measured, too, from an earlier checkpoint of the run. So four times the samples are advised if the bound gains a
tenth of a nat, and more than the steps in their place; a quarter of the samples, if the steps that they make room for
gain more than the bound loses. How much slower learning is, is said by the squared ratio per second of the network
for which it falls most. Without an earlier checkpoint a slower K is not advised, and the text says from when on it
would pay. One move at a time: the next model is another one.

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
        speed: by network, squared signal-to-noise ratio per second divided by the present one; None where a signal is
            lost in noise.
        slowdown: how much slower learning is; below 1 if it is faster.
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

    @property
    def pays_below(self) -> Estimate | None:
        """The rise of the bound for each doubling of the steps below which it pays; None if it is not slower."""
        if not self.slowdown.is_larger:
            return None
        doublings = self.slowdown.log / math.log(2.0)
        return Estimate(self.gain.value / doublings, self.gain.stderr / doublings)

    @property
    def nats_per_millisecond(self) -> float | None:
        """Bound gained for each millisecond that a step gets longer; None if it does not get longer."""
        return None if self.milliseconds is None else _per(self.gain.value, self.milliseconds.value, self.cost)


def _per(gain: float, milliseconds: float, cost: Ratio) -> float | None:
    added = milliseconds * (1.0 - 1.0 / cost.value)
    return gain / added if abs(cost.log) > ERRORS * cost.stderr and added else None


def speed(a: Candidate, b: Candidate, network: Network) -> Ratio | None:
    """Return the squared signal-to-noise ratio per second by ``a`` divided by that by ``b``, of different K."""
    one, two = (each.encoder if network is Network.ENCODER else each.decoder for each in (a, b))
    if one.is_lost or two.is_lost:
        return None
    found = product_of_powers([(one.signal, 1.0), (one.variance, -1.0), (two.signal, -1.0), (two.variance, 1.0)])
    return found and found * cost_ratio(a, b).inverse


def choose_k(present: Candidate, others: Sequence[Candidate], bounds: Bounds) -> tuple[int, list[AtK]]:
    """Choose the number of samples: the present one, or the nearest of the others that pays.

    Args:
        present: the advised pair with the present number of samples.
        others: the same pair with other numbers.
        bounds: bounds at all of these numbers.

    Returns:
        The number, and what each of the others would change, ascending.
    """
    found = [_at(each, present, bounds) for each in sorted(others, key=lambda each: each.k)]
    paying = [each.k for each in found if each.pays]
    return min(paying, key=lambda k: abs(math.log(k / present.k)), default=present.k), found


def _at(each: Candidate, present: Candidate, bounds: Bounds) -> AtK:
    cost, gain = cost_ratio(each, present), bounds.gain(present.k, each.k)
    speeds = {network: speed(each, present, network) for network in (Network.ENCODER, Network.DECODER)}
    # Where a signal is lost, the time of a step is all that is known.
    slowdown = max((cost if x is None else x.inverse for x in speeds.values()), key=lambda ratio: ratio.log)
    instead = _by_steps(bounds.rise, slowdown)
    if instead is None:
        # A number of samples that costs nothing needs no such price.
        pays = _above(gain, LEAST_NATS) if each.k > present.k else _above(gain, -LEAST_NATS)
        pays &= not slowdown.is_larger if each.k > present.k else slowdown.inverse.is_larger
    else:
        net = Estimate(gain.value - instead.value, math.hypot(gain.stderr, instead.stderr))
        pays = net.is_above_zero and (each.k < present.k or _above(gain, LEAST_NATS))
    return AtK(each.k, gain, each.milliseconds, cost, speeds, slowdown, instead, pays and each.refusal is None)


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
