"""The rules of an advice on made-up measurements: each with the case just on its other side."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dregcli.app.diagnosis import advice_measured
from dregcli.app.diagnosis.advice import LEAST_NATS, AtK, at_other_ks, choose, move
from dregcli.app.diagnosis.advice_measured import Bounds, Candidate, Estimate, Gradient, Ratio, better, cost_ratio
from dregcli.app.diagnosis.advise_bounds import earlier_model
from dregcli.app.diagnosis.advise_candidates import candidate_of
from dregcli.app.diagnosis.advise_steps import ROUNDS, time_steps
from dregcli.cli.diagnosis.advise_words import changes, of_k, of_pair
from dregcli.engine.diagnostics.jackknife import Statistic
from dregcli.engine.diagnostics.step_study import Numbers
from dregcli.engine.pairs import resolve_pair
from dregcli.errors import Diverged
from dregcli.names import Network

WOBBLE = (-1.0, 1.0) * 5
"""Ten groups: the jackknife's error of ``value * (1 + spread * WOBBLE)`` is 3 times the spread."""


def stat(value: float, relative: float = 0.01, sign: float = 1.0) -> Statistic:
    """A statistic whose jackknife error is ``relative`` of its value; equal signs move together."""
    return Statistic(value, tuple(value * (1.0 + sign * relative / 3.0 * each) for each in WOBBLE))


def pair(
    label: str,
    variance: float,
    *,
    error: float = 0.01,
    cost: float = 10.0,
    signal: float = 1.0,
    bias: float = 0.0,
    along: float | None = None,
    promises: bool = True,
    plain: int = 0,
    k: int = 16,
    decoder: float = 1.0,
    refusal: str | None = None,
) -> Candidate:
    objective, _, estimator = label.partition("/")
    return Candidate(
        label=label,
        objective=objective,
        estimator=estimator,
        k=k,
        encoder=Gradient(stat(variance, error), stat(signal, sign=-1.0)),
        decoder=Gradient(stat(decoder), stat(1.0)),
        along=stat(1.0 if along is None else along),
        squared_bias=stat(bias, 0.1),
        target=stat(1.0),
        promises=promises,
        follows=None if promises else "iwae + rws",
        cost=tuple(cost * (1.0 + 0.001 * each) for each in range(7)),
        plainness=(plain,),
        refusal=refusal,
    )


def used(*pairs: Candidate) -> str:
    found = choose(pairs)
    assert found is not None
    return found.use.label


def test_the_jackknife_of_a_made_up_statistic_is_what_it_says() -> None:
    assert stat(5.0, 0.02).stderr == pytest.approx(0.1)


def test_less_variance_a_second_wins_and_a_swapped_ratio_would_not() -> None:
    quiet, loud = pair("iwae/a", 1.0), pair("iwae/b", 3.0)
    found = better(quiet, loud)
    assert found is not None
    assert found.value == pytest.approx(3.0)  # a swapped ratio has 1 / 3
    assert used(loud, quiet) == used(quiet, loud) == "iwae/a"
    # Four times the time is more than a third of the noise is worth; twice the time is not.
    assert used(replace(quiet, cost=pair("", 1.0, cost=40.0).cost), loud) == "iwae/b"
    assert used(replace(quiet, cost=pair("", 1.0, cost=20.0).cost), loud) == "iwae/a"
    assert cost_ratio(pair("", 1.0, cost=20.0), loud).value == pytest.approx(2.0)


def test_common_noise_cancels_and_other_noise_does_not() -> None:
    one, two = pair("iwae/a", 1.0, error=0.3), pair("iwae/b", 1.5, error=0.3)
    together = better(one, two)
    assert together is not None
    assert together.stderr == pytest.approx(0.0, abs=1e-12)
    apart = better(one, replace(two, encoder=Gradient(stat(1.5, 0.3, -1.0), stat(1.0))))
    assert apart is not None
    assert apart.stderr == pytest.approx(0.6, rel=0.05)


