"""A source of gradients in closed form: all batches of a seed at once, so that thousands of checks can be run."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dregcli.engine.diagnostics.references import Comparison
from dregcli.engine.diagnostics.source import Draw, Parts, StackedWeights
from dregcli.engine.pairs import Pair
from tests.support.quadrature import Gaussian1d, X


class GaussianSource:
    """``Gaussian1d`` in each of some independent dimensions, one example, one seed.

    The parts of a difference are theta's and phi's; the blocks are theta, mu and log_sd.

    Args:
        model: the model of each dimension.
        k: samples.
        seed: of the noise.
        batches: how many there are.
        dimensions: D.
        bias: added to the differences of phi, of shape (2 D,) for each comparison.

    Attributes:
        drawn: the comparisons of every batch that was asked for.
    """

    blocks = ("theta", "mu", "log_sd")

    def __init__(
        self,
        model: Gaussian1d,
        *,
        k: int,
        seed: int,
        batches: int,
        dimensions: int = 1,
        bias: Mapping[Comparison, Tensor] | None = None,
    ) -> None:
        self.k = k
        self._bias = bias or {}
        self._dimensions = dimensions
        self._weights: dict[Pair, StackedWeights] = {}
        self._differences: dict[Comparison, Parts] = {}
        self._references: dict[Pair, Parts] = {}
        self.drawn: list[tuple[Comparison, ...]] = []
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(k, batches, dimensions, generator=generator, dtype=torch.float64)
        theta, mu, log_sd = (parameter.detach() for parameter in model.parameters())
        sd = log_sd.exp()
        z = mu + sd * noise
        dz = -(z - theta) + model.slope * (X - model.slope * z) / model.noise**2 + noise / sd
        self._log_w = model.log_w(z, theta, mu, log_sd).sum(dim=-1)
        self._theta = z - theta
        self._path = torch.cat([dz, dz * sd * noise], dim=-1)
        self._score = torch.cat([noise / sd, noise**2 - 1.0], dim=-1)

    def _stacked(self, pair: Pair) -> StackedWeights:
        if pair not in self._weights:
            self._weights[pair] = StackedWeights.at([pair], self._log_w)
        return self._weights[pair]

    def _descent(self, weights: StackedWeights) -> dict[str, Tensor]:
        model, path, score = (-each[0] for each in (weights.model, weights.path, weights.score))
        found = {"theta": torch.einsum("kn,knd->nd", model, self._theta)} if model.any() else {}
        if path.any() or score.any():
            by_path, by_score = (
                torch.einsum("kn,knd->nd", weights, derivatives)
                for weights, derivatives in ((path, self._path), (score, self._score))
            )
            found["phi"] = by_path + by_score
        return found

    def difference(self, comparison: Comparison) -> Parts:
        """The differences of all batches, (N, P) by part."""
        if comparison not in self._differences:
            found = self._descent(self._stacked(comparison.pair) - self._stacked(comparison.reference))
            if comparison in self._bias:
                found["phi"] = found["phi"] + self._bias[comparison]
            self._differences[comparison] = found
        return self._differences[comparison]

    def gradients(self, pair: Pair) -> Parts:
        """The gradients of all batches, (N, P) by block."""
        if pair not in self._references:
            self._references[pair] = self.expand(self._descent(self._stacked(pair)))
        return self._references[pair]

    def draw(self, step: int, comparisons: Sequence[Comparison], *, references: bool) -> Draw:
        """Batch ``step``."""
        self.drawn.append(tuple(comparisons))
        found: list[Parts] = [
            {name: rows[step] for name, rows in self.difference(each).items()} for each in comparisons
        ]
        wanted = dict.fromkeys(each.reference for each in comparisons) if references else ()
        whole = {pair: {name: rows[step] for name, rows in self.gradients(pair).items()} for pair in wanted}
        return Draw(found, whole)

    def expand(self, means: Parts) -> dict[str, Tensor]:
        """Phi in its two blocks."""
        found = {"theta": means["theta"]} if "theta" in means else {}
        if "phi" in means:
            found["mu"], found["log_sd"] = means["phi"].split(self._dimensions, dim=1)
        return found
