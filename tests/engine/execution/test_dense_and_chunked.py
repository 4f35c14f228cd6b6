"""The same gradients however the rows are divided into passes; all at fixed noise, masks and choices."""

from functools import cache
from itertools import cycle, product

import pytest
import torch

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.execution import Execution, dense
from dregcli.engine.execution.batch import Sums
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.row_pass import GaussianRowPass
from dregcli.engine.execution.screened import ScreenedRows, Screening
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.half import half_rows
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.rows import PLAIN_ROWS
from dregcli.names import Backward, Precision
from tests.support.dense import dense_gradients
from tests.support.exact import MODELS, naive_gradients, off_networks, small_batch
from tests.support.screened_batch import CHOSEN, B, K, batch_of, drawn, subject
from tests.support.screening import Prescribed, off_gradients, off_sums, off_values
from tests.support.sweep import swept

names = pytest.mark.parametrize("name", MODELS)
precisions = pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
WORDS = ("iwae/dreg", "iwae/dreg-cv:alpha=0.3,beta=0.6", "rws/dreg-norm", "iwae/vimco")


def screened(name: str, pair: Pair, screening: Screening, *, train_model: bool = True) -> ScreenedRows:
    return ScreenedRows(batch_of(name), PairWeigh((pair,), train_model), screening)


# Dense.


CHUNKED = list(zip(all_pairs(), cycle((16, 32, 32, 16, 16, 32, 16)), strict=False))
"""Each pair in chunks of one size, in turns of 7, so that no estimator always has the same."""


@names
@swept("pair, k_chunk", CHUNKED, named=lambda pair, k_chunk: f"{pair.word}-{k_chunk}")
def test_dense_in_chunks_is_dense(name: str, pair: Pair, k_chunk: int) -> None:
    """Of 40 samples, the last chunk has 8."""
    model, pixels, noise = subject(name)
    whole = dense_gradients(model, pixels, noise, pair)
    found = Step(model, pixels, drawn(noise), Execution(k_chunk=k_chunk)).gradients(pair)
    # The pass over chunks sums the pixels in another order.
    assert off_gradients(found, whole, 1e-11) == {}
    torch.testing.assert_close(found.log_w, whole.log_w, rtol=1e-13, atol=1e-12)


@names
def test_dense_is_autograds(name: str) -> None:
    """What all others here are compared with, by an oracle; ``test_gradients`` does so for every pair."""
    model, pixels, noise = subject(name)
    pair = resolve_pair("iwae", "reparam", K)
    found = dense_gradients(model, pixels, noise, pair)
    expected = naive_gradients(model, pixels, noise, pair, crossed=MODELS[name].crossed)
    assert off_networks(found.model, expected.model) | off_networks(found.posterior, expected.posterior) == {}


@names
def test_dense_in_chunks_is_dense_in_float32(name: str) -> None:
    model = MODELS[name].build().float()
    pixels, noise = (each.float() for each in small_batch(model, k=K, batch=B))
    pair = resolve_pair("iwae", "dreg", K)
    whole = dense_gradients(model, pixels, noise, pair)
    found = Step(model, pixels, drawn(noise), Execution(k_chunk=16)).gradients(pair)
    assert off_gradients(found, whole, 1e-5) == {}
    assert {t.dtype for t in (*found.model.values(), *found.posterior.values())} == {torch.float32}


def test_a_chunk_of_all_samples_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels, noise = subject("structured")
    pair = resolve_pair("iwae", "reparam", K)
    whole = dense_gradients(model, pixels, noise, pair)
    monkeypatch.setattr(GaussianBatch, "log_weights", None)
    for k_chunk in (K, K + 16):
        found = Step(model, pixels, drawn(noise), Execution(k_chunk=k_chunk)).gradients(pair)
        assert off_gradients(found, whole, 0.0) == {}


def test_a_chunk_lost_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels, noise = subject("structured")
    pair = resolve_pair("iwae", "dreg", K)
    whole = dense_gradients(model, pixels, noise, pair)
    right = dense.chunks
    monkeypatch.setattr(dense, "chunks", lambda k, size: right(k, size)[:-1])
    monkeypatch.setattr(GaussianBatch, "log_weights", lambda self, k_chunk: whole.log_w)
    found = Step(model, pixels, drawn(noise), Execution(k_chunk=16)).gradients(pair)
    assert min(off_gradients(found, whole).values()) > 1e-6


# Screened: however it is divided, with the same mask.

DIVIDED = {
    "samples in chunks": Screening(0.2, Precision.FLOAT32, k_chunk=16),
    "one row a pass": Screening(0.2, Precision.FLOAT32, capacity=1),
    "a few rows a pass": Screening(0.2, Precision.FLOAT32, k_chunk=32, capacity=7),
    "padded": Screening(0.2, Precision.FLOAT32, capacity=7, pad=True),
    "padded to one pass": Screening(0.2, Precision.FLOAT32, k_chunk=16, capacity=1000, pad=True),
}


