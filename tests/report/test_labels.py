"""Short names of groups: short, always different, and explained."""

from typing import Any

import pytest

from dregcli.report.groups import Group, group_rows
from dregcli.report.labels import LONGEST, Labels, Rename, labels
from dregcli.report.settings import differing_names
from tests.support.report_rows import run_row

LEARNED = "dreg-cv:alpha=0.000320980438259562,beta=0.0,gamma=0.0,delta=0.0"


def _groups(*changes: dict[str, Any]) -> list[Group]:
    return group_rows([run_row(0, **each) for each in changes])


def _labels(*changes: dict[str, Any], renames: tuple[tuple[str, str], ...] = ()) -> list[str]:
    return [*labels(_groups(*changes), [Rename(*each) for each in renames]).by_key.values()]


def _legend(*changes: dict[str, Any]) -> str:
    return " ".join(labels(_groups(*changes)).legend)


def test_a_label_is_the_pair_if_nothing_else_differs() -> None:
    found = labels(_groups({}, {"estimator": "stl"}))
    assert found == Labels(dict(zip(found.by_key, ["iwae/dreg", "iwae/stl"], strict=True)), ())


def test_a_label_names_only_the_settings_that_differ() -> None:
    changes = ({}, {"k": 8}, {"estimator": "stl", "lr": 0.01, "k": 8})
    assert _labels(*changes) == ["iwae/dreg K=64 lr=0.001", "iwae/dreg K=8 lr=0.001", "iwae/stl K=8 lr=0.01"]
    assert differing_names(_groups(*changes)) == ["estimator", "k", "lr"]
    assert _legend(*changes) == "In labels, K is the number of samples per example; lr is the learning rate."


def test_a_setting_that_a_group_does_not_have_is_not_shown() -> None:
    origin = {"run": "a/v001", "checkpoint": 5, "model_sha256": "x"}
    assert _labels({"parent": origin}, {"parent": origin | {"reset_encoder": True}}) == [
        "iwae/dreg",
        "iwae/dreg reset",
    ]
    screened = {"backward": "screened", "screen_inflation": 0.15, "screen_precision": "float32"}
    assert _labels({}, screened) == ["iwae/dreg dense", "iwae/dreg screened"]


def test_settings_that_auto_chooses_are_named_only_where_nothing_else_differs() -> None:
    screened = {"backward": "screened", "screen_inflation": 0.15, "screen_precision": "float32"}
    assert _labels(screened, {"k": 1}) == ["iwae/dreg K=64", "iwae/dreg K=1"]
    assert "backward, screen-inflation, screen-precision, which no label shows" in _legend(screened, {"k": 1})
    three = _labels(screened, screened | {"screen_inflation": 0.3}, {})
    assert three == ["iwae/dreg inflation=0.15", "iwae/dreg inflation=0.3", "iwae/dreg dense"]


def test_parameters_have_three_digits() -> None:
    assert _labels({}, {"estimator": LEARNED}) == ["iwae/dreg", "iwae/dreg-cv:alpha=0.000321"]
    assert "Parameters in labels are rounded." in _legend({}, {"estimator": LEARNED})
    assert "rounded" not in _legend({}, {"objective": "vr-iwae:alpha=0.3"})


def test_parameters_that_differ_later_have_more_digits() -> None:
    near = LEARNED.replace("0.00032098", "0.00032104")
    assert _labels({"estimator": LEARNED}, {"estimator": near}) == [
        "iwae/dreg-cv:alpha=0.00032098",
        "iwae/dreg-cv:alpha=0.00032104",
    ]


