"""A user's module as a model of the engine."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise, LatentNoise, Noise
from dregcli.engine.execution.batch import chunks
from dregcli.engine.hamiltonian import Target
from dregcli.engine.models.base import Model, in_eval_mode
from dregcli.engine.programs.ancestral import addressed, ancestral, mean_of, never_drawn
from dregcli.engine.programs.annealed import JoinedLatents, WhitenedProgram, whitened_width, why_not
from dregcli.engine.programs.batch import ProgramBatch, Programs
from dregcli.engine.programs.contract import Draw, Given, ModelData
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.latents import Latents, draw_latents
from dregcli.engine.programs.moments import drawn_with_distributions, exact_kl, missing_mean, stacked_means
from dregcli.engine.programs.traversals import Centre, centre, movable, traversal
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.reach import Reach
from dregcli.errors import Fault, SpecError

_PROBED = 2
"""Examples, and samples of each, in the trial by which theta and phi are found."""


class ProgramModel(Model):
    """A model whose densities are a user's two programs. Its state is the module's own, by the module's names.

    Theta and phi are found by one trial at the data's mean: theta is what log p(x, z) reaches in autograd's graph,
    and phi is what the samples or log q(z | x) reach.

    Args:
        module: a module with the two programs of ``LatentModel``.
        data: shape and statistics of the data.

    Raises:
        SpecError: the programs do not fit the contract.

    Attributes:
        module: the user's module.
        data: shape and statistics of the data.
        latents: shape of each latent, by name.
        discrete: names of the latents without ``rsample``, which have no path.
        unreached: names of the parameters that require grad and belong to neither theta nor phi.
    """

    repeats = False

    def __init__(self, module: nn.Module, data: ModelData) -> None:
        super().__init__()
        self.module = module
        self.data = data
        self._densities = ModelDensities(self._model_program)
        found = self._trial()
        self.latents, self.discrete = found.latents, found.discrete
        self.latent_width = sum(torch.Size(shape).numel() for shape in self.latents.values())
        self._theta = self._named(found.theta)
        self._phi = self._named(found.phi)
        self.unreached = [
            name
            for name, each in module.named_parameters()
            if each.requires_grad and name not in self._theta and name not in self._phi
        ]

    def _posterior_program(self, x: Tensor, draw: Draw) -> None:
        with _without_validation():
            cast("Any", self.module).posterior(x, draw)

    def _model_program(self, z: dict[str, Tensor], given: Given) -> Distribution:
        with _without_validation():
            return cast("Any", self.module).model(z, given)

    def batch(self, pixels: Tensor, draws: Noise) -> ProgramBatch:
        """Return a batch for the executors."""
        programs = Programs(
            self._posterior_program, self._densities, self.data.shape, self.model_parameters(), self._phi
        )
        return ProgramBatch(programs, pixels, draws)

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta, by the module's names."""
        return self._theta

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return phi, by the module's names."""
        return self._phi

    def draw(self, pixels: Tensor, draws: Noise, *, first: int = 0, count: int | None = None) -> Latents:
        """Run the posterior's program for some samples of each example.

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples.
            first: index of the first sample, a multiple of the noise block.
            count: number of samples; all if it is not given.
        """
        assert isinstance(draws, LatentNoise)
        x = pixels.reshape(-1, *self.data.shape)
        number = draws.k - first if count is None else count
        return draw_latents(self._posterior_program, x, draws, first=first, count=number, has_path=False)

    def weighed(self, pixels: Tensor, draws: Noise, *, k_chunk: int | None) -> tuple[Tensor, Tensor]:
        """Return log-weights, and the KL from the prior as a mean over the draws."""
        return self.batch(pixels, draws).weighed(k_chunk=k_chunk)

    def posterior_means(self, pixels: Tensor, draws: Noise) -> Tensor | None:
        """Return E[z | x] under q of every latent, (B, Z), float64; conditional latents at one draw of the others."""
        assert isinstance(draws, LatentNoise)
        x = pixels.reshape(-1, *self.data.shape)
        return stacked_means(drawn_with_distributions(self._posterior_program, x, draws)[1], len(pixels))

    @property
    def no_means(self) -> str | None:
        """The reason why q has no known means."""
        return missing_mean(self._looked.posterior)

    def kl_from_prior(self, pixels: Tensor) -> Tensor | None:
        """Return KL(q(z | x) || p(z)) where torch has it in closed form, (B,), float64, nats."""
        x = pixels.reshape(-1, *self.data.shape)
        noise = _trial_noise(pixels, len(pixels))
        latents, posterior = drawn_with_distributions(self._posterior_program, x, noise)
        priors = ancestral(self._model_program, never_drawn, latents.values)[0].priors
        return exact_kl(posterior, priors, len(pixels))

    def prior_means(self, pixels: Tensor, draws: LatentNoise, *, first: int) -> Tensor:
        """Return E[x | z] for a block of z from the prior, by one run of the model's program for each block."""
        draw = addressed(draws, 1, first=first, device=pixels.device)
        return mean_of(ancestral(self._model_program, draw)[1], (NOISE_BLOCK, 1))

    def means_at(self, pixels: Tensor, draws: LatentNoise, chosen: Tensor) -> Tensor:
        """Return E[x | z] at one sample of the posterior of each example, (B, D)."""
        found: dict[str, Tensor] = {}
        for first, count in chunks(draws.k, NOISE_BLOCK):
            inside = (chosen >= first) & (chosen < first + count)
            for name, z in self.draw(pixels, draws, first=first, count=count).values.items():
                found.setdefault(name, torch.empty_like(z[0]))[inside] = z[chosen[inside] - first, inside]
        z = {name: each.unsqueeze(0) for name, each in found.items()}
        return mean_of(ancestral(self._model_program, never_drawn, z)[1], (1, len(pixels)))[0]

    def coordinates(self) -> dict[int, str]:
        """Return the name of each number of a continuous latent, by its column in the means."""
        at = self._looked.centre
        return movable(at)[0] if isinstance(at, Centre) else {}

    @property
    def no_traversals(self) -> str | None:
        """The reason why no latent can be moved through the prior."""
        at = self._looked.centre
        if self.no_means or not isinstance(at, Centre):
            return self.no_means or str(at)
        can, why = movable(at)
        return None if can else why

    def traversals(self, pixels: Tensor, columns: Sequence[int], offsets: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return E[x | z] while each of some numbers in turn moves through the prior; see ``traversal``."""
        at = centre(self._posterior_program, self._model_program, pixels.reshape(-1, *self.data.shape))
        return traversal(at, self._model_program, columns, offsets)

    def annealed(self, pixels: Tensor) -> Target:
        """Return the likelihood of whitened latents if the priors allow it, otherwise the densities of z."""
        if self.no_annealing:
            raise SpecError([Fault("method", f"{self.no_annealing}.")])
        like = self._like
        if (width := whitened_width(self._model_program, like)) is not None:
            return WhitenedProgram(self._model_program, self._densities, pixels, width=width, dtype=like.dtype)
        return JoinedLatents(self._model_program, self._densities, pixels, shapes=self.latents, dtype=like.dtype)

    @property
    def no_annealing(self) -> str | None:
        """The reason why annealed importance sampling is impossible."""
        return self._looked.no_annealing

    @cached_property
    def _looked(self) -> "_Looked":
        """What one example at the data's mean shows of both programs."""
        with in_eval_mode(self), torch.no_grad():
            pixels = self.data.mean.flatten().to(self._like).unsqueeze(0)
            x, noise = pixels.reshape(-1, *self.data.shape), _trial_noise(pixels, 1)
            latents, posterior = drawn_with_distributions(self._posterior_program, x, noise)
            z = latents.values
            priors = ancestral(self._model_program, never_drawn, z)[0].priors

            def sampled() -> object:
                draw = addressed(noise, 1, first=0, device=pixels.device)
                return ancestral(self._model_program, draw)

            try:
                at = centre(self._posterior_program, self._model_program, x)
            except SpecError as error:
                at = error.faults[0].message.removesuffix(".")
            return _Looked(posterior, at, why_not(self._model_program, self._densities, priors, z, pixels, sampled))

    @property
    def _like(self) -> Tensor:
        """A tensor with the device and the floating-point type of the model."""
        parameters = [each for each in self.module.parameters() if each.is_floating_point()]
        return parameters[0] if parameters else self.data.mean

    def fuse(self) -> None:
        """Compile the arithmetic of binary pixels."""
        self._densities.bernoulli.fuse()
        self.fused = True

    def unfuse(self) -> None:
        """Stop using compiled code."""
        self._densities.bernoulli.unfuse()
        self.fused = False

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - torch's own convention
        """Return the module's state, by the module's own names."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Load the module's state."""
        return self.module.load_state_dict(state_dict, *args, **kwargs)

    def _named(self, leaves: frozenset[Tensor]) -> dict[str, nn.Parameter]:
        return {name: each for name, each in self.module.named_parameters() if each in leaves}

    def _trial(self) -> "_Trial":
        """Run both programs at the data's mean."""
        pixels = self.data.mean.flatten().to(self._like).expand(_PROBED, -1)
        noise = _trial_noise(pixels, _PROBED)
        modes = {each: each.training for each in self.module.modules()}
        # A module in eval mode changes no buffer.
        self.module.eval()
        try:
            with torch.enable_grad():
                x = pixels.reshape(-1, *self.data.shape)
                drawn = draw_latents(self._posterior_program, x, noise, first=0, count=_PROBED, has_path=True)
                log_p = self._densities.log_joint(drawn.values, pixels)
        finally:
            for each, mode in modes.items():
                each.training = mode
        leaves = frozenset(each.leaf for each in drawn.located.values())
        live = [Reach.of(each.live).leaves for each in drawn.located.values()]
        return _Trial(
            latents={name: tuple(z.shape[2:]) for name, z in drawn.values.items()},
            discrete=drawn.discrete,
            theta=Reach.of(log_p).leaves - leaves,
            phi=Reach.of(drawn.log_q).leaves.union(*live) - leaves,
        )


def _trial_noise(pixels: Tensor, examples: int) -> AddressedNoise:
    """Return noise of a few samples, for a run whose values are not used."""
    return AddressedNoise(
        Randomness(0, pixels.device),
        Stream.INITIALISATION,
        0,
        k=_PROBED,
        batch=examples,
        width=1,
        dtype=pixels.dtype,
    )


@dataclass(frozen=True)
class _Looked:
    """What a look at both programs shows.

    Attributes:
        posterior: q of each latent.
        centre: the centre of traversals, or why there is none.
        no_annealing: why annealing is impossible.
    """

    posterior: Mapping[str, Distribution]
    centre: Centre | str
    no_annealing: str | None


@dataclass(frozen=True)
class _Trial:
    latents: dict[str, tuple[int, ...]]
    discrete: tuple[str, ...]
    theta: frozenset[Tensor]
    phi: frozenset[Tensor]


@contextmanager
def _without_validation() -> Generator[None]:
    """Switch off torch's checks of arguments, which cost a pass over all numbers; ``check-model`` makes them once."""
    kind = cast("Any", Distribution)
    before = kind._validate_args
    Distribution.set_default_validate_args(value=False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(value=before)


def require_programs(module: object) -> None:
    """Check that an object is a module with the two programs.

    Raises:
        SpecError: it is not.
    """
    kind = type(module).__name__
    if not isinstance(module, nn.Module):
        raise SpecError([Fault("model", f"{kind} is no torch.nn.Module.")])
    if lacking := [name for name in ("posterior", "model") if not callable(getattr(module, name, None))]:
        raise SpecError([Fault("model", f"{kind} has no method {' and no method '.join(lacking)}.")])
