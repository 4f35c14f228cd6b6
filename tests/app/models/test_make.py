"""Weights follow from the seed alone, and building a model leaves the caller's random numbers as they were."""

import random

import numpy as np
import pytest
import torch

from dregcli.app.models.find import find_code
from dregcli.app.models.make import make_model, make_module
from dregcli.engine.checksum import tensors_sha256
from dregcli.errors import ModelFailed, SpecError
from tests.support.own_models import MODEL, small_data, write_model


def _made(path, *, seed: int = 0, **options):
    return make_module(find_code(f"{path}:TinyVae"), small_data(), options, seed=seed)


def test_the_same_seed_gives_the_same_weights_and_the_callers_generators_are_untouched(tmp_path) -> None:
    noise = "noise = [torch.randn(()).item(), __import__('numpy').random.rand(), __import__('random').random()]"
    path = write_model(tmp_path, MODEL.replace("super().__init__()", f"super().__init__()\n        self.{noise}"))
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = _made(path, seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    torch.rand(7), np.random.rand(7), random.random()
    again, other = _made(path, seed=3), _made(path, seed=4)
    assert tensors_sha256(first.state_dict()) == tensors_sha256(again.state_dict())
    assert first.noise == again.noise
    assert tensors_sha256(first.state_dict()) != tensors_sha256(other.state_dict())
    assert all(a != b for a, b in zip(first.noise, other.noise, strict=True))


def test_lazy_layers_of_both_programs_follow_the_seed(tmp_path) -> None:
    text = MODEL.replace("nn.Linear(pixels, ", "nn.LazyLinear(").replace("nn.Linear(latent_dim, ", "nn.LazyLinear(")
    assert text.count("LazyLinear") == 2
    path = write_model(tmp_path, text)
    before = torch.get_rng_state()
    first = _made(path, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    again, other = _made(path, seed=3).state_dict(), _made(path, seed=4).state_dict()
    for name, each in first.state_dict().items():
        assert torch.equal(each, again[name])
        assert not torch.equal(each, other[name])


def test_a_lazy_layer_that_the_trial_does_not_reach_is_refused(tmp_path) -> None:
    path = write_model(
        tmp_path, MODEL.replace("self.decoder =", "self.spare = nn.LazyLinear(3)\n        self.decoder =")
    )
    with pytest.raises(SpecError, match=r"does not reach spare.weight, spare.bias") as caught:
        make_model(find_code(f"{path}:TinyVae"), small_data(), {}, seed=0)
    assert "nn.LazyLinear" in str(caught.value)


def test_options_reach_the_constructor(tmp_path) -> None:
    made = _made(write_model(tmp_path), latent_dim=3, scale=0.5)
    assert (made.latent_dim, made.scale, made.encoder.out_features) == (3, 0.5, 6)


def test_a_constructor_that_fails_is_reported_with_its_own_words_and_line(tmp_path) -> None:
    refusal = 'if latent_dim > 4: raise ValueError("at most 4")'
    text = MODEL.replace("super().__init__()", f"super().__init__()\n        {refusal}")
    path = write_model(tmp_path, text)
    with pytest.raises(ModelFailed) as caught:
        _made(path, latent_dim=5)
    assert caught.value.what == "TinyVae(data, latent_dim=5) fails: ValueError: at most 4"
    line = text.splitlines().index(f"        {refusal}") + 1
    assert caught.value.where == f"{path}, line {line}"


def test_a_constructor_without_that_of_torch_is_reported(tmp_path) -> None:
    text = MODEL + "\nclass Bare(dregcli.LatentModel):\n    def __init__(self, data): self.a = 1\n"
    text += "    def posterior(self, x, draw): ...\n    def model(self, z, given): ...\n"
    path = write_model(tmp_path, text)
    with pytest.raises(ModelFailed, match=r"super\(\)"):
        make_module(find_code(f"{path}:Bare"), small_data(), {}, seed=0)