@pytest.mark.parametrize(
    ("changes", "expected", "explained"),
    [
        (
            ({}, {"batch_size": 64}, {"lr": 0.5}, {"estimator": "dreg-alpha:alpha=0.8"}),
            ["iwae/dreg", "iwae/dreg batch=64", "iwae/dreg lr=0.5", "iwae/dreg-alpha:alpha=0.8"],
            "A setting that a label does not name has its most common value: batch=32, lr=0.001.",
        ),
        (
            ({"k": k, "batch_size": batch, "lr": lr} for k in (2, 3) for batch in (16, 17) for lr in (0.001, 0.002)),
            [
                *("iwae/dreg", "iwae/dreg lr=0.002", "iwae/dreg B=17", "iwae/dreg B=17 lr=0.002"),
                *("iwae/dreg K=3", "iwae/dreg K=3 lr=0.002", "iwae/dreg K=3 B=17", "iwae/dreg K=3 B=17 lr=0.002"),
            ],
            "A setting that a label does not name has its most common value: K=2, B=16, lr=0.001.",
        ),
        (
            ({"objective": "vr-iwae:alpha=0.3", "estimator": f"dreg-alpha:alpha=0.{each}"} for each in (7, 8)),
            ["vr-iwae:0.3/dreg-alpha:0.7", "vr-iwae:0.3/dreg-alpha:0.8"],
            "What follows a colon is the value of alpha in dreg-alpha, alpha in vr-iwae.",
        ),
        (
            (
                {"objective": "vr-iwae:alpha=0.37", "estimator": word}
                for word in ("dreg", "ovis:gamma=0.25", "dreg-cv:alpha=0.0,beta=0.5,gamma=0.0,delta=0.1")
            ),
            ["dreg", "ovis:0.25", "dreg-cv:beta=0.5,delta=0.1"],
            "The objective of all groups is vr-iwae:0.37.",
        ),
    ],
    ids=["most common value", "name", "parameter", "objective"],
)
def test_labels_are_shortened_by_rules_that_the_legend_explains(changes, expected, explained) -> None:
    groups = _groups(*changes)
    found = labels(groups)
    assert [*found.by_key.values()] == expected
    assert explained in found.legend


def test_a_letter_takes_the_place_of_what_no_label_can_show() -> None:
    many = [
        {"hidden": (size, size, size), "lr": lr, "latent_dim": latents, "batch_size": batch}
        for size, lr, latents, batch in [(100, 0.1, 10, 8), (101, 0.2, 11, 9), (102, 0.3, 12, 10)]
    ]
    found = labels(_groups(*many))
    assert [*found.by_key.values()] == ["iwae/dreg", "iwae/dreg A", "iwae/dreg B"]
    assert "A: iwae/dreg, h=101,101,101, z=11, B=9, lr=0.2." in found.legend


def test_labels_are_short_and_different_whatever_differs() -> None:
    long = "dreg-cv:alpha=0.0123456789,beta=0.0123456789,gamma=0.0123456789,delta=0.0123456789"
    alike = [{"estimator": long, "lr": 0.001 + i * 1e-12} for i in range(60)]
    other = [{"estimator": long.replace("delta=0.01", f"delta=0.{i}1"), "hidden": (200,) * i} for i in range(1, 60)]
    for changes in (alike, other, [*alike, *other, {}]):
        found = labels(_groups(*changes))
        assert len(set(found.by_key.values())) == len(changes)
        assert max(map(len, found.by_key.values())) <= LONGEST
        assert not any("None" in text for text in (*found.by_key.values(), *found.legend))


def test_the_user_names_groups() -> None:
    changes = ({}, {"k": 8}, {"estimator": "stl"})
    auto = ["iwae/dreg K=64", "iwae/dreg K=8", "iwae/stl K=64"]
    assert _labels(*changes) == auto
    for pattern, expected in {
        "iwae/stl K=64": [*auto[:2], "STL"],  # the automatic label
        "iwae/stl": [*auto[:2], "STL"],  # the pair
        "iwae-stl": [*auto[:2], "STL"],  # the run's name
        "iwae-stl/v001": [*auto[:2], "STL"],
        "*st?": [*auto[:2], "STL"],
        "IWAE/STL": auto,
        "stl": auto,
        "iwae/dreg": ["STL K=64", "STL K=8", auto[2]],
        "*": ["STL iwae/dreg K=64", "STL iwae/dreg K=8", "STL iwae/stl K=64"],
    }.items():
        assert _labels(*changes, renames=((pattern, "STL"),)) == expected, pattern
    assert _labels(*changes, renames=(("*8", "first"), ("iwae/dreg*", "second"))) == ["second", "first", auto[2]]


def test_a_chosen_name_never_equals_another_label() -> None:
    found = _labels({}, {"estimator": "stl"}, renames=(("iwae/dreg", "iwae/stl"),))
    assert found == ["iwae/stl", "iwae/stl (2)"]


def test_a_legend_explains_no_name_that_the_user_chose() -> None:
    groups = _groups({}, {"k": 8})
    found = labels(groups, [Rename("*K=8", "few"), Rename("*", "many")])
    assert found.legend == ()
    assert "K is the number" in labels(groups, [Rename("*K=8", "few")]).legend[0]
