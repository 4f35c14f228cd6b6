"""Gradients of a user's two programs, computed the slow way: torch's own log_prob and rsample, and functional_call.

Nothing of the engine is used but its samples' numbers and the pair's weights.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, TransformedDistribution
from torch.func import functional_call

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.gradients import Gradients
from dregcli.engine.pairs import Pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from tests.support.exact import relative_distance

Named = dict[str, Tensor]


def drawn(model: ProgramModel, *, k: int, batch: int, seed: int = 0, step: int = 0) -> AddressedDraws:
    """Random numbers of a step, float64."""
    return AddressedDraws(
        Randomness(seed),
        Stream.NOISE,
        step,
        k=k,
        batch=batch,
        width=model.latent_width,
        screening=Stream.SCREENING,
        dtype=torch.float64,
    )


class _Callable(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, program: str, *args: Any) -> Any:
        return getattr(self.module, program)(*args)


@dataclass
class Written:
    """A model's densities as on paper, at live or fixed parameters.

    Args:
        module: the user's module.
        x: examples, (B, ...).
        draws: random numbers, for families whose path is implicit.
    """

    module: nn.Module
    x: Tensor
    draws: AddressedDraws

    def _run(self, program: str, *args: Any, live: bool) -> Any:
        named = {f"module.{name}": each if live else each.detach() for name, each in self.module.named_parameters()}
        return functional_call(_Callable(self.module), named, (program, *args))

    def log_q(self, z: Named, *, live: bool, only: Container[str] | None = None) -> Tensor:
        """The density of given samples, or of some latents among them."""
        found: list[Tensor] = []

        def draw(name: str, q: Distribution) -> Tensor:
            if only is None or name in only:
                found.append(q.log_prob(z[name]))
            return z[name]

        self._run("posterior", self.x, draw, live=live)
        return torch.stack(found).sum(0)

    def log_p(self, z: Named, *, live: bool) -> Tensor:
        found: list[Tensor] = []

        def given(name: str, prior: Distribution) -> None:
            found.append(prior.log_prob(z[name]))

        p = self._run("model", z, given, live=live)
        return p.log_prob(self.x.reshape(-1, *p.event_shape)) + torch.stack(found).sum(0)

    def path(self, z: Named) -> Named:
        """The same numbers as functions of the parameters, as ``rsample`` would give them."""
        found: Named = {}

        def draw(name: str, q: Distribution) -> Tensor:
            found[name] = on_path(q, z[name], self.draws, len(found)) if q.has_rsample else z[name]
            return found[name]

        self._run("posterior", self.x, draw, live=True)
        return found


def on_path(q: Distribution, z: Tensor, draws: AddressedDraws, latent: int) -> Tensor:
    """Samples with the numbers z, as functions of q's parameters at fixed base noise."""
    each: Any = q
    if isinstance(q, Independent):
        return on_path(each.base_dist, z, draws, latent)
    if isinstance(q, TransformedDistribution):
        steps = each.transforms
        base = z
        for step in reversed(steps):
            base = step.inv(base)
        value = on_path(each.base_dist, base.detach(), draws, latent)
        for step in steps:
            value = step(value)
        return value
    if hasattr(q, "transform"):  # a flow of zuko
        return each.transform.inv(each.transform(z).detach())
    if isinstance(q, MultivariateNormal):
        linalg: Any = torch.linalg  # torch.linalg has no types
        noise: Tensor = linalg.solve_triangular(each.scale_tril, (z - each.loc).unsqueeze(-1), upper=False).detach()
        return each.loc + (each.scale_tril @ noise)[..., 0]
    if hasattr(q, "loc"):
        return each.loc + each.scale * ((z - each.loc) / each.scale).detach()
    if not any(p.requires_grad for p in vars(q).values() if isinstance(p, Tensor)) and not hasattr(q, "_dirichlet"):
        return z  # noise without parameters, such as the uniform numbers behind a Kumaraswamy
    with torch.random.fork_rng():
        torch.manual_seed(draws.seed(latent, 0))
        found = q.rsample(torch.Size((16,)))[: len(z)]
    assert torch.equal(found, z)
    return found


def naive(model: ProgramModel, pixels: Tensor, draws: AddressedDraws, pair: Pair) -> tuple[Named, Named]:
    """Gradients of theta and phi: three sums, each with everything else held fixed by ``functional_call``."""
    z = {name: each.detach() for name, each in model.draw(pixels, draws).values.items()}
    own = Written(model.module, pixels.reshape(-1, *model.data.shape), draws)
    terms, c = pair.at(own.log_p(z, live=False) - own.log_q(z, live=False))
    batch = len(pixels)
    theta = _by(model.module, -(c.model * own.log_p(z, live=True)).sum() / batch)
    path = own.path(z)
    along = (c.path * (own.log_p(path, live=False) - own.log_q(path, live=False))).sum()
    if model.discrete and pair.uses_path:
        # The score of a latent without a path has weights of its own, and its density moves along the others' path.
        others = set(z) - set(model.discrete)
        pathless = pair.pathless(terms)
        score = (c.score * own.log_q(z, live=True, only=others)).sum()
        score = score + (pathless * own.log_q(z, live=True, only=model.discrete)).sum()
        along = along + ((pathless - c.score) * own.log_q(path, live=False, only=model.discrete)).sum()
    else:
        score = (c.score * own.log_q(z, live=True)).sum()
    return theta, _by(model.module, -(along + score) / batch)


def bound_gradient(model: ProgramModel, pixels: Tensor, draws: AddressedDraws) -> Named:
    """Minus the gradient of the IWAE bound, by autograd through ``rsample``: no weights, nothing held fixed."""
    z = {name: each.detach() for name, each in model.draw(pixels, draws).values.items()}
    own = Written(model.module, pixels.reshape(-1, *model.data.shape), draws)
    path = own.path(z)
    log_w = own.log_p(path, live=True) - own.log_q(path, live=True)
    return _by(model.module, -log_w.logsumexp(0).mean())


def _by(module: nn.Module, value: Tensor) -> Named:
    named = {name: each for name, each in module.named_parameters() if each.requires_grad}
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def far(found: Gradients, expected: tuple[Named, Named]) -> float:
    """The larger relative distance of theta's and phi's gradient; a parameter that is not among them must have 0."""
    parts = ((found.model, expected[0]), (found.posterior, expected[1]))
    for mine, whole in parts:
        assert not any(each.any() for name, each in whole.items() if name not in mine)
    return max(relative_distance(mine, {name: whole[name] for name in mine}) for mine, whole in parts)