@cache
def undivided(name: str, word: str, precision: Precision) -> tuple[ScreenedRows, Sums]:
    rows = screened(name, resolve_pair(*word.split("/"), K), Screening(0.2, precision))
    return rows, rows.sums(rows.weights)


@precisions
@names
@swept("word, divided", product(WORDS, DIVIDED))
def test_screened_rows_however_divided(divided: str, word: str, name: str, precision: Precision) -> None:
    pair, how = resolve_pair(*word.split("/"), K), DIVIDED[divided]
    whole, sums = undivided(name, word, precision)
    found = screened(name, pair, Screening(0.2, precision, how.k_chunk, how.capacity, how.pad))
    # Corrections are multiplied by 64, and their rounding with them.
    tolerance = 1e-12 if precision is Precision.FLOAT32 else 1e-11
    assert off_sums(found.sums(found.weights), sums, tolerance) == {}
    assert off_values(found, whole, tolerance) == {}
    torch.testing.assert_close(found.log_w, whole.log_w, rtol=1e-13, atol=1e-12)


@precisions
def test_screened_rows_of_addressed_draws_however_divided(precision: Precision) -> None:
    """Their noise begins at blocks alone, and is drawn anew for every chunk."""
    model, pixels, _ = subject("structured")
    pair, found = resolve_pair("iwae", "dreg", 80), []
    for seed in range(5):
        found.clear()
        for k_chunk in (None, 16, 48):
            draws = AddressedDraws(
                Randomness(seed),
                Stream.NOISE,
                3,
                k=80,
                batch=B,
                width=model.latent_width,
                screening=Stream.SCREENING,
                dtype=torch.float64,
            )
            step = Step(model, pixels, draws, Execution(Backward.SCREENED, 1.0, precision, k_chunk))
            found.append(step.gradients(pair))
        assert [off_gradients(each, found[0], 1e-11) for each in found[1:]] == [{}, {}]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass with derivatives had."""
    rows: list[int] = []
    before = GaussianRowPass.__init__

    def counted(self, batch, noise, selection=None):
        rows.append(noise.shape[0] * noise.shape[1])
        before(self, batch, noise, selection)

    monkeypatch.setattr(GaussianRowPass, "__init__", counted)
    return rows


def test_every_pass_is_padded_to_the_same_shape(made: list[int]) -> None:
    pair = resolve_pair("elbo", "reparam", K)  # every row is kept
    rows = screened("vae", pair, Screening(0.2, Precision.FLOAT32, capacity=64, pad=True))
    rows.sums(rows.weights)
    assert made == [64, 64, 64]
    made.clear()
    rows = screened("vae", pair, Screening(0.2, Precision.FLOAT32, capacity=64))
    rows.sums(rows.weights)
    assert made == [64, 64, 32]


@pytest.mark.parametrize("precision", [None, *Precision])
def test_no_pass_is_larger_than_a_chunk(precision: Precision | None, made: list[int]) -> None:
    """Memory is what chunks are for."""
    model, pixels, noise = subject("structured")
    draws = drawn(noise)
    execution = Execution(k_chunk=16) if precision is None else Execution(Backward.SCREENED, 0.2, precision, 16)
    Step(model, pixels, draws, execution).gradients(resolve_pair("elbo", "reparam", K))
    assert set(draws.counts) == {16, 8}
    assert max(made) == 16 * B


@names
def test_a_first_pass_is_in_the_precision_that_is_asked_for(name: str) -> None:
    """Where no row is kept the log-weights are the first pass's."""
    model, pixels, noise = subject(name)
    nothing, weigh = torch.zeros(K, B, dtype=torch.bool), PairWeigh((resolve_pair("iwae", "dreg", K),))
    batch = batch_of(name, Prescribed(noise, nothing, CHOSEN))
    q = model.posterior(pixels)
    latents, log_q = q.rsample(noise), q.log_prob_at(noise)
    with torch.no_grad():
        plain, halves = (
            model.log_joint(pixels, latents, each) - log_q for each in (PLAIN_ROWS, half_rows(pixels.device))
        )
    assert (halves - plain).abs().max() > 1e-4
    for precision, expected in ((Precision.FLOAT32, plain), (Precision.BFLOAT16, halves)):
        found = ScreenedRows(batch, weigh, Screening(0.2, precision))
        torch.testing.assert_close(found.log_w, expected, rtol=1e-12, atol=1e-12)


@precisions
@names
def test_a_single_pass_serves_two_sums(name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact log-weights and gradients of the kept rows come from the same forward pass."""
    rows = screened(name, resolve_pair("iwae", "dreg", K), Screening(0.2, precision))
    first = rows.sums(rows.weights)
    monkeypatch.setattr("dregcli.engine.execution.gaussian_batch.GaussianRowPass", None)
    assert off_sums(rows.sums(rows.weights), first, 0.0) == {}
