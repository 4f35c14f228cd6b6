"""A trial of a user's programs: what the latents are, which parameters are theta and phi, and how large rows are."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.programs.contract import Draw, ModelData
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.latents import Posterior, draw_latents
from dregcli.engine.programs.prior_path import LearnedPriors
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.reach import Reach
from dregcli.engine.replay import Replay

_SAMPLES, _EXAMPLES = 3, 2
"""Samples and examples of the trial; arrays of rows are known by these sizes."""


@dataclass(frozen=True)
class Trial:
    """What a trial found.

    Attributes:
        latents: shape of each latent, by name, in the order of drawing.
        discrete: names of the latents without ``rsample``.
        integers: names of the latents whose samples are integers.
        by_blocks: whether latents can only be drawn block by block: see ``Latents``.
        by_batch: whether the random numbers of an example depend on the examples that are drawn with it.
        theta: leaves that log p(x, z) reaches.
        phi: leaves that the samples or log q(z | x) reach.
        of_q: numbers for one row of each array that the posterior's program keeps for a backward pass.
        of_p: the same for the model's program.
        priors: what is known of the priors.
        is_compiled: whether a part of the model's program was compiled.
    """

    latents: dict[str, tuple[int, ...]]
    discrete: tuple[str, ...]
    integers: tuple[str, ...]
    by_blocks: bool
    by_batch: bool
    theta: frozenset[Tensor]
    phi: frozenset[Tensor]
    of_q: list[int]
    of_p: list[int]
    priors: LearnedPriors
    is_compiled: bool


def trial(module: nn.Module, data: ModelData, posterior: Posterior, densities: ModelDensities) -> Trial:
    """Run both programs at the data's mean, in eval mode, which changes no buffer.

    Args:
        module: the module that both programs belong to.
        data: shape and statistics of the data.
        posterior: the posterior's program.
        densities: the model's program.

    Raises:
        SpecError: the programs do not fit the contract.
    """
    mean = data.mean.flatten()
    like = like_of(module, mean)
    pixels = mean.to(like).expand(_EXAMPLES, -1)
    randomness = Randomness(0, pixels.device)
    noise = AddressedNoise(
        randomness, Stream.INITIALISATION, 0, k=_SAMPLES, batch=_EXAMPLES, width=1, dtype=like.dtype
    )
    of_q: list[int] = []
    of_p: list[int] = []
    draws_itself, for_samples = _draws_itself(module, posterior, pixels.reshape(-1, *data.shape), noise)
    modes = {each: each.training for each in module.modules()}
    # A module in eval mode changes no buffer.
    module.eval()
    try:
        with torch.enable_grad():
            x = pixels.reshape(-1, *data.shape)
            with _kept(of_q):
                drawn = draw_latents(posterior, x, noise, first=0, count=_SAMPLES, has_path=True)
            with _kept(of_p):
                run = densities.run(drawn.values, pixels)
            log_p = run.log_joint
            priors = LearnedPriors.found(drawn, run)
    finally:
        for each, mode in modes.items():
            each.training = mode
    leaves = frozenset(each.leaf for each in drawn.located.values())
    reach = Reach.of(log_p)
    live = [Reach.of(each.live).leaves for each in drawn.located.values()]
    return Trial(
        latents={name: tuple(z.shape[2:]) for name, z in drawn.values.items()},
        discrete=drawn.discrete,
        integers=tuple(name for name, z in drawn.values.items() if not z.is_floating_point()),
        theta=reach.leaves - leaves,
        by_blocks=drawn.by_blocks or for_samples,
        by_batch=drawn.by_seed or draws_itself,
        of_q=of_q,
        of_p=of_p,
        priors=priors,
        is_compiled=reach.is_compiled,
        phi=Reach.of(drawn.log_q).leaves.union(*live) - leaves,
    )


def like_of(module: nn.Module, data: Tensor) -> Tensor:
    """Return a tensor with the device and the floating-point type of a module; ``data`` if it has no parameters."""
    return next((each for each in module.parameters() if each.is_floating_point()), data)


@torch.no_grad()
def _draws_itself(module: nn.Module, posterior: Posterior, x: Tensor, noise: AddressedNoise) -> tuple[bool, bool]:
    """Return whether the posterior's program draws random numbers, and then also a latent that depends on another.

    Dropout between two latents draws numbers for all samples of a run, and every pass must draw the same ones.
    """
    itself, for_samples = list[bool](), list[bool]()

    def watched(x: Tensor, draw: Draw) -> None:
        before, conditional = Replay(x.device), list[bool]()

        def noted(name: str, distribution: Distribution) -> Tensor:
            conditional.append(len(distribution.batch_shape) > 1)
            return draw(name, distribution)

        posterior(x, noted)
        itself.append(before.is_passed)
        for_samples.append(any(conditional) and before.is_passed)

    buffers = [(each, each.clone()) for each in module.buffers()]
    try:
        draw_latents(watched, x, noise, first=0, count=_SAMPLES, has_path=False)
    finally:
        for each, value in buffers:
            each.copy_(value)
    return any(itself), any(for_samples)


@contextmanager
def _kept(sizes: list[int]) -> Generator[None]:
    """Append the numbers for one row of each array of rows that autograd keeps inside the block."""

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape[:2] == (_SAMPLES, _EXAMPLES) or tensor.shape[:1] == (_SAMPLES * _EXAMPLES,):
            sizes.append(tensor.numel() // (_SAMPLES * _EXAMPLES))
        return tensor

    def same(tensor: Tensor) -> Tensor:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, same):
        yield
