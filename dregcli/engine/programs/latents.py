"""One run of a posterior's program: samples of every latent at their address, and their log-densities.

The program runs once. ``draw`` returns the values of a sample, cut from the graph, so that a later latent's
distribution depends on these values; the sample on the graph is kept beside them. So the density is a function of
given values, and the path of each latent leads to phi and to the values of earlier latents: the two graphs that
doubly reparameterised gradients need, for any order of latents.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import OF_PROGRAM, LatentNoise
from dregcli.engine.located import Located, locate
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.bits import log_prob
from dregcli.engine.programs.contract import Draw
from dregcli.engine.programs.densities import require_densities, require_unchanged, versions
from dregcli.engine.programs.normals import from_normals
from dregcli.engine.programs.uniforms import from_uniforms
from dregcli.engine.replay import forked
from dregcli.errors import Fault, SpecError


class Posterior(Protocol):
    """The posterior's program."""

    def __call__(self, x: Tensor, draw: Draw) -> object:
        """Draw every latent."""
        ...


@dataclass(frozen=True)
class Latents:
    """The latents of some samples of all examples.

    Attributes:
        located: each latent's samples, by name, in the order of drawing.
        log_q: log q(z | x) of all latents, (K', B), nats.
        discrete: names of the latents without ``rsample``, which can have no path.
        by_blocks: whether a latent that no noise is mapped to depends on an earlier latent. It can only be drawn for
            one block of samples at a time.
        by_seed: whether no noise is mapped to some latent: its samples depend on the examples drawn with them.
        posteriors: q of each latent.
    """

    located: Mapping[str, Located]
    log_q: Tensor
    discrete: tuple[str, ...]
    by_blocks: bool
    by_seed: bool
    posteriors: Mapping[str, Distribution]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the latents of samples that follow each other; the parts have no gradients, the whole no q."""
        first = parts[0]
        if len(parts) == 1:
            return first
        located = {
            name: replace(
                each,
                live=torch.cat([part.located[name].live for part in parts]),
                leaf=torch.cat([part.located[name].leaf for part in parts]),
                z=torch.cat([part.located[name].z for part in parts]),
                log_q=torch.cat([part.located[name].log_q for part in parts]),
            )
            for name, each in first.located.items()
        }
        log_q = torch.cat([part.log_q for part in parts])
        return replace(first, located=located, log_q=log_q, posteriors={})

    @property
    def values(self) -> dict[str, Tensor]:
        """Samples by name, (K', B, ...), as functions of the leaves."""
        return {name: each.z for name, each in self.located.items()}

    @property
    def log_q_by_path(self) -> tuple[Tensor, Tensor]:
        """log q of the latents that can have a path, and of those that cannot, (K', B) each, nats."""
        moved, others = (
            [each.log_q for name, each in self.located.items() if (name in self.discrete) is pathless]
            for pathless in (False, True)
        )
        return torch.stack(moved).sum(0), torch.stack(others).sum(0)

    @property
    def paths(self) -> dict[str, Located]:
        """The latents whose samples have a path to parameters or to other latents."""
        return {name: each for name, each in self.located.items() if each.leaf.requires_grad}


def draw_latents(
    posterior: Posterior, x: Tensor, noise: LatentNoise, *, first: int, count: int, has_path: bool
) -> Latents:
    """Run a posterior's program for some samples.

    Args:
        posterior: the program.
        x: examples, (B, ...).
        noise: random numbers of the batch.
        first: index of the first sample, a multiple of ``NOISE_BLOCK``.
        count: number of samples, K'.
        has_path: whether gradients will pass through the samples.

    Raises:
        SpecError: a distribution is not one that samples can be drawn from, or its density has a wrong shape.
    """
    drawing = _Drawing(noise, x, first=first, count=count, has_path=has_path)
    with seeded(noise.seed(OF_PROGRAM, 0), x.device):
        posterior(x, drawing)
    if not drawing.located:
        message = "it drew no latent: call draw(name, distribution) for each latent."
        raise SpecError([Fault("posterior", message)])
    require_unchanged("posterior", {name: each.z for name, each in drawing.located.items()}, drawing.versions)
    log_q = sum(each.log_q for each in drawing.located.values())
    assert isinstance(log_q, Tensor)
    discrete, by_seed = tuple(drawing.discrete), drawing.by_seed
    return Latents(drawing.located, log_q, discrete, drawing.by_blocks, by_seed, drawing.posteriors)


class _Drawing:
    """The ``draw`` of one run."""

    def __init__(self, noise: LatentNoise, x: Tensor, *, first: int, count: int, has_path: bool) -> None:
        self.located: dict[str, Located] = {}
        self.versions: dict[str, int] = {}
        self.discrete: list[str] = []
        self.posteriors: dict[str, Distribution] = {}
        self.by_blocks = self.by_seed = False
        self._noise, self._x = noise, x
        self._first, self._count, self._has_path = first, count, has_path

    def __call__(self, name: str, distribution: Distribution) -> Tensor:
        """Draw a latent, and return its values."""
        if name in self.located:
            raise SpecError([Fault("posterior", f"the latent '{name}' is drawn twice.")])
        rows = (self._count, len(self._x))
        is_conditional = tuple(distribution.batch_shape) == rows
        if not is_conditional and tuple(distribution.batch_shape) != rows[1:]:
            message = (
                f"q of '{name}' must have batch_shape (B,) = ({rows[1]},), or (K, B) = {rows} if it depends on an "
                f"earlier latent, got {tuple(distribution.batch_shape)}."
            )
            hint = "wrap it in torch.distributions.Independent(..., n), where n is the number of a latent's axes"
            raise SpecError([Fault("posterior", message)], hint=hint)
        unfolded = Unfolded.of(distribution)
        start = self._start(len(self.located), unfolded.base, is_conditional=is_conditional)
        located = self._located(distribution, unfolded, start)
        require_densities("posterior", f"log q of '{name}'", located.log_q, rows)
        self.located[name] = located
        self.posteriors[name] = distribution
        self.versions |= versions({name: located.z})
        if not unfolded.base.has_rsample:
            self.discrete.append(name)
        return located.z

    def _located(self, distribution: Distribution, unfolded: Unfolded, start: Tensor) -> Located:
        has_path = self._has_path and unfolded.base.has_rsample
        if has_path or unfolded.steps:
            return locate(unfolded, start if has_path else start.detach(), has_path=has_path, apart=True)
        z = start.detach()
        return Located(z, z, z, log_prob(distribution, z), is_apart=True, first=0)

    def _start(self, latent: int, base: Distribution, *, is_conditional: bool) -> Tensor:
        """Draw base samples, (K', B, ...): noise is mapped; other samples are drawn by a seed for each block."""
        batched = 1 + is_conditional
        found = from_normals(base, lambda shape: self._normals(latent, shape), batched=batched)
        if found is None:
            found = from_uniforms(base, lambda shape: self._uniforms(latent, shape), batched=batched)
        return self._by_seed(latent, base, is_conditional=is_conditional) if found is None else found

    def _normals(self, latent: int, shape: tuple[int, ...]) -> Tensor:
        width = torch.Size(shape).numel()
        drawn = self._noise.of_latent(latent, width).noise(self._first, self._count)
        return drawn.reshape(*drawn.shape[:2], *shape)

    def _uniforms(self, latent: int, shape: tuple[int, ...]) -> Tensor:
        drawn = self._noise.uniforms(latent, torch.Size(shape).numel(), self._first, self._count)
        return drawn.reshape(*drawn.shape[:2], *shape)

    def _by_seed(self, latent: int, base: Distribution, *, is_conditional: bool) -> Tensor:
        start, end = self._first // NOISE_BLOCK, -(-(self._first + self._count) // NOISE_BLOCK)
        self.by_blocks |= is_conditional
        self.by_seed = True
        if is_conditional and end - start > 1:
            message = "a latent that depends on an earlier one, and that no noise is mapped to, is drawn for "
            message += f"{NOISE_BLOCK} samples at a time, not for {self._count}."
            raise SpecError([Fault("posterior", message)])
        shape = torch.Size(() if is_conditional else (NOISE_BLOCK,))
        draw = base.rsample if base.has_rsample else base.sample
        blocks: list[Tensor] = []
        for i in range(start, end):
            with seeded(self._noise.seed(latent, i), self._x.device):
                blocks.append(draw(shape))
        return blocks[0][: self._count] if len(blocks) == 1 else torch.cat(blocks)[: self._count]


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """Make torch's global generators start at a seed inside the block; afterwards restore their state."""
    with forked([] if device.type == "cpu" else [device]):
        seed_generators(seed, device)
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of a device.

    ``torch.manual_seed`` seeds those of all devices, which takes a millisecond even if there are none.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
