"""What all checks of one model look at: its programs, a batch of pixels, and one run of each program."""

import copy
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from dregcli.engine.checks.finding import Finding, error
from dregcli.engine.checks.runs import ModelRun, Posterior, Programs, Stopped
from dregcli.engine.checks.watch import Call, Watch, is_single
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.trial import kept_values
from dregcli.engine.randomness import Randomness, Stream

SAMPLES, EXAMPLES = 3, 5
"""Size of the trials, K and B. They differ, so that swapped axes are seen."""


@dataclass(frozen=True)
class Subject:
    """A model under check.

    Attributes:
        module: the user's module, in the mode in which it is trained.
        data: what it knows of its data.
        pixels: a first batch, (N, D).
        numbers: number of each example of the batch in its split, for messages.
        is_exact: whether this is a copy in float64: then new tensors of the programs are float64, too.
    """

    module: nn.Module
    data: ModelData
    pixels: Tensor
    numbers: Sequence[int]
    is_exact: bool = False

    @cached_property
    def programs(self) -> Programs:
        """The programs; torch does not check arguments of distributions."""
        return Programs(self.module, self.data.shape, is_exact=self.is_exact)

    @cached_property
    def few(self) -> Tensor:
        """Some examples for trials, (EXAMPLES, D); a small batch is repeated."""
        number = -(-EXAMPLES // len(self.pixels))
        return self.pixels.repeat(number, 1)[:EXAMPLES]

    @cached_property
    def others(self) -> Tensor:
        """Pixels that differ from ``few`` in every example: light and dark change places."""
        return self.few.max() + self.few.min() - self.few

    def noise(self, pixels: Tensor, k: int) -> AddressedNoise:
        """Return random numbers of samples, always the same."""
        randomness = Randomness(0, pixels.device)
        stream = Stream.DIAGNOSTIC_NOISE
        return AddressedNoise(randomness, stream, 0, k=k, batch=len(pixels), width=1, dtype=pixels.dtype)

    def draw(self, pixels: Tensor | None = None, k: int = SAMPLES) -> Posterior:
        """Run the posterior's program; see ``Programs.draw``."""
        pixels = self.few if pixels is None else pixels
        return self.programs.draw(pixels, self.noise(pixels, k), k)

    @cached_property
    def posterior(self) -> Posterior:
        """One run of the posterior's program for ``few``."""
        return self.draw()

    @cached_property
    def z(self) -> dict[str, Tensor]:
        """Its samples, without a graph."""
        return {name: each.value.detach() for name, each in self.posterior.drawn.items()}

    @cached_property
    def model(self) -> ModelRun:
        """One run of the model's program for these samples, as functions of their leaves."""
        return self.programs.model(self.posterior.values, self.few)

    @cached_property
    def calls(self) -> list[Call]:
        """The torch functions that both programs call; none if they cannot be watched, as compiled code."""
        try:
            with Watch(self.programs.frames) as watch:
                self.programs.model(self.draw().values, self.few)
        except Stopped:
            return []
        return watch.calls

    @cached_property
    def has_random_model(self) -> bool:
        """Whether the model's program draws random numbers."""
        with torch.no_grad():
            self.programs.model(self.z, self.few)
        return self.programs.drew

    @cached_property
    def exact(self) -> "Subject | str":
        """A copy of this subject whose model computes in float64; the reason if the model's code cannot do that."""
        try:
            module = copy.deepcopy(self.module).double()
            found = Subject(module, self.data, self.pixels.double(), self.numbers, is_exact=True)
            is_whole, was_whole = (each.posterior.is_whole and each.model.is_whole for each in (found, self))
        except Stopped as stop:
            return stop.finding.what
        except Exception as failure:  # the user's code need not allow a copy
            return f"it cannot be copied ({type(failure).__name__}: {failure})".partition("\n")[0] + "."
        if any(map(is_single, found.calls)):
            return "numbers of a program pass through float32, as after .float()."
        return found if found.model.log_p and (is_whole or not was_whole) else "a density is missing."


def first_runs(subject: Subject) -> tuple[list[Finding], list[Finding]]:
    """Run both programs once with torch's checks of arguments, and once without them if they refuse.

    Returns:
        All faults of shapes and names, and errors that end a program; and what torch's own checks refuse, which other
        checks may explain better.
    """
    found: list[Finding] = []
    refused: list[Finding] = []
    strict = Programs(subject.module, subject.data.shape, validate=True)
    try:
        z = strict.draw(subject.few, subject.noise(subject.few, SAMPLES), SAMPLES).values
        strict.model(z, subject.few)
    except Stopped as stop:
        refused.append(stop.finding)
    for program in ("posterior", "model"):
        try:
            found += getattr(subject, program).findings
        except Stopped as stop:
            found.append(stop.finding)
            refused.clear()
            break
    return found, [error("argument", each.what, each.change, each.place) for each in refused]


@contextmanager
def unchanged(module: nn.Module) -> Generator[None]:
    """Restore parameters and buffers, such as running statistics, after the block; compiled code runs uncompiled."""
    # Only a process that compiles something has loaded this part of torch, which takes seconds.
    compiles = "torch._dynamo" in sys.modules
    with kept_values(module), torch.compiler.set_stance("force_eager") if compiles else nullcontext():
        yield
