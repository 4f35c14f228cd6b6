"""CPU seconds per step of a convolutional VAE in one's own training loop, with 28 x 28 random patterns. By hand:

    OMP_NUM_THREADS=1 python -m tests.benchmarks.own_model [--k 64] [--steps 8] [--warm 150]

Compares ``multi_sample_loss``, dense and screened, with a loop in plain torch that has one loss for each network.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine import multi_sample_loss
from dregcli.engine.own.rows import RowChoice

BATCH, LATENTS, CHANNELS = 32, 32, 32


class Loop:
    """A model with its optimiser; each step draws its own examples."""

    def __init__(self, k: int) -> None:
        c, inner = CHANNELS, 2 * CHANNELS * 49
        torch.manual_seed(0)
        self.k = k
        self.images = torch.rand(64, 1, 7, 7).round().repeat_interleave(4, 2).repeat_interleave(4, 3)
        encoder = [nn.Conv2d(1, c, 4, 2, 1), nn.ReLU(), nn.Conv2d(c, 2 * c, 4, 2, 1), nn.ReLU(), nn.Flatten()]
        self.encoder = nn.Sequential(*encoder, nn.Linear(inner, 2 * LATENTS))
        decoder = [nn.Linear(LATENTS, inner), nn.ReLU(), nn.Unflatten(1, (2 * c, 7, 7))]
        up = [nn.ConvTranspose2d(2 * c, c, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(c, 1, 4, 2, 1)]
        self.decoder = nn.Sequential(*decoder, *up)
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=1e-3)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Examples (B, 1, 28, 28), and the parameters of q."""
        x = self.images[torch.randint(len(self.images), (BATCH,))]
        loc, raw = self.encoder(x).chunk(2, dim=-1)
        return x, loc, nn.functional.softplus(raw) + 1e-3

    def log_p(self, z: Tensor, x: Tensor) -> Tensor:
        logits = self.decoder(z.flatten(0, 1)).reshape(*z.shape[:2], 1, 28, 28)
        likelihood = Independent(Bernoulli(logits=logits, validate_args=False), 3).log_prob(x)
        return Normal(0.0, 1.0).log_prob(z).sum(-1) + likelihood

    def engine(self, screen: float | None, k_chunk: int | None) -> None:
        x, loc, scale = self.batch()

        def log_joint(z: Tensor, rows: RowChoice) -> Tensor:
            return self.log_p(z, rows(x))

        posterior = _normal(loc, scale)
        loss, _ = multi_sample_loss(log_joint, posterior, self.k, check=False, screen=screen, k_chunk=k_chunk)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def plain(self) -> None:
        """DReG as two losses: one by the decoder's parameters, one by the encoder's."""
        x, loc, scale = self.batch()
        z = _normal(loc, scale).rsample(torch.Size((self.k,)))
        log_w = self.log_p(z, x) - _normal(loc.detach(), scale.detach()).log_prob(z)
        v = log_w.detach().softmax(0)
        losses = [-(weight * log_w).sum(0).mean() for weight in (v.square(), v)]
        by_encoder = torch.autograd.grad(losses[0], list(self.encoder.parameters()), retain_graph=True)
        by_decoder = torch.autograd.grad(losses[1], list(self.decoder.parameters()))
        for parameter, gradient in zip(self.parameters, [*by_encoder, *by_decoder], strict=True):
            parameter.grad = gradient
        self.optimiser.step()


def _normal(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm", type=int, default=150, help="Screened steps before the measurement.")
    asked = parser.parse_args()
    loop = Loop(asked.k)
    modes: dict[str, Callable[[], None]] = {
        "plain torch, two losses": loop.plain,
        "dense": lambda: loop.engine(None, None),
        "screen=0.15": lambda: loop.engine(0.15, None),
        "screen=0.15, k_chunk=8": lambda: loop.engine(0.15, 8),
    }
    for _ in range(asked.warm):
        loop.engine(0.15, 8)
    for name, step in modes.items():
        step()
        started = time.process_time()
        for _ in range(asked.steps):
            step()
        print(f"{name:24} {(time.process_time() - started) / asked.steps:.3f} s")


if __name__ == "__main__":
    main()
