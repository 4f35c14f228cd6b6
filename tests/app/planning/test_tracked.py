"""``--track-estimators``: which words, and what is wrong with them."""

import pytest

from dregcli.app.planning.tracked import tracked_words, with_trained
from dregcli.words import split_list


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stl,dreg", ["stl", "dreg"]),
        (" stl , rws/dreg,", ["stl", "rws/dreg"]),
        ("dreg-cv:alpha=1,beta=0,stl", ["dreg-cv:alpha=1,beta=0", "stl"]),
        ("stl,vr-iwae:alpha=0.3/dreg", ["stl", "vr-iwae:alpha=0.3/dreg"]),
        ("jvi:order=2/dreg-cv:alpha=1,beta=0", ["jvi:order=2/dreg-cv:alpha=1,beta=0"]),
        ("", []),
    ],
)
def test_commas_stand_between_words_and_between_parameters(text, words) -> None:
    assert split_list(text) == words


def _tracked(given: object, objective: object = "iwae", k: int | None = 4) -> tuple[list[str], list[str]]:
    words, faults = tracked_words(given, objective=objective, k=k)
    return words, [str(fault) for fault in faults]


def test_a_spec_keeps_words_spelt_out_and_pairs_of_other_objectives() -> None:
    words, faults = _tracked("dreg-alpha,rws/dreg,iwae/stl")
    assert words == ["dreg-alpha:alpha=0.9", "rws/dreg", "stl"]
    assert not faults
    assert _tracked(words) == (words, []), "a spec's words mean themselves"


def test_all_is_what_the_objective_takes() -> None:
    assert _tracked("all", "rws")[0] == ["reparam", "dreg", "dreg-norm"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("dregg", "track-estimators: no estimator is called 'dregg'. Did you mean 'dreg'?"),
        ("iwea/dreg", "track-estimators: no objective is called 'iwea'. Did you mean 'iwae'?"),
        ("rws/stl", "track-estimators: 'rws' has no path"),
        ("dreg,stl,iwae/dreg", "track-estimators: 'iwae/dreg' is given twice."),
        ("vimco,vimco:baseline=arithmetic", "track-estimators: 'vimco:baseline=arithmetic' is given twice."),
        ("dreg-alpha:beta=1", "track-estimators: 'dreg-alpha' has no parameter 'beta'"),
        (5, "track-estimators: must be words separated by commas, such as stl,dreg, got 5."),
        (["stl", 5], "track-estimators: must be words such as stl or rws/dreg, got 5."),
    ],
)
def test_what_cannot_be_tracked(given, fault) -> None:
    (found,) = _tracked(given)[1]
    assert found.startswith(fault)


def test_the_k_that_a_pair_needs_is_told_as_such() -> None:
    (fault,) = _tracked("vimco", k=1)[1]
    assert fault.startswith("track-estimators: k: 'vimco")


def test_names_are_looked_at_whatever_the_objective_is() -> None:
    for objective, k in (("iwea", 4), (5, 4), ("iwae", None)):
        (fault,) = _tracked("stl,dregg", objective, k)[1]
        assert "Did you mean 'dreg'?" in fault


@pytest.mark.parametrize(
    ("tracked", "estimator", "words"),
    [
        (["stl"], "dreg", ["dreg", "stl"]),
        (["stl", "rws/dreg"], "dreg", ["dreg", "stl", "rws/dreg"]),
        (["stl", "dreg"], "dreg", ["stl", "dreg"]),
        (["dreg-alpha:alpha=0.5"], "dreg-alpha", ["dreg-alpha:alpha=0.9", "dreg-alpha:alpha=0.5"]),
        (["dreg-alpha:alpha=0.9"], "dreg-alpha", ["dreg-alpha:alpha=0.9"]),
        ([], "dreg", []),
        (["stl"], "dregg", ["stl"]),
    ],
)
def test_the_estimator_that_trains_is_tracked_once(tracked, estimator, words) -> None:
    assert with_trained(tracked, estimator) == words
