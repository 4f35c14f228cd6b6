import pytest

from dregcli.describe import described, seen_as

BASE = {"dataset": "mnist", "task": "generative", "split_convention": "dreg", "binarisation": "dynamic"}
BASE |= {"likelihood": "bernoulli"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "mnist (dreg split, dynamic binarisation)"),
        (
            {"task": "structured", "split_convention": "burda"},
            "mnist, bottom half given top half (burda split, dynamic binarisation)",
        ),
        ({"binarisation": "none", "likelihood": "gaussian"}, "mnist (dreg split, gaussian likelihood)"),
        # A report reads specs of dregs to come, whose words it does not know.
        ({"task": "t", "likelihood": "beta"}, "mnist (dreg split, dynamic binarisation, beta likelihood)"),
    ],
)
def test_words(changes, text) -> None:
    assert described({**BASE, **changes}) == text


def test_what_two_bounds_must_share() -> None:
    assert seen_as(BASE) == seen_as({**BASE, "split_convention": "burda"})
    for changes in ({"task": "structured"}, {"binarisation": "none"}, {"likelihood": "gaussian"}):
        assert seen_as({**BASE, **changes}) != seen_as(BASE)
