"""Schedules against their closed forms."""

import math

import pytest

from dregcli.engine.optimisation import Optimisation, parse_schedule
from dregcli.errors import SpecError


def _factors(word: str, steps: int, *, per_epoch: int = 1, warmup: int = 0) -> list[float]:
    factor = Optimisation(schedule=parse_schedule(word), steps=steps, warmup_steps=warmup).factor(per_epoch)
    return [factor(step) for step in range(steps)]


def test_constant() -> None:
    assert _factors("constant", 5) == [1.0] * 5


@pytest.mark.parametrize("end", [0.0, 0.25])
def test_cosine_falls_from_the_whole_rate_towards_its_end(end: float) -> None:
    found = _factors(f"cosine:end={end}", 8)
    assert found == pytest.approx([end + (1 - end) * math.cos(math.pi * step / 16) ** 2 for step in range(8)])
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)


def test_step_multiplies_the_rate_every_so_many_steps() -> None:
    assert _factors("step:every=2,factor=0.1", 6) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert parse_schedule("step").values == {"every": 1000, "factor": 0.5}


def test_burda_has_eight_stages_of_three_times_as_many_passes() -> None:
    """The published rates, 1e-4 * round(10 ** (1 - i / 7), 1), and 3 ** i passes of two steps each."""
    rates = [1e-3, 0.72e-3, 0.52e-3, 0.37e-3, 0.27e-3, 0.19e-3, 0.14e-3, 0.1e-3]
    assert rates == pytest.approx([1e-4 * round(10 ** (1 - i / 7), 1) for i in range(8)])
    found = _factors("burda", 2 * 3280, per_epoch=2)
    expected = [rate for i, rate in enumerate(rates) for _ in range(2 * 3**i)]
    assert [1e-3 * each for each in found] == pytest.approx(expected)


def test_a_warm_up_raises_the_scheduled_rate_in_equal_parts() -> None:
    plain = _factors("cosine", 10)
    assert _factors("cosine", 10, warmup=4) == pytest.approx(
        [min(1.0, (step + 1) / 4) * each for step, each in enumerate(plain)]
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cosin", "Did you mean 'cosine'?"),
        ("cosine:end=2", "'end' of 'cosine' must be from 0 to 1, got 2.0"),
        ("step:every=0", "'every' of 'step' must be at least 1, got 0"),
        ("step:every=1.5", "'every' of 'step' needs a whole number"),
        ("step:factor=nan", "'factor' of 'step' must be greater than 0"),
        ("burda:stages=9", "'stages' of 'burda' must be from 1 to 8, got 9"),
    ],
)
def test_words_that_are_refused(word: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_schedule(word)
    assert said in str(caught.value)


def test_words_come_back_as_they_are_written() -> None:
    words = {
        "step:factor=0.5": "step",
        "step:factor=0.1,every=7": "step:every=7,factor=0.1",
        "cosine:end=0": "cosine",
    }
    for word, short in words.items():
        assert parse_schedule(word).word == short
        assert parse_schedule(short) == parse_schedule(word)


def test_burda_needs_its_own_number_of_steps() -> None:
    schedule = parse_schedule("burda:stages=3")
    assert not schedule.faults(steps=13 * 7, steps_per_epoch=7)
    assert not schedule.faults(steps=1, steps_per_epoch=None)
    (fault,) = schedule.faults(steps=30, steps_per_epoch=7)
    assert fault.message == (
        "3 stages are 13 passes over the data, which are 91 steps, got 30: give --steps 91, or other stages such as "
        "burda:stages=2 --steps 28."
    )
    (fault,) = parse_schedule("burda:stages=1").faults(steps=8, steps_per_epoch=7)
    assert fault.message.endswith("got 8: give --steps 7.")
