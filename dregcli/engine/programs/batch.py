"""A batch of a user's model: its rows, their log-weights and gradients by autograd."""

import copy
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import LatentNoise, Noise
from dregcli.engine.execution.batch import Named, RowPass, Sums, chunks, posterior_gradients
from dregcli.engine.execution.joined import JoinedPasses
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.half import half_products
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.latents import Latents, Posterior, draw_latents
from dregcli.engine.programs.prior_path import LearnedPriors
from dregcli.engine.programs.row_pass import (
    Chosen,
    Parameters,
    ProgramRowPass,
    score_sums,
)
from dregcli.engine.reach import Reach
from dregcli.engine.wide import widened
from dregcli.errors import Fault, SpecError
from dregcli.names import Precision

LATENT_NUMBERS = 2**24
"""Most numbers that runs of a posterior's program keep at once: 64 MiB. Each run computes the whole encoder again."""


@dataclass(frozen=True)
class Programs:
    """A model as the batch needs it.

    Attributes:
        posterior: the posterior's program.
        densities: the model's program.
        shape: shape of one example.
        theta: parameters of the model.
        phi: parameters of the posterior.
        trained: all parameters that require grad.
        mixed: whether some latents have a path and others have none.
        kept: numbers for one row that the posterior's program keeps; they decide how many latents are drawn at once.
        by_blocks: whether latents can only be drawn block by block: see ``Latents``.
        priors: what is known of the priors.
    """

    posterior: Posterior
    densities: ModelDensities
    shape: tuple[int, ...]
    theta: Parameters
    phi: Parameters
    trained: Parameters
    mixed: bool
    kept: int
    by_blocks: bool
    priors: LearnedPriors

    def latents_at_once(self, examples: int) -> int:
        """Return of how many samples the latents of all rows are drawn at once: whole blocks."""
        blocks = 1 if self.by_blocks else max(1, LATENT_NUMBERS // (examples * max(1, self.kept) * NOISE_BLOCK))
        return blocks * NOISE_BLOCK

    def require_known(self, what: str, outputs: Iterable[Tensor], known: Parameters) -> None:
        """Refuse parameters that a part of the model reaches only now, whose gradient would silently be missing.

        Args:
            what: the part.
            outputs: its densities and samples.
            known: the parameters that it is differentiated by.

        Raises:
            SpecError: there are such parameters.
        """
        reached = frozenset[Tensor]().union(*(Reach.of(each).leaves for each in outputs))
        missing = [name for name, each in self.trained.items() if name not in known and each in reached]
        if missing:
            message = (
                f"{what} depends on {', '.join(missing)} for this batch, but did not in the trial at the data's "
            )
            message += (
                "mean, which decides what belongs to p and what to q: this part of the gradient would be missing."
            )
            hint = "let every run of the program use them, for example by adding 0.0 * parameter.sum() to its outputs"
            raise SpecError([Fault("model", message)], hint=hint)


class ProgramBatch:
    """One batch of examples.

    Args:
        programs: the model.
        pixels: shape (B, D).
        draws: random numbers of the samples; ``Draws`` if rows are screened.

    Raises:
        TypeError: the random numbers are noise of one latent alone.
    """

    def __init__(self, programs: Programs, pixels: Tensor, draws: Noise) -> None:
        if not isinstance(draws, LatentNoise):
            message = f"latents are drawn one after the other, but {type(draws).__name__} has noise of one alone"
            raise TypeError(message)
        self._programs, self._pixels = programs, pixels
        self.draws: LatentNoise = draws
        # Examples whose log-weights are computed; all latents are drawn for the whole batch.
        self._some: Tensor | None = None
        # Latents of all samples with their graph, if they are drawn at once: screening needs them in every pass.
        self._whole: Latents | None = None

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        return len(self._pixels if self._some is None else self._some)

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self._pixels.device

    @property
    def mixed(self) -> bool:
        """Whether some latents have a path and others have none."""
        return self._programs.mixed

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of phi."""
        return {name: tuple(each.shape) for name, each in self._programs.phi.items()}

    def drawn(self, draws: Noise) -> "ProgramBatch":
        """Return the same examples with other random numbers."""
        return ProgramBatch(self._programs, self._pixels, draws)

    def prior(self) -> "ProgramBatch":
        """Return the same samples with log p(z) in the place of log p(x, z)."""
        other = copy.copy(self)
        other._programs = replace(self._programs, densities=self._programs.densities.prior())
        return other

    def of(self, examples: Tensor) -> "ProgramBatch":
        """Return some of the examples, to compute their log-weights."""
        other = copy.copy(self)
        other._some = examples
        return other

    def _pieces(self, first: int, count: int) -> list[tuple[int, int]]:
        """Return parts of some samples, whose latents are drawn at once."""
        size = self._programs.latents_at_once(len(self._pixels))
        return [(first + start, number) for start, number in chunks(count, size)]

    def _latents(self, first: int, count: int, *, has_path: bool) -> Latents:
        if self._whole is not None and (first, count) == (0, self.draws.k):
            return self._whole
        x = self._pixels.reshape(-1, *self._programs.shape)
        own = self._programs
        with torch.set_grad_enabled(has_path or torch.is_grad_enabled()):
            found = draw_latents(own.posterior, x, self.draws, first=first, count=count, has_path=has_path)
        own.require_known("q(z | x)", [found.log_q, *(each.live for each in found.located.values())], own.phi)
        return found

    def log_weights(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        """Compute log-weights of all rows without a graph, in memory for one chunk of samples."""
        if len(self._pieces(0, self.draws.k)) == 1:
            self._whole = self._latents(0, self.draws.k, has_path=True)
        return self.weighed(k_chunk=k_chunk, precision=precision)[0]

    @torch.no_grad()
    def weighed(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> tuple[Tensor, Tensor]:
        """Compute log-weights of all rows, as ``log_weights``, and by latent the mean over samples of log q - log p.

        Returns:
            Log-weights, (K, B), and the means, which estimate each latent's KL from its prior, (L, B), float64, in
            the order in which the latents are drawn; both in nats.
        """
        # One array for all chunks, as in GaussianBatch.
        found = self._pixels.new_empty(self.draws.k, self.examples)
        total: Tensor | None = None
        pixels = self._pixels if self._some is None else self._pixels[self._some]
        products = half_products if precision is Precision.BFLOAT16 else nullcontext
        for first, count in self._pieces(0, self.draws.k):
            latents = self._latents(first, count, has_path=False)
            values, log_q = latents.values, latents.log_q
            of_q = torch.stack([each.log_q for each in latents.located.values()])
            if self._some is not None:
                values = {name: z[:, self._some] for name, z in values.items()}
                log_q, of_q = log_q[:, self._some], of_q[:, :, self._some]
            for start, number in chunks(count, k_chunk):
                part = slice(start, start + number)
                with products():
                    z = {name: each[part] for name, each in values.items()}
                    joint = self._programs.densities.run(z, pixels)
                    log_p = joint.log_joint
                found[first + start : first + start + number] = log_p - log_q[part]
                of_p = torch.stack([joint.log_priors[name] for name in values])
                ratios = widened(of_q[:, part] - of_p).sum(1)
                total = ratios if total is None else total + ratios
        assert total is not None
        return found, total / self.draws.k

    def samples(self, first: int, count: int) -> RowPass:
        """Return a forward pass over all rows of some samples."""
        pieces = self._pieces(first, count)
        parts = [self._pass(*piece) for piece in pieces]
        return parts[0] if len(parts) == 1 else JoinedPasses(parts, [size for _, size in pieces], axis=0)

    def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> RowPass:
        """Return a forward pass over chosen rows; latents are drawn for all rows of many samples at once."""
        pieces = [
            (first, count, Chosen(k[here] - first, b[here]))
            for first, count in self._pieces(0, self.draws.k)
            if (here := ((k >= first) & (k < first + count))).any()
        ]
        parts = [self._pass(*piece) for piece in pieces]
        return parts[0] if len(parts) == 1 else JoinedPasses(parts, [len(each.k) for *_, each in pieces], axis=1)

    def _pass(self, first: int, count: int, chosen: Chosen | None = None) -> ProgramRowPass:
        own = self._programs
        latents = self._latents(first, count, has_path=True)
        with torch.enable_grad():
            found = ProgramRowPass(own.densities, latents, self._pixels, own.theta, own.phi, chosen, own.priors)
        own.require_known("log p(x, z)", [found.log_p], own.theta)
        return found

    def score_sums(self, first: int, weights: RowWeights) -> Named:
        """Compute the score's sums of all rows of some samples, which need no decoder."""
        total = Sums([], {})
        for start, count in self._pieces(first, weights.model.shape[1]):
            with torch.enable_grad():
                latents = self._latents(start, count, has_path=self.mixed)
            part = weights.samples(start - first, count)
            total.add_posterior(score_sums(latents, self._programs.phi, part, self.examples))
        return total.posterior

    def zero(self, weights: RowWeights) -> Sums:
        """Return sums over no rows."""
        own, pairs = self._programs, posterior_gradients(weights)
        model = [{name: torch.zeros_like(each) for name, each in own.theta.items()} for _ in weights.model]
        return Sums(model, {name: each.new_zeros(pairs, *each.shape) for name, each in own.phi.items()})

    def through_posterior(self, gradients: Mapping[str, Tensor]) -> list[Named]:
        """Return the P sets of gradients, which are already by phi."""
        count = len(next(iter(gradients.values()))) if gradients else 0
        return [{name: each[i] for name, each in gradients.items()} for i in range(count)]

    def stacked_through_posterior(self, gradients: Mapping[str, Tensor]) -> Named:
        """Return the gradients, which are already by phi."""
        return dict(gradients)
