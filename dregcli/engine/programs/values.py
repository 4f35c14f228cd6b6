"""Values of a user's model for evaluations, pictures and annealing, computed from its two programs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise, LatentNoise, Noise
from dregcli.engine.dreams import DreamNoise, Dreams
from dregcli.engine.execution.batch import chunks
from dregcli.engine.hamiltonian import Target
from dregcli.engine.models.base import Layer, Model, in_eval_mode
from dregcli.engine.programs.ancestral import addressed, ancestral, blank_latents, mean_of, never_drawn
from dregcli.engine.programs.annealed import JoinedLatents, WhitenedProgram, whitened_width, why_not
from dregcli.engine.programs.batch import ProgramBatch
from dregcli.engine.programs.contract import Draw, Given, ModelData
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.dreaming import dreamed, log_q_at
from dregcli.engine.programs.latents import draw_latents
from dregcli.engine.programs.moments import drawn_with_distributions, exact_kl, missing_mean, stacked_means
from dregcli.engine.programs.traversals import Centre, centre, movable, traversal
from dregcli.engine.programs.trial import like_of
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import Fault, SpecError

_PROBED = 2
"""Samples of each example in a trial run."""


class ProgramValues(Model):
    """The part of a user's model that serves evaluations, pictures and annealing; see ``ProgramModel``.

    Attributes:
        module: the user's module.
        data: shape and statistics of the data.
        latents: shape of each latent, by name.
        densities: log-densities of the model's program.
    """

    module: nn.Module
    data: ModelData
    latents: Mapping[str, tuple[int, ...]]
    densities: ModelDensities

    @abstractmethod
    def posterior_program(self, x: Tensor, draw: Draw) -> None:
        """Run the posterior's program."""

    @abstractmethod
    def model_program(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Run the model's program."""

    def weighed(self, pixels: Tensor, draws: Noise, *, k_chunk: int | None) -> tuple[Tensor, Tensor]:
        """Return log-weights, and the KL of each layer from its prior as a mean over the draws."""
        batch = self.batch(pixels, draws)
        assert isinstance(batch, ProgramBatch)
        log_w, kl = batch.weighed(k_chunk=k_chunk)
        return log_w, kl[self._by_layer]

    def layers(self) -> list[Layer]:
        """Return each latent as a layer, the layer nearest to x first."""
        columns: dict[str, range] = {}
        first = 0
        for name, shape in self.latents.items():
            columns[name] = range(first, first + torch.Size(shape).numel())
            first = columns[name].stop
        upwards = self._upwards
        found: list[Layer] = []
        for i, name in enumerate(upwards):
            is_last = all(columns[above].start < columns[name].start for above in upwards[i + 1 :])
            found.append(Layer(name, columns[name], is_kl=is_last or name in self._looked.independent))
        return found

    @property
    def _upwards(self) -> tuple[str, ...]:
        """The latents' names, the layer nearest to x first.

        Its prior is given last, because a program gives the priors of the layers above before.
        """
        return tuple(self.latents) if len(self.latents) == 1 else self._looked.given[::-1]

    @property
    def _by_layer(self) -> list[int]:
        """The place of each layer in the order in which latents are drawn."""
        drawn = [*self.latents]
        return [drawn.index(name) for name in self._upwards]

    def posterior_means(self, pixels: Tensor, draws: Noise) -> Tensor | None:
        """Return E[z | x] under q of every latent, (B, Z), float64; conditional latents at one draw of the others."""
        assert isinstance(draws, LatentNoise)
        x = pixels.reshape(-1, *self.data.shape)
        return stacked_means(drawn_with_distributions(self.posterior_program, x, draws)[1], len(pixels))

    @property
    def no_means(self) -> str | None:
        """The reason why q has no known means."""
        return missing_mean(self._looked.posterior)

    def kl_from_prior(self, pixels: Tensor) -> Tensor | None:
        """Return KL(q(z | x) || p(z)) by layer where torch has it in closed form, (L, B), float64, nats."""
        x = pixels.reshape(-1, *self.data.shape)
        noise = trial_noise(pixels, len(pixels))
        latents, posterior = drawn_with_distributions(self.posterior_program, x, noise)
        priors = ancestral(self.model_program, never_drawn, latents.values)[0].priors
        found = exact_kl(posterior, priors, len(pixels))
        return None if found is None else found[self._by_layer]

    def prior_means(self, pixels: Tensor, draws: LatentNoise, *, first: int) -> Tensor:
        """Return E[x | z] for a block of z from the prior, by one run of the model's program for each block."""
        rows = (NOISE_BLOCK, 1)
        draw = addressed(draws, 1, first=first, device=pixels.device)
        return mean_of(ancestral(self.model_program, draw, blank=blank_latents(self._looked.z, rows))[1], rows)

    @torch.no_grad()
    def dream(self, pixels: Tensor, draws: DreamNoise) -> Dreams:
        """Return a sample of both programs' model for each example: latents of the priors, then x."""
        return dreamed(self.model_program, self._looked.z, pixels, draws)

    @property
    def no_dreams(self) -> str | None:
        """The reason why the model cannot be sampled, or q has no density at its samples."""
        return self._no_dreams

    @cached_property
    def _no_dreams(self) -> str | None:
        with in_eval_mode(self):
            pixels = self.data.mean.flatten().to(like_of(self.module, self.data.mean)).unsqueeze(0)
            draws = DreamNoise(
                Randomness(0, pixels.device), Stream.NOISE, 0, batch=1, width=self.latent_width, dtype=pixels.dtype
            )
            try:
                with torch.no_grad():
                    self.log_posterior(self.dream(pixels, draws))
            except SpecError as error:
                return error.faults[0].message.removesuffix(".")
        return None

    def log_posterior(self, dreams: Dreams) -> Tensor:
        """Return log q(z | x) of all latents at dreams, shape (B,), nats."""
        return log_q_at(self.posterior_program, dreams.pixels.reshape(-1, *self.data.shape), dreams)

    def means_at(self, pixels: Tensor, draws: LatentNoise, chosen: Tensor) -> Tensor:
        """Return E[x | z] at one sample of the posterior of each example, (B, D)."""
        z = self.chosen_latents(pixels, draws, chosen)
        return mean_of(ancestral(self.model_program, never_drawn, z)[1], (1, len(pixels)))[0]

    def chosen_latents(self, pixels: Tensor, draws: LatentNoise, chosen: Tensor) -> dict[str, Tensor]:
        """Return the latents of one sample of the posterior of each example, (1, B, ...) each; see ``means_at``."""
        found: dict[str, Tensor] = {}
        for first, count in chunks(draws.k, NOISE_BLOCK):
            inside = (chosen >= first) & (chosen < first + count)
            x = pixels.reshape(-1, *self.data.shape)
            drawn = draw_latents(self.posterior_program, x, draws, first=first, count=count, has_path=False)
            for name, z in drawn.values.items():
                found.setdefault(name, torch.empty_like(z[0]))[inside] = z[chosen[inside] - first, inside]
        return {name: each.unsqueeze(0) for name, each in found.items()}

    def prior_latents(self, draws: LatentNoise, *, first: int, device: torch.device) -> dict[str, Tensor]:
        """Return the latents of the block of samples of ``prior_means``, (NOISE_BLOCK, 1, ...) each."""
        blank = blank_latents(self._looked.z, (NOISE_BLOCK, 1))
        draw = addressed(draws, 1, first=first, device=device)
        return ancestral(self.model_program, draw, blank=blank)[0].z

    def means_from_layer(self, z: Mapping[str, Tensor], layer: str, draws: LatentNoise, count: int) -> Tensor:
        """Return E[x | z] while a layer and the layers above stay, and the layers below come from their priors.

        Args:
            z: latents of B examples, (1, B, ...) each.
            layer: name of the lowest layer that stays.
            draws: random numbers of the layers below.
            count: draws of the layers below for each example.

        Returns:
            Shape (count, B, D).
        """
        upwards = self._upwards
        stay = {name: z[name] for name in upwards[upwards.index(layer) :]}
        example = next(iter(stay.values()))
        rows = (NOISE_BLOCK, example.shape[1])
        known = {name: each.expand(*rows, *each.shape[2:]) for name, each in stay.items()}
        blank = blank_latents(self._looked.z, rows)
        found: list[Tensor] = []
        for first in range(0, count, NOISE_BLOCK):
            draw = addressed(draws, rows[1], first=first, device=example.device)
            found.append(mean_of(ancestral(self.model_program, draw, known, blank=blank)[1], rows))
        return torch.cat(found)[:count]

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
        return None if can else "; ".join(why.values())

    def cannot_move(self, layer: str) -> str | None:
        """Return the reason why no number of a layer can be moved through its prior; None if some can."""
        at = self._looked.centre
        return movable(at)[1].get(layer) if isinstance(at, Centre) else str(at)

    def traversals(self, pixels: Tensor, columns: Sequence[int], offsets: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return E[x | z] while each of some numbers in turn moves through its prior; see ``traversal``."""
        at = centre(self.posterior_program, self.model_program, pixels.reshape(-1, *self.data.shape))
        return traversal(at, self.model_program, columns, offsets)

    def annealed(self, pixels: Tensor) -> Target:
        """Return the likelihood of whitened latents if the priors allow it, otherwise the densities of z."""
        if self.no_annealing:
            raise SpecError([Fault("method", f"{self.no_annealing}.")])
        own, like = (self.model_program, self.densities, pixels), self._looked.z
        if (width := whitened_width(self.model_program, like)) is not None:
            return WhitenedProgram(*own, like, width=width)
        return JoinedLatents(*own, like)

    @property
    def no_annealing(self) -> str | None:
        """The reason why annealed importance sampling is impossible."""
        return self._looked.no_annealing

    @cached_property
    def _looked(self) -> "_Looked":
        """What one example at the data's mean shows of both programs."""
        with in_eval_mode(self), torch.no_grad():
            pixels = self.data.mean.flatten().to(like_of(self.module, self.data.mean)).unsqueeze(0)
            x, noise = pixels.reshape(-1, *self.data.shape), trial_noise(pixels, 1)
            latents, posterior = drawn_with_distributions(self.posterior_program, x, noise)
            z = latents.values
            priors = ancestral(self.model_program, never_drawn, z)[0].priors

            def sampled() -> object:
                draw = addressed(noise, 1, first=0, device=pixels.device)
                return ancestral(self.model_program, draw, blank=blank_latents(z, (NOISE_BLOCK, 1)))

            try:
                at = centre(self.posterior_program, self.model_program, x)
            except SpecError as error:
                at = error.faults[0].message.removesuffix(".")
            why = why_not(self.model_program, self.densities, priors, z, pixels, sampled)
            independent = frozenset(name for name, prior in priors.items() if not prior.batch_shape)
            return _Looked(z, posterior, tuple(priors), independent, at, why)


@dataclass(frozen=True)
class _Looked:
    """What a look at both programs shows.

    Attributes:
        z: latents of one sample, (1, 1, ...) each.
        posterior: q of each latent.
        given: names of the latents in the order in which their priors are given.
        independent: names of the latents whose prior is one distribution, which depends on no other latent.
        centre: the centre of traversals, or why there is none.
        no_annealing: why annealing is impossible.
    """

    z: Mapping[str, Tensor]
    posterior: Mapping[str, Distribution]
    given: tuple[str, ...]
    independent: frozenset[str]
    centre: Centre | str
    no_annealing: str | None


def trial_noise(pixels: Tensor, examples: int) -> AddressedNoise:
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
