"""Comparisons along one setting: which groups differ in it alone, and one family of tests."""

from dataclasses import replace
from typing import Any

import pytest

from dregcli.report.along import Along, along_settings, along_table
from dregcli.report.groups import group_rows
from dregcli.report.paired import LEVEL
from dregcli.report.sections import ReportSection, sections_of
from tests.support.report_rows import run_row

SCREENED = {"backward": "screened", "screen_inflation": 0.15, "screen_precision": "float32"}
MODELS = ("hidden", "latent_dim", "likelihood", "posterior")


def rows(**changes: Any) -> list[Any]:
    """Four seeds, whose bounds are those of the estimator plus noise of the seed."""
    better = {"dreg": 0.5, "stl": 0.0}[changes.get("estimator", "dreg")]
    return [run_row(seed, bound=-90.0 + better + 0.01 * seed * (1 + better), **changes) for seed in range(4)]


def along(*of_groups: dict[str, Any]) -> tuple[dict[str, Along], dict[str, str], list[ReportSection]]:
    sections = sections_of(group_rows([row for each in of_groups for row in rows(**each)]))
    labels = {key: label for section in sections for key, label in section.labels.items()}
    return {each.setting: each for each in along_settings(sections, MODELS)}, labels, sections


GRID = [{"estimator": e, "k": k, **(SCREENED if k == 64 else {})} for k in (4, 64) for e in ("dreg", "stl")]


def test_each_estimator_at_each_k_and_no_pair_that_differs_twice() -> None:
    """What auto chooses together with K is no setting of its own."""
    found, labels, sections = along(*GRID)
    assert list(found) == ["estimator", "k"]
    assert [[labels[group.key] for group in line.groups] for line in found["estimator"].lines] == [
        [f"iwae/dreg K={k}", f"iwae/stl K={k}"] for k in (4, 64)
    ]
    table = along_table(found["estimator"], labels)
    assert [row[0].text for row in table.rows] == [f"iwae/dreg K={k} minus iwae/stl K={k}" for k in (4, 64)]
    assert [row[1].text for row in table.rows] == [f"test final bound at K={k}" for k in (4, 64)]
    assert all("dreg" in row[3].text for row in table.rows)
    assert any("for the 2 tested pairs of all tables along a setting" in note for note in table.notes)
    assert sections[0].comparisons


def test_parameters_that_agree_in_the_digits_of_a_label_are_still_groups_of_their_own() -> None:
    words = ("vr-iwae:alpha=0.1231", "vr-iwae:alpha=0.1234", "iwae")
    found, _, _ = along(*({"objective": word, "lr": lr} for word in words for lr in (0.1, 0.2)))
    assert [[group.spec["objective"] for group in line.groups] for line in found["objective"].lines] == [[*words]] * 2


def test_bounds_at_unlike_k_are_never_compared() -> None:
    found, labels, _ = along(*GRID)
    assert all(line.comparison is None and not line.pairs for line in found["k"].lines)
    table = along_table(found["k"], labels)
    assert table.rows == ()
    assert table.notes[0] == "Not compared with iwae/dreg K=4: iwae/dreg K=64, because its bounds differ in K."
    # Their final bounds may be measured at one K, and then they are.
    found, labels, _ = along(*({**each, "eval_k": 64 if each["k"] == 4 else None} for each in GRID))
    table = along_table(found["k"], labels)
    assert [row[0].text for row in table.rows] == [
        f"iwae/{e} K=4 eval-K=64 minus iwae/{e} K=64" for e in ("dreg", "stl")
    ]
    assert table.title.endswith("test final bound at K=64")


def test_a_comparison_that_tests_something_is_shown_before_one_that_tests_nothing() -> None:
    """One seed of five evaluated hides no final bounds of all five."""
    evaluated = {
        **{
            "checkpoint": 1000,
            "split": "test",
            "k": 5000,
            "seed": 0,
            "n": 9,
            "value": -80.0,
            "split_hash": "test-digits",
        },
    }
    grid = [{"estimator": e, "lr": lr} for e in ("dreg", "stl") for lr in (0.1, 0.2)]
    runs = [row for each in grid for row in rows(**each)]
    some = [replace(row, evals=[evaluated]) if row.seed == 0 else row for row in runs]
    (by_estimator,) = (
        each for each in along_settings(sections_of(group_rows(some)), MODELS) if each.setting == "estimator"
    )
    assert [line.comparison.measure.text for line in by_estimator.lines if line.comparison] == [
        "test final bound at K=64"
    ] * 2
    assert [pair.verdict for line in by_estimator.lines for pair in line.pairs] == ["higher"] * 2
    few = [row for row in some if row.seed == 0]
    (by_estimator, _) = along_settings(sections_of(group_rows(few)), MODELS)
    assert [line.comparison.measure.k for line in by_estimator.lines if line.comparison] == [5000] * 2


def test_all_tests_are_one_family() -> None:
    found, _, _ = along(*({"estimator": e, "lr": lr} for e in ("dreg", "stl") for lr in (0.1, 0.2, 0.3)))
    pairs = [pair for each in found.values() for line in each.lines for pair in line.pairs]
    assert {each.tests for each in found.values()} == {len(pairs)} == {9}
    for pair in pairs:
        if pair.p is not None and pair.verdict in ("higher", "lower"):
            assert pair.adjusted is not None
            assert pair.p < pair.adjusted <= LEVEL or pair.p == 0.0
    same = [pair for line in found["lr"].lines for pair in line.pairs]
    assert {pair.verdict for pair in same} == {"identical"}


@pytest.mark.parametrize(
    "groups",
    [
        [{}],
        [{}, {"estimator": "stl"}],
        [{}, {"estimator": "stl", "lr": 0.5}],
        [{}, {"binarisation": "none"}],
        [{}, {"task": "structured"}],
        [{"k": 4}, {"k": 8}],
    ],
)
def test_where_the_comparison_of_a_section_says_it_all_there_is_none(groups: list[dict[str, Any]]) -> None:
    assert along(*groups)[0] == {}


def test_models_on_the_same_pixels_are_compared_across_sections() -> None:
    linear = {"model": "linear-gaussian", "hidden": ()}
    found, labels, sections = along({}, linear, linear | {"task": "structured"})
    assert len(sections) == 3
    assert list(found) == ["model"]
    (line,) = found["model"].lines
    assert [group.spec["model"] for group in line.groups] == ["vae", "linear-gaussian"]
    assert len(line.pairs) == 1
    assert along_table(found["model"], labels).rows
