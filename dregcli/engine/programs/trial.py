"""A trial of a user's programs: what the latents are, which parameters they reach, and how large rows are."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.parameter import is_lazy

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.models.base import in_eval_mode
from dregcli.engine.programs.contract import Draw, ModelData
from dregcli.engine.programs.densities import JointRun, ModelDensities, without_validation
from dregcli.engine.programs.latents import Latents, Posterior, draw_latents
from dregcli.engine.programs.prior_path import LearnedPriors
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.reach import NO_REENTRANT, Reach
from dregcli.engine.replay import Replay
from dregcli.errors import Fault, SpecError

REGISTER = "keep modules in nn.ModuleList, not in a plain list, and numbers to learn in nn.Parameter"
"""What to do about tensors that are learned and are no parameters."""

SIZE = "give the layer's size, as in nn.Linear in place of nn.LazyLinear"
"""What to do about a lazy layer without a size."""

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
        unregistered: shapes of leaves that every run reaches and that are no parameters of the module.
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
    unregistered: tuple[tuple[int, ...], ...]
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
        SpecError: the programs do not fit the contract, or their graph allows no derivatives.
    """
    pixels, noise = _inputs(module, data, seed=0)
    of_q: list[int] = []
    of_p: list[int] = []
    draws_itself, for_samples = _draws_itself(module, posterior, pixels.reshape(-1, *data.shape), noise)

    def run_both() -> tuple[Latents, JointRun]:
        x = pixels.reshape(-1, *data.shape)
        with _kept(of_q):
            drawn = draw_latents(posterior, x, noise, first=0, count=_SAMPLES, has_path=True)
        with _kept(of_p):
            return drawn, densities.run(drawn.values, pixels)

    # A module in eval mode changes no buffer.
    with in_eval_mode(module), torch.enable_grad():
        drawn, run = run_both()
        reach, of_posterior = Reach.of(run.log_joint), leaves_of(drawn)
        sizes = list(of_q), list(of_p)
        strangers = unregistered(module, drawn, reach.leaves | of_posterior)
        if strangers:
            # A tensor that a run makes for itself, such as one to differentiate by, is another one in each run.
            again, other = run_both()
            strangers &= unregistered(module, again, Reach.of(other.log_joint).leaves | leaves_of(again))
        priors = LearnedPriors.found(drawn, run)
    if lazy := unsized(module):
        message = f"the trial does not reach {', '.join(lazy)}, which have no size yet."
        raise SpecError([Fault("model", message)], hint=SIZE)
    if reach.is_reentrant or Reach.of(drawn.log_q).is_reentrant:
        message = "its graph has a checkpoint with use_reentrant=True, which allows no derivatives by samples."
        raise SpecError([Fault("model", message)], hint=NO_REENTRANT)
    leaves = frozenset(each.leaf for each in drawn.located.values())
    return Trial(
        latents={name: tuple(z.shape[2:]) for name, z in drawn.values.items()},
        discrete=drawn.discrete,
        integers=tuple(name for name, z in drawn.values.items() if not z.is_floating_point()),
        theta=reach.leaves - leaves,
        phi=of_posterior - leaves,
        unregistered=tuple(tuple(each.shape) for each in strangers),
        by_blocks=drawn.by_blocks or for_samples,
        by_batch=drawn.by_seed or draws_itself,
        of_q=sizes[0],
        of_p=sizes[1],
        priors=priors,
        is_compiled=reach.is_compiled,
    )


def materialise(module: nn.Module, data: ModelData, *, seed: int) -> None:
    """Run both programs once, so that lazy layers have their size, and initial weights that follow from a seed.

    Nothing happens if a program fails: what uses the module then says why.

    Args:
        module: a module on the CPU; torch's generator is at an address of the seed.
        data: shape and statistics of the data.
        seed: seed of the run.
    """
    pixels, noise = _inputs(module, data, seed=seed)
    programs = cast("Any", module)
    with torch.no_grad(), in_eval_mode(module), without_validation(), suppress(Exception):
        x = pixels.reshape(-1, *data.shape)
        drawn = draw_latents(programs.posterior, x, noise, first=0, count=_SAMPLES, has_path=False)
        ModelDensities(programs.model).run(drawn.values, pixels)


def unsized(module: nn.Module) -> list[str]:
    """Return the names of parameters and buffers whose size follows from their layer's first input."""
    return [name for name, each in _named(module) if is_lazy(each)]


def _inputs(module: nn.Module, data: ModelData, *, seed: int) -> tuple[Tensor, AddressedNoise]:
    """Return the pixels of a trial, all at the data's mean, (B, D), and its random numbers."""
    mean = data.mean.flatten()
    pixels = mean.to(like_of(module, mean)).expand(_EXAMPLES, -1)
    address = Randomness(seed, pixels.device), Stream.INITIALISATION, 0
    return pixels, AddressedNoise(*address, k=_SAMPLES, batch=_EXAMPLES, width=1, dtype=pixels.dtype)


@contextmanager
def kept_values(module: nn.Module) -> Generator[None]:
    """Restore all parameters and buffers that have a size, as a normalisation sets them from its first input.

    A program may put another tensor in a buffer's place. It gets the value of before, or stays if it has another
    shape: then the first input gives the buffer its size.
    """
    values = {name: each.detach().clone() for name, each in _named(module) if not is_lazy(each)}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, each in _named(module):
                if name in values and each.shape == values[name].shape:
                    each.copy_(values[name])


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def leaves_of(drawn: Latents) -> frozenset[Tensor]:
    """Return the leaves that the samples or log q reach."""
    live = [Reach.of(each.live).leaves for each in drawn.located.values()]
    return Reach.of(drawn.log_q).leaves.union(*live)


def unregistered(module: nn.Module, drawn: Latents, leaves: frozenset[Tensor]) -> frozenset[Tensor]:
    """Return the leaves that are neither parameters of the module nor samples."""
    return leaves - frozenset(module.parameters()) - {each.leaf for each in drawn.located.values()}


def like_of(module: nn.Module, data: Tensor) -> Tensor:
    """Return a tensor with the device and the floating-point type of a module; ``data`` if it has no parameters."""
    return next((each for each in module.parameters() if each.is_floating_point()), data)


def unregistered_in_words(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return the fault of tensors that would never learn, by their shapes."""
    shown = ", ".join(map(str, sorted(shapes)[:5])) + (", ..." if len(shapes) > 5 else "")
    return (
        f"the programs use tensors that require grad and are no parameters of the module, of shape {shown}: they "
        "would never learn, and no checkpoint would have them."
    )


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

    with kept_values(module):
        draw_latents(watched, x, noise, first=0, count=_SAMPLES, has_path=False)
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
