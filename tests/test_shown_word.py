"""Words of objectives and estimators as people read them."""

import pytest

from dregcli.engine.pairs import all_pairs
from dregcli.engine.words import parse_estimator, parse_objective, short_word, word_of
from dregcli.parts import kept_apart, shown_word


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("dreg", "dreg"),
        (
            "dreg-cv:alpha=0.000320980438259562,beta=0.0,gamma=-12.3456,delta=0.0",
            "dreg-cv:alpha=0.000321,gamma=-12.3",
        ),
        ("dreg-cv:alpha=0.0,beta=0.0,gamma=0.0,delta=0.0", "dreg-cv"),
        ("dreg-alpha:alpha=0.9", "dreg-alpha"),
        ("vimco:baseline=geometric", "vimco:baseline=geometric"),
        ("vr-iwae:alpha=0.30000001/dreg-alpha:alpha=1e-09", "vr-iwae:alpha=0.3/dreg-alpha:alpha=1e-09"),
        ("miwae:groups=12345", "miwae:groups=12345"),
        ("dreg-alpha:alpha=12345.6", "dreg-alpha:alpha=12346"),
        ("of-a-later-version:x=0.123456", "of-a-later-version:x=0.123"),
    ],
)
def test_a_word_has_three_digits_and_no_defaults(word: str, shown: str) -> None:
    assert shown_word(word) == shown


def test_a_shown_word_means_the_same_pair_to_three_digits() -> None:
    for pair in all_pairs():
        for setting in pair.estimator.settings():
            estimator = parse_estimator(shown_word(word_of(setting), digits=None))
            assert estimator == setting
        assert parse_objective(shown_word(word_of(pair.objective), digits=None)) == pair.objective
        assert shown_word(word_of(pair.objective)) == short_word(pair.objective)


def test_different_words_stay_different() -> None:
    words = dict(enumerate(["dreg-alpha:alpha=0.12345", "dreg-alpha:alpha=0.12349", "dreg-alpha:alpha=0.9"]))
    assert [*kept_apart(words).values()] == ["dreg-alpha:alpha=0.12345", "dreg-alpha:alpha=0.12349", "dreg-alpha"]
    near = {0: "dreg-alpha:alpha=0.12345678901234567", 1: "dreg-alpha:alpha=0.12345678901234568"}
    assert len(set(kept_apart(near).values())) == 2
