"""Images of a model: exact choices and orders, addressed noise, and what more images have in common with fewer."""

import pytest
import torch
from torch import Tensor

from dregcli.engine import sampling
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.pixels import EVALUATION_BATCH, Dynamic, evaluation_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import (
    EXAMPLES_BLOCK,
    best_of_k,
    latent_variances,
    most_active,
    prior_images,
    seen_pixels,
    traversals,
)
from dregcli.errors import NotFinite
from dregcli.names import Split
from tests.support.exact import small_vae

SEED = 4


def _structured() -> StructuredVae:
    generator = torch.Generator().manual_seed(3)
    model = StructuredVae(torch.full((12,), 0.5), context=6, hidden=(8,), latent_dim=5, generator=generator)
    for each in model.parameters():
        each.data.add_(0.3 * torch.randn(each.shape, generator=generator))
    return model


def _pixels(model, n: int, seed: int = 0) -> Tensor:
    drawn = torch.rand(n, model.mean.shape[0], generator=torch.Generator().manual_seed(seed))
    return (drawn > 0.5).to(model.mean)


def _models():
    return small_vae().float(), _structured()


def _naive(model, pixels: Tensor, k: int, seed: int, worst: bool = False) -> tuple[Tensor, Tensor]:
    """Log-weights row by row from their definition, and the images of the chosen samples; by the noise's address."""
    log_w, images = torch.empty(k, len(pixels)), []
    for i, x in enumerate(pixels):
        block, place = divmod(i, EXAMPLES_BLOCK)
        drawn = Randomness(seed).normal(
            Stream.SAMPLE_POSTERIOR, block, k=k, batch=EXAMPLES_BLOCK, width=model.latent_width
        )
        q = model.posterior(x[None])
        z = q.loc + q.scale * drawn[:, place]
        log_q = torch.distributions.Normal(q.loc, q.scale).log_prob(z).sum(-1)
        log_w[:, i] = model.log_joint(x[None], (z[:, None],))[:, 0] - log_q
        chosen = log_w[:, i].argmin() if worst else log_w[:, i].argmax()
        images.append(model.mean_pixels(x[None], (z[chosen][None, None],))[0, 0])
    return log_w, torch.stack(images)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_the_best_of_k_is_the_one_with_the_largest_weight(which: int, k: int) -> None:
    """The twin takes the one with the smallest."""
    model = _models()[which]
    pixels = _pixels(model, EXAMPLES_BLOCK + 3)
    found = best_of_k(model, pixels, Randomness(7), k=k)
    with torch.no_grad():
        log_w, images = _naive(model, pixels, k, seed=7)
        _, wrong = _naive(model, pixels, k, seed=7, worst=True)
    torch.testing.assert_close(found.log_w, log_w, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.chosen, found.log_w.argmax(dim=0))
    torch.testing.assert_close(found.images, images, rtol=1e-4, atol=1e-5)
    assert (k == 1) == torch.allclose(wrong, images, atol=1e-3)


def test_weights_that_are_no_numbers_are_an_error() -> None:
    model = small_vae().float()
    model.decoder[0].weight.data[0, 0] = torch.nan
    with pytest.raises(NotFinite, match="not a number"):
        best_of_k(model, _pixels(model, 2), Randomness(0), k=3)


@pytest.mark.parametrize("which", [0, 1])
def test_prior_images_are_means_at_addressed_latents(which: int) -> None:
    model = _models()[which]
    pixels = _pixels(model, 3)
    found = prior_images(model, pixels, Randomness(SEED), k=20)
    prior = model.latent_prior(pixels)
    for i in range(3):
        noise = Randomness(SEED).normal(Stream.SAMPLE_PRIOR, i, k=20, batch=1, width=model.latent_width)
        z = prior.loc[i] + prior.scale[i] * noise
        with torch.no_grad():
            torch.testing.assert_close(found[:, i], model.mean_pixels(pixels[i : i + 1], (z,))[:, 0])
    if which:  # a completion keeps its context
        assert torch.equal(found[..., :6], pixels[:, :6].expand(20, 3, 6))
    other = prior_images(model, pixels, Randomness(SEED + 1), k=20)
    assert not torch.equal(found, other)