@pytest.mark.parametrize(("error", "undecided"), [(0.06, False), (0.08, True)])
def test_a_difference_below_three_errors_leaves_the_plainer_pair(error: float, undecided: bool) -> None:
    # log 1.5 = 0.405: more than 3 errors of 0.12, less than 3 of 0.16; the errors of both add up here.
    best = pair("iwae/a", 1.0, error=error, plain=1)
    other = replace(pair("iwae/b", 1.5, plain=0), encoder=Gradient(stat(1.5, error, -1.0), stat(1.0)))
    found = choose([best, other])
    assert found is not None
    assert found.use.label == ("iwae/b" if undecided else "iwae/a")
    assert [each.label for each in found.undecided] == (["iwae/a"] if undecided else [])


def test_among_undecided_pairs_the_cheaper_one_wins_before_the_plainer_one() -> None:
    # Equal signal a second: one is twice as fast and twice as noisy.
    assert used(pair("iwae/a", 1.0, cost=20.0, plain=0), pair("iwae/b", 2.0, cost=10.0, plain=1)) == "iwae/b"
    assert used(pair("iwae/a", 1.0, cost=10.2, plain=0), pair("iwae/b", 1.0, cost=10.0, plain=1)) == "iwae/a"
    # A decided difference of a twentieth does not matter.
    assert used(pair("iwae/a", 1.05, plain=0), pair("iwae/b", 1.0, plain=1)) == "iwae/a"
    assert used(pair("iwae/a", 1.2, plain=0), pair("iwae/b", 1.0, plain=1)) == "iwae/b"


def test_a_biased_pair_is_named_and_not_advised_while_an_unbiased_one_fits() -> None:
    fair, biased = pair("iwae/fair", 10.0), pair("iwae/biased", 0.1, bias=4.0, along=2.0, promises=False)
    found = choose([biased, fair])
    assert found is not None
    assert (found.use.label, found.is_biased) == ("iwae/fair", False)
    assert [each.label for each in found.beyond] == ["iwae/biased"]
    # Signal is the part along the objective's own gradient: (2 / 1)^2 * (10 / 0.1).
    ratio = dict(zip([each.label for each, _ in found.compared], [ratio for _, ratio in found.compared], strict=True))
    assert ratio["iwae/biased"] is not None
    assert ratio["iwae/biased"].value == pytest.approx(400.0)
    size = biased.relative_bias
    assert size is not None
    assert size.value == pytest.approx(2.0)
    # A worse one is not named; alone it is advised, and says that it is biased.
    weak = choose([replace(biased, along=stat(0.01)), fair])
    assert weak is not None
    assert not weak.beyond
    alone = choose([biased, replace(fair, refusal="has no path")])
    assert alone is not None
    assert (alone.use.label, alone.is_biased) == ("iwae/biased", True)


def test_a_broken_promise_counts_as_a_bias() -> None:
    wrong = pair("iwae/wrong", 0.1, bias=0.5)
    assert wrong.is_suspect
    assert used(wrong, pair("iwae/fair", 10.0)) == "iwae/fair"
    within_noise = replace(wrong, squared_bias=stat(0.5, 0.25))
    too_small = replace(wrong, squared_bias=stat(0.005, 0.1))
    for innocent in (within_noise, too_small):
        assert not innocent.is_biased
        assert used(innocent, pair("iwae/fair", 10.0)) == "iwae/wrong"


def test_a_lost_signal_hides_only_what_needs_it() -> None:
    lost = {"signal": stat(0.01, 3.0), "variance": stat(1.0)}
    one = replace(pair("iwae/a", 1.0), encoder=Gradient(**lost), along=stat(0.01, 3.0), target=stat(0.01, 3.0))
    two = replace(one, label="iwae/b", encoder=Gradient(stat(4.0), stat(0.01, 3.0)))
    found = better(one, two)
    assert found is not None, "the expectation of unbiased pairs cancels"
    assert found.value == pytest.approx(4.0)
    assert better(replace(one, promises=False), two) is None
    assert one.relative_bias is None
    assert choose([replace(one, promises=False), two]) is not None


def test_a_gradient_without_noise_or_of_zero() -> None:
    exact, still = pair("iwae/exact", 0.0), pair("iwae/zero", 0.0, signal=0.0)
    assert used(pair("iwae/a", 1.0), exact, still) == "iwae/exact"
    assert choose([still]) is None
    assert choose([pair("iwae/a", 1.0, refusal="has no path")]) is None


