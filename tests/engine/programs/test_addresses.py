"""Samples of any family are functions of their address alone."""

import hashlib
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import Draw, LatentModel, ModelData, gaussian
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.plain_models import SmallModel, TwoLayers
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, SCORES, made, pixels_of
from tests.support.screening import off_gradients
from tests.support.sweep import swept

ALL = {**PATHS, **SCORES}
IN_BLOCKS = "two layers, Laplace above"
"""A latent that depends on an earlier one and has no normals: it is drawn by blocks of 16 samples."""
ON_EARLIER = [name for name in ALL if "layers" in name or name in ("three draws", "discrete and continuous")]
"""Networks meet samples here, and sums in another order round differently."""


def samples(model: ProgramModel, k: int, first: int = 0, count: int | None = None) -> dict[str, Tensor]:
    x = pixels_of(model)
    return model.draw(x, drawn(model, k=k, batch=len(x)), first=first, count=count).values


@swept("name", ALL)
def test_a_prefix_and_a_part_have_the_same_numbers(name: str) -> None:
    model = ALL[name]()
    long = samples(model, 128)
    found = {
        "prefix": (samples(model, 32), slice(0, 32)),
        "later samples": (samples(model, 128, first=16, count=16), slice(16, 32)),
    }
    if name != IN_BLOCKS:
        found["a part of a block"] = (samples(model, 40, first=32), slice(32, 40))
    for what, (part, k) in found.items():
        for latent, z in part.items():
            expected = long[latent][k]
            same = torch.allclose(z, expected, rtol=1e-13) if name in ON_EARLIER else torch.equal(z, expected)
            assert same, (what, latent)
    whole = torch.stack([each.double().reshape(*each.shape[:2], -1).sum(-1) for each in long.values()]).sum(0)
    is_discrete = all((each == each.round()).all() for each in long.values())
    assert is_discrete or len(whole.unique()) == whole.numel(), "samples repeat"


def test_a_part_of_a_block_has_other_samples_where_a_latent_is_drawn_by_blocks() -> None:
    """A restriction: only whole blocks are the prefix of a larger K. One K always has the same numbers."""
    model = made(lambda data: TwoLayers(data, "student"))
    long, short = samples(model, 64), samples(model, 40)
    assert all(torch.equal(each[:32], long[name][:32]) for name, each in short.items())
    assert torch.allclose(short["z1"], long["z1"][:40], rtol=1e-13)
    assert not torch.isclose(short["z2"][32:], long["z2"][32:40]).any()
    assert torch.equal(short["z2"], samples(model, 40)["z2"])


def test_steps_seeds_and_latents_have_numbers_of_their_own() -> None:
    model = PATHS["laplace"]()
    x = pixels_of(model)
    found = [
        model.draw(x, drawn(model, k=4, batch=len(x), seed=seed, step=step)).values["z"]
        for seed, step in ((0, 0), (0, 1), (1, 0))
    ]
    three = samples(PATHS["three draws"](), 4)
    for one, other in ((found[0], found[1]), (found[0], found[2])):
        assert not torch.isclose(one, other).any()
    assert not torch.isclose(three["a"], three["c"]).any()


@swept("name", ALL)
def test_generators_of_the_caller_are_neither_read_nor_moved(name: str) -> None:
    model = ALL[name]()
    x = pixels_of(model)
    pair = resolve_pair("iwae", "vimco", 4)
    found: list[Tensor] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        step = Step(model, x, drawn(model, k=4, batch=len(x)), Execution())
        found.append(step.gradients(pair).log_w)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*found)


class Dropped(SmallModel):
    """Dropout in the posterior's network."""

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(nn.functional.dropout(self.encoder(x.flatten(1)), 0.5)[..., :4]))


class DroppedBetween(TwoLayers):
    """Dropout between two latents: a number for each sample of each example."""

    def posterior(self, x: Tensor, draw: Draw) -> None:
        z1 = draw("z1", gaussian(nn.functional.dropout(self.q1(x.flatten(1)), 0.5)))
        draw("z2", gaussian(self.q2(nn.functional.dropout(z1, 0.5))))


@pytest.mark.parametrize("kind", [Dropped, DroppedBetween])
def test_dropout_in_the_posterior_is_the_same_in_every_pass(kind: type[LatentModel]) -> None:
    model = made(kind)
    x = pixels_of(model)
    draws, pair = drawn(model, k=40, batch=len(x)), resolve_pair("iwae", "dreg", 40)
    dense, chunked = (Step(model, x, draws, Execution(k_chunk=size)).gradients(pair) for size in (None, 16))
    assert off_gradients(chunked, dense, 1e-11) == {}
    other = Step(model, x, drawn(model, k=40, batch=len(x), step=1), Execution()).gradients(pair)
    zeros = [(next(iter(each.posterior.values())) == 0.0).flatten(1).all(-1)[:4].tolist() for each in (dense, other)]
    assert zeros[0] != zeros[1]


DIGEST = """
import torch
torch.manual_seed(5)
from tests.engine.programs.test_addresses import digest
print(digest())
"""


def digest() -> str:
    """SHA-256 of samples and gradients of a few families."""
    found = hashlib.sha256()
    for name, word in (("laplace", "dreg"), ("two layers, Laplace above", "dreg"), ("categorical", "vimco")):
        model = ALL[name]()
        x = pixels_of(model)
        step = Step(model, x, drawn(model, k=20, batch=len(x)), Execution())
        gradients = step.gradients(resolve_pair("iwae", word, 20))
        for each in (gradients.log_w, *gradients.whole().values()):
            found.update(each.numpy().tobytes())
    return found.hexdigest()


def test_another_process_has_the_same_bits() -> None:
    """With other hashes of strings, which would order sets of parameters in another way."""
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest()


def test_the_data_are_those_that_the_model_was_built_with() -> None:
    data = ModelData((4,), PATHS["normal"]().data.kind, 1, torch.zeros(4), torch.ones(4))
    assert made(SmallModel, data).data is data
