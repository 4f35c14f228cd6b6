"""Time of training steps of a sigmoid belief network of 200-200-200 bits, with 28 x 28 patterns or MNIST. By hand:

    python -m tests.benchmarks.sbn [--k 50] [--batch 24] [--steps 20] [--warm 100] [--threads 1] [--images FILE.npy]

Each pair, dense and screened, beside a loop in plain torch that has one loss for all parameters. All modes start from
the same weights after some steps, and take turns, so that noise of the machine meets them alike. FILE.npy holds
intensities, (N, 784), in [0, 1].
"""

import argparse
import math
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.sbn import SigmoidBeliefNetwork
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import leave_one_out_logsumexp, log_one_minus_normalised
from dregcli.names import Backward, DataKind

SCREENED = Execution(Backward.SCREENED)
PAIRS = ("iwae/vimco", "iwae/ovis", "rws/reparam")


class Bench:
    """A network with its optimiser."""

    def __init__(self, asked: argparse.Namespace, module: SigmoidBeliefNetwork, data: ModelData) -> None:
        self.k, self.batch = asked.k, asked.batch
        self.model = ProgramModel(module, data)
        self.parameters = {**self.model.model_parameters(), **self.model.posterior_parameters()}
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=1e-3)

    def step(self, pixels: Tensor, pair: Pair, execution: Execution, number: int) -> None:
        draws = AddressedDraws(
            Randomness(0),
            Stream.NOISE,
            number,
            k=self.k,
            batch=self.batch,
            width=self.model.latent_width,
            screening=Stream.SCREENING,
        )
        for name, gradient in Step(self.model, pixels, draws, execution).gradients(pair).whole().items():
            self.parameters[name].grad = gradient
        self.optimiser.step()

    def plain(self, pixels: Tensor, pair: Pair) -> None:
        """One loss: the weights are constants; bits are drawn by ``torch.bernoulli``."""
        module: Any = self.model.module
        below = ((pixels - module.mean + 1.0) / 2.0).expand(self.k, -1, -1)
        log_q, bits = torch.zeros(()), []
        for encoder in module.encoders:
            # The first layer's logits are the same for all samples.
            logits = encoder(below[0]).expand(self.k, -1, -1) if not bits else encoder(below)
            bits.append(torch.bernoulli(logits.detach().sigmoid()))
            log_q = log_q + _log_prob(logits, bits[-1])
            below = 2.0 * bits[-1] - 1.0
        log_p = _log_prob(module.prior.expand_as(bits[-1]), bits[-1])
        for decoder, above, value in zip(module.decoders, bits, [pixels.expand(self.k, -1, -1), *bits], strict=False):
            log_p = log_p + _log_prob(decoder(2.0 * above - 1.0), value)
        log_w = (log_p - log_q).detach().double()
        v = log_w.softmax(0)
        score = v
        if pair.estimator.name == "vimco":
            others = leave_one_out_logsumexp(log_w)
            without = torch.logaddexp(others, others - math.log(self.k - 1)) - math.log(self.k)
            score = log_w.logsumexp(0) - math.log(self.k) - without - v
        elif pair.estimator.name == "ovis":
            score = -log_one_minus_normalised(log_w) - v
        self.optimiser.zero_grad()
        (-(v.float() * log_p + score.float() * log_q).sum(0).mean()).backward()
        self.optimiser.step()


def _log_prob(logits: Tensor, value: Tensor) -> Tensor:
    return -binary_cross_entropy_with_logits(logits, value, reduction="none").sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", type=int, default=100, help="Screened steps before the measurement.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    if asked.images:
        images = torch.from_numpy(np.load(asked.images)).float()
    else:
        images = torch.rand(64, 1, 7, 7).round().repeat_interleave(4, 2).repeat_interleave(4, 3).flatten(1)
    mean = images.mean(0)
    data = ModelData((1, 28, 28), DataKind.BINARY, 1, mean.reshape(1, 28, 28), torch.ones(1, 28, 28))

    def pixels(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(number)
        return torch.bernoulli(images[torch.randint(0, len(images), (asked.batch,), generator=generator)])

    first = Bench(asked, SigmoidBeliefNetwork(data), data)
    for i in range(asked.warm):
        first.step(pixels(i), resolve_pair("iwae", "vimco", asked.k), SCREENED, i)
    modes: dict[str, Callable[[Bench, Tensor, int], None]] = {}
    for word in PAIRS:
        pair = resolve_pair(*word.split("/"), asked.k)
        modes |= {
            f"{word}, plain torch": lambda bench, x, i, pair=pair: bench.plain(x, pair),
            f"{word}, dense": lambda bench, x, i, pair=pair: bench.step(x, pair, Execution(), i),
            f"{word}, screened": lambda bench, x, i, pair=pair: bench.step(x, pair, SCREENED, i),
        }
    benches = {name: Bench(asked, deepcopy(first.model.module), data) for name in modes}  # pyright: ignore[reportArgumentType]
    seconds: dict[str, list[float]] = {name: [] for name in modes}
    for i in range(asked.steps + 1):
        x = pixels(asked.warm + i)
        for name, step in modes.items():
            started = time.process_time()
            step(benches[name], x, asked.warm + i)
            if i:
                seconds[name].append(time.process_time() - started)
    print(f"{'':28}{'ms a step':>10}")
    for name, each in seconds.items():
        print(f"{name:28}{sorted(each)[len(each) // 2] * 1e3:10.1f}")


if __name__ == "__main__":
    main()
