"""The interface of a model that the gradient executor and the evaluation need."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents
from dregcli.engine.draws import LatentNoise, Noise
from dregcli.engine.dreams import DreamNoise, Dreams
from dregcli.engine.execution.batch import Batch, chunks
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.hamiltonian import Target, WhitenedLikelihood
from dregcli.engine.pairs import Pair
from dregcli.engine.prior_rule import FIXED_PRIOR, PriorRule
from dregcli.engine.rows import PLAIN_ROWS, Rows
from dregcli.engine.wide import widened
from dregcli.engine.words import word_of
from dregcli.errors import Fault, SpecError, is_of_memory


@dataclass(frozen=True)
class Layer:
    """One stochastic layer of a model.

    Attributes:
        name: name of the latent.
        columns: its numbers, by their columns in the means.
        is_kl: whether its mean of log q - log p is a KL divergence: whether q draws the layer after all layers above,
            or its prior depends on none. Otherwise it is only a part of the whole KL, and may be negative.
    """

    name: str
    columns: range
    is_kl: bool = True


class Model(nn.Module, ABC):
    """A model p(x, z) with a posterior q(z | x). With a context c they are p(x, z | c) and q(z | c, x).

    Pixels are always whole images, including the context.

    Attributes:
        latent_width: latent dimensions of all layers together, Z.
        fused: whether its passes over rows are compiled.
        repeats: whether a step always does the same work in the same order, so that a GPU can record and repeat it.
        unreached: names of parameters that are in theta and in phi because no trial run reached them.
    """

    latent_width: int
    unreached: Sequence[str] = ()
    fused: bool = False
    repeats: bool = True

    @abstractmethod
    def batch(self, pixels: Tensor, draws: Noise) -> Batch:
        """Return a batch for the executors: its rows, their log-weights and gradients.

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples; ``Draws`` if rows are screened.
        """

    @abstractmethod
    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta, which log p(x, z) depends on, by name."""

    @abstractmethod
    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return phi, which q(z | x) depends on, by name. A parameter of both is in both, and gets the sum."""

    def faults(self, pair: Pair) -> list[Fault]:
        """Return the reasons why the model cannot be trained by a pair; empty if it can."""
        if not pair.objective.dreams or (reason := self.no_dreams) is None:
            return []
        message = (
            f"'{word_of(pair.objective)}' trains q on samples of the model, but {reason}. Use rws without sleep."
        )
        return [Fault("objective", message)]

    @abstractmethod
    def dream(self, pixels: Tensor, draws: DreamNoise) -> Dreams:
        """Return one sample of the model for each example, without gradients.

        Args:
            pixels: shape (B, D); only a context matters.
            draws: random numbers of the samples.

        Raises:
            SpecError: the model cannot be sampled; ``no_dreams`` is the reason.
        """

    @property
    def no_dreams(self) -> str | None:
        """The reason why q cannot learn from samples of the model; None if it can."""
        return None

    @abstractmethod
    def log_posterior(self, dreams: Dreams) -> Tensor:
        """Return log q(z | x) at dreams, shape (B,), nats, with a graph to phi."""

    def require_pairs(self, pairs: Iterable[Pair], *, option: str | None = None) -> None:
        """Check that the model can be trained by pairs.

        Args:
            pairs: the pairs.
            option: the option that named the pairs, if it is neither ``--objective`` nor ``--estimator``.

        Raises:
            SpecError: it cannot, by one of them.
        """
        if faults := [fault for pair in pairs for fault in self.faults(pair)]:
            raise SpecError([Fault(option or fault.field, fault.message) for fault in faults])

    def shared_parameters(self) -> list[str]:
        """Return the names of the parameters that both log p(x, z) and q depend on."""
        theta = self.model_parameters()
        return [name for name in self.posterior_parameters() if name in theta]

    def prior_parameters(self) -> list[str]:
        """Return the names of the parameters that log p(z) depends on; most models have a fixed prior."""
        return []

    def no_prior_path(self, rule: PriorRule) -> str | None:
        """Return why theta's gradient cannot go along samples of the prior; None if it can."""
        return FIXED_PRIOR

    @property
    def no_shared_batch(self) -> str | None:
        """The reason why ranks cannot share the examples of a step; None if they can."""
        return None

    @property
    def no_antithetic(self) -> str | None:
        """The reason why the model cannot be trained with antithetic samples; None if it can."""
        return "antithetic samples are for the built-in models whose posterior is one diagonal Gaussian."

    def weighed(self, pixels: Tensor, draws: Noise, *, k_chunk: int | None) -> tuple[Tensor, Tensor | None]:
        """Return log-weights, and by layer the mean over the draws of log q - log p, which estimates KL(q || prior).

        For a layer z_l it is the mean of log q(z_l | what it is drawn from) - log p(z_l | the layers above).

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples.
            k_chunk: samples in one pass over rows; None takes all at once.

        Returns:
            Log-weights, (K, B), and the means, (L, B), float64, in the order of ``layers``, in nats; no means if
            ``kl_from_prior`` is exact for every model of the kind.
        """
        return self.batch(pixels, draws).log_weights(k_chunk=k_chunk), None

    def posterior_means(self, pixels: Tensor, draws: Noise) -> Tensor | None:
        """Return E[z | x] under q, or None if it is not known; ``no_means`` is the reason.

        A latent whose posterior depends on an earlier latent has the mean given one draw of the earlier one, as in
        Burda et al., arXiv 1509.00519.

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples.

        Returns:
            Shape (B, Z), float64; the columns are the latents in the order in which they are drawn.
        """
        return None

    @property
    def no_means(self) -> str | None:
        """The reason why q has no known means; None if it has."""
        return None

    def kl_from_prior(self, pixels: Tensor) -> Tensor | None:
        """Return KL(q(z | x) || p(z)) by layer, (L, B), float64, nats, or None if it has no closed form."""
        return None

    def layers(self) -> list[Layer]:
        """Return the stochastic layers, the layer nearest to x first."""
        return [Layer("z", range(self.latent_width))]

    @abstractmethod
    def prior_means(self, pixels: Tensor, draws: LatentNoise, *, first: int) -> Tensor:
        """Return E[x | z] for a block of z from the prior.

        Args:
            pixels: one image, from which a model with a context takes it, (1, D).
            draws: random numbers of the samples.
            first: index of the first sample, a multiple of the noise block.

        Returns:
            Whole images, (NOISE_BLOCK, 1, D).

        Raises:
            SpecError: the prior has no samples, or p(x | z) no mean.
        """

    @abstractmethod
    def means_at(self, pixels: Tensor, draws: LatentNoise, chosen: Tensor) -> Tensor:
        """Return E[x | z] at one sample of the posterior of each example, shape (B, D).

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples.
            chosen: index of each example's sample, int64, (B,).

        Raises:
            SpecError: p(x | z) has no mean.
        """

    @abstractmethod
    def coordinates(self) -> dict[int, str]:
        """Return the name of each number of the latents that a traversal can move, by its column in the means."""

    @property
    def no_traversals(self) -> str | None:
        """The reason why no latent can be moved through the prior; None if some can."""
        return None

    @abstractmethod
    def traversals(self, pixels: Tensor, columns: Sequence[int], offsets: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return E[x | z] while each of some numbers in turn moves through the prior; the rest stays at q's mean.

        Args:
            pixels: the example, shape (1, D).
            columns: numbers to move, by their columns in the means.
            offsets: values of the moved number, in standard deviations of the prior from its mean.

        Returns:
            By number l, the image where it has not moved, at q's mean, (L, D), and the images with the number at
            offset s, (L, S, D). In a model with several layers, the layers below a moved one are at their priors'
            means given the layers above, in both.
        """

    @abstractmethod
    def annealed(self, pixels: Tensor) -> Target:
        """Return p(x | z) and p(z) as annealing needs them, for pixels of shape (B, D).

        Raises:
            SpecError: annealing is impossible; ``no_annealing`` is the reason.
        """

    @property
    def no_annealing(self) -> str | None:
        """The reason why annealed importance sampling is impossible; None if it is possible."""
        return None

    def log_marginal(self, pixels: Tensor) -> Tensor | None:
        """Return the exact log p(x), shape (B,), float64, nats, or None if it has no closed form."""
        return None

    def fuse(self) -> None:
        """Compile the passes over rows that can be compiled. Their results stay the same up to rounding."""

    def unfuse(self) -> None:
        """Stop using compiled code."""

    def run_uncompiled(self, error: RuntimeError) -> str:
        """Stop using compiled code after an error that it may have raised; return why, in one line.

        Raises:
            RuntimeError: the error itself, if nothing is compiled or memory ran out.
        """
        why = str(error).strip().partition("\n")[0]
        # The lines after the first may be those of a compiler that had no memory.
        if not self.fused or isinstance(error, torch.OutOfMemoryError) or is_of_memory(RuntimeError(why)):
            raise error
        self.unfuse()
        return why


class GaussianModel(Model):
    """A model with one diagonal Gaussian as its posterior, whose layers meet rows in ``Rows`` alone: the fast path.

    One backward pass then serves all estimators.
    """

    @property
    def values_in_threads(self) -> bool:
        """Whether several threads can compute values of rows at once: unless compiled code takes part."""
        return not self.fused

    def batch(self, pixels: Tensor, draws: Noise) -> GaussianBatch:
        """Return a batch whose posterior is computed once."""
        return GaussianBatch(self, pixels, self.posterior(pixels), draws)

    @property
    def no_antithetic(self) -> None:
        """None: a pair of samples is symmetric about the mean."""
        return

    def posterior_means(self, pixels: Tensor, draws: Noise) -> Tensor:
        """Return q's means, shape (B, Z), float64; no draw is needed."""
        return widened(self.posterior(pixels).loc)

    @torch.no_grad()
    def dream(self, pixels: Tensor, draws: DreamNoise) -> Dreams:
        """Return a sample of the prior, and one of the likelihood, for each example."""
        (z,) = self.latent_prior(pixels).rsample(draws.noise(0, 1))
        return Dreams(self.sampled_pixels(pixels, (z,), draws.generator())[0], {"z": z})

    def log_posterior(self, dreams: Dreams) -> Tensor:
        """Return log q(z | x) at dreams, shape (B,), nats."""
        posterior = self.posterior(dreams.pixels)
        return posterior.log_prob_at((dreams.latents["z"] - posterior.loc) / posterior.scale)[0]

    def kl_from_prior(self, pixels: Tensor) -> Tensor:
        """Return KL(q(z | x) || p(z)), or to p(z | c), of the one layer, shape (1, B), float64, nats."""
        return self.posterior(pixels).kl_from(self.latent_prior(pixels)).unsqueeze(0)

    def prior_means(self, pixels: Tensor, draws: LatentNoise, *, first: int) -> Tensor:
        """Return E[x | z] for a block of z from the prior, (NOISE_BLOCK, 1, D)."""
        noise = draws.noise(first, NOISE_BLOCK)
        return self.mean_pixels(pixels, self.latent_prior(pixels).rsample(noise))

    def means_at(self, pixels: Tensor, draws: LatentNoise, chosen: Tensor) -> Tensor:
        """Return E[x | z] at one sample of the posterior of each example, shape (B, D)."""
        posterior = self.posterior(pixels)
        noise = torch.empty_like(posterior.loc)
        for first, count in chunks(draws.k, NOISE_BLOCK):
            chunk = draws.noise(first, count)
            inside = (chosen >= first) & (chosen < first + len(chunk))
            noise[inside] = chunk[chosen[inside] - first, inside]
        return self.mean_pixels(pixels, posterior.rsample(noise[None]))[0]

    def coordinates(self) -> dict[int, str]:
        """Return z and the number's index, for each latent dimension."""
        return {i: f"z{i}" for i in range(self.latent_width)}

    def traversals(self, pixels: Tensor, columns: Sequence[int], offsets: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return E[x | z] while each latent dimension in turn moves through the prior."""
        at, prior = self.posterior(pixels).loc, self.latent_prior(pixels)
        z = at.expand(len(columns), len(offsets), -1).clone()
        steps = torch.tensor(offsets, dtype=at.dtype, device=at.device)
        for row, column in enumerate(columns):
            z[row, :, column] = prior.loc[0, column] + prior.scale[0, column] * steps
        moved = self.mean_pixels(pixels, (z.flatten(0, 1)[:, None],))
        still = self.mean_pixels(pixels, (at[None],))[0, 0]
        return still.expand(len(columns), -1), moved.reshape(len(columns), len(offsets), -1)

    def annealed(self, pixels: Tensor) -> WhitenedLikelihood:
        """Return the likelihood of latents that are whitened by the prior."""
        return WhitenedLikelihood(self, pixels)

    @abstractmethod
    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return q(z | x) for pixels of shape (B, D)."""

    @abstractmethod
    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x, z), shape (K, B), nats.

        Args:
            pixels: shape (B, D).
            latents: latents of each layer, (K, B, Z_layer) each.
            rows: applies every layer to rows, and brings tensors of examples, including pixels, to rows. Parameters
                may meet rows in no other way.
        """

    @abstractmethod
    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z), or p(z | c) for a model with a context, for pixels of shape (B, D)."""

    @abstractmethod
    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return E[x | z], whole images of shape (K, B, D); a context c is taken from ``pixels``, (B, D)."""

    @abstractmethod
    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        """Draw x given z, whole images of shape (K, B, D); a context c is taken from ``pixels``, (B, D)."""


@contextmanager
def in_eval_mode(model: nn.Module) -> Generator[None]:
    """Put a module and its parts in evaluation mode inside the block; afterwards restore each part's mode."""
    modes = {each: each.training for each in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for each, mode in modes.items():
            each.training = mode
