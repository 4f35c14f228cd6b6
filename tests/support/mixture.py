"""The Gaussian mixture of arXiv 1805.10469, section 5.2: a discrete latent whose posterior is known.

The set-up is that of the OVIS paper's code (GitHub vlievin/ovis: ``ovis/models/gaussian_mixture.py``): the cluster z
is one of 20, x given z is normal with mean 10 z and standard deviation 5, and the true cluster weights are
proportional to 5, 6, .., 24. The model's only parameters are the 20 logits of its prior, which start at 0. q is a
network with one hidden layer of 16 tanh units, whose input is x as it is, and torch's own initialisation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import DataKind

CLUSTERS, HIDDEN = 20, 16
DISTANCE, SCALE = 10.0, 5.0
"""Distance between the means of neighbouring clusters, and standard deviation of each cluster."""


def true_weights(dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the true weight of each cluster, (20,)."""
    weights = torch.arange(5, 5 + CLUSTERS, dtype=dtype)
    return weights / weights.sum()


def true_joint(x: Tensor) -> Tensor:
    """Return log p(x, z) of the true model for each cluster, nats; (B, 1) gives (B, 20)."""
    means = DISTANCE * torch.arange(CLUSTERS, dtype=x.dtype)
    return true_weights(x.dtype).log() + Normal(means, SCALE).log_prob(x)


def examples(count: int, generator: torch.Generator) -> Tensor:
    """Draw examples of the true model, (count, 1)."""
    z = torch.multinomial(true_weights(), count, replacement=True, generator=generator)
    return (DISTANCE * z + SCALE * torch.randn(count, generator=generator)).unsqueeze(1)


class Clusters(Categorical):
    """A categorical distribution whose density at (K, B) clusters works on K x B numbers, not on 20 times as many."""

    def log_prob(self, value: Tensor) -> Tensor:
        logits: Tensor = self.logits
        places = value + CLUSTERS * torch.arange(len(logits))
        return logits.flatten().gather(0, places.flatten()).reshape(value.shape)


class Mixture(LatentModel):
    """The models of several seeds as one: of a batch of S x B examples, each seed has its own B, in order.

    Rows are independent, so that nothing passes from one seed to another. A batch that S does not divide, such as the
    trial's, is computed as if each example were repeated; what it returns is of no use except for its shape.

    Args:
        seeds: seeds of the initial weights.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        drawn = [_initial(seed) for seed in seeds]
        self.inner_weight, self.inner_bias, self.outer_weight, self.outer_bias = (
            nn.Parameter(torch.stack(each)) for each in zip(*drawn, strict=True)
        )
        self.prior_logits = nn.Parameter(torch.zeros(len(seeds), CLUSTERS))

    def _each(self, examples: int) -> int:
        """Return the number of examples of one seed."""
        seeds = len(self.prior_logits)
        return examples if examples % seeds else examples // seeds

    def logits(self, x: Tensor) -> Tensor:
        """Return log q(z | x) of each cluster up to a constant; (B, 1) gives (B, 20)."""
        seeds, each = len(self.prior_logits), self._each(len(x))
        inputs = x if each * seeds == len(x) else x.repeat(seeds, 1)
        hidden = torch.baddbmm(self.inner_bias, inputs.reshape(seeds, each, 1), self.inner_weight).tanh()
        return torch.baddbmm(self.outer_bias, hidden, self.outer_weight).flatten(0, 1)[: len(x)]

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", Clusters(logits=self.logits(x)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        batch = z["z"].shape[1]
        prior = self.prior_logits.unsqueeze(1).expand(-1, self._each(batch), -1).flatten(0, 1)[:batch]
        given("z", Clusters(logits=prior))
        loc = DISTANCE * z["z"].to(prior.dtype)
        return Independent(Normal(loc.unsqueeze(-1), SCALE), 1)


def mixture(seeds: Sequence[int]) -> ProgramModel:
    """Return the models of several seeds as a model of the engine."""
    data = ModelData((1,), DataKind.REAL, 1, torch.full((1,), 100.0), torch.ones(1))
    return ProgramModel(Mixture(seeds), data)


def _initial(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw the weights of one q as ``nn.Linear`` draws them: uniform within 1 / sqrt(number of inputs)."""
    generator = Randomness(seed).generator(Stream.INITIALISATION)

    def uniform(inputs: int, *shape: int) -> Tensor:
        return (2.0 * torch.rand(shape, generator=generator) - 1.0) * inputs**-0.5

    inner = uniform(1, 1, HIDDEN), uniform(1, 1, HIDDEN)
    return *inner, uniform(HIDDEN, HIDDEN, CLUSTERS), uniform(HIDDEN, 1, CLUSTERS)
