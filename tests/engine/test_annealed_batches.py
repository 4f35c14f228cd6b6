"""Annealed importance sampling as a machine: addresses, stopping, continuing, progress, faults, what is refused."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine.annealed import Annealed, mean_log_p
from dregcli.engine.annealing import (
    LONGEST,
    AnnealedBatch,
    Annealing,
    anneal,
    number_faults,
    schedule,
)
from dregcli.engine.annealing_draws import MOST_STEPS, annealing_step
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import NotFinite
from dregcli.names import Split
from tests.support.annealing import (
    GAUSSIAN,
    AdaptedThroughout,
    Consumed,
    as_stored,
    measured,
    run,
)
from tests.support.exact import small_vae
from tests.support.linear_gaussian import LinearGaussian

# What is told.


def test_the_error_is_by_leaving_out_each_chain() -> None:
    log_weights = torch.randn(7, 4, dtype=torch.float64)
    weights = log_weights.exp()
    told = Annealed(log_weights - 900.0, torch.ones(4))
    without = torch.stack([(weights.sum(dim=0) - each).log() for each in weights])
    expected = (6 / 7 * (without - without.mean(dim=0)).square().sum(dim=0)).sqrt()
    torch.testing.assert_close(told.stderr, expected)
    torch.testing.assert_close(told.log_p, weights.mean(dim=0).log() - 900.0)
    # Of two chains that are alike nothing is uncertain, and of two that are worlds apart all is.
    alone = Annealed(torch.tensor([[0.0, 1.0], [-800.0, 1.0]], dtype=torch.float64), torch.ones(2))
    torch.testing.assert_close(alone.stderr, torch.tensor([400.0, 0.0], dtype=torch.float64))
    told_mean = mean_log_p([told, alone])
    every = torch.cat([told.log_p, alone.log_p])
    assert told_mean.n == 6
    assert told_mean.value == pytest.approx(float(every.mean()))
    assert told_mean.stderr == pytest.approx(float(every.std()) / math.sqrt(6))
    squares = torch.cat([told.stderr, alone.stderr]).square()
    assert told_mean.of_chains == pytest.approx(float(squares.sum().sqrt()) / 6)
    assert mean_log_p([Annealed(log_weights[:, :1], torch.ones(1))]).stderr is None
    one = Annealed(torch.tensor([[0.0, 1.0], [-math.inf, 1.0]], dtype=torch.float64), torch.ones(2))
    assert mean_log_p([one]).of_chains is None, "one chain alone has a weight: nothing is known of its error"
    assert mean_log_p([one]).value == pytest.approx((1.0 - math.log(2.0)) / 2)


def test_the_schedule_is_a_sigmoid_from_0_to_1() -> None:
    for steps in (2, 3, 1000):
        b = schedule(steps)
        assert (float(b[0]), float(b[-1]), len(b)) == (0.0, 1.0, steps + 1)
        assert (b.diff() > 0.0).all()
        torch.testing.assert_close(b + b.flip(0), torch.ones_like(b))
    assert float(schedule(1000)[250]) == pytest.approx(
        (1 / (1 + math.exp(2)) - 0.0179862) / (1 - 2 * 0.0179862), abs=1e-6
    )


def test_faults_name_every_number() -> None:
    assert number_faults(steps=2, chains=2, leapfrogs=1) == []
    assert number_faults(steps=MOST_STEPS, chains=64, leapfrogs=10) == []
    found = number_faults(steps=1, chains=1, leapfrogs=0)
    assert [fault.field for fault in found] == ["steps", "chains", "leapfrogs"]
    assert [fault.field for fault in number_faults(steps=MOST_STEPS + 1, chains=2, leapfrogs=1)] == ["steps"]


def test_no_two_transitions_share_an_address() -> None:
    last = MOST_STEPS - 1
    asked = [
        annealing_step(split, batch, index, pilot=pilot)
        for split in Split
        for batch in (0, 1, 2**40 - 1)
        for index in (0, 1, 2, last)
        for pilot in (False, True)
    ]
    assert len(set(asked)) == len(asked)
    assert max(asked) < 2**64


# The machinery.


def test_step_sizes_come_to_the_acceptance_that_is_aimed_at() -> None:
    """At the last temperatures, of a posterior ten times narrower than the prior. No step is above what is useful."""
    model = LinearGaussian(noise=0.05)
    found = AnnealedBatch(
        model, model.draw(16, 0), Annealing(120, chains=16, leapfrogs=6), split=Split.TEST, batch=0, seed=0
    )
    result = run(found)
    assert float(found._step_sizes.max()) <= LONGEST / 6
    assert float(found._step_sizes[-1].max()) < 0.5 * LONGEST / 6
    assert 0.5 < float(result.acceptance.mean()) < 0.85


def _small(kind: type[AnnealedBatch] = AnnealedBatch) -> AnnealedBatch:
    model = small_vae().float()
    pixels = (Randomness(1).uniform(Stream.PIXELS, 0, 3, 12) > 0.5).float()
    return kind(model, pixels, Annealing(4, 3, leapfrogs=2, pilot_chains=2), split=Split.VALID, batch=1, seed=5)


def _stopped(kind: type[AnnealedBatch]) -> Iterator[Annealed]:
    """Results of batches that were stopped after 0, 1, ... steps, and continued by another object."""
    total = 2 * 3
    for stop in range(total + 1):
        first = _small(kind)
        for _ in range(stop):
            first.advance()
        numbers, tensors = first.state()
        kept = {name: tensor.clone() for name, tensor in tensors.items()}
        if not first.done:
            first.advance()
        assert all(torch.equal(kept[name], tensor) for name, tensor in tensors.items()), "a state does not change"
        second = _small(kind)
        second.load(numbers, kept)
        yield run(second)


def test_what_is_continued_ends_with_the_same_bits() -> None:
    whole = run(_small())
    for found in _stopped(AnnealedBatch):
        assert torch.equal(found.log_weights, whole.log_weights)
        assert torch.equal(found.acceptance, whole.acceptance)
    consumed = run(_small(Consumed))
    assert not all(torch.equal(found.log_weights, consumed.log_weights) for found in _stopped(Consumed))


def test_progress_counts_transitions_of_chains() -> None:
    batch = _small()
    seen = [batch.worked]
    with pytest.raises(RuntimeError, match="not arrived"):
        batch.result()
    while not batch.done:
        batch.advance()
        seen.append(batch.worked)
    assert seen == [0, 2, 4, 6, 9, 12, 15]
    assert batch.work == 15
    with pytest.raises(RuntimeError, match="have arrived"):
        batch.advance()


def _first_chains(kind: type[AnnealedBatch]) -> list[Tensor]:
    """Log-weights of the first 16 chains, of 16 and of 20."""
    x = GAUSSIAN.draw(4, 0)
    return [
        measured(GAUSSIAN, x, Annealing(8, chains, leapfrogs=3), kind=kind).log_weights[:16] for chains in (16, 20)
    ]


def test_chains_do_not_depend_on_each_other() -> None:
    few, many = _first_chains(AnnealedBatch)
    torch.testing.assert_close(many, few, rtol=1e-9, atol=1e-9)
    few, many = _first_chains(AdaptedThroughout)
    assert (many - few).abs().max() > 1e-3


def test_an_example_has_the_numbers_it_has_in_the_whole() -> None:
    examples = ResidentExamples(GAUSSIAN.draw(EVALUATION_BATCH + 9, 0))
    annealing = Annealing(6, chains=3, leapfrogs=2)

    def log_p(limit: int | None, first_batch: int = 0) -> list[Tensor]:
        found = anneal(
            GAUSSIAN,
            examples,
            as_stored,
            annealing,
            split=Split.TEST,
            seed=0,
            limit=limit,
            first_batch=first_batch,
        )
        return [run(batch).log_p for batch in found]

    whole = log_p(None)
    assert [len(part) for part in whole] == [EVALUATION_BATCH, 9]
    (few,) = log_p(10)
    torch.testing.assert_close(few, whole[0][:10], rtol=1e-9, atol=1e-9)
    (rest,) = log_p(EVALUATION_BATCH + 4, first_batch=1)
    torch.testing.assert_close(rest, whole[1][:4], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(whole[0][:9], whole[1])


class _Half(LinearGaussian):
    """x says of the first latent that it is positive, and nothing else; p(x) = 1/2 or, of pixels above 9, 0."""

    impossible = -math.inf

    def log_joint(self, pixels, latents, rows=None) -> Tensor:
        z = latents[0]
        prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
        return prior.masked_fill((z[..., 0] < 0.0) | (pixels[:, 0] > 9.0), self.impossible)


def test_chains_that_begin_where_x_is_impossible_weigh_nothing() -> None:
    model = _Half()
    pixels = torch.zeros(3, 6, dtype=torch.float64)
    found = measured(model, pixels, Annealing(5, chains=32, leapfrogs=2))
    assert set(found.log_weights.round(decimals=9).abs().unique().tolist()) == {0.0, math.inf}
    assert torch.isfinite(found.log_p).all()
    pixels[2] = 10.0
    with pytest.raises(NotFinite, match="example 130 of test") as raised:
        measured(model, pixels, Annealing(5, chains=32, leapfrogs=2), batch=1)
    assert "-inf along every chain" in str(raised.value)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_density_that_is_no_number_is_refused_by_the_examples_name(number) -> None:
    model = _Half()
    model.impossible = number
    pixels = torch.zeros(3, 6, dtype=torch.float64)
    with pytest.raises(NotFinite, match="example 128 of valid"):
        AnnealedBatch(model, pixels, Annealing(5, pilot_chains=64), split=Split.VALID, batch=1, seed=0)
