"""Which pairs words mean, and everything that is wrong with them at once."""

import pytest

from dregcli.app.planning.asked_pairs import asked_pairs, means_all, parse_asked
from dregcli.engine.pairs import estimators_of
from dregcli.engine.words import parse_objective, word_of
from dregcli.errors import SpecError


def _words(objective: str | None, *estimators: str, k: int = 4, default: str = "iwae") -> list[str]:
    return [asked.pair.word for asked in asked_pairs(objective, estimators, default_objective=default, k=k)]


def _faults(objective: str | None, *estimators: str, k: int = 4) -> list[str]:
    with pytest.raises(SpecError) as caught:
        asked_pairs(objective, estimators, default_objective="iwae", k=k)
    return [str(fault) for fault in caught.value.faults]


def test_names_are_of_the_objective_that_was_given_or_else_of_the_default() -> None:
    assert _words(None, "dreg", "stl", default="elbo") == ["elbo/dreg", "elbo/stl"]
    assert _words("jvi:order=2", "dreg") == ["jvi:order=2/dreg"]


def test_pairs_bring_their_objective() -> None:
    assert _words(None, "rws/dreg", "jvi:order=2/stl", "dreg") == ["rws/dreg", "jvi:order=2/stl", "iwae/dreg"]
    assert _words("rws", "rws/dreg", "dreg-norm") == ["rws/dreg", "rws/dreg-norm"], "agreeing with it is no fault"


def test_each_pair_once_in_the_order_asked_for() -> None:
    assert _words(None, "stl", "iwae/stl", "dreg", "stl") == ["iwae/stl", "iwae/dreg"]
    everything = _words(None, "vimco", "all")
    assert everything[0] == "iwae/vimco:baseline=arithmetic"
    assert len(everything) == len(set(everything)) == len(estimators_of(parse_objective("iwae")))


@pytest.mark.parametrize("objective", ["iwae", "rws", "piwae", "jvi"])
@pytest.mark.parametrize("k", [1, 2, 16])
def test_all_means_what_works_with_so_many_samples(objective: str, k: int) -> None:
    target = parse_objective(objective)
    if k < target.smallest_k:
        (fault,) = _faults(objective, "all", k=k)
        assert fault.startswith("k: ")
        return
    names = [asked.pair.estimator.name for asked in asked_pairs(objective, ["all"], default_objective="iwae", k=k)]
    assert names
    assert set(names) <= {estimator.name for estimator in estimators_of(target)}
    assert names == [asked.pair.estimator.name for asked in _asked(f"{objective}/all", k=k)]
    if objective == "iwae" and k == 1:
        assert set(names) == {"reparam", "stl", "dreg", "dreg-norm", "dreg-alpha", "reinforce"}


def _asked(word: str, k: int = 4):
    return asked_pairs(None, [word], default_objective="iwae", k=k)


def test_bare_is_without_parameters() -> None:
    found = asked_pairs(None, ["dreg-cv", "dreg-alpha:alpha=0.5", "jvi:order=2/dreg"], default_objective="iwae", k=4)
    assert [asked.bare for asked in found] == [True, False, True]
    assert all(asked.bare for asked in _asked("all"))


def test_all_includes_the_estimator_of_the_run_with_its_parameters() -> None:
    def names(own: str | None, objective: str = "iwae", k: int = 4) -> list[str]:
        found = asked_pairs(objective, ["all"], default_objective="iwae", k=k, own=own)
        assert all(each.by_all and each.bare for each in found)
        return [word_of(each.pair.estimator) for each in found]

    usual = names(None)
    assert names("dreg-alpha:alpha=0.5") == [*usual, "dreg-alpha:alpha=0.5"]
    assert names("dreg-alpha:alpha=0.9") == usual, "it is one of all"
    # Scalars that are learned are those of the training: there is one such estimator.
    learned = "dreg-cv:alpha=0.0,beta=1.0,gamma=0.0,delta=0.0"
    assert len(names(learned)) == len(usual)
    assert learned in names(learned)
    # An own estimator that cannot work here is none that the user named.
    assert names("dreg-alpha:alpha=0.5", "rws") == names(None, "rws")
    assert names("vimco:baseline=geometric", k=1) == names(None, k=1)


def test_every_fault_at_once() -> None:
    faults = _faults(None, "foo", "nix/fo", "rws/stl", "dreg", "jvi:order=9/dreg", "dreg-alpha:beta=1")
    assert [fault.partition(":")[0] for fault in faults] == [
        "estimator",
        "objective",
        "estimator",
        "estimator",
        "k",
        "estimator",
    ]
    for text in ("'foo'", "'nix'", "'fo'", "'stl' would leave no gradient", "at least 10 samples, got 4", "'beta'"):
        assert any(text in fault for fault in faults), text


def test_an_unknown_objective_does_not_hide_unknown_estimators() -> None:
    faults = _faults("iwi", "foo", "all", "dreg")
    assert len(faults) == 2
    assert "Did you mean 'iwae'?" in faults[0]
    assert "no estimator is called 'foo'" in faults[1]


@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/all"])
def test_a_pair_against_the_objective(word: str) -> None:
    (fault,) = _faults("rws", word)
    assert fault == f"estimator: '{word}' contradicts --objective rws: leave one of the two out."


def test_the_same_fault_is_told_once() -> None:
    assert len(_faults(None, "foo", "foo")) == 1


def test_parsing_one_word() -> None:
    objective, estimator = parse_asked("rws/dreg", None)
    assert objective == parse_objective("rws")
    assert estimator.name == "dreg"
    assert parse_asked("dreg", None)[0] is None
    assert means_all("rws/all")
    assert not means_all("all/dreg")
