"""Latents without rsample: pairs with a path are refused before any work, and say which pairs work."""

import pytest

from dregcli.engine.diagnostics.source import ModelSource, comparison_of
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness
from dregcli.errors import SpecError
from tests.support.every_pair import checked_pairs
from tests.support.program_oracle import drawn, naive
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.small_training import small_trainer

K = 4


def test_which_latents_have_no_path() -> None:
    assert {name: SCORES[name]().discrete for name in SCORES} == {
        "categorical": ("z",),
        "bernoulli": ("z",),
        "von Mises": ("z",),
        "mixture as posterior": ("z",),
        "discrete and continuous": ("c",),
        "bits on bits": ("h1", "h2"),
        "categories on categories": ("low", "high"),
    }
    assert not any(build().discrete for build in PATHS.values())


def test_exactly_the_pairs_with_a_path_are_refused() -> None:
    """Where some latents have a path, only objectives that are not one function are refused."""
    continuous, discrete, mixed = PATHS["normal"](), SCORES["categorical"](), SCORES["discrete and continuous"]()
    for pair in checked_pairs(K):
        assert continuous.faults(pair) == []
        assert bool(discrete.faults(pair)) == pair.uses_path
        assert bool(mixed.faults(pair)) == (pair.mixed_refusal() is not None)


def test_the_refusal_names_the_latent_and_what_works() -> None:
    (fault,) = SCORES["categorical"]().faults(resolve_pair("iwae", "dreg", K))
    assert fault.field == "estimator"
    for part in (
        "'iwae/dreg' differentiates through samples",
        "of 'z' has no rsample",
        "reinforce, vimco, vimco-star, ovis",
    ):
        assert part in fault.message
    (fault,) = SCORES["categorical"]().faults(resolve_pair("piwae", "dreg", 8))
    assert "Use another objective" in fault.message


def test_nothing_runs_before_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SCORES["categorical"]().float()
    x = pixels_of(model).float()
    dreg, vimco = (resolve_pair("iwae", each, K) for each in ("dreg", "vimco"))
    step = Step(model, x, drawn(model, k=K, batch=len(x)), Execution())
    source = ModelSource(model, x, k=K, randomness=Randomness(0))
    monkeypatch.setattr(type(model.module), "posterior", None)
    for refused in (
        lambda: step.gradients(dreg),
        lambda: step.each((vimco, dreg), train_model=True),
        lambda: source.draw(0, [comparison_of(vimco)], references=False),
        lambda: small_trainer(model=model, word="dreg", stored=x),
        lambda: small_trainer(model=model, word="vimco", stored=x, tracked=[dreg]),
    ):
        with pytest.raises(SpecError, match="no rsample"):
            refused()


def test_a_pair_with_a_path_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the refusal the gradient by a discrete latent's parameters would be 0, whatever they do."""
    model = SCORES["categorical"]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    monkeypatch.setattr(type(model), "faults", lambda *_: [])
    pair = resolve_pair("iwae", "dreg", K)
    assert not Step(model, x, draws, Execution()).gradients(pair).posterior["encoder.weight"].any()
    assert naive(model, x, draws, resolve_pair("iwae", "vimco", K))[1]["encoder.weight"].any()
