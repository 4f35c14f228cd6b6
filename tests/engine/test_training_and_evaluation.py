"""Batches, pixels and bounds: what is drawn, and what is averaged."""

import math
from dataclasses import replace

import pytest
import torch

from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.evaluation import evaluate
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.models.vae import Vae
from dregcli.engine.optimisation import Adam
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import (
    EVALUATION_BATCH,
    AsStored,
    Dynamic,
    evaluation_pixels,
    evaluation_step,
    training_pixels,
)
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.engine.training_state import TrainerState
from dregcli.errors import Diverged
from dregcli.names import Split

LEVELS = 16
DYNAMIC = Dynamic(LEVELS)


def _stored(n: int, width: int = 9) -> torch.Tensor:
    return torch.randint(0, LEVELS + 1, (n, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _model(width: int = 9) -> Vae:
    generator = Randomness(0).generator(Stream.INITIALISATION)
    return Vae(torch.full((width,), 0.5), hidden=(8, 6), latent_dim=3, generator=generator)


def _trainer(kind: type[Trainer] = Trainer, word: str = "dreg", **changes) -> Trainer:
    settings = {"k": 3, "batch_size": 10, "lr": 1e-2, "seed": 1, **changes}
    return kind(_model(), resolve_pair("iwae", word, 3), ResidentExamples(_stored(37)), DYNAMIC, **settings)


def test_an_epoch_sees_each_example_once_and_drops_the_rest() -> None:
    trainer = _trainer()
    assert trainer.steps_per_epoch == 3
    first = torch.cat([trainer._batches.indices(step) for step in range(3)])
    second = torch.cat([trainer._batches.indices(step) for step in range(3, 6)])
    assert len(first.unique()) == len(second.unique()) == 30
    assert not torch.equal(first, second)
    assert torch.equal(trainer._batches.indices(1), first[10:20]), (
        "the order is a function of the step, not of what ran before"
    )


def test_training_pixels_are_bernoulli_in_the_intensity_and_fresh_every_step() -> None:
    """Frequencies over 4,000 draws within 6 standard errors: fails by chance once in 10^7 seeds."""
    stored = torch.arange(LEVELS + 1, dtype=torch.uint8).repeat(40, 1)
    randomness = Randomness(5)
    draws = torch.cat([training_pixels(DYNAMIC, stored, randomness, step) for step in range(100)])
    intensity = torch.arange(LEVELS + 1) / LEVELS
    error = (draws.mean(0) - intensity).abs()
    assert (error <= 6 * (intensity * (1 - intensity) / len(draws)).sqrt()).all()
    assert error[0] == error[-1] == 0
    assert not torch.equal(draws[:40], draws[40:80])


def test_evaluation_pixels_are_fixed_by_the_seed_and_differ_between_splits() -> None:
    stored = _stored(50)
    pixels = evaluation_pixels(DYNAMIC, stored, Randomness(0), Split.TEST, 0)
    assert torch.equal(pixels, evaluation_pixels(DYNAMIC, stored, Randomness(0), Split.TEST, 0))
    assert torch.equal(pixels[:20], evaluation_pixels(DYNAMIC, stored[:20], Randomness(0), Split.TEST, 0))
    assert not torch.equal(pixels, evaluation_pixels(DYNAMIC, stored, Randomness(1), Split.TEST, 0))
    assert not torch.equal(pixels, evaluation_pixels(DYNAMIC, stored, Randomness(0), Split.VALID, 0))


@pytest.mark.parametrize(("k", "k_chunk"), [(1, 16), (16, 16), (37, 16), (37, 32), (37, 48), (37, None)])
def test_bounds_equal_the_direct_computation(k: int, k_chunk: int | None) -> None:
    model, stored, randomness = _model(), _stored(EVALUATION_BATCH + 5), Randomness(3)
    batches = list(
        evaluate(model, ResidentExamples(stored), DYNAMIC, split=Split.VALID, k=k, seed=3, k_chunk=k_chunk)
    )
    assert [len(batch.bound) for batch in batches] == [EVALUATION_BATCH, 5]
    for i, batch in enumerate(batches):
        rows = stored[i * EVALUATION_BATCH :][:EVALUATION_BATCH]
        pixels = evaluation_pixels(DYNAMIC, rows, randomness, Split.VALID, i)
        step = evaluation_step(Split.VALID, i)
        noise = randomness.normal(Stream.EVALUATION_NOISE, step, k=k, batch=EVALUATION_BATCH, width=3)[:, : len(rows)]
        q = model.posterior(pixels)
        z = q.loc + q.scale * noise
        h = z
        for j, layer in enumerate(model.decoder):
            h = layer(torch.tanh(h) if j else h)
        log_w = (
            torch.distributions.Bernoulli(logits=h).log_prob(pixels.expand_as(h)).sum(-1)
            + torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
            - torch.distributions.Normal(q.loc, q.scale).log_prob(z).sum(-1)
        ).double()
        expected = torch.logsumexp(log_w, 0) - math.log(k)
        torch.testing.assert_close(batch.bound, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(batch.ess, 1 / torch.softmax(log_w, 0).square().sum(0), rtol=1e-4, atol=1e-4)
        assert torch.equal(batch.pixels, pixels)
        assert batch.model_log_p is None


def test_a_part_of_a_split_has_the_values_it_has_in_the_whole() -> None:
    model, stored = _model(), _stored(EVALUATION_BATCH * 2)

    def bounds(examples: torch.Tensor, limit: int | None) -> torch.Tensor:
        found = evaluate(model, ResidentExamples(examples), DYNAMIC, split=Split.TEST, k=5, seed=0, limit=limit)
        return torch.cat([batch.bound for batch in found])

    n = EVALUATION_BATCH + 17
    whole = bounds(stored, None)
    torch.testing.assert_close(bounds(stored[:n], None), whole[:n], rtol=1e-5, atol=1e-5)
    assert torch.equal(bounds(stored, n), bounds(stored[:n], None))
    assert torch.equal(bounds(stored, 10_000), whole)


def test_no_draw_lights_a_black_pixel_nor_puts_out_a_white_one() -> None:
    stored = torch.tensor([[0, LEVELS]], dtype=torch.uint8)
    for uniform in (0.0, 1.0 - 2**-24):
        assert DYNAMIC(stored, lambda uniform=uniform: torch.full((1, 2), uniform)).tolist() == [[0.0, 1.0]]


def test_values_as_stored_draw_nothing() -> None:
    def never() -> torch.Tensor:
        raise AssertionError

    stored = _stored(4)
    assert torch.equal(AsStored(LEVELS)(stored, never), stored.float() / LEVELS)
    real = torch.tensor([[-3.5, 1e6]])
    assert torch.equal(AsStored(1)(real, never), real)


class _Watched(ResidentExamples):
    """Examples that remember what was announced and what was then asked for."""

    def __init__(self, stored: torch.Tensor) -> None:
        super().__init__(stored)
        object.__setattr__(self, "expected", [])
        object.__setattr__(self, "asked", [])

    def expect(self, indices):
        self.expected.append(indices.tolist())

    def rows(self, indices):
        self.asked.append(indices.tolist())
        return super().rows(indices)


def test_every_batch_is_announced_one_step_before() -> None:
    watched = _Watched(_stored(37))
    trainer = Trainer(
        _model(), resolve_pair("iwae", "dreg", 3), watched, DYNAMIC, k=3, batch_size=10, lr=1e-2, seed=1
    )
    for _ in range(7):
        trainer.advance()
    assert watched.asked[1:] == watched.expected[:-1]
    assert len(watched.asked) == 7
    again = _Watched(_stored(300))
    list(evaluate(_model(), again, DYNAMIC, split=Split.TEST, k=1, seed=0))
    assert again.asked[1:] == again.expected[:-1]
    assert [i for batch in again.asked for i in batch] == list(range(300))


def test_a_state_continues_bit_for_bit() -> None:
    straight, first, second = _trainer(), _trainer(), _trainer()
    for _ in range(11):
        straight.advance()
    for _ in range(4):
        first.advance()
    state = first.state()
    for _ in range(2):  # what happens after the state was taken must not reach it
        first.advance()
    second.load(state.step, state.model, state.optimizer, state.window)
    for _ in range(7):
        second.advance()
    a, b = straight.state(), second.state()
    assert a.step == b.step == 11
    assert a.window == b.window
    assert all(torch.equal(a.model[name], b.model[name]) for name in a.model)
    assert all(torch.equal(a.optimizer[name], b.optimizer[name]) for name in a.optimizer)


# Divergence: it is told of late, and changes nothing all the same. More of it: test_late_metrics.


def _same(found: TrainerState, expected: TrainerState) -> bool:
    """To the bit, NaN included."""
    tensors = [tensors_sha256({**state.model, **state.optimizer}) for state in (found, expected)]
    return found.step == expected.step and found.window == expected.window and tensors[0] == tensors[1]


def _refused(trainer: Trainer, *, after: int) -> tuple[Diverged, TrainerState]:
    """What a broken parameter is refused with in step 2, asked so many steps later; the state before that step."""
    trainer.advance()
    with torch.no_grad():
        trainer.model.decoder[0].weight[0, 0] = math.nan
    before = trainer.state()
    for _ in range(1 + after):
        trainer.advance()
    with pytest.raises(Diverged, match="not finite") as caught:
        trainer.collect()
    return caught.value, before


@pytest.mark.parametrize("after", [0, 1, 20])
def test_divergence_leaves_the_parameters_as_they_were(after: int) -> None:
    trainer = _trainer()
    error, before = _refused(trainer, after=after)
    assert error.what.startswith("Training diverged: the bound is not finite (and ")
    assert error.where == f"step 2, training examples {', '.join(map(str, trainer._batches.indices(1).tolist()))}"
    assert before.step == before.window["count"] == 1
    with pytest.raises(Diverged):
        trainer.state()
    assert _same(_left(trainer), before)


def _left(trainer: Trainer) -> TrainerState:
    """What a trainer that diverged holds; it gives no state by itself."""
    trainer._diverged = None
    return trainer.state()


class _TheFlagIgnored(Trainer):
    """The wrong twin: a broken step is told of, and changes the parameters."""

    def advance(self):
        self.trained.updates._parts["lr"].found_inf = torch.zeros(())
        super().advance()


class _TheFlagForgotten(Trainer):
    """The wrong twin: the broken step itself changes nothing, and those that follow do."""

    def advance(self):
        super().advance()
        self._broken.zero_()

    def _gradients(self, drawn, **settings):
        batch, found = super()._gradients(drawn, **settings)
        if self.step == 2:
            found = replace(found, values=torch.zeros_like(found.values))
            for group in (found.model, found.posterior):
                group.update({name: torch.ones_like(each) for name, each in group.items()})
        return batch, found


@pytest.mark.parametrize(("twin", "after"), [(_TheFlagIgnored, 0), (_TheFlagForgotten, 1)])
def test_parameters_that_move_with_or_after_a_broken_step_are_caught(twin: type[Trainer], after: int) -> None:
    trainer = _trainer(twin)
    _, before = _refused(trainer, after=after)
    assert trainer.step == before.step
    assert not _same(_left(trainer), before)


class _BrokenSlope(Trainer):
    def _gradients(self, drawn, **settings):
        batch, found = super()._gradients(drawn, **settings)
        return batch, replace(found, learned=found.learned | {"gamma": torch.tensor(math.nan).double()})


def test_a_slope_that_is_not_finite_is_refused() -> None:
    trainer = _trainer(_BrokenSlope, "dreg-cv")
    model, scalars = tensors_sha256(trainer.model.state_dict()), trainer.trained.learned.values()
    with pytest.raises(Diverged, match=r"the slope of the estimator's gamma is not finite\."):
        trainer.advance()
    assert trainer.step == 0
    assert trainer.trained.learned.values() == scalars
    assert tensors_sha256(trainer.model.state_dict()) == model


def test_adam_is_the_references() -> None:
    """One step by hand: m = .1 g, v = .001 g^2, both corrected, so the step is lr * g / (|g| + 1e-8)."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    Adam({"p": parameter}, lr=0.1).step({"p": torch.tensor([0.5, -3.0])})
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.9, 2.1]), rtol=1e-6, atol=1e-6)


def test_the_model_is_the_references() -> None:
    mean = torch.linspace(0, 1, 784)
    model = Vae(mean, hidden=(200, 200), latent_dim=50, generator=Randomness(0).generator(Stream.INITIALISATION))
    shapes = [tuple(layer.weight.shape) for layer in (*model.encoder, *model.decoder)]
    assert shapes == [(200, 784), (200, 200), (100, 200), (200, 50), (200, 200), (784, 200)]
    limit = math.sqrt(6 / (784 + 200))
    assert 0.99 * limit < model.encoder[0].weight.detach().abs().max().item() <= limit
    assert all(torch.count_nonzero(layer.bias) == 0 for layer in (*model.encoder, *model.decoder[:-1]))
    expected = torch.logit(mean.clamp(1e-3, 1 - 1e-3))
    torch.testing.assert_close(model.decoder[-1].bias.detach(), expected)
    q = model.posterior(mean[None])
    h = torch.zeros(1, 784)  # the centred input of the mean image
    for i, layer in enumerate(model.encoder):
        h = layer(torch.tanh(h) if i else h)
    torch.testing.assert_close(q.loc, h[:, :50])
    torch.testing.assert_close(q.scale, torch.nn.functional.softplus(h[:, 50:] + 0.25))
