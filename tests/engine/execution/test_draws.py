"""What is drawn for a batch: by address alone, however it is divided and whatever was drawn before."""

import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from dregcli.engine import draws
from dregcli.engine.draws import AddressedDraws, AddressedNoise
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward
from tests.support.dense import GivenNoise
from tests.support.screened_batch import subject

K, B, Z = 80, 5, 3


def drawn(
    *,
    seed: int = 0,
    step: int = 7,
    k: int = K,
    screening: Stream = Stream.SCREENING,
    dtype: torch.dtype = torch.float32,
) -> AddressedDraws:
    return AddressedDraws(
        Randomness(seed),
        Stream.NOISE,
        step,
        k=k,
        batch=B,
        width=Z,
        screening=screening,
        dtype=dtype,
    )


def whole() -> Tensor:
    return Randomness(0).normal(Stream.NOISE, 7, k=K, batch=B, width=Z)


@pytest.fixture(params=["kept", "drawn again"], autouse=True)
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "drawn again":
        monkeypatch.setattr(draws, "KEPT_BYTES", 0)


@pytest.mark.parametrize("chunk", [16, 32, 48, 80])
def test_the_noise_of_a_chunk_is_a_slice_of_all(chunk: int) -> None:
    found = drawn()
    for _ in range(2):
        for first in range(0, K, chunk):
            count = min(chunk, K - first)
            assert torch.equal(found.noise(first, count), whole()[first : first + count])
    assert torch.equal(found.noise(0, K), whole())


def test_a_chunk_that_starts_within_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="noise starts at a block"):
        drawn().noise(8, 16)


def test_noise_is_kept_only_where_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * K * B * Z
    for most, kept in ((size, True), (size - 1, False)):
        monkeypatch.setattr(draws, "KEPT_BYTES", most)
        found = drawn()
        assert (found.noise(0, K) is found.noise(0, K)) == kept


@pytest.mark.parametrize("examples", [1, 3, B])
def test_fewer_examples_have_the_noise_that_they_have_among_all(examples: int) -> None:
    found = AddressedNoise(Randomness(0), Stream.NOISE, 7, k=K, batch=B, width=Z, examples=examples)
    assert torch.equal(found.noise(0, K), whole()[:, :examples])
    assert torch.equal(found.noise(16, 32), whole()[16:48, :examples])


def test_noise_is_drawn_in_float32_whatever_it_is_given_in() -> None:
    found = drawn(dtype=torch.float64).noise(16, 16)
    assert found.dtype == torch.float64
    assert torch.equal(found, whole()[16:32].double())


def test_a_prefix_of_more_samples() -> None:
    assert torch.equal(drawn(k=64).noise(0, 64), drawn(k=128).noise(0, 128)[:64])


# Choices.


def kept(found: AddressedDraws, p: float = 0.5, k: int = 200) -> Tensor:
    return found.keep(torch.full((k, B), p, dtype=torch.float64))


def test_rows_are_kept_by_address() -> None:
    found = drawn()
    first = kept(found)
    found.noise(0, 16)
    found.choose(0.5, B)
    assert torch.equal(kept(found), first)
    assert torch.equal(kept(drawn()), first)
    others = [drawn(step=8), drawn(seed=1), drawn(screening=Stream.DIAGNOSTIC_SCREENING)]
    for other in (kept(each) for each in others):
        # Independent: they agree on half of a thousand rows, within five standard deviations.
        assert 420 < int((other == first).sum()) < 580


def test_a_row_kept_at_one_probability_is_kept_at_every_larger_one() -> None:
    found = drawn()
    few, many = kept(found, 0.2), kept(found, 0.7)
    assert bool((few <= many).all())
    assert 0 < int(few.sum()) < int(many.sum())


def test_certain_rows_and_impossible_ones() -> None:
    assert bool(kept(drawn(), 1.0).all())
    assert not bool(kept(drawn(), 0.0).any())
    assert bool(drawn().choose(1.0, 1000).all())
    assert not bool(drawn().choose(0.0, 1000).any())


FALSE_FAILURE = 1e-9
"""Of each bound below, at any seed."""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("p", [1e-3, 1.0 / 32.0, 0.3, 0.9, 0.999])
def test_rows_and_examples_turn_up_as_often_as_they_should(p: float, seed: int) -> None:
    n = 200_000
    found = drawn(seed=seed)
    for times in (int(kept(found, p, n // B).sum()), int(found.choose(p, n).sum())):
        assert binom.ppf(FALSE_FAILURE / 2.0, n, p) <= times <= binom.isf(FALSE_FAILURE / 2.0, n, p)


def test_each_row_goes_by_its_own_probability() -> None:
    n = 20_000
    p = torch.tensor([0.01, 0.2, 0.5, 0.8, 0.99], dtype=torch.float64)
    times = drawn().keep(p.expand(n, B)).sum(dim=0).tolist()
    for each, count in zip(p.tolist(), times, strict=True):
        assert binom.ppf(FALSE_FAILURE / 2.0, n, each) <= count <= binom.isf(FALSE_FAILURE / 2.0, n, each)


def test_probabilities_finer_than_a_float32() -> None:
    """Of 2^24 numbers in [0, 1) one or two are below 1e-7; of float32's, multiples of 2^-24, about two are 0."""
    uniform = Randomness(0).uniform64(Stream.SCREENING, 0, 0, 100_000)
    assert uniform.dtype == torch.float64
    assert bool((uniform * 2**24 != (uniform * 2**24).round()).any())
    seen: list[torch.dtype] = []
    right = Randomness.uniform64

    def recorded(self, *address):
        found = right(self, *address)
        seen.append(found.dtype)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Randomness, "uniform64", recorded)
        kept(drawn())
    assert seen == [torch.float64]


def test_what_is_kept_says_nothing_of_what_is_chosen() -> None:
    n, p = 100_000, 0.5
    found = drawn()
    rows, examples = found.keep(torch.full((n, 1), p, dtype=torch.float64))[:, 0], found.choose(p, n)
    agree = int((rows == examples).sum())
    assert binom.ppf(FALSE_FAILURE / 2.0, n, 0.5) <= agree <= binom.isf(FALSE_FAILURE / 2.0, n, 0.5)


def test_noise_alone_is_not_screened() -> None:
    model, pixels, _ = subject("structured")
    step = Step(
        model, pixels, GivenNoise(torch.zeros(4, len(pixels), model.latent_width)), Execution(Backward.SCREENED)
    )
    with pytest.raises(TypeError, match="GivenNoise has only noise"):
        step.gradients(resolve_pair("iwae", "dreg", 4))


def test_given_noise_is_cut() -> None:
    noise = whole()
    found = GivenNoise(noise)
    assert found.k == K
    assert torch.equal(found.noise(16, 32), noise[16:48])
