import pytest

from dregcli.app.diagnosis.bias_check import partial_key
from dregcli.describe import described, seen_as

BASE = {"dataset": "mnist", "task": "generative", "split_convention": "dreg", "binarisation": "dynamic"}


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
    assert seen_as(BASE) == seen_as({**BASE, "likelihood": "bernoulli", "split_convention": "burda"})
    for changes in ({"task": "structured"}, {"binarisation": "none"}, {"likelihood": "gaussian"}):
        assert seen_as({**BASE, **changes}) != seen_as(BASE)


def test_a_check_of_before_there_were_split_hashes_goes_on() -> None:
    settings = {"k": 4, "data_checksum": "c"}
    assert partial_key({**settings, "split_hash": "s"}) == partial_key(settings)
    assert partial_key({**settings, "data_checksum": "d"}) != partial_key(settings)
