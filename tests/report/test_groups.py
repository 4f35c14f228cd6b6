"""Groups of runs over their seeds."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dregcli.app.reporting.plain import report_json
from dregcli.app.reporting.report import Report
from dregcli.names import RunStatus, Split
from dregcli.report.arrangement import Arrangement
from dregcli.report.evaluated import EvaluationKey
from dregcli.report.groups import RunRow, group_rows
from dregcli.report.groups_table import groups_table, time_notes
from dregcli.report.html.results import evaluations
from dregcli.report.latex_table import latex_table
from dregcli.report.sections import sections_of
from dregcli.report.tables import tracked_rows
from dregcli.report.tracked import at_the_end
from dregcli.report.warnings import warnings_of
from tests.support.latex_check import cells_of
from tests.support.report_rows import run_row


def row(summary: Any, seed: int = 0) -> RunRow:
    experiment = {"objective": "iwae", "estimator": "dreg"}
    return RunRow("runs/a/v001", "a", "v001", "same", {"seed": seed}, experiment, RunStatus.COMPLETED, summary)


def tracking(*, seed: int = 0, **columns: Any) -> RunRow:
    """A run whose training metrics have these columns."""
    return replace(row({}, seed), metrics={"train": {name: np.array(values) for name, values in columns.items()}})


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
    assert (found.mean, found.stderr, found.best, found.n) == (-91.0, pytest.approx(1.0), -90.0, 2)


def test_what_stands_beside_a_mean_is_of_the_same_weights_and_the_same_seeds() -> None:
    """Runs with patience end at steps of their own; evaluations in mid-training have the same K and a lower step."""

    def evaluation(step: int, value: float, size: float) -> dict[str, Any]:
        return {
            **{"checkpoint": step, "split": "test", "k": 500, "seed": 0, "n": 90, "value": value, "ess": size},
            **{"khat": {"median": size, "share_above_0.7": size / 100}, "active_units": size, "split_hash": "h"},
        }

    rows: list[RunRow] = []
    for seed, ess in enumerate((20.0, 30.0, 40.0, 50.0)):
        evals = [evaluation(50 + seed, -90.0 - seed, ess), evaluation(10, -120.0, 1.0)]
        found = run_row(seed, evals=evals)
        rows.append(replace(found, summary={**found.summary, "final_step": 50 + seed}))
    nothing = run_row(4, evals=[evaluation(1000, math.nan, 5.0)])
    (group,) = group_rows([*rows, nothing])
    key = EvaluationKey("test", 500, 0, 90, None)
    assert [*group.evaluations()] == [key._replace(checkpoint=10), key]
    at_end = group.evaluated("test", 500, 0, 90)
    assert at_end is not None
    assert (at_end.bound.mean, at_end.bound.n, at_end.step, at_end.step_in_words) == (-91.5, 4, None, "50 to 53")
    assert at_end.ess is not None
    assert (at_end.ess.mean, at_end.ess.stderr, at_end.ess.n) == (35.0, pytest.approx(math.sqrt(500 / 12)), 4)
    assert at_end.khat is not None
    assert at_end.khat.mean == 35.0
    worst = replace(rows[0], evals=[evaluation(50, -90.0, math.inf)])
    infinite = group_rows([worst, *rows[1:]])[0].evaluated("test", 500, 0, 90)
    assert infinite is not None
    assert infinite.khat is None, "the worst seed is not left out"
    sections = sections_of([group])
    (section,) = sections
    chosen = Arrangement(("group", "mean", "ess", "k-hat", "active"))
    table = groups_table([group], section.labels, section.comparisons, {}, time_to=None, chosen=chosen)
    assert [cell.text for cell in table.rows[0]][1:] == ["-91.50 ± 0.65", "35.0", "35 %", "35"]
    _, shown = cells_of(latex_table([group], section.labels, section.comparisons))
    assert shown[-2:] == [r"$35 \pm 6$"] * 2
    (page, *_) = evaluations([group], section.labels).tables
    assert [[cell.text for cell in row][4:8] for row in page.rows] == [
        ["10", "0", "4", "-120.00 ± 0.00"],
        ["50 to 53", "0", "4", "-91.50 ± 0.65"],
    ]
    told = report_json(Report(sections, [], [], {}, []), time_to=None)["groups"][0]["evals"]
    assert [(each["checkpoint"], each["steps"], each["at_end"], each["n"]) for each in told] == [
        (10, (10,), False, 4),
        (None, (50, 51, 52, 53), True, 4),
    ]
    assert any("k-hat is above 0.7 for up to 50 % of the examples" in text for text in warnings_of(sections))


def test_a_time_to_a_bound_is_known_to_one_validation_interval_alone() -> None:
    """Runs of a group may differ in it, because it changes no number of the training."""
    often, seldom, at_end = (
        replace(run_row(seed), spec=run_row(seed, eval_every=n).spec) for seed, n in enumerate((100, 5000, 0))
    )
    never = run_row(3, metrics={}, eval_every=7)
    other = run_row(0, estimator="stl", eval_every=100)
    found = group_rows([often, seldom, at_end, never, other])
    assert [group.validation_intervals() for group in found] == [[100, 1000, 5000], [], [100]]
    (note,) = time_notes(found, -91.0)
    assert "every 100 to 5,000 steps" in note
    assert time_notes(found, None) == []
    assert time_notes(group_rows([often, other, never]), -91.0) == []
    sections = sections_of(found[:1])
    told = report_json(Report(sections, [], [], {}, []), time_to=-91.0)["groups"][0]["time_to"]
    assert (told["of"], told["eval_every"]) == (3, [100, 1000, 5000])


V, WINDOWED, N = "stl.posterior_variance", "stl.posterior_variance_window", "tracked_window"


def test_what_was_tracked_at_the_end_of_training() -> None:
    """Windows of the last tenth alone, by their degrees of freedom: a short one counts little, one step nothing."""
    steps = np.array([100, 890, 901, 990, 1000, 1001])
    n = np.array([100.0, 790.0, 11.0, 89.0, 10.0, 1.0])
    metrics = {"step": steps, V: np.arange(6.0), N: n, WINDOWED: np.array([1e6, 1e6, 3.0, 5.0, 7.0, math.nan])}
    found = at_the_end(metrics)
    assert found is not None
    mean = (10 * 3 + 88 * 5 + 9 * 7) / 107
    assert found.values["stl"] == {"posterior_variance": 5.0, "posterior_variance_window": pytest.approx(mean)}
    assert found.steps == pytest.approx((10 * 11 + 88 * 89 + 9 * 10) / 107)
    same = at_the_end(metrics | {N: np.full(6, 50.0)})
    assert same is not None
    assert same.snr_floor == pytest.approx(math.sqrt(2 / (math.pi * 50)))


def test_windows_of_another_length_are_left_out_of_the_means() -> None:
    """Runs of a group may have another --log-every, and the signal of noise depends on the window's length."""
    rows = [
        tracking(seed=seed, step=[1000], **{V: [1.0 + seed], WINDOWED: [10.0 + seed], N: [length]})
        for seed, length in enumerate((50.0, 25.0, 50.0))
    ]
    (group,) = group_rows(rows)
    found = group.tracked()["stl"]
    assert found["posterior_variance"].n == 3
    assert (found["posterior_variance_window"].n, found["posterior_variance_window"].mean) == (2, 11.0)
    window = group.tracked_window()
    assert window is not None
    assert window[0] == 50.0


