"""Groups of runs over their seeds."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dregcli.names import RunStatus, Split
from dregcli.report.groups import RunRow, group_rows
from dregcli.report.tracked import Tracked, TrackedNames, at_the_end


def row(summary: Any, seed: int = 0) -> RunRow:
    return RunRow("runs/a/v001", "a", "v001", "same", {"seed": seed}, RunStatus.COMPLETED, summary, [])


@pytest.mark.parametrize(
    "bound", [[-90.0], "high", -90.0, None, {}, {"test": [1]}, {"test": True}, {"test": "-90"}, {"test": None}]
)
def test_a_summary_that_dreg_did_not_write_has_no_bound(bound: object) -> None:
    assert row({"bound": bound, "bound_before": bound}).bound(Split.TEST) is None
    (group,) = group_rows([row({"bound": bound, "bound_before": bound})])
    assert group.bound(Split.TEST) is group.before(Split.TEST) is group.gain(Split.TEST) is None


def test_a_bound_over_seeds() -> None:
    (group,) = group_rows([row({"bound": {"test": value}}, seed) for seed, value in enumerate((-90.0, -92.0))])
    found = group.bound(Split.TEST)
    assert found is not None
    assert (found.mean, found.stderr, found.n) == (-91.0, pytest.approx(1.0), 2)


NAMES = TrackedNames({"stl": {"v": "stl.v", "v_window": "stl.v_window"}}, frozenset({"v_window"}), "n")


def test_what_was_tracked_at_the_end_of_training() -> None:
    """Windows of the last tenth alone, by their degrees of freedom: a short one counts little, one step nothing."""
    steps = np.array([100, 890, 901, 990, 1000, 1001])
    n = np.array([100.0, 790.0, 11.0, 89.0, 10.0, 1.0])
    metrics = {"step": steps, "stl.v": np.arange(6.0), "n": n}
    metrics["stl.v_window"] = np.array([1e6, 1e6, 3.0, 5.0, 7.0, math.nan])
    found = at_the_end(metrics, NAMES)
    assert found.values["stl"] == {"v": 5.0, "v_window": pytest.approx((10 * 3 + 88 * 5 + 9 * 7) / 107)}
    assert found.steps == pytest.approx((10 * 11 + 88 * 89 + 9 * 10) / 107)
    same = at_the_end(metrics | {"n": np.full(6, 50.0)}, NAMES)
    assert same.snr_floor == pytest.approx(math.sqrt(2 / (math.pi * 50)))


def test_a_run_of_before_there_were_windows_has_its_moving_averages() -> None:
    old = TrackedNames({"stl": {"v": "stl.v"}}, frozenset(), "n")
    found = at_the_end({"step": np.array([10, 20]), "stl.v": np.array([1.0, 2.0])}, old)
    assert found.values == {"stl": {"v": 2.0}}
    assert math.isnan(found.steps)
    (group,) = group_rows([replace(row({}), tracked=found)])
    assert group.tracked_window() is None
    assert group.tracked()["stl"]["v"].mean == 2.0


def test_what_was_tracked_over_seeds_leaves_out_what_is_no_number() -> None:
    values = ({"a": 1.0, "b": math.nan}, {"a": 3.0, "b": 5.0})
    rows = [replace(row({}, seed), tracked=Tracked({"stl": v}, 50.0, 0.1)) for seed, v in enumerate(values)]
    (group,) = group_rows([*rows, row({}, 2)])
    found = group.tracked()["stl"]
    assert (found["a"].mean, found["a"].stderr, found["a"].n) == (2.0, pytest.approx(1.0), 2)
    assert (found["b"].mean, found["b"].stderr, found["b"].n) == (5.0, None, 1)
    assert group.tracked_window() == (50.0, pytest.approx(0.1))
    assert group_rows([row({})])[0].tracked() == {}
