"""The step of other codes in plain torch, eager: the reference's two backward passes, and one pass with a hook.

    python -m tests.benchmarks.peers.torch_steps two-backward --start START.npz --k 64 [--network conv]

Nothing of our engine computes here. The process is set up as ours is (denormals flushed, freed memory kept), which
does these steps good.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dregcli.engine.device import prepare_process
from tests.benchmarks.peers.asked import asked_of
from tests.benchmarks.support.serve import serve
from tests.benchmarks.support.start import IMAGES, LEVELS


def _network(arrays: dict[str, np.ndarray], prefix: str) -> nn.Sequential:
    """Linear layers with tanh between them, from named arrays."""
    modules: list[nn.Module] = []
    for i in range(sum(name.startswith(prefix) and name.endswith("weight") for name in arrays)):
        weight, bias = (torch.from_numpy(arrays[f"{prefix}{i}.{part}"]) for part in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        modules += [nn.Tanh(), layer] if modules else [layer]
    return nn.Sequential(*modules)


class PlainVae(nn.Module):
    """The reference's VAE."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.encoder = _network(arrays, "encoder.")
        self.decoder = _network(arrays, "decoder.")
        self.register_buffer("mean", torch.from_numpy(arrays["mean"]))

    def encode(self, x: Tensor) -> Tensor:
        """Means and raw scales of q, (B, 2 Z)."""
        return self.encoder(x - self.mean)

    def logits(self, z: Tensor) -> Tensor:
        """Of every pixel, (K, B, D)."""
        return self.decoder(z)

    def of_model(self) -> list[nn.Parameter]:
        """Theta."""
        return list(self.decoder.parameters())

    def sample(self, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Samples (K, B, Z), and the parameters of q."""
        loc, raw = self.encode(x).chunk(2, dim=-1)
        scale = functional.softplus(raw + 0.25)
        return loc + scale * torch.randn(k, *loc.shape, device=loc.device), loc, scale

    def log_weights(self, x: Tensor, z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """log p(x, z) - log q(z | x) with q's parameters held fixed, (K, B)."""
        logits = self.logits(z)
        nll = functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        loc, scale = loc.detach(), scale.detach()
        log_q = -0.5 * (((z - loc) / scale).square() + 2 * scale.log() + math.log(2 * math.pi)).sum(-1)
        return log_prior - nll - log_q


class PlainConv(PlainVae):
    """The convolutional VAE of 28 x 28 pixels that ``--model conv`` builds, as one writes it by hand."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        nn.Module.__init__(self)
        c, latent_dim = arrays["encoder.0.weight"].shape[0], arrays["decoder.0.weight"].shape[1]
        down = [nn.Conv2d(1, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, 2 * c, 3, 2, 1), nn.ReLU(), nn.Flatten()]
        self.encoder = nn.Sequential(*down, nn.Linear(2 * c * 49, 2 * latent_dim))
        up = [nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(c, 1, 3, 2, 1, 1, bias=False)]
        spread = [nn.Linear(latent_dim, 2 * c * 49), nn.ReLU(), nn.Unflatten(1, (2 * c, 7, 7))]
        self.decoder = nn.Sequential(*spread, *up, nn.Flatten())
        self.output_bias = nn.Parameter(torch.zeros(784))
        self.register_buffer("mean", torch.zeros(1, 28, 28))
        tensors = {name: torch.from_numpy(arrays[name]) for name in self.state_dict()}
        self.load_state_dict(tensors)

    def encode(self, x: Tensor) -> Tensor:
        """Means and raw scales of q, (B, 2 Z)."""
        return self.encoder(x.reshape(-1, 1, 28, 28) - self.mean)

    def logits(self, z: Tensor) -> Tensor:
        """Of every pixel, (K, B, D)."""
        return self.decoder(z.flatten(0, 1)).reshape(*z.shape[:2], -1) + self.output_bias

    def of_model(self) -> list[nn.Parameter]:
        """Theta."""
        return [*self.decoder.parameters(), self.output_bias]


def two_backward(vae: PlainVae, x: Tensor, k: int) -> Tensor:
    """As the reference: theta's loss is the bound, phi's the DReG surrogate, each with a backward pass; the bound."""
    z, loc, scale = vae.sample(x, k)
    log_w = vae.log_weights(x, z, loc, scale)
    bound = (torch.logsumexp(log_w, dim=0) - math.log(k)).mean()
    weights = torch.softmax(log_w.detach(), dim=0)
    surrogate = (weights.square() * log_w).sum(dim=0).mean()
    theta, phi = vae.of_model(), list(vae.encoder.parameters())
    gradients = [
        *torch.autograd.grad(-bound, theta, retain_graph=True),
        *torch.autograd.grad(-surrogate, phi),
    ]
    for parameter, gradient in zip([*theta, *phi], gradients, strict=True):
        parameter.grad = gradient
    return bound.detach()


def hook(vae: PlainVae, x: Tensor, k: int) -> Tensor:
    """One backward pass of the bound, where a hook multiplies what reaches z by the weights once more; the bound."""
    z, loc, scale = vae.sample(x, k)
    log_w = vae.log_weights(x, z, loc, scale)
    weights = torch.softmax(log_w.detach(), dim=0).unsqueeze(-1)
    z.register_hook(lambda gradient: weights * gradient)
    bound = (torch.logsumexp(log_w, dim=0) - math.log(k)).mean()
    (-bound).backward()
    return bound.detach()


STEPS: dict[str, Callable[[PlainVae, Tensor, int], Tensor]] = {"two-backward": two_backward, "hook": hook}

NETWORKS: dict[str, type[PlainVae]] = {"mlp": PlainVae, "conv": PlainConv}


def main() -> None:
    """Build, serve."""
    asked = asked_of(__doc__, STEPS, NETWORKS)
    prepare_process()
    arrays = asked.arrays
    images, levels = torch.from_numpy(arrays[IMAGES]), float(arrays[LEVELS])
    vae = NETWORKS[asked.network](arrays)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, fused=True)
    torch.manual_seed(0)

    def burst(steps: int) -> dict[str, float]:
        total = torch.zeros(())
        for _ in range(steps):
            rows = images[torch.randint(len(images), (asked.batch_size,))]
            x = (rows.float() / levels > torch.rand(rows.shape)).float()
            optimizer.zero_grad(set_to_none=True)
            total += STEPS[asked.step](vae, x, asked.k)
            optimizer.step()
        return {"bound": float(total) / steps}

    serve(burst, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
