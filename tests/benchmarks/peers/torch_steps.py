"""The step of other codes in plain torch, eager: the reference's two backward passes, and one pass with a hook.

    python -m tests.benchmarks.peers.torch_steps two-backward --start START.npz --k 64

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
from tests.benchmarks.support.start import IMAGES


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

    def sample(self, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Samples (K, B, Z), and the parameters of q."""
        loc, raw = self.encoder(x - self.mean).chunk(2, dim=-1)
        scale = functional.softplus(raw + 0.25)
        return loc + scale * torch.randn(k, *loc.shape, device=loc.device), loc, scale

    def log_weights(self, x: Tensor, z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """log p(x, z) - log q(z | x) with q's parameters held fixed, (K, B)."""
        logits = self.decoder(z)
        nll = functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        loc, scale = loc.detach(), scale.detach()
        log_q = -0.5 * (((z - loc) / scale).square() + 2 * scale.log() + math.log(2 * math.pi)).sum(-1)
        return log_prior - nll - log_q


def two_backward(vae: PlainVae, x: Tensor, k: int) -> Tensor:
    """As the reference: theta's loss is the bound, phi's the DReG surrogate, each with a backward pass; the bound."""
    z, loc, scale = vae.sample(x, k)
    log_w = vae.log_weights(x, z, loc, scale)
    bound = (torch.logsumexp(log_w, dim=0) - math.log(k)).mean()
    weights = torch.softmax(log_w.detach(), dim=0)
    surrogate = (weights.square() * log_w).sum(dim=0).mean()
    theta, phi = list(vae.decoder.parameters()), list(vae.encoder.parameters())
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


def main() -> None:
    """Build, serve."""
    asked = asked_of(__doc__, STEPS)
    prepare_process()
    arrays = asked.arrays
    images = torch.from_numpy(arrays[IMAGES])
    vae = PlainVae(arrays)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, fused=True)
    torch.manual_seed(0)

    def burst(steps: int) -> dict[str, float]:
        total = torch.zeros(())
        for _ in range(steps):
            rows = images[torch.randint(len(images), (asked.batch_size,))]
            x = (rows.float() / 255.0 > torch.rand(rows.shape)).float()
            optimizer.zero_grad(set_to_none=True)
            total += STEPS[asked.step](vae, x, asked.k)
            optimizer.step()
        return {"bound": float(total) / steps}

    serve(burst, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
