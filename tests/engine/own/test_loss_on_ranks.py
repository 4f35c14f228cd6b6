"""The loss for own loops under torch's DistributedDataParallel has the gradients of one process with all examples."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal
from torch.nn.parallel import DistributedDataParallel

from dregcli.engine import multi_sample_loss
from tests.support.given_noise import GivenNoise
from tests.support.rank_processes import Named, found_on_ranks

K, B, D, Z = 6, 4, 5, 2
WAYS: dict[str, dict[str, Any]] = {
    "dreg": {"estimator": "dreg"},
    "stl": {"estimator": "stl"},
    "reparam": {"estimator": "reparam"},
    "vimco": {"estimator": "vimco"},
    "dreg in chunks": {"estimator": "dreg", "k_chunk": 4},
}


class SmallVae(nn.Module):
    """A model whose ``forward`` returns the loss, as DistributedDataParallel wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(D, 2 * Z), nn.Linear(Z, D)

    def forward(self, x: Tensor, noise: Tensor, way: dict[str, Any]) -> Tensor:
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)

        def log_joint(z: Tensor) -> Tensor:
            likelihood = Independent(Bernoulli(logits=self.decoder(z), validate_args=False), 1)
            return likelihood.log_prob(x) + Independent(Normal(torch.zeros_like(z), 1.0), 1).log_prob(z)

        loss, _ = multi_sample_loss(log_joint, GivenNoise(loc, log_scale.exp(), noise), K, **way)
        return loss


def subject() -> tuple[SmallVae, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    model = SmallVae().double()
    for each in model.parameters():
        nn.init.normal_(each, std=0.5, generator=generator)
    x = torch.rand(B, D, generator=generator, dtype=torch.float64).round()
    return model, x, torch.randn(K, B, Z, generator=generator, dtype=torch.float64)


def gradients(model: nn.Module, of: nn.Module, x: Tensor, noise: Tensor) -> Named:
    found: Named = {}
    for name, way in WAYS.items():
        of.zero_grad()
        model(x, noise, way).backward()
        found[name] = torch.cat([each.grad.flatten() for each in of.parameters() if each.grad is not None]).tolist()
    return found


def on_rank(rank: int, size: int) -> Named:
    model, x, noise = subject()
    own = slice(rank * B // size, (rank + 1) * B // size)
    return gradients(DistributedDataParallel(model), model, x[own], noise[:, own])


def test_two_ranks_have_the_gradients_of_one_process() -> None:
    model, x, noise = subject()
    alone, half = gradients(model, model, x, noise), gradients(model, model, x[: B // 2], noise[:, : B // 2])
    for found in found_on_ranks(on_rank, 2):
        for name in WAYS:
            assert found[name] == pytest.approx(alone[name], rel=1e-11, abs=1e-13), name
            assert found[name] != pytest.approx(half[name], rel=1e-3), "a rank without the others would show"
