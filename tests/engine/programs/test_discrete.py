"""Latents without rsample: pairs with a path are refused before any work, and say which pairs work."""

import pytest

from dregcli.engine.diagnostics.references import comparison_of, directions_of
from dregcli.engine.diagnostics.source import ModelSource
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
        "'iwae/dreg' needs the gradient of samples",
        "of 'z' have none (no rsample)",
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
        lambda: source.draw(0, [comparison_of(vimco, K)], references=False),
        lambda: small_trainer(model=model, word="dreg", stored=x),
        lambda: small_trainer(model=model, word="vimco", stored=x, tracked=[dreg]),
    ):
        with pytest.raises(SpecError, match="no rsample"):
            refused()


REFERENCES = {
    "iwae/vimco": "iwae/reinforce",
    "iwae/vimco:baseline=geometric": "iwae/reinforce",
    "iwae/reinforce": "iwae/vimco",
    "iwae/vimco-star": "iwae/vimco",
    "iwae/ovis:gamma=0.25": "iwae/vimco",
    "vr-iwae:alpha=0.3/vimco": "vr-iwae:alpha=0.3/reinforce",
    "rws/reparam": "rws/reparam",
}


def test_references_are_unbiased_pairs_that_the_model_takes() -> None:
    model = SCORES["bits on bits"]()
    source = ModelSource(model, pixels_of(model), k=K, randomness=Randomness(0))
    found = source.compared([resolve_pair(*word.split("/"), K) for word in REFERENCES])
    for each, reference in zip(found, REFERENCES.values(), strict=True):
        assert each.reference == resolve_pair(*reference.split("/"), K)
    one = comparison_of(resolve_pair("iwae", "reinforce", 1), 1, lambda pair: not model.faults(pair))
    assert one.pair == one.reference, "vimco needs two samples"
    wrong = comparison_of(resolve_pair("iwae", "vimco", K), K)
    with pytest.raises(SpecError, match="no rsample"):
        source.draw(0, [wrong], references=False)
    directions = directions_of([each.pair for each in found], K, lambda pair: not model.faults(pair))
    assert [pair.word for pair in directions] == [
        "iwae/vimco:baseline=arithmetic",
        "vr-iwae:alpha=0.3/vimco:baseline=arithmetic",
        "rws/reparam",
    ]


def test_where_some_latents_have_a_path_the_references_are_the_usual_ones() -> None:
    model = SCORES["discrete and continuous"]()
    source = ModelSource(model, pixels_of(model), k=K, randomness=Randomness(0))
    pairs = [resolve_pair("iwae", word, K) for word in ("vimco", "dreg", "reparam")]
    assert [each.reference.estimator.name for each in source.compared(pairs)] == ["reparam", "reparam", "dreg"]


def test_a_pair_with_a_path_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the refusal the gradient by a discrete latent's parameters would be 0, whatever they do."""
    model = SCORES["categorical"]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    monkeypatch.setattr(type(model), "faults", lambda *_: [])
    pair = resolve_pair("iwae", "dreg", K)
    assert not Step(model, x, draws, Execution()).gradients(pair).posterior["encoder.weight"].any()
    assert naive(model, x, draws, resolve_pair("iwae", "vimco", K))[1]["encoder.weight"].any()