def measured_pair(noise: random.Random, label: str, variance: float, error: float, plain: int) -> Candidate:
    """A pair whose variance has noise from ten groups, of this relative error."""
    groups = [variance * (1.0 + error * math.sqrt(10.0) * noise.gauss(0.0, 1.0)) for _ in range(10)]
    mean = sum(groups) / 10.0
    found = Statistic(mean, tuple((10.0 * mean - each) / 9.0 for each in groups))
    return replace(pair(label, 1.0, plain=plain), encoder=Gradient(found, stat(1.0)))


def test_the_error_rates_of_a_choice_and_of_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight equal pairs the plainest is rejected in 4 % of the measurements, and one a third as noisy is found.

    The wrong twin rejects after two errors, in 15 %. The least ratio that matters hides both rates; here it is off.
    """
    monkeypatch.setattr(advice_measured, "LEAST_RATIO", 1.0001)
    noise = random.Random(0)
    equal = [[measured_pair(noise, f"iwae/{i}", 1.0, 0.02, i) for i in range(8)] for _ in range(400)]
    apart = [[measured_pair(noise, f"iwae/{i}", 3.0 if i else 1.0, 0.1, -i) for i in range(8)] for _ in range(50)]
    rejected = sum(used(*each) != "iwae/0" for each in equal) / len(equal)
    assert 0.01 < rejected < 0.07
    assert sum(used(*each) == "iwae/0" for each in apart) >= 45
    rounds = [[math.exp(noise.gauss(0.0, 0.01)) for _ in range(2 * ROUNDS)] for _ in range(1000)]
    one, two = (pair("iwae/a", 1.0) for _ in range(2))
    ratios = [cost_ratio(replace(one, cost=tuple(x[:ROUNDS])), replace(two, cost=tuple(x[ROUNDS:]))) for x in rounds]
    differing = [sum(abs(each.log) > errors * each.stderr for each in ratios) / len(ratios) for errors in (3, 2)]
    assert 0.05 < differing[0] < 0.1
    assert differing[1] > 0.13
    monkeypatch.setattr(advice_measured, "ERRORS", 2.0)
    assert sum(used(*each) != "iwae/0" for each in equal) / len(equal) > 0.1


def test_a_pair_that_stays_unbiased_at_every_k_is_plainer() -> None:
    """At K = 1 stl is dreg. At K = 4 it follows another gradient, so that the next move would be biased."""
    numbers = Numbers(stat(1.0), stat(1.0), stat(1.0), stat(0.0), stat(1.0))
    for ks, expected in (((1, 4), "iwae/dreg"), ((1,), "iwae/stl")):  # stl comes first in the list
        found = [
            replace(candidate_of(resolve_pair("iwae", word, 1), numbers, numbers, 1, ks=ks), cost=pair("", 1.0).cost)
            for word in ("stl", "dreg", "dreg-alpha")
        ]
        assert used(*found) == expected


def test_the_next_pair_in_words_can_train_and_has_a_time() -> None:
    first, third = pair("iwae/a", 1.0), pair("iwae/c", 4.0)
    untimed, still = replace(pair("iwae/b", 2.0, refusal="no"), cost=()), pair("iwae/zero", 0.0, signal=0.0)
    found = choose([first, untimed, still, third])
    assert found is not None
    assert of_pair(found) == ["use iwae/a: 4 times the SNR² a second of iwae/c, the next unbiased pair."]
    assert better(untimed, first) is None, "a ratio by the second needs both times"


def test_steps_that_diverge_in_a_later_round_have_no_time() -> None:
    class Fake:
        def __init__(self, last: float) -> None:
            self.left = last

        def warm_up(self) -> None: ...

        def collect(self) -> None: ...

        def advance(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Diverged("too large", where="here", hint="none")

    times = [time_steps(cast("Any", [Fake(n)]), seconds=0.0, between=lambda _: None)[0] for n in (math.inf, 0, 5)]
    assert times[0] is not None
    assert len(times[0]) == ROUNDS
    assert times[1:] == [None, None]


def test_a_model_before_its_first_step_has_no_earlier_checkpoint() -> None:
    subject = SimpleNamespace(checkpoint=0, run=SimpleNamespace(checkpoints=lambda: [0]))
    assert earlier_model(cast("Any", subject)) is None


# The number of samples


def bounds(*, high: float, low: float, rise: float | None, tightens: bool = True) -> Bounds:
    """Bounds of 100 examples at K = 4, 16 and 64 with these gains and rise, each with an error of 0.01.

    The noise of the gains and that of the rise are orthogonal.
    """
    at = {4: -low, 16: 0.0, 64: high}
    noise = [0.1 * (-1) ** i for i in range(100)]
    by_k = {k: [value + (0.0 if k == 16 else each) for each in noise] for k, value in at.items()}
    rises = None if rise is None else [rise + 0.1 * (-1) ** (i // 2) for i in range(100)]
    return Bounds(by_k, by_k, [-1.0] * 100, Estimate(4.0, 0.1), 0.4, 0.1, rises, tightens)


def at(k: int, *, cost: float, variance: float = 1.0, decoder: float = 1.0) -> Candidate:
    return pair("iwae/a", variance, cost=cost, k=k, decoder=decoder)


def advised(
    high: float, low: float, rise: float | None, costs: tuple[float, float] = (20.0, 5.0), noise: float = 1.0
) -> int:
    """The K advised at K = 16, where steps take 10 ms; ``noise`` is what the variances at other K are times."""
    others = [at(k, cost=cost, variance=noise, decoder=noise) for k, cost in zip((64, 4), costs, strict=True)]
    return moved_to(others, bounds(high=high, low=low, rise=rise))


def moved_to(others: list[Candidate], measured: Bounds, present: Candidate | None = None) -> int:
    """The K advised at K = 16, where steps take 10 ms."""
    found = move(at_other_ks(present or at(16, cost=10.0), others, measured), 16)
    return found.k if found else 16


def test_more_samples_pay_if_they_gain_more_than_the_steps_in_their_place() -> None:
    # Twice the time: one doubling of the steps.
    assert advised(0.3, 1.0, 0.2) == 64
    assert advised(0.3, 1.0, 0.4) == 16
    assert advised(0.3, 1.0, 0.29) == 16, "a gain of one error is not decided"
    assert advised(0.3, 1.0, 0.2, costs=(40.0, 5.0)) == 16, "two doublings"
    assert advised(0.3, 1.0, 0.2, noise=2.0) == 16, "half the signal a step, in twice the time"
    assert advised(0.3, 1.0, 0.4, noise=0.5) == 64, "and twice the signal makes up for the time"
    assert advised(0.3, 1.0, -0.5) == 64, "a bound that falls buys nothing, and costs nothing"
    assert advised(LEAST_NATS - 0.01, 1.0, 0.0) == 16


def test_fewer_samples_pay_if_the_steps_gain_more_than_the_bound_loses() -> None:
    assert advised(0.05, 0.2, 0.3) == 4
    assert advised(0.05, 0.2, 0.1) == 16
    assert advised(0.05, 0.2, 0.3, costs=(20.0, 9.9)) == 16, "no time is gained"


def test_without_an_earlier_checkpoint_only_what_is_free_is_advised() -> None:
    assert advised(0.3, 1.0, None) == 16
    assert advised(0.3, 1.0, None, costs=(10.5, 9.0)) == 64
    assert advised(0.05, 0.05, None) == 4
    assert advised(0.05, LEAST_NATS + 0.01, None) == 16
    _, high = at_other_ks(
        at(16, cost=10.0), [at(64, cost=40.0), at(4, cost=5.0)], bounds(high=0.3, low=1.0, rise=None)
    )
    assert high.pays_below is not None
    assert high.pays_below.value == pytest.approx(0.15)  # 0.3 nats for two doublings


def test_what_another_k_would_change_has_its_numbers() -> None:
    others = [at(64, cost=20.0, decoder=0.5), at(4, cost=5.0)]
    low, high = at_other_ks(at(16, cost=10.0), others, bounds(high=0.3, low=1.0, rise=0.2))
    assert (low.k, high.k) == (4, 64)
    assert high.gain.value == pytest.approx(0.3)
    assert high.gain.stderr == pytest.approx(0.01, rel=0.01)
    assert high.cost.value == pytest.approx(2.0)
    assert high.nats_per_millisecond == pytest.approx(0.3 / 10.0, rel=0.01)  # 10 ms more
    assert low.nats_per_millisecond == pytest.approx(1.0 / 5.0, rel=0.01)
    encoder, decoder = (high.speed[network] for network in (Network.ENCODER, Network.DECODER))
    assert encoder is not None
    assert decoder is not None
    assert (encoder.value, decoder.value) == (pytest.approx(0.5), pytest.approx(1.0))
    assert high.slowdown.value == pytest.approx(2.0)  # the decoder's noise is halved, not the encoder's
    assert high.instead is not None
    assert low.instead is not None
    assert (high.instead.value, low.instead.value) == (pytest.approx(0.2), pytest.approx(-0.2))


def test_a_pair_that_cannot_be_trained_with_more_samples_stays() -> None:
    more = replace(at(64, cost=11.0), refusal="groups do not divide K")
    assert moved_to([more], bounds(high=0.5, low=1.0, rise=0.0)) == 16


def test_gain_and_price_are_of_the_same_examples() -> None:
    """Their noise is one, so that it cancels: apart it would be 0.07 nats, and the gain undecided."""
    measured, rises = bounds(high=0.3, low=1.0, rise=0.2), [0.2 + 5.0 * (0.1 if i % 2 else -0.1) for i in range(100)]
    values = {
        k: [v + (r - 0.2 if k == 64 else 0.0) for v, r in zip(measured.values[16], rises, strict=True)]
        for k in (16, 64)
    }
    values[64] = [each + 0.3 for each in values[64]]
    assert moved_to([at(64, cost=20.0)], replace(measured, values=values, rises=rises)) == 64
    assert moved_to([at(64, cost=20.0)], replace(measured, values=values, rises=rises[1:] + rises[:1])) == 16


def test_the_price_has_the_error_of_the_time_too() -> None:
    def price(spread: float) -> float:
        costs = tuple(20.0 * (1.0 + spread * each) for each in range(-3, 4))
        (found,) = at_other_ks(
            at(16, cost=10.0), [replace(at(64, cost=1.0), cost=costs)], bounds(high=0.3, low=1.0, rise=0.2)
        )
        assert found.pays_below is not None
        return found.pays_below.stderr

    assert price(0.0) == pytest.approx(0.01, rel=0.1)
    assert price(0.05) > 0.015


def test_an_objective_that_gains_no_bound_by_samples_moves_for_speed_alone() -> None:
    measured = bounds(high=0.3, low=0.3, rise=0.2)
    linear = replace(measured, values=dict.fromkeys((4, 16, 64), measured.values[16]))
    slow, fast = (20.0, 20.0), (10.0, 2.0)
    for costs, noise, expected in ((slow, 1.0, 16), (fast, 1.0, 4), (slow, 0.25, 64)):
        others = [at(k, cost=cost, variance=noise, decoder=noise) for k, cost in zip((64, 4), costs, strict=True)]
        assert moved_to(others, linear) == expected or noise < 1.0
        assert moved_to(others[:1], linear) == (64 if noise < 1.0 else 16)
    (found,) = at_other_ks(at(16, cost=10.0), [at(64, cost=20.0)], linear)
    assert (found.gain.value, found.gain.stderr) == (0.0, 0.0)
    assert of_k(16, 16, (found,), linear) == "stay at K=16: K=64 has the same bound, and learns 2 times slower."
    # Another objective's bound decides nothing.
    unknown = replace(measured, tightens=False)
    assert moved_to([at(64, cost=10.0), at(4, cost=1.0)], unknown) == 16
    text = of_k(16, 16, tuple(at_other_ks(at(16, cost=10.0), [at(64, cost=10.0), at(4, cost=1.0)], unknown)), unknown)
    assert text == "stay at K=16: the value of iwae is not known to be a bound that rises with K."


def test_a_pair_that_is_biased_with_more_samples_stays() -> None:
    more, measured = replace(at(64, cost=11.0), promises=False), bounds(high=0.5, low=1.0, rise=0.0)
    assert moved_to([more], measured) == 16
    (found,) = at_other_ks(at(16, cost=10.0), [more], measured)
    assert of_k(16, 16, (found,), measured) == "stay at K=16: iwae/a is biased there."
    assert moved_to([more], measured, replace(at(16, cost=10.0), promises=False)) == 64, "it is biased as it is"


def test_a_signal_that_is_lost_at_one_k_alone_keeps_k() -> None:
    lost = Gradient(stat(1.0), stat(0.01, 3.0))
    more, less = at(64, cost=11.0), at(4, cost=1.0)
    gains, falls = bounds(high=0.5, low=1.0, rise=0.0), bounds(high=0.0, low=0.1, rise=1.0)
    for network in ("encoder", "decoder"):
        hidden: Callable[[Candidate], Candidate] = lambda each, name=network: replace(each, **{name: lost})  # noqa: E731
        for other, measured in ((more, gains), (less, falls)):
            assert moved_to([other], measured) == other.k
            assert moved_to([hidden(other)], measured) == 16
            assert moved_to([other], measured, hidden(at(16, cost=10.0))) == 16
            assert moved_to([hidden(other)], measured, hidden(at(16, cost=10.0))) == other.k, "time is all there is"
        (found,) = at_other_ks(at(16, cost=10.0), [hidden(more)], gains)
        assert f"the {network}'s signal is lost in noise at K=64 alone" in of_k(16, 16, (found,), gains)


def test_a_network_that_is_not_trained_has_no_say() -> None:
    """The decoder would make 64 samples four times slower."""
    present, more = at(16, cost=10.0), at(64, cost=10.0, decoder=4.0)
    measured = bounds(high=0.3, low=1.0, rise=0.2)
    assert moved_to([more], measured) == 16
    assert moved_to([replace(more, decoder=None)], measured, replace(present, decoder=None)) == 64
    (found,) = at_other_ks(replace(present, decoder=None), [replace(more, decoder=None)], measured)
    assert list(found.speed) == [Network.ENCODER]


def test_the_sentence_about_k_says_which_way_the_time_goes() -> None:
    measured = bounds(high=0.3, low=0.3, rise=0.4)

    def said(k: int, cost: float, noise: float = 1.0) -> str:
        found: list[AtK] = at_other_ks(at(16, cost=10.0), [at(k, cost=cost, variance=noise, decoder=noise)], measured)
        return of_k(16, 16, tuple(found), measured)

    assert (
        said(4, 5.0) == "stay at K=16: K=4 loses 0.300(10) nats, and the steps that it makes room for gain 0.400(10)."
    )
    assert "K=4 loses 0.300(10) nats, and learns 2.70" in said(4, 9.0, 3.0)
    assert said(4, 9.0, 3.0).endswith("times slower as well.")
    assert said(64, 20.0).endswith("K=64 gains 0.300(10) nats, and as much time for more steps gains 0.400(10).")
    assert said(64, 20.0, 0.25).endswith("times faster as well.")
    assert "-" not in said(4, 5.0) + said(64, 20.0)


@pytest.mark.parametrize(
    ("k", "ess", "few"), [(2, 1.95, False), (2, 0.9, True), (16, 1.95, True), (16, 2.1, False), (1, 1.0, False)]
)
def test_few_samples_count_if_they_are_few_of_those_there_are(k: int, ess: float, few: bool) -> None:
    """And the price of more samples names the K that was measured, which may be less than four times as large."""
    measured = replace(bounds(high=0.3, low=1.0, rise=0.4), ess=Estimate(ess, 0.01))
    at_many = at_other_ks(at(16, cost=10.0), [replace(at(64, cost=20.0))], measured)
    report = SimpleNamespace(
        bounds=measured, choice=SimpleNamespace(use=SimpleNamespace(k=k)), k=k, at=[replace(at_many[0], k=50)]
    )
    (text,) = changes(cast("Any", report))
    assert ("few samples count" in text) == few
    assert "K=50 pays once that is below 0.300(" in text
    refused = SimpleNamespace(**{**vars(report), "at": [replace(at_many[0], refusal="it is biased")]})
    assert "pays once" not in changes(cast("Any", refused))[0]


def test_ratios() -> None:
    ratio = Ratio(math.log(2.0), 0.1)
    assert ratio.is_larger
    assert not ratio.inverse.is_larger
    assert not Ratio(math.log(2.0), 0.4).is_larger
    assert not Ratio(math.log(1.05), 0.001).is_larger
    assert (ratio * ratio).stderr == pytest.approx(0.1 * math.sqrt(2.0))
    assert Ratio(1e4, 0.0).value == math.inf
