"""Screening where there is little to choose: all rows are kept, or none is needed; one row has all the weight."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dregcli.engine.execution import Execution, row_pass, screening
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.names import Backward, Precision
from tests.support.dense import dense_gradients
from tests.support.every_pair import checked_pairs
from tests.support.exact import MODELS, off_networks, relative_distance, small_batch
from tests.support.screening import Prescribed, named_values
from tests.support.sweep import swept

names = pytest.mark.parametrize("name", ["vae", "structured", "discretised-logistic"])
precisions = pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
NONE = torch.zeros(3, dtype=torch.bool)
RATE = screening.CORRECTION_RATE
EVERYTHING = 1e-250
"""Inflation with which every row that has weight is kept for certain."""

Subject = tuple[Vae | StructuredVae, Tensor, Tensor]


def subject(name: str, k: int) -> Subject:
    model = MODELS[name].build()
    return model, *small_batch(model, k=k, batch=3)


def saturated(k: int) -> Subject:
    """One sample of each example has all the weight, to the last bit; the others none at all."""
    model, pixels, noise = subject("vae", k)
    return model, pixels, 30.0 * noise


def likely(probability: Tensor) -> Tensor:
    """Rows that are kept at even chances."""
    return probability > 0.5


def screened(
    of: Subject,
    pair: Pair,
    kept,
    *,
    inflation: float = 0.2,
    precision: Precision = Precision.FLOAT32,
    train_model=True,
) -> tuple[Gradients, Tensor]:
    """Gradients, and the probabilities that rows were kept with."""
    model, pixels, noise = of
    draws = Prescribed(noise, kept, NONE)
    execution = Execution(Backward.SCREENED, inflation, precision)
    found = Step(model, pixels, draws, execution).gradients(pair, train_model=train_model)
    return found, draws.probability[0]


def on_average(of: Subject, pair: Pair, kept, execution: Execution, *, train_model=True) -> Gradients:
    """Over the choice of examples to correct, all of them or none; which rows are kept is given."""
    model, pixels, noise = of
    none, all_ = (
        Step(model, pixels, Prescribed(noise, kept, chosen), execution).gradients(pair, train_model=train_model)
        for chosen in (NONE, ~NONE)
    )
    mean = [
        {n: (1.0 - RATE) * mine[n] + RATE * theirs[n] for n in mine}
        for mine, theirs in ((none.model, all_.model), (none.posterior, all_.posterior))
    ]
    return replace(none, model=mean[0], posterior=mean[1])


def off(found: Gradients, expected: Gradients, tolerance: float = 1e-12) -> dict[str, float]:
    return off_networks(found.model, expected.model, tolerance) | off_networks(
        found.posterior, expected.posterior, tolerance
    )


@precisions
@names
@swept("pair", all_pairs(), named=lambda pair: pair.word)
def test_when_every_row_is_kept_it_is_dense(pair: Pair, name: str, precision: Precision) -> None:
    """In bfloat16 too: every log-weight is then an exact one, and nothing is left to mix or to correct."""
    of = subject(name, 8)
    found, probability = screened(of, pair, likely, inflation=EVERYTHING, precision=precision)
    assert probability.min() == 1.0
    expected = dense_gradients(*of, pair)
    assert off(found, expected) == {}
    assert off_networks(named_values(found), named_values(expected)) == {}
    assert off_networks(found.learned, expected.learned, 1e-10) == {}


@pytest.mark.parametrize("estimator", ["reparam", "dreg", "stl", "vimco"])
def test_equal_weights_keep_every_row_by_themselves(estimator: str) -> None:
    of, pair = subject("structured", 8), resolve_pair("elbo", estimator, 8)
    found, probability = screened(of, pair, likely, inflation=1.0)
    assert probability.min() > 1.0 - 1e-12
    assert off(found, dense_gradients(*of, pair)) == {}


@precisions
@swept("pair", checked_pairs(1), named=lambda pair: pair.word)
def test_one_sample(pair: Pair, precision: Precision) -> None:
    of = subject("structured", 1)
    found, _ = screened(of, pair, likely, precision=precision)
    assert off(found, dense_gradients(*of, pair)) == {}


@precisions
@pytest.mark.parametrize("word", ["iwae/reparam", "iwae/stl", "iwae/dreg", "iwae/vimco", "jvi:order=1/dreg"])
def test_one_row_with_all_the_weight_is_enough(word: str, precision: Precision) -> None:
    """Kept for certain, alone; the others weigh less than a float can hold, and that they are missing is not seen."""
    of, pair = saturated(6), resolve_pair(*word.split("/"), 6)
    expected = dense_gradients(*of, pair)
    assert torch.equal(expected.values[2], torch.ones(3, dtype=torch.float64))
    _, probability = screened(of, pair, likely, precision=precision)
    if pair.objective.name == "iwae":
        assert probability.sort(dim=0).values[-2:, 0].tolist() == [1e-3, 1.0]
    found = on_average(of, pair, likely, Execution(Backward.SCREENED, precision=precision))
    assert off(found, expected) == {}
    assert all(each.isfinite().all() for each in (*found.model.values(), *found.posterior.values()))


@precisions
@swept("pair", (pair for pair in all_pairs() if not pair.faults(6)), named=lambda pair: pair.word)
def test_saturated_weights_with_every_row_kept_are_dense(pair: Pair, precision: Precision) -> None:
    """Rows of weight 0 are kept one time in a thousand, and their 1/p must not make anything of nothing."""
    of = saturated(6)
    found, _ = screened(of, pair, torch.ones(6, 3, dtype=torch.bool), inflation=EVERYTHING, precision=precision)
    assert off(found, dense_gradients(*of, pair), 1e-11) == {}


# No row.


@precisions
@pytest.mark.parametrize("word", ["iwae/reparam", "iwae/vimco"])
def test_an_example_without_a_row_still_has_its_score(word: str, precision: Precision) -> None:
    model, pixels, noise = subject("structured", 4)
    pair = resolve_pair(*word.split("/"), 4)
    kept = torch.ones(4, 3, dtype=torch.bool)
    kept[:, 1] = False
    found = on_average(subject("structured", 4), pair, kept, Execution(Backward.SCREENED, EVERYTHING, precision))
    rest = torch.tensor([0, 2])
    expected = dense_gradients(model, pixels[rest], noise[:, rest], pair)
    # Means over the batch: of two examples, and of three.
    assert off_networks(found.model, {n: t * 2.0 / 3.0 for n, t in expected.model.items()}, 1e-11) == {}
    by_score = dense_gradients(model, pixels[1:2], noise[:, 1:2], resolve_pair("iwae", "vimco", 4)).posterior
    if word == "iwae/vimco":
        total = {n: (2.0 * t + by_score[n]) / 3.0 for n, t in expected.posterior.items()}
        assert off_networks(found.posterior, total, 1e-11) == {}
    else:
        assert relative_distance(found.posterior, {n: t * 2.0 / 3.0 for n, t in expected.posterior.items()}) > 1e-2


@precisions
@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/reparam", "iwae/vimco", "rws/dreg"])
def test_a_batch_without_a_row_has_a_gradient_of_zero(word: str, precision: Precision) -> None:
    """But for the score's, which needs none."""
    of, pair = subject("structured", 4), resolve_pair(*word.split("/"), 4)
    found, _ = screened(of, pair, torch.zeros(4, 3, dtype=torch.bool), precision=precision)
    assert set(found.model) == set(of[0].model_parameters())
    assert set(found.posterior) == set(of[0].posterior_parameters())
    assert not any(each.any() for each in found.model.values())
    assert any(each.any() for each in found.posterior.values()) == pair.uses_score


