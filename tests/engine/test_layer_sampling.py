"""Images in which some layers stay and the layers below come from their priors."""

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.layer_sampling import layer_reconstructions, layer_samples
from dregcli.engine.programs.contract import Given, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import EXAMPLES_BLOCK, best_of_k, posterior_draws, prior_images
from tests.support.plain_models import TwoLayers
from tests.support.program_zoo import PATHS, SCORES, made, pixels_of

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SEED, K = 4, 5


def _normal(step: int, k: int, batch: int, width: int, latent: int) -> Tensor:
    block = latent * 2**40
    return Randomness(SEED).normal(Stream.SAMPLE_PRIOR, step, k=k, batch=batch, width=width, block=block).double()


def _image(model: ProgramModel, z1: Tensor) -> Tensor:
    return torch.sigmoid(model.module.decoder(torch.tanh(z1)))


def _lower(model: ProgramModel, z2: Tensor, noise: Tensor) -> Tensor:
    prior = gaussian(model.module.p1(z2))
    return prior.mean + prior.stddev * noise


def test_reconstructions_keep_the_upper_layers_of_q_and_draw_the_others_from_the_prior() -> None:
    model = made(TwoLayers)
    pixels = pixels_of(model, EXAMPLES_BLOCK + 3)
    best = best_of_k(model, pixels, Randomness(SEED), k=K)
    found = {
        name: layer_reconstructions(model, pixels, Randomness(SEED), name, best.chosen, k=K, count=20)
        for name in ("z1", "z2")
    }
    torch.testing.assert_close(found["z1"], best.images.unsqueeze(1).expand(-1, 20, -1), **EXACT)
    for number, first in enumerate((0, EXAMPLES_BLOCK)):
        block = pixels[first : first + EXAMPLES_BLOCK]
        draws = posterior_draws(model, block, Randomness(SEED), k=K, number=number)
        chosen = best.chosen[first : first + EXAMPLES_BLOCK]
        with torch.no_grad():
            drawn = model.draw(block, draws).values
            z1, z2 = (drawn[name][chosen, torch.arange(len(block))] for name in ("z1", "z2"))
            noise = _normal(2**33 + number, 20, EXAMPLES_BLOCK, 2, latent=1)[:, : len(block)]
            expected = _image(model, _lower(model, z2, noise)).transpose(0, 1)
            swapped = _image(model, _lower(model, z1, noise)).transpose(0, 1)
        torch.testing.assert_close(found["z2"][first : first + EXAMPLES_BLOCK], expected, **EXACT)
        assert not torch.allclose(found["z2"][first : first + EXAMPLES_BLOCK], swapped, atol=1e-3)


def test_samples_keep_the_upper_layers_of_the_first_prior_samples() -> None:
    model = made(TwoLayers)
    pixels = pixels_of(model)
    found = layer_samples(model, pixels, Randomness(SEED), "z2", k=18, count=3)
    z2 = _normal(0, 32, 1, 2, latent=0)
    for row in (0, 5, 17):
        noise = _normal(2**32 + row // 16, 16, EXAMPLES_BLOCK, 2, latent=1)[:3, row % 16]
        with torch.no_grad():
            expected = _image(model, _lower(model, z2[row], noise))
        torch.testing.assert_close(found[row], expected, **EXACT)
    whole = layer_samples(model, pixels, Randomness(SEED), "z1", k=18, count=2)
    torch.testing.assert_close(whole[:, 0], prior_images(model, pixels[:1], Randomness(SEED), k=18)[:, 0], **EXACT)
    assert torch.equal(whole[:, 0], whole[:, 1])


def test_more_images_begin_with_what_fewer_are_to_the_last_bit() -> None:
    for model in (PATHS["three draws"](), SCORES["discrete and continuous"]()):
        upper = model.layers()[1].name
        pixels = pixels_of(model, 2 * EXAMPLES_BLOCK)
        few, many = (
            layer_samples(model, pixels, Randomness(1), upper, k=k, count=count) for k, count in ((2, 3), (20, 18))
        )
        assert torch.equal(few, many[:2, :3])
        chosen = best_of_k(model, pixels, Randomness(1), k=K).chosen
        few, many = (
            layer_reconstructions(model, pixels[:n], Randomness(1), upper, chosen[:n], k=K, count=count)
            for n, count in ((EXAMPLES_BLOCK, 2), (2 * EXAMPLES_BLOCK, 17))
        )
        assert torch.equal(few, many[:EXAMPLES_BLOCK, :2])
        assert not torch.allclose(many[:, 0], many[:, 1], atol=1e-3)


def test_layers_stay_also_if_the_program_reads_them_before_it_gives_their_priors() -> None:
    class Late(TwoLayers):
        """Two independent layers, whose priors come after the decoder."""

        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            p = Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z1"] + 2.0 * z["z2"]))), 1)
            given("z2", standard_normal(2))
            given("z1", standard_normal(2))
            return p

    model = made(Late)
    pixels = pixels_of(model)
    best = best_of_k(model, pixels, Randomness(SEED), k=K)
    found = layer_reconstructions(model, pixels, Randomness(SEED), "z2", best.chosen, k=K, count=4)
    draws = posterior_draws(model, pixels, Randomness(SEED), k=K, number=0)
    z2 = model.draw(pixels, draws).values["z2"][best.chosen, torch.arange(len(pixels))]
    noise = _normal(2**33, 16, EXAMPLES_BLOCK, 2, latent=1)[:4, : len(pixels)]
    with torch.no_grad():
        torch.testing.assert_close(found.transpose(0, 1), _image(model, noise + 2.0 * z2), **EXACT)
