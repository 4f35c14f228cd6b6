"""Gradients of any model, by the dense executor, against oracles that share nothing with it but the samples."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine import multi_sample_loss
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.every_pair import checked_pairs
from tests.support.exact import relative_distance
from tests.support.program_oracle import Written, bound_gradient, drawn, far, naive
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.sweep import swept

K = 5
WORDS = ("iwae/dreg", "iwae/reparam", "iwae/stl", "jvi:order=1/vimco", "rws/dreg", "elbo/reparam")


def pairs(*words: str, k: int = K) -> list[Pair]:
    return [resolve_pair(*word.split("/"), k) for word in words]


def off(model: ProgramModel, wanted: list[Pair], k: int = K) -> dict[str, float]:
    """Pairs whose gradients are not the oracle's."""
    x = pixels_of(model)
    draws = drawn(model, k=k, batch=len(x))
    step = Step(model, x, draws, Execution())
    found = {pair.word: far(step.gradients(pair), naive(model, x, draws, pair)) for pair in wanted}
    return {word: each for word, each in found.items() if not each <= 1e-10}


@swept("name", PATHS)
def test_models_with_a_path(name: str) -> None:
    assert off(PATHS[name](), pairs(*WORDS)) == {}


@swept("name", SCORES)
def test_models_without_a_path(name: str) -> None:
    model = SCORES[name]()
    words = ("iwae/vimco", "iwae/reinforce", "rws/reparam", "jvi:order=1/vimco", *WORDS)
    assert off(model, [pair for pair in pairs(*words) if not model.faults(pair)]) == {}


def test_every_pair() -> None:
    assert off(PATHS["two layers, flow above"](), list(checked_pairs(K))) == {}


@swept("name", PATHS)
def test_reparam_is_autograd_of_the_bound(name: str) -> None:
    """Shared parameters have the sum of their two gradients."""
    assert off_bound(PATHS[name]()) < 1e-10


def off_bound(model: ProgramModel) -> float:
    """Relative distance of the gradient by iwae/reparam to autograd's through ``rsample``."""
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    (pair,) = pairs("iwae/reparam")
    found = Step(model, x, draws, Execution()).gradients(pair).whole()
    expected = bound_gradient(model, x, draws)
    return relative_distance(found, {name: expected[name] for name in found})


class _Same(Distribution):
    """A joint posterior of one model's latents, whose samples are given."""

    arg_constraints = {}  # noqa: RUF012 - as in torch
    has_rsample = True

    def __init__(self, own: Written, z: dict[str, Tensor]) -> None:
        self._own, self._z = own, z
        first = next(iter(z.values()))
        self._sizes = [each[0, 0].numel() for each in z.values()]
        super().__init__(first.shape[1:2], torch.Size((sum(self._sizes),)), validate_args=False)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 - as in torch
        live = self._own.path(self._z)
        together = torch.cat([each.flatten(2) for each in live.values()], -1)
        return together.repeat(-(-sample_shape[0] // len(together)), 1, 1)[: sample_shape[0]]

    def log_prob(self, value: Tensor) -> Tensor:
        return self._own.log_q(self.split(value), live=True)

    def split(self, value: Tensor) -> dict[str, Tensor]:
        parts = torch.split(value, self._sizes, -1)
        return {
            name: part.reshape(*part.shape[:2], *z.shape[2:])
            for (name, z), part in zip(self._z.items(), parts, strict=True)
        }


@pytest.mark.parametrize("name", ["normal", "shared matrix", "three draws", "flow"])
@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/stl", "iwae/vimco"])
def test_multi_sample_loss_on_the_same_samples(name: str, word: str) -> None:
    model = PATHS[name]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    z = {name: each.detach() for name, each in model.draw(x, draws).values.items()}
    own = Written(model.module, x.reshape(-1, *model.data.shape), draws)
    posterior = _Same(own, z)
    loss, bound = multi_sample_loss(
        lambda together: own.log_p(posterior.split(together), live=True), posterior, K, *word.split("/"), check=False
    )
    found = Step(model, x, draws, Execution()).gradients(*pairs(word))
    named = dict(model.module.named_parameters())
    expected = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    assert torch.allclose(found.bound, bound, rtol=1e-13)
    assert relative_distance(dict(sorted(found.whole().items())), dict(sorted(expected.items()))) < 1e-10
