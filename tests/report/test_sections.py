"""Sections of a report: what belongs beside each other, and the shortest titles that differ."""

from typing import Any

import pytest

from dregcli.report.groups import group_rows
from dregcli.report.sections import sections_of
from tests.support.report_rows import run_row

PARENT = {"run": "mine/v001", "checkpoint": 500, "model_sha256": "a" * 64}
OWN = {"model": "my_model.py:ConvVae", "likelihood": None, "hidden": None, "latent_dim": None}
MNIST = {"dataset": "mnist", "data_checksum": "m" * 64}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{}, {"estimator": "stl"}, {"k": 8, "lr": 0.1, "hidden": (9,), "latent_dim": 3}], ["digits"]),
        ([{}, MNIST, MNIST | {"task": "structured"}], ["digits", "mnist", "mnist, structured"]),
        ([MNIST | {"likelihood": "gaussian", "binarisation": "none"}], ["mnist"]),
        (
            [{}, {"binarisation": "none"}, {"binarisation": "none", "likelihood": "gaussian"}],
            [
                "digits, dynamic binarisation",
                "digits, no binarisation, bernoulli likelihood",
                "digits, no binarisation, gaussian likelihood",
            ],
        ),
        ([{}, {"split_convention": "burda"}, MNIST], ["digits, dreg split", "digits, burda split", "mnist"]),
        ([{}, {"data_checksum": "d" * 64}], ["digits, data cccccccc", "digits, data dddddddd"]),
        ([{}, {"model": "linear-gaussian", "hidden": ()}], ["digits, vae", "digits, linear-gaussian"]),
        ([{}, OWN, OWN | {"model_options": {"width": 3}}], ["digits, vae", "digits, my_model.py:ConvVae"]),
        (
            [{}, MNIST, {"parent": PARENT}, {"parent": PARENT | {"reset_encoder": True}, "estimator": "stl"}],
            ["digits", "digits, encoder of mine/v001 retrained", "mnist"],
        ),
        ([{"parent": PARENT}, MNIST, {}], ["digits", "digits, encoder of mine/v001 retrained", "mnist"]),
        (
            [{"parent": PARENT}, {"parent": PARENT | {"checkpoint": 900, "model_sha256": "b" * 64}}],
            ["digits, encoder of mine/v001 retrained, step 500", "digits, encoder of mine/v001 retrained, step 900"],
        ),
        (
            [{"parent": PARENT}, {"parent": PARENT | {"model_sha256": "b" * 64}}],
            [f"digits, encoder of mine/v001 retrained, step 500, model {each * 8}" for each in "ab"],
        ),
    ],
)
def test_titles_say_what_sections_share_and_no_more(changes: list[dict[str, Any]], expected: list[str]) -> None:
    found = sections_of(group_rows([run_row(0, **each) for each in changes]))
    assert [section.title for section in found] == expected
    assert sum(len(section.groups) for section in found) == len(changes)


def test_labels_name_only_what_differs_within_their_section() -> None:
    groups = group_rows([run_row(0, **each) for each in ({}, {"estimator": "stl"}, MNIST | {"lr": 0.1, "k": 8})])
    found = sections_of(groups)
    assert [[*section.labels.values()] for section in found] == [["iwae/dreg", "iwae/stl"], ["iwae/dreg"]]


def test_a_label_names_the_options_and_the_code_of_a_model_of_ones_own() -> None:
    before = ("5" * 64 + "@320",)
    changes = (
        {"model_options": {"width": 3}},
        {"model_options": {"width": 4}},
        {"model_digest": "9" * 64, "model_before": before},
    )
    (section,) = sections_of(group_rows([run_row(0, **OWN, **each) for each in changes]))
    labels = [*section.labels.values()]
    assert labels[:2] == ["iwae/dreg width=3", "iwae/dreg width=4"]
    assert labels[2] == "iwae/dreg A"
    assert "A: iwae/dreg, code=99999999, code-before=55555555@320." in section.legend
