"""One latent of two numbers with any posterior and any learned prior; expected gradients are sums over nodes."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.contract import Draw, Given, LatentModel
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.exact import relative_distance
from tests.support.two_layers import K, averaged, built, nodes, rows

Family = Callable[[Tensor], Distribution]


class OneLatent(LatentModel):
    """q and p of families with eight numbers each, or a prior that is a module called without arguments.

    Args:
        q: makes the posterior of its numbers.
        p: makes the prior of its numbers, or is a module with parameters of its own.
    """

    def __init__(self, q: Family, p: Family | nn.Module) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.tensor([0.3, -0.2, -0.4, -0.6, 0.2, 0.1, -0.1, 0.3], dtype=torch.float64))
        self.family, self.p = q, p
        if not isinstance(p, nn.Module):
            self.numbers = nn.Parameter(
                torch.tensor([0.1, 0.2, -0.1, -0.2, 0.15, 0.1, 0.2, -0.1], dtype=torch.float64)
            )
        self.decoder = nn.Parameter(torch.tensor([0.5, 0.3, -0.4, 0.4], dtype=torch.float64))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", self.family(self.q.expand(len(x), -1)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.p() if isinstance(self.p, nn.Module) else self.p(self.numbers))
        a, b, c, d = self.decoder
        first, second = z["z"].unbind(-1)
        mean = torch.stack([a * first + b * torch.sin(second), c * second + d * torch.sin(first)], -1)
        return Independent(Normal(mean, torch.full_like(mean, 1.5)), 1)


def gaussian_of_two(numbers: Tensor) -> Distribution:
    """A diagonal Gaussian of the first four numbers."""
    return Independent(Normal(numbers[..., :2], numbers[..., 2:4].exp()), 1)


def expected_gradient(model: ProgramModel, rule: PriorRule | None, *, square: bool = True, count: int = 24) -> Named:
    """Expected gradient of theta, iwae with two samples; without the weights ``square`` it is wrong."""
    at = nodes(count, 1e-12)
    found = rows(model, at.noise.unsqueeze(0))
    weigh = PairWeigh((resolve_pair("iwae", "dreg", K),), learning=False, rules=(rule,))
    weights = replace(averaged(weigh, found.log_w[0], at.probability), path=None, score=None)
    if not square:
        assert weights.square is not None
        weights = replace(weights, square=torch.zeros_like(weights.square))
    return found.sums(weights).model[0]


def of(q: Family, p: Family | nn.Module) -> ProgramModel:
    return built(OneLatent(q, p))


def off(model: ProgramModel, rule: PriorRule, *, square: bool = True, count: int = 24) -> float:
    """Relative distance of the prior's expected gradient to the score's."""
    found = expected_gradient(model, rule, square=square, count=count)
    score = expected_gradient(model, None, count=count)
    prior = [name for name in score if name != "decoder"]
    return relative_distance({name: found[name] for name in prior}, {name: score[name] for name in prior})


class Tempered(Normal):
    """A Gaussian whose density, and it alone, is tempered: it is not that of the samples."""

    def log_prob(self, value: Tensor) -> Tensor:
        return 0.5 * super().log_prob(value)
