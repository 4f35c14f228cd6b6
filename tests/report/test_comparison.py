"""What is compared with what, and what never is."""

from dataclasses import replace
from typing import Any

import pytest

from dregcli.names import RunStatus
from dregcli.report.comparison import compare, measured
from dregcli.report.groups import RunRow, group_rows
from dregcli.report.labels import labels
from dregcli.report.sections import sections_of
from dregcli.report.warnings import warnings_of

SPEC: dict[str, Any] = {
    "dataset": "digits",
    "data_checksum": "c",
    "task": "generative",
    "binarisation": "dynamic",
    "likelihood": "bernoulli",
    "objective": "iwae",
    "estimator": "dreg",
    "k": 64,
    "eval_seed": 0,
}


def rows(
    values: list[float], *, status: RunStatus = RunStatus.COMPLETED, evals: list[float] = (), **changes: Any
) -> list[RunRow]:  # type: ignore[assignment]
    spec = SPEC | changes
    found = []
    for seed, value in enumerate(values):
        kept = (
            [
                {
                    "checkpoint": 10,
                    "split": "test",
                    "k": 5000,
                    "seed": 0,
                    "n": 9,
                    "value": evals[seed],
                    "split_hash": "h",
                }
            ]
            if evals
            else []
        )
        summary = {"step": 10, "bound": {"test": value}, "split_hashes": {"test": "h" + spec["data_checksum"]}}
        group = repr(sorted(changes.items()))
        found.append(
            RunRow(
                f"runs/{group}/v{seed}", group, f"v{seed}", group, spec | {"seed": seed}, spec, status, summary, kept
            )
        )
    return found


def test_groups_of_the_same_data_and_k_are_compared_over_their_seeds() -> None:
    groups = group_rows([*rows([-90.0, -91.0, -92.0, -93.0]), *rows([-91.0, -92.1, -93.0, -93.9], estimator="stl")])
    (found,) = compare(groups)
    assert (found.measure.kind, found.measure.split, found.measure.k) == ("final", "test", 64)
    assert found.best == groups[0].key
    (pair,) = found.pairs
    assert pair.difference == pytest.approx((1.0 + 1.1 + 1.0 + 0.9) / 4)
    assert pair.verdict == "higher"
    assert found.cannot_be_told_from_best == {groups[0].key}
    assert labels(groups).by_key == {groups[0].key: "iwae/dreg", groups[1].key: "iwae/stl"}


@pytest.mark.parametrize(
    "changes",
    [{"data_checksum": "d"}, {"binarisation": "none"}, {"likelihood": "gaussian"}, {"task": "structured"}],
    ids=str,
)
def test_what_is_of_other_data_or_pixels_is_another_section(changes: dict[str, Any]) -> None:
    groups = group_rows([*rows([-90.0]), *rows([-80.0], **changes), *rows([-91.0], estimator="stl")])
    assert compare([groups[0], groups[1]]) == []
    first, second = sections_of(groups)
    assert [group.key for group in first.groups] == [groups[0].key, groups[2].key]
    assert [set(each.values) for each in first.comparisons] == [{groups[0].key, groups[2].key}]
    assert second.comparisons == ()
    assert not any("compared" in each for each in warnings_of([first, second]))


@pytest.mark.parametrize(
    ("changes", "word"), [({"k": 8}, "K"), ({"eval_k": 8}, "K"), ({"eval_seed": 1}, "evaluation seed")]
)
def test_bounds_at_another_k_or_evaluation_seed_are_never_compared(changes: dict[str, Any], word: str) -> None:
    groups = group_rows([*rows([-90.0]), *rows([-80.0], **changes)])
    assert compare(groups) == []
    assert any("nothing is compared" in each for each in warnings_of(sections_of(groups)))
    three = group_rows([*rows([-90.0]), *rows([-91.0], estimator="stl"), *rows([-80.0], **changes)])
    (section,) = sections_of(three)
    (found,) = section.comparisons
    assert set(found.values) == {three[0].key, three[1].key}
    assert found.apart == {three[2].key: f"its bounds differ in {word}"}
    assert any(f"its bounds differ in {word}" in each for each in warnings_of([section]))


def test_final_bounds_are_compared_at_the_k_of_their_evaluation() -> None:
    groups = group_rows([*rows([-90.0], k=2048, eval_k=1000), *rows([-91.0], k=1000)])
    (found,) = compare(groups)
    assert (found.measure.kind, found.measure.k) == ("final", 1000)


def test_completed_runs_without_bounds_stand_apart_as_such() -> None:
    without = [replace(row, summary={**row.summary, "bound": {}}) for row in rows([-90.0], estimator="reparam")]
    groups = group_rows([*rows([-90.0]), *rows([-91.0], estimator="stl"), *without])
    (found,) = compare(groups)
    assert found.apart == {groups[2].key: "its runs have no bounds"}


def test_evaluations_make_other_k_comparable_and_go_first() -> None:
    groups = group_rows(
        [*rows([-90.0, -90.5], evals=[-88.0, -88.5], k=8), *rows([-89.0, -89.5], evals=[-87.0, -87.5])]
    )
    (found,) = compare(groups)
    assert (found.measure.kind, found.measure.k, found.measure.examples) == ("evaluation", 5000, 9)
    assert found.of(found.best).mean == -87.25
    alike = group_rows([*rows([-90.0], evals=[-88.0]), *rows([-89.0], evals=[-87.0], estimator="stl")])
    assert [each.measure.kind for each in compare(alike)] == ["evaluation", "final"]


