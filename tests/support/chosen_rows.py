"""Small models of one's own for ``multi_sample_loss``, and its expected gradient over every choice of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal, Transform, TransformedDistribution
from torch.distributions.transforms import AffineTransform, TanhTransform

from dregcli.engine import multi_sample_loss
from dregcli.engine.estimators import Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.own import passes
from dregcli.engine.own.rows import RowChoice
from tests.support.screening import chance

F64 = torch.float64
LARGE = 3.0
"""Inflation with which even equal weights are kept with a probability below 1."""


@dataclass
class Own:
    """A model of one's own on two examples; its log_joint takes rows.

    Attributes:
        posterior: builds q(z | x).
        log_joint: log p of samples, or of chosen rows.
        parameters: all parameters, of p and q.
    """

    posterior: Callable[[], Distribution]
    log_joint: Callable[[Tensor, RowChoice], Tensor]
    parameters: list[Tensor]

    def loss(
        self, k: int, objective: Objective | str = "iwae", estimator: Estimator | str = "dreg", **options: Any
    ) -> tuple[Tensor, Tensor]:
        """The loss, always on the same samples."""
        torch.default_generator.manual_seed(3)  # torch.manual_seed also notes the call for each GPU: it takes 3 ms
        return multi_sample_loss(self.log_joint, self.posterior(), k, objective, estimator, **options)

    def gradient(
        self, k: int, objective: Objective | str = "iwae", estimator: Estimator | str = "dreg", **options: Any
    ) -> Tensor:
        """The gradient by all parameters, in one vector."""
        loss, _ = self.loss(k, objective, estimator, check=False, **options)
        found = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return torch.cat([each.flatten() for each in found])


AnyModule = TypeVar("AnyModule", bound=nn.Module)


def _spread(module: AnyModule, generator: torch.Generator) -> AnyModule:
    """Weights large enough that importance weights differ."""
    with torch.no_grad():
        for each in module.parameters():
            each.copy_(0.6 * torch.randn(each.shape, generator=generator))
    return module.double()


def conv(batch: int = 2) -> Own:
    """A convolutional decoder."""
    generator = torch.Generator().manual_seed(0)
    decoder = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 2, 2), nn.Tanh(), nn.Conv2d(2, 1, 1))
    encoder = _spread(nn.Linear(4, 4), generator)
    _spread(decoder, generator)
    x = torch.rand(batch, 1, 2, 2, generator=generator).round().double()

    def posterior() -> Distribution:
        loc, raw = encoder(x.flatten(1)).chunk(2, dim=-1)
        return Independent(Normal(loc, nn.functional.softplus(raw)), 1)

    def log_joint(z: Tensor, rows: RowChoice) -> Tensor:
        logits = decoder(z.flatten(0, 1)).reshape(*z.shape[:2], 1, 2, 2)
        return Normal(0.0, 1.0).log_prob(z).sum(-1) + Independent(Bernoulli(logits=logits), 3).log_prob(rows(x))

    return Own(posterior, log_joint, [*encoder.parameters(), *decoder.parameters()])


def flow(batch: int = 2) -> Own:
    """A posterior of transforms with parameters, and transforms without after them that hold a tensor of examples."""
    generator = torch.Generator().manual_seed(1)
    a, b, slope = (torch.randn(s, generator=generator, dtype=F64) for s in ((batch, 2), (batch, 2), (2,)))
    theta = torch.tensor([0.4, -0.3], dtype=F64)
    x = torch.randn(batch, 2, generator=generator, dtype=F64)
    parameters = [each.requires_grad_() for each in (a, b, slope, theta)]

    def posterior() -> Distribution:
        steps: list[Transform] = [
            AffineTransform(slope, slope.exp(), event_dim=1),
            TanhTransform(),
            AffineTransform(x, 1.5, event_dim=1),
        ]
        return TransformedDistribution(Independent(Normal(a, b.exp()), 1), steps)

    def log_joint(z: Tensor, rows: RowChoice) -> Tensor:
        return -(z * theta.exp() - rows(x)).square().sum(-1) + theta.sum() - 0.5 * z.square().sum(-1)

    return Own(posterior, log_joint, parameters)


def shared(batch: int = 2) -> Own:
    """One matrix in encoder and decoder; the prior has a mean that a network computes from each example."""
    generator = torch.Generator().manual_seed(2)
    weight, mean = (torch.randn(s, generator=generator, dtype=F64).requires_grad_() for s in ((2, 3), (3, 2)))
    x = torch.randn(batch, 3, generator=generator, dtype=F64)

    def posterior() -> Distribution:
        loc = x @ weight.mT
        return Independent(Normal(loc, torch.sigmoid(loc)), 1)

    def log_joint(z: Tensor, rows: RowChoice) -> Tensor:
        prior = Independent(Normal(rows(x @ mean), 1.0), 1).log_prob(z)
        return prior - (rows(x) - z @ weight).square().sum(-1)

    return Own(posterior, log_joint, [weight, mean])


OWN = {"conv": conv, "flow": flow, "shared": shared}


@dataclass
class Choices:
    """Choices of rows that are prescribed, with the probabilities that they had."""

    keep: Tensor | None = None
    probability: Tensor | None = None

    def __call__(self, probability: Tensor, generator: torch.Generator | None) -> Tensor:
        self.probability = probability.clone()
        return torch.zeros_like(probability, dtype=torch.bool) if self.keep is None else self.keep


def expected_gradient(
    own: Own, k: int, objective: Objective | str = "iwae", estimator: Estimator | str = "dreg", **options: Any
) -> tuple[Tensor, int]:
    """The average gradient over every choice of rows by its probability, and the number of choices."""
    choices = Choices()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "choose", choices)
        total = torch.zeros_like(own.gradient(k, objective, estimator, **options))
        assert choices.probability is not None
        uncertain = (choices.probability < 1.0).nonzero()
        sure = choices.probability >= 1.0
        whole = 0.0
        places: list[list[int]] = uncertain.tolist()  # pyright: ignore[reportUnknownVariableType]
        for number in range(2 ** len(places)):
            choices.keep = sure.clone()
            for i, place in enumerate(places):
                choices.keep[tuple(place)] = bool(number >> i & 1)
            weight = chance(choices.keep, choices.probability)
            whole += weight
            total += weight * own.gradient(k, objective, estimator, **options)
    assert whole == pytest.approx(1.0, abs=1e-12)
    return total, 2 ** len(places)
