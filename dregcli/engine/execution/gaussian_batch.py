"""The batch of the fast path: one diagonal Gaussian for each example, and layers that meet rows in ``Rows`` alone."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents
from dregcli.engine.draws import KEPT_BYTES, Noise, NoiseOfExamples
from dregcli.engine.execution.batch import Named, Sums, chunks, posterior_gradients
from dregcli.engine.execution.row_pass import GaussianExamples, GaussianRowPass, TapedModel, score_sums
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.half import half_rows
from dregcli.engine.likelihoods.base import BLOCK_BYTES
from dregcli.engine.outer import OuterProducts, Stacked, linear_nodes
from dregcli.engine.reach import Reach
from dregcli.engine.rows import PLAIN_ROWS, Rows, SomeRows
from dregcli.engine.value_rows import LinearisedRows, ValueRows
from dregcli.engine.worker_threads import each_in_threads
from dregcli.names import Precision

_ROWS: Final[Mapping[Precision, Callable[[torch.device], Rows]]] = {
    Precision.FLOAT32: lambda _: ValueRows(),
    Precision.BFLOAT16: half_rows,
    Precision.LINEARISED: lambda _: LinearisedRows(),
}


class GaussianBatch:
    """One batch of examples.

    Args:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
        live: q(z | x) on the graph of the posterior's parameters.
        draws: noise of the samples; ``Draws`` if rows are screened.
    """

    def __init__(self, model: TapedModel, pixels: Tensor, live: DiagonalGaussian, draws: Noise) -> None:
        self.model = model
        self.live = live
        self.draws = draws
        self.fixed = GaussianExamples(model, pixels, live.stopped())

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        return len(self.fixed.pixels)

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self.fixed.pixels.device

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the posterior's own parameters, (B, Z) each."""
        return {name: tuple(each.shape) for name, each in self.live.parameters().items()}

    def drawn(self, draws: Noise) -> "GaussianBatch":
        """Return the same examples and their posterior with other noise."""
        other = copy.copy(self)
        other.draws = draws
        return other

    def prior(self) -> "GaussianBatch":
        """Return the same samples with log p(z) in the place of log p(x, z)."""
        return GaussianBatch(_PriorAlone(self.model, self.fixed.pixels), self.fixed.pixels, self.live, self.draws)

    def of(self, examples: Tensor) -> "GaussianBatch":
        """Return some of the examples, by their indices."""
        some = self.fixed.posterior.of(examples)
        return GaussianBatch(self.model, self.fixed.pixels[examples], some, NoiseOfExamples(self.draws, examples))

    @torch.no_grad()
    def log_weights(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        """Compute log-weights of all rows without a graph, in memory for one chunk of samples.

        Where threads share the rows, a chunk's arrays also fit the cache.
        """
        posterior, rows = self.fixed.posterior, _ROWS[precision](self.device)
        if isinstance(rows, LinearisedRows):
            self.model.log_joint(self.fixed.pixels, (rows.looked_at(posterior),), rows.preparation())
        # One array for all chunks. Separate small results would be allocated where a chunk's large arrays were
        # before; the next chunk's arrays would then find no room there, and the process would grow with each chunk.
        found = posterior.loc.new_empty(self.draws.k, self.examples)

        @torch.no_grad()
        def evaluate(chunk: tuple[int, int]) -> None:
            first, count = chunk
            noise = self.draws.noise(first, count)
            log_p = self.model.log_joint(self.fixed.pixels, posterior.rsample(noise), rows)
            found[first : first + count] = log_p.sub_(posterior.log_prob_at(noise))

        # The products of other rows may be rounded by a setting of the whole process.
        if self._in_threads and isinstance(rows, ValueRows):
            each_in_threads(evaluate, chunks(self.draws.k, self._at_once(k_chunk)))
        else:
            for chunk in chunks(self.draws.k, k_chunk):
                evaluate(chunk)
        return found

    @property
    def _in_threads(self) -> bool:
        return self.device.type == "cpu" and self.model.values_in_threads

    def _at_once(self, k_chunk: int | None) -> int:
        """Return how many samples a thread takes at once: whole blocks of noise, and enough to be worth its while."""
        pixels = self.fixed.pixels
        blocks = max(1, BLOCK_BYTES // (NOISE_BLOCK * pixels.numel() * pixels.element_size()))
        return min(NOISE_BLOCK * blocks, k_chunk or self.draws.k)

    def samples(self, first: int, count: int) -> GaussianRowPass:
        """Return a forward pass over all rows of some samples."""
        return GaussianRowPass(self.fixed, self.draws.noise(first, count))

    def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> GaussianRowPass:
        """Return a forward pass over chosen rows."""
        return GaussianRowPass(self.fixed, self._noise(k, b, k_chunk), SomeRows(b, self.examples))

    def _noise(self, k: Tensor, b: Tensor, k_chunk: int | None) -> Tensor:
        """Return the noise of rows, shape (1, R, Z)."""
        draws = self.draws
        in_threads, every = self._in_threads, draws.k * self.live.loc.numel()
        size = self._at_once(k_chunk) if in_threads else k_chunk or draws.k
        if size >= draws.k:
            return draws.noise(0, draws.k)[k, b].unsqueeze(0)
        if in_threads and 4 * every <= KEPT_BYTES:
            # The first pass has drawn all blocks, and they are still there.
            return torch.cat([draws.noise(*chunk) for chunk in chunks(draws.k, size)])[k, b].unsqueeze(0)
        rows = self.live.loc.detach().new_empty(len(k), self.live.loc.shape[-1])
        for first in range(int(k[0]) // size * size, int(k[-1]) + 1, size):
            here = ((k >= first) & (k < first + size)).nonzero()[:, 0]
            rows[here] = draws.noise(first, min(size, draws.k - first))[k[here] - first, b[here]]
        return rows.unsqueeze(0)

    def score_sums(self, first: int, weights: RowWeights) -> Named:
        """Compute the score's gradients by the posterior's own parameters."""
        assert weights.score is not None
        return score_sums(self.fixed, self.draws.noise(first, weights.score.shape[1]), weights.score)

    @property
    def mixed(self) -> bool:
        """Whether some latents have a path and others have none: there is only one latent."""
        return False

    def zero(self, weights: RowWeights) -> Sums:
        """Return sums over no rows."""
        theta = self.model.model_parameters()
        model = [{name: torch.zeros_like(each) for name, each in theta.items()} for _ in weights.model]
        pairs = posterior_gradients(weights)
        like = self.fixed.posterior.parameters()
        return Sums(model, {name: each.new_zeros(pairs, *each.shape) for name, each in like.items()})

    def through_posterior(self, gradients: Mapping[str, Tensor]) -> list[Named]:
        """Turn gradients by the posterior's own parameters, (P, B, Z) each, into P sets of gradients by phi."""
        phi = self.model.posterior_parameters()
        outputs = self._outputs(gradients)
        found = (
            torch.autograd.grad(cast("Any", _Seeded).apply(seeds, *outputs), list(phi.values()), retain_graph=True)
            for seeds in zip(*gradients.values(), strict=True)
        )
        return [dict(zip(phi, each, strict=True)) for each in found]

    def stacked_through_posterior(self, gradients: Mapping[str, Tensor]) -> Stacked:
        """Do the same in one pass for all P sets: (P, ...) each; weights of layers have outer products."""
        phi, outputs = self.model.posterior_parameters(), self._outputs(gradients)
        layers = linear_nodes(outputs)
        of_layers = {leaf for each in layers for leaf in (each.weight, each.bias)}
        others = [each for each in phi.values() if each not in of_layers]
        # torch's types allow tensors alone, or edges alone.
        ends: list[Any] = [*(each.outputs for each in layers), *others]
        found = torch.autograd.grad(
            outputs,
            ends,
            list(gradients.values()),
            retain_graph=True,
            is_grads_batched=True,
        )
        by_leaf: dict[Tensor, Tensor | OuterProducts] = dict(zip(others, found[len(layers) :], strict=True))
        for layer, delta in zip(layers, found, strict=False):
            by_leaf |= {layer.weight: OuterProducts(delta, layer.inputs), layer.bias: delta.sum(dim=1)}
        return {name: by_leaf[each] for name, each in phi.items()}

    def _outputs(self, gradients: Mapping[str, Tensor]) -> list[Tensor]:
        outputs = self.live.parameters()
        return [outputs[name] for name in gradients]


class _Seeded(torch.autograd.Function):
    """A number whose gradients by the tensors are given, in the place of ``grad_outputs`` of ``torch.autograd.grad``.

    Torch compares the shapes of those with the help of sympy, whose import makes the start of every training longer.
    """

    @staticmethod
    def forward(ctx: Any, gradients: Sequence[Tensor], *tensors: Tensor) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.gradients = gradients
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return None, *ctx.gradients


class _PriorAlone:
    """A model whose log-density is log p(z).

    Args:
        model: the model.
        pixels: shape (B, D); only a context matters.
    """

    values_in_threads = True

    def __init__(self, model: TapedModel, pixels: Tensor) -> None:
        self._model = model
        with torch.enable_grad():
            prior = model.latent_prior(pixels)
            leaves = Reach.of(prior.loc.sum() + prior.scale.sum()).leaves
        self._theta = {name: each for name, each in model.model_parameters().items() if each in leaves}

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(z), shape (K, B), nats."""
        (z,) = latents
        return rows.log_prior(self._model.latent_prior(pixels), z)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z), or p(z | c) for a model with a context."""
        return self._model.latent_prior(pixels)

    def model_parameters(self) -> Mapping[str, nn.Parameter]:
        """Return the part of theta that log p(z) depends on, by name."""
        return self._theta

    def posterior_parameters(self) -> Mapping[str, nn.Parameter]:
        """Return phi, by name."""
        return self._model.posterior_parameters()
