"""Time and memory of training steps of models written as two programs, with 28 x 28 patterns or MNIST. By hand:

    python -m tests.benchmarks.programs [--k 64] [--steps 10] [--warm 150] [--threads 2] [--images FILE.npy]

The built-in convolutional VAE, dense, in chunks and screened, beside a loop in plain torch that has one loss for each
network; the same for Burda's two stochastic layers; and the built-in VAE beside its twin as two programs. Each mode
has a process of its own, for its memory; the times of one run are compared with each other only. FILE.npy holds
intensities, (N, 784), in [0, 1].
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.models.base import Model
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.conv import ConvVae
from dregcli.engine.programs.hierarchical import HierarchicalVae
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward, DataKind
from tests.benchmarks.peers.torch_steps import PlainConv, two_backward
from tests.support.plain_models import PlainVae

BATCH = 32
SCREENED = Execution(Backward.SCREENED)


class Bench:
    """A model, its optimiser and its examples, which are drawn anew for each step.

    Args:
        asked: options of the command.
        name: conv, two-layer, or the VAE as built in or as its plain twin.
    """

    def __init__(self, asked: argparse.Namespace, name: str) -> None:
        torch.set_num_threads(asked.threads)
        torch.manual_seed(0)
        self.k = asked.k
        if asked.images:
            self.images = torch.from_numpy(np.load(asked.images)).float()
        else:
            self.images = torch.rand(64, 1, 7, 7).round().repeat_interleave(4, 2).repeat_interleave(4, 3).flatten(1)
        mean = self.images.mean(0).clamp(0.01, 0.99)
        data = ModelData((1, 28, 28), DataKind.BINARY, 1, mean.reshape(1, 28, 28), torch.ones(1, 28, 28))
        vae = Vae(mean, hidden=(200, 200), latent_dim=50, generator=torch.Generator().manual_seed(1))
        self.model: Model = {
            "conv": lambda: ProgramModel(ConvVae(data), data),
            "two-layer": lambda: ProgramModel(
                HierarchicalVae(data, latent_dim=(100, 50), hidden=((200, 200), (100, 100))), data
            ),
            "built-in": lambda: vae,
            "twin": lambda: ProgramModel(PlainVae(vae), data),
        }[name]()
        self.parameters = {**self.model.model_parameters(), **self.model.posterior_parameters()}
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=1e-3)
        self.by_hand: tuple[PlainConv, torch.optim.Adam] | None = None

    def pixels(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(0, len(self.images), (BATCH,), generator=generator)
        return torch.bernoulli(self.images[chosen], generator=generator)

    def step(self, execution: Execution, step: int) -> None:
        draws = AddressedDraws(
            Randomness(0),
            Stream.NOISE,
            step,
            k=self.k,
            batch=BATCH,
            width=self.model.latent_width,
            screening=Stream.SCREENING,
        )
        found = Step(self.model, self.pixels(step), draws, execution).gradients(resolve_pair("iwae", "dreg", self.k))
        for name, gradient in found.whole().items():
            self.parameters[name].grad = gradient
        self.optimiser.step()

    def plain_layers(self, step: int) -> None:
        """DReG as two losses of the two-layer VAE, with q's parameters stopped in the density and its inputs live."""
        assert isinstance(self.model, ProgramModel)
        module: Any = self.model.module
        x = self.pixels(step)
        phi = {name: each for name, each in module.named_parameters() if name in self.model.posterior_parameters()}
        theta = [each for name, each in module.named_parameters() if name not in phi]
        stopped = {name: each.detach() for name, each in phi.items()}

        def conditional(i: int, inputs: Tensor, named: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            for j in range(len(module.encoders[i])):
                name = f"encoders.{i}.{j}"
                inputs = torch.tanh(nn.functional.linear(inputs, named[f"{name}.weight"], named[f"{name}.bias"]))
            name = f"heads.{i}.linear"
            outputs = nn.functional.linear(inputs, named[f"{name}.weight"], named[f"{name}.bias"])
            loc, raw = outputs.chunk(2, dim=-1)
            return loc, nn.functional.softplus(raw + 0.25)

        def network(layers: Any, inputs: Tensor) -> Tensor:
            for i, layer in enumerate(layers):
                inputs = layer(torch.tanh(inputs) if i else inputs)
            return inputs

        def log_normal(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
            return (-0.5 * ((z - loc) / scale).square() - scale.log()).sum(-1)

        start = x - module.mean
        loc, scale = conditional(0, start, phi)
        z1 = loc + scale * torch.randn(self.k, BATCH, 100)
        loc2, scale2 = conditional(1, z1, phi)
        z2 = loc2 + scale2 * torch.randn(self.k, BATCH, 50)
        log_q = log_normal(z1, loc.detach(), scale.detach())
        log_q = log_q + log_normal(z2, *conditional(1, z1, stopped))
        logits = network(module.decoders[0], z1)
        cross = nn.functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        prior, raw = network(module.decoders[1], z2).chunk(2, dim=-1)
        log_p = log_normal(z1, prior, nn.functional.softplus(raw + 0.25)) - 0.5 * z2.square().sum(-1) - cross
        log_w = log_p - log_q
        v = log_w.detach().softmax(0)
        by_phi = torch.autograd.grad(-(v.square() * log_w).sum(0).mean(), list(phi.values()), retain_graph=True)
        by_theta = torch.autograd.grad(-(v * log_w).sum(0).mean(), theta)
        for parameter, gradient in zip([*phi.values(), *theta], [*by_phi, *by_theta], strict=True):
            parameter.grad = gradient
        self.optimiser.step()

    def plain(self, step: int) -> None:
        """DReG as two losses of the convolutional VAE: one by the decoder's parameters, one by the encoder's."""
        assert isinstance(self.model, ProgramModel)
        if self.by_hand is None:
            vae = PlainConv({name: each.numpy() for name, each in self.model.state_dict().items()})
            self.by_hand = vae, torch.optim.Adam(vae.parameters(), lr=1e-3)
        vae, optimiser = self.by_hand
        two_backward(vae, self.pixels(step), self.k)
        optimiser.step()


def modes(chunk: int) -> dict[str, tuple[str, Callable[[Bench, int], None]]]:
    """Return the model and the step of each mode, by its name."""

    def by(execution: Execution) -> Callable[[Bench, int], None]:
        return lambda bench, step: bench.step(execution, step)

    chunked = Execution(Backward.SCREENED, k_chunk=chunk)
    return {
        "conv, plain torch, two losses": ("conv", Bench.plain),
        "conv, dense": ("conv", by(Execution())),
        "conv, dense in chunks": ("conv", by(Execution(k_chunk=chunk))),
        "conv, screened": ("conv", by(SCREENED)),
        "conv, screened in chunks": ("conv", by(chunked)),
        "two layers, plain torch, two losses": ("two-layer", Bench.plain_layers),
        "two layers, dense": ("two-layer", by(Execution())),
        "two layers, screened": ("two-layer", by(SCREENED)),
        "VAE built in, dense": ("built-in", by(Execution())),
        "VAE as two programs, dense": ("twin", by(Execution())),
        "VAE built in, screened": ("built-in", by(SCREENED)),
        "VAE as two programs, screened": ("twin", by(SCREENED)),
    }


def measure(name: str, asked: argparse.Namespace, results: Any) -> None:
    """Measure one mode, in a process of its own: put the best time of a step, s, and the peak memory, MiB."""
    model, step = modes(asked.chunk)[name]
    bench = Bench(asked, model)
    for i in range(asked.warm):
        bench.step(Execution(Backward.SCREENED, k_chunk=asked.chunk), i)
    step(bench, asked.warm)
    seconds: list[float] = []
    for i in range(asked.steps):
        started = time.perf_counter()
        step(bench, asked.warm + 1 + i)
        seconds.append(time.perf_counter() - started)
    results.put((sorted(seconds)[len(seconds) // 2], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm", type=int, default=150, help="Screened steps before the measurement.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images")
    parser.add_argument("--only", default="", help="Measure only modes whose name holds this text.")
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{'':38}{'ms a step':>10}{'peak MiB':>10}")
    for name in modes(asked.chunk):
        if asked.only not in name:
            continue
        results: Any = context.SimpleQueue()
        process = context.Process(target=measure, args=(name, asked, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(process.exitcode)
        seconds, peak = results.get()
        print(f"{name:38}{seconds * 1e3:10.1f}{peak:10.0f}", flush=True)


if __name__ == "__main__":
    main()