def test_of_repeats_the_newest_with_the_most_bounds_counts() -> None:
    """Else a repeat that nobody evaluated, or with --final-eval none, would hide the numbers of its equal."""
    whole = replace(row({"bound": {"test": -90.0}}), path="whole", created="2026-01-01")
    none = replace(row({"bound": {}}), path="none", created="2026-01-02")
    again = replace(row({"bound": {"test": -91.0}}), path="again", created="2026-01-03")
    evaluated = replace(whole, path="evaluated", created="2025-01-01", evals=({"k": 5000},))
    for rows, expected in (
        ([whole, none], "whole"),
        ([whole, none, again], "again"),
        ([none], "none"),
        ([whole, evaluated, again], "evaluated"),
    ):
        (group,) = group_rows(rows)
        assert [each.path for each in group.seeds()] == [expected]
        assert {each.path for each in group.repeated()} == {each.path for each in rows} - {expected}


def test_a_run_with_windows_of_one_step_has_its_moving_averages() -> None:
    (group,) = group_rows([tracking(**{"step": [1, 2], V: [1.0, 2.0], N: [1.0, 1.0], WINDOWED: [math.nan] * 2})])
    assert group.tracked_window() is None
    assert group.tracked()["stl"]["posterior_variance"].mean == 2.0