@precisions
@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/reparam"])
def test_log_weights_that_are_not_numbers_show_in_the_values(word: str, precision: Precision) -> None:
    """A batch that diverged is for the trainer to report: the executor must return, and the bound must say so."""
    model, pixels, noise = subject("vae", 4)
    of = (model, torch.full_like(pixels, torch.nan), noise)
    found, _ = screened(of, resolve_pair(*word.split("/"), 4), likely, precision=precision)
    assert found.bound.isnan().all()
    assert set(found.model) == set(model.model_parameters())


def _refused(*_, **__):
    raise AssertionError


@pytest.mark.parametrize(
    "execution",
    [
        Execution(),
        Execution(k_chunk=2),
        Execution(Backward.SCREENED),
        Execution(Backward.SCREENED, precision=Precision.BFLOAT16, k_chunk=2),
    ],
    ids=["dense", "dense in chunks", "screened", "screened in bfloat16, in chunks"],
)
@pytest.mark.parametrize("word", ["iwae/vimco", "rws/reparam", "iwae/reinforce"])
def test_a_score_alone_needs_no_backward_pass(word: str, execution: Execution, monkeypatch) -> None:
    """Of a frozen theta and a score there is nothing that a decoder's derivatives could be for."""
    of, pair = subject("structured", 4), resolve_pair(*word.split("/"), 4)
    expected = dense_gradients(*of, pair)
    monkeypatch.setattr(row_pass.RowTape, "backward", _refused)
    if execution.backward is Backward.SCREENED:
        monkeypatch.setattr("dregcli.engine.execution.gaussian_batch.GaussianRowPass", _refused)
    found = on_average(of, pair, likely, execution, train_model=False)
    assert found.model == {}
    assert off_networks(found.posterior, expected.posterior) == {}


@precisions
@names
@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/reparam", "iwae/dreg-cv:alpha=0.3,beta=0.6"])
def test_a_frozen_theta(word: str, name: str, precision: Precision) -> None:
    of, pair = subject(name, 5), resolve_pair(*word.split("/"), 5)
    expected = dense_gradients(*of, pair)
    model, pixels, noise = of
    for execution in (
        Execution(k_chunk=2),
        Execution(Backward.SCREENED, EVERYTHING, precision),
        Execution(Backward.SCREENED, EVERYTHING, precision, k_chunk=2),
    ):
        step = Step(model, pixels, Prescribed(noise, likely, ~NONE), execution)
        found = step.gradients(pair, train_model=False)
        assert found.model == {}
        assert off_networks(found.posterior, expected.posterior, 1e-11) == {}
        assert off_networks(found.learned, expected.learned, 1e-10) == {}
        theta, phi = step.each((pair,), train_model=False)
        assert theta == {}
        assert off_networks({n: t[0] for n, t in phi.items()}, expected.posterior, 1e-11) == {}


def test_some_examples_of_a_batch_have_their_own_noise_and_pixels() -> None:
    model, pixels, noise = subject("structured", 4)
    batch = GaussianBatch(model, pixels, model.posterior(pixels).stopped(), Prescribed(noise, NONE, NONE))
    whole = batch.log_weights(k_chunk=None)
    for examples in ([2], [2, 0], [1, 1]):
        found = batch.of(torch.tensor(examples)).log_weights(k_chunk=3)
        torch.testing.assert_close(found, whole[:, examples], rtol=1e-13, atol=1e-12)