@pytest.mark.parametrize("which", [0, 1])
def test_more_images_begin_with_what_fewer_are_to_the_last_bit(which: int) -> None:
    model = _models()[which]
    pixels = _pixels(model, 3 * EXAMPLES_BLOCK)
    few, many = (prior_images(model, pixels[:n], Randomness(1), k=k) for n, k in ((2, 5), (4, 70)))
    assert torch.equal(few, many[:5, :2])
    few, many = (best_of_k(model, pixels[:n], Randomness(1), k=9) for n in (EXAMPLES_BLOCK, 3 * EXAMPLES_BLOCK))
    assert torch.equal(few.images, many.images[:EXAMPLES_BLOCK])
    deeper = best_of_k(model, pixels[:EXAMPLES_BLOCK], Randomness(1), k=32)
    assert torch.equal(few.log_w, deeper.log_w[:9])


def test_noise_that_depends_on_how_many_would_be_seen(monkeypatch) -> None:
    """The twin draws for the examples at hand."""

    class Fitting(AddressedNoise):
        def __init__(self, *where, **shapes):
            super().__init__(*where, **(shapes | {"batch": shapes["examples"]}))

    monkeypatch.setattr(sampling, "AddressedNoise", Fitting)
    model = small_vae().float()
    pixels = _pixels(model, EXAMPLES_BLOCK)
    few, many = (best_of_k(model, pixels[:n], Randomness(1), k=9) for n in (5, EXAMPLES_BLOCK))
    assert not torch.allclose(few.log_w, many.log_w[:, :5], atol=1e-3)


def test_pixels_are_those_of_evaluations_and_come_in_whole_batches() -> None:
    stored = torch.randint(0, 17, (EVALUATION_BATCH + 9, 6), dtype=torch.uint8, generator=torch.Generator())
    options = {"split": Split.TEST, "seed": 5}
    every = list(seen_pixels(ResidentExamples(stored), Dynamic(16), **options))
    assert [len(each) for each in every] == [EVALUATION_BATCH, 9]
    (first,) = seen_pixels(ResidentExamples(stored), Dynamic(16), limit=3, **options)
    assert torch.equal(first, every[0])
    expected = evaluation_pixels(Dynamic(16), stored[:EVALUATION_BATCH], Randomness(5), Split.TEST, 0)
    assert torch.equal(first, expected)


def test_the_most_active_latents_have_the_largest_variances_of_qs_mean() -> None:
    model = small_vae().float()
    batches = [_pixels(model, 7, seed=1), _pixels(model, 4, seed=2)]
    with torch.no_grad():
        means = model.posterior(torch.cat(batches)).loc.double()
    variances = latent_variances(model, iter(batches), split=Split.TEST, seed=0)
    torch.testing.assert_close(variances, ((means - means.mean(0)) ** 2).mean(0), rtol=1e-6, atol=1e-12)
    assert most_active(torch.tensor([0.1, 3.0, 0.1, 5.0, 0.2]), 4) == [3, 1, 4, 0]


@pytest.mark.parametrize("which", [0, 1])
def test_a_traversal_moves_one_latent_through_the_prior(which: int) -> None:
    model = _models()[which]
    x = _pixels(model, 1)
    offsets, latents = (-3.0, 0.5, 3.0), (1, 0)
    still, found = traversals(model, x, latents, offsets)
    with torch.no_grad():
        mean, prior = model.posterior(x).loc, model.latent_prior(x)
        torch.testing.assert_close(still, model.mean_pixels(x, (mean[None],))[0].expand(2, -1))
        for row, latent in enumerate(latents):
            for column, offset in enumerate(offsets):
                z = mean.clone()
                z[0, latent] = prior.loc[0, latent] + offset * prior.scale[0, latent]
                torch.testing.assert_close(found[row, column], model.mean_pixels(x, (z[None],))[0, 0])
