"""Parameters of an objective that change from step to step."""

import math
from typing import Any

import pytest
import torch

from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.training import Trainer
from dregcli.engine.words import parse_estimator, parse_objective, parse_scheduled, short_word, word_of
from dregcli.errors import SpecError
from tests.engine.test_captured import call_again
from tests.support.small_training import K, small_trainer, take
from tests.support.sweep import swept

WORD = "vr-iwae:alpha=.99->0@6"


def _alphas(word: str, *steps: int) -> list[Any]:
    return [parse_scheduled(word).at(step).alpha for step in steps]


def test_the_value_moves_as_in_the_code_of_ovis() -> None:
    """There it is 1 - exp((1 - x) log(1 - start) + x log(1 - end)) at a share x of the steps."""
    expected = [1.0 - math.exp((1.0 - x) * math.log(0.01) + x * math.log(0.4)) for x in (0.25, 0.5, 0.75)]
    assert _alphas("vr-iwae:alpha=.99->.6@8", 2, 4, 6) == pytest.approx(expected, rel=1e-12)
    assert _alphas("vr-iwae:alpha=.99->.6@8", 0, 8, 9) == [0.99, 0.6, 0.6], "the ends are exact"
    assert _alphas("vr-iwae:alpha=.99->0@1000000", 500_000) == pytest.approx([0.9], rel=1e-12)
    assert _alphas("vr-iwae:alpha=1->.6@8:linear", 0, 2, 8) == [1.0, 0.9, 0.6]


@swept(
    "word",
    [
        "vr-iwae:alpha=0.99->0.0@1000000",
        "vr-iwae:alpha=0.2->0.99@7",
        "ciwae:beta=1.0->0.25@3:linear",
        "vr-iwae:alpha=0.3",
        "elbo",
    ],
)
def test_a_word_comes_back(word: str) -> None:
    assert word_of(parse_scheduled(word)) == short_word(parse_scheduled(word)) == word
    assert word_of(parse_scheduled(word.replace("0.", "."))) == word


@swept(
    "word, said",
    [
        ("vr-iwae:alpha=.9->0", "@STEPS"),
        ("vr-iwae:alpha=.9->0@", "@STEPS"),
        ("vr-iwae:alpha=.9->@5", "@STEPS"),
        ("vr-iwae:alpha=.9->0@1.5", "@STEPS"),
        ("vr-iwae:alpha=.9->0@0", "at least 1 step"),
        ("vr-iwae:alpha=.9->nan@5", "finite ends"),
        ("vr-iwae:alpha=.9-0@5", "needs a number or a schedule such as START->END@STEPS"),
        ("vr-iwae:alpha=1->0@5", "1->0@5:linear"),
        ("vr-iwae:alpha=.9->0@5:linar", "Did you mean 'linear'"),
        ("vr-iwae:alpha=.99-", "in quotes"),
        ("miwae:groups=1->2@5", "a whole number"),
    ],
)
def test_a_wrong_schedule_is_refused(word: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_scheduled(word)


def test_without_steps_there_is_no_schedule() -> None:
    with pytest.raises(SpecError, match=r"there are no steps: give one value, such as 'vr-iwae:alpha=0\.0'"):
        parse_objective(WORD)
    with pytest.raises(SpecError, match="an objective can change"):
        parse_estimator("dreg-alpha:alpha=0->1@5")


def _trainer(word: str = WORD, **settings: Any) -> Trainer:
    objective = parse_scheduled(word)
    return small_trainer(objective=objective, start=objective.start, **settings)


def test_a_step_has_the_objective_of_its_number() -> None:
    """A trainer at a step is set to its state; then both take one step, one of them at a fixed value."""
    state = take(_trainer(), 3).state()
    (alpha,) = _alphas(WORD, 3)
    for other, is_same in ((alpha, True), (_alphas(WORD, 2)[0], False)):
        moving, fixed = _trainer(), _trainer(f"vr-iwae:alpha={other!r}")
        for each in (moving, fixed):
            each.load(state.step, state.model, state.optimizer, state.window)
            take(each, 1)
        a, b = moving.state(), fixed.state()
        assert all(torch.equal(a.model[name], b.model[name]) for name in a.model) is is_same
    assert take(_trainer(), 4).row()["vr-iwae.alpha"] == alpha
    assert take(_trainer(), 8).row()["vr-iwae.alpha"] == 0.0
    assert not [name for name in take(_trainer("vr-iwae:alpha=.3"), 1).row() if "alpha" in name]


def test_steps_are_recorded_after_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording has one value of the parameter. So it is made with the last value, and used from then on."""
    seen: list[float] = []
    computed = Step.gradients

    def gradients(step: Step, pair: Any, **settings: Any) -> Any:
        seen.append(pair.objective.alpha)
        return computed(step, pair, **settings)

    monkeypatch.setattr(Step, "gradients", gradients)
    found, expected = _trainer(record=call_again), _trainer()
    found.warm_up()
    assert seen[0] == 0.99
    assert set(seen[1:]) == {0.0}
    assert vars(found)["_captured_from"] == 6
    a, b = take(found, 12).state(), take(expected, 12).state()
    for name, each in b.model.items():
        torch.testing.assert_close(a.model[name], each, rtol=1e-4, atol=1e-5)


def test_tracked_pairs_follow_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of the trained objective have its value in each step; another objective stays as it is."""
    seen: list[list[Any]] = []
    measured = Step.stacked

    def each(step: Step, pairs: tuple[Pair, ...], *, train_model: bool) -> Any:
        seen.append([pair.objective for pair in pairs])
        return measured(step, pairs, train_model=train_model)

    monkeypatch.setattr(Step, "stacked", each)
    start = parse_scheduled(WORD).start
    tracked = [resolve_pair(*words, K) for words in ((start, "dreg"), (start, "stl"), ("vr-iwae:alpha=.3", "stl"))]
    take(_trainer(tracked=tracked), 2)
    assert [[each.alpha for each in objectives] for objectives in seen] == [
        [0.99, 0.99, 0.3],
        [*_alphas(WORD, 1, 1), 0.3],
    ]