def test_an_evaluation_of_another_step_is_not_the_runs() -> None:
    groups = group_rows([*rows([-90.0], evals=[-88.0], k=8), *rows([-89.0], evals=[-87.0])])
    moved = [replace(row, summary={**row.summary, "step": 20}) for row in groups[0].rows]
    assert compare([replace(groups[0], rows=tuple(moved)), groups[1]]) == []


def test_the_best_in_bold_is_by_the_test_and_not_by_the_mean() -> None:
    near = [-90.05, -91.2, -91.9, -93.0]
    groups = group_rows(
        [
            *rows([-90.0, -91.0, -92.0, -93.0]),
            *rows(near, estimator="stl"),
            *rows([-95.0, -96.1, -97.0, -97.9], estimator="reparam"),
        ]
    )
    (found,) = compare(groups)
    assert found.best == groups[0].key
    assert found.cannot_be_told_from_best == {groups[0].key, groups[1].key}
    for few in (1, 2, 3):
        # Two seeds could not tell the worst group from the best, and it was as bold.
        worst = [-99.0, -120.0, -99.0][:few]
        (found,) = compare(group_rows([*rows([-90.0, -91.0, -92.0, -93.0]), *rows(worst, estimator="stl")]))
        assert found.cannot_be_told_from_best == set(), f"of {few} shared seeds nobody knows"
        assert found.untested == [key for key in found.values if key != found.best]


def test_warnings_name_what_is_left_out() -> None:
    groups = group_rows(
        [
            *rows([-90.0]),
            *(replace(each, spec={**each.spec, "seed": 5}) for each in rows([0.0], status=RunStatus.CRASHED)),
        ]
    )
    found = warnings_of(sections_of(groups))
    assert any("crashed" in each and "not in its means" in each for each in found)
    assert any("one seed only" in each for each in found)
    done = group_rows([*rows([-90.0, -91.0, -92.0]), *rows([0.0], status=RunStatus.FAILED)])
    assert warnings_of(sections_of(done)) == [], "a seed that was done again is not missing"


def test_a_luckier_choice_of_seeds_makes_no_group_the_best() -> None:
    """reparam has more seeds, and the added ones are high: at those that both have it is lower every time."""
    dreg = rows([-90.0, -91.0, -92.0, -93.0])
    reparam = rows([-90.5, -91.6, -92.5, -93.6, -80.0, -80.0], estimator="reparam")
    groups = group_rows([*dreg, *reparam])
    (found,) = compare(groups)
    assert found.of(groups[1].key).mean > found.of(groups[0].key).mean
    assert found.best == groups[0].key
    assert found.cannot_be_told_from_best == {groups[0].key}


def test_differences_of_rounding_are_none() -> None:
    a = [-90.0, -91.0, -92.0, -93.0]
    groups = group_rows([*rows(a), *rows([value * (1 + 1e-15) for value in a], estimator="stl")])
    assert [pair.verdict for pair in compare(groups)[0].pairs] == ["identical"]


def evaluated(
    estimator: str, *evaluations: tuple[int, int, float], examples: int | None = 100, k: int = 64
) -> RunRow:
    """A run of 100 test examples, with evaluations as K, number of examples, and value."""
    (row,) = rows([-90.0], estimator=estimator, k=k)
    evals = [
        {"checkpoint": 10, "split": "test", "k": at, "seed": 0, "n": n, "value": value, "split_hash": "hc"}
        for at, n, value in evaluations
    ]
    bounds = {} if examples is None else {"bounds": {"test": {"n": examples}}}
    return replace(row, evals=evals, summary={**row.summary, **bounds})


def order(*found: RunRow) -> list[tuple[str, int, int | None, int]]:
    """Kind, K, examples and groups of each measure, the most informative one first."""
    of = measured(group_rows(found))
    return [(each.kind, each.k, each.examples, len(groups)) for each, groups in of.items()]


def test_an_evaluation_of_a_part_of_the_split_never_stands_above_a_whole_one() -> None:
    part, whole = (5000, 30, -80.0), (500, 100, -88.0)
    all_three = [evaluated(name, part, whole) for name in ("dreg", "stl", "reparam")]
    evals, final = [("evaluation", 500, 100, 3), ("evaluation", 5000, 30, 3)], ("final", 64, 100, 3)
    assert order(*all_three) == [evals[0], final, evals[1]]
    assert order(all_three[0]) == [(kind, k, n, 1) for kind, k, n, _ in (evals[0], final, evals[1])]
    # Fewer groups have the whole evaluation, and the part is still below it.
    some = [*all_three[:2], evaluated("reparam", part, k=8)]
    ranked = [*order(*some)]
    assert ranked.index(("evaluation", 500, 100, 2)) < ranked.index(("evaluation", 5000, 30, 3)), ranked
    # A final bound over the whole split stands above a part of it.
    of_part = [evaluated(name, part) for name in ("dreg", "stl")]
    assert order(*of_part) == [("final", 64, 100, 2), ("evaluation", 5000, 30, 2)]
    # Groups that share no whole measure are compared by the part, the one with most examples first.
    mixed = [evaluated(name, part, (5000, 40, -80.0), k=k) for name, k in (("dreg", 64), ("stl", 8))]
    assert order(*mixed)[0] == ("evaluation", 5000, 40, 2)


def test_every_measure_says_over_how_many_examples_it_is() -> None:
    whole = measured(group_rows([evaluated("dreg", (5000, 30, -80.0), (500, 100, -88.0))]))
    assert [each.text for each in whole] == [
        "test bound by dreg eval at K=500, 100 examples",
        "test final bound at K=64, 100 examples",
        "test bound by dreg eval at K=5,000, 30 examples",
    ]
    assert measured(group_rows([evaluated("dreg", examples=None)])).popitem()[0].text == "test final bound at K=64"
