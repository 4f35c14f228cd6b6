"""Curves of metrics: means of stretches, bands over seeds, seconds, and the time to a bound."""

import math

import numpy as np
import pytest
from scipy import stats

from dregcli.report.series import Series, band, difference, seconds_to, series
from dregcli.report.sparklines import BARS, sparklines
from tests.report.test_groups import row


def metrics(**train: object) -> dict[str, dict[str, np.ndarray]]:
    return {"train": {name: np.array(values) for name, values in train.items()}}


def test_what_is_not_finite_or_not_there_is_left_out() -> None:
    of = metrics(step=[1, 2, 3], bound=[1.0, math.nan, 3.0], seconds=[0.1, 0.2, 0.3])
    found = series(of, "train", "bound")
    assert found is not None
    assert (found.x.tolist(), found.y.tolist()) == ([1.0, 3.0], [1.0, 3.0])
    assert series(of, "train", "nothing") is None
    assert series(of, "valid", "bound") is None
    assert series(metrics(step=[1], bound=[math.nan]), "train", "bound") is None


def test_thinning_keeps_the_mean_of_every_stretch() -> None:
    x, y = np.arange(1000.0), np.random.default_rng(0).normal(size=1000)
    thin = Series(x, y).thinned(10)
    assert thin.y == pytest.approx(y.reshape(10, 100).mean(axis=1))
    assert thin.x == pytest.approx(x.reshape(10, 100).mean(axis=1))
    assert Series(x, y).thinned(1000).y is y


def test_a_band_is_students_interval_at_every_place() -> None:
    values = np.random.default_rng(0).normal(size=(4, 7))
    found = band([Series(np.arange(7.0), each) for each in values])
    assert found is not None
    for i in range(7):
        low, high = stats.t.interval(0.95, 3, values[:, i].mean(), stats.sem(values[:, i]))
        assert (found.low[i], found.high[i]) == pytest.approx((low, high))
    single = band([Series(np.arange(3.0), np.arange(3.0))])
    assert single is not None
    assert np.isnan(single.low).all()
    assert band([]) is None


def test_a_band_of_seeds_with_other_seconds_meets_where_all_are_known() -> None:
    """Straight lines at other places: the mean is their mean wherever both are, exactly."""
    a, b = np.linspace(0.0, 10.0, 6), np.linspace(2.0, 14.0, 9)
    found = band([Series(a, 2.0 * a), Series(b, 4.0 * b)])
    assert found is not None
    assert (found.x[0], found.x[-1]) == (2.0, 10.0)
    assert found.mean == pytest.approx(3.0 * found.x)
    assert band([Series(np.array([0.0, 1.0]), a[:2]), Series(np.array([2.0, 3.0]), a[:2])]) is None


def test_the_difference_of_two_splits() -> None:
    found = difference(
        Series(np.array([0.0, 5.0, 10.0, 20.0]), np.full(4, 3.0)), Series(np.array([4.0, 12.0]), np.array([1.0, 1.0]))
    )
    assert found is not None
    assert (found.x.tolist(), found.y.tolist()) == ([5.0, 10.0], [2.0, 2.0])


def test_the_time_to_a_bound_is_of_the_first_validation_that_had_it() -> None:
    of = metrics(step=[10, 20, 30, 40], bound=[0.0] * 4, seconds=[1.0, 2.0, 4.0, 8.0])
    of["valid"] = {"step": np.array([15, 25, 40]), "bound": np.array([-95.0, -90.0, -91.0])}
    assert seconds_to(of, -95.0) == 1.5, "half way between two rows of training"
    assert seconds_to(of, -91.0) == 3.0
    assert seconds_to(of, -89.0) is None
    assert seconds_to(metrics(step=[1], bound=[0.0]), -95.0) is None


def test_sparklines_share_a_scale_without_the_steep_beginning() -> None:
    from dataclasses import replace

    from dregcli.report.groups import group_rows

    spec = {"seed": 0, "task": "generative", "binarisation": "dynamic", "k": 64, "data_checksum": "c"}
    spec |= {"likelihood": "bernoulli"}

    def run(group: str, values: list[float], **other: object) -> object:
        valid = {"step": np.arange(1, len(values) + 1), "bound": np.array(values)}
        return replace(row({}), group=group, metrics={"valid": valid}, spec=spec | other)

    low, high = [-1000.0, *([-100.0] * 19)], [-1000.0, *([-90.0] * 19)]
    found = sparklines(group_rows([run("a", low), run("b", high)]))
    assert found["a"] == BARS[0] * 20
    assert found["b"] == BARS[0] + BARS[-1] * 19
    other = sparklines(group_rows([run("a", low), run("b", high, k=8)]))
    assert other["a"] == other["b"], "of another K it has a scale of its own"
    assert sparklines(group_rows([run("a", low), run("b", high, k=8, eval_k=64)])) == found, (
        "the K of the bound counts"
    )
    apart = sparklines(group_rows([run("a", low), run("b", high, eval_k=8)]))
    assert apart["a"] == apart["b"], "not that of the training"
    assert sparklines(group_rows([row({})])) == {}