def test_what_was_tracked_over_seeds_leaves_out_what_is_no_number() -> None:
    snr = "stl.posterior_snr"
    rows = [
        tracking(seed=i, step=[10], **{V: [v], snr: [s], N: [50.0]})
        for i, (v, s) in enumerate([(1.0, math.nan), (3.0, 5.0)])
    ]
    (group,) = group_rows([*rows, row({}, 2)])
    found = group.tracked()["stl"]
    a, b = found["posterior_variance"], found["posterior_snr"]
    assert (a.mean, a.stderr, a.n) == (2.0, pytest.approx(1.0), 2)
    assert (b.mean, b.stderr, b.n) == (5.0, None, 1)
    window = group.tracked_window()
    assert window is not None
    assert window[0] == 50.0
    # Noise of 10 steps has an SNR of .25 in a moving average: 5 is far from it, and .5 says nothing.
    assert [cell.text for _, _, *cells in tracked_rows(group) for cell in cells] == ["2 ± 1", "5", "-", "-"] + [
        "-"
    ] * 4
    (noise,) = group_rows([tracking(seed=i, step=[10], **{snr: [0.5], N: [1.0]}) for i in range(2)])
    assert [cell.text for cell in tracked_rows(noise)[0]][3] == "at the floor"
    assert group_rows([row({})])[0].tracked() == {}


def test_the_best_of_a_number_is_by_what_the_number_is() -> None:
    """Of three seeds: the slowest was the best time, and the worst share of k-hat the best share."""
    found: list[RunRow] = []
    for seed, value in enumerate((1.0, 3.0, 2.0)):
        khat = {"median": value / 4, "share_above_0.7": value / 10}
        evaluated = {
            **{"split": "test", "k": 8, "seed": 0, "checkpoint": 5, "n": 9, "value": value, "ess": value},
            **{"khat": khat, "active_units": int(value), "curve": [{"k": 8, "value": value}]},
        }
        summary = {"bound": {"test": value}, "bound_before": {"test": 0.5}, "steps_per_second": value}
        valid = {"step": np.array([1]), "seconds": np.array([value]), "bound": np.array([0.0])}
        train = {"step": np.array([10])} | {
            f"stl.{network}_{name}{end}": np.array([value])
            for network in ("model", "posterior")
            for name in ("variance", "snr")
            for end in ("", "_window")
        }
        train[N] = np.array([50.0])
        run = replace(row(summary, seed), evals=(evaluated,), metrics={"valid": valid, "train": train})
        found.append(run)
    (group,) = group_rows(found)
    assert group.seconds_to(-1.0) is not None
    (evaluation,) = group.evaluations().values()
    tracked = group.tracked()["stl"]
    best = {
        "bound": group.bound(Split.TEST), "before": group.before(Split.TEST), "gain": group.gain(Split.TEST),
        "steps/s": group.steps_per_second(), "seconds": group.seconds_to(-1.0), "evaluated": evaluation.bound,
        "ess": evaluation.ess, "khat": evaluation.khat_share, "median": evaluation.khat,
        "active": evaluation.active_units, "curve": evaluation.curve[8], **tracked,
    }  # fmt: skip
    small = {"seconds": 1.0, "khat": 0.1, "median": 0.25} | {name: 1.0 for name in tracked if "variance" in name}
    others = {"before": 0.5, "gain": 2.5, "active": None, "steps/s": None}  # rates are not ranked
    for name, a in best.items():
        assert a is not None, name
        assert a.n == 3, name
        assert a.best == pytest.approx((small | others).get(name, 3.0)), name
    assert len(tracked) == 8
