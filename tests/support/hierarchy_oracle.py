"""Gradients of Gaussian hierarchies with any networks, from three plain backward passes of two programs.

Nothing of the engine is used but its samples' numbers and the pair's weights. Only gradients by cut samples are asked
for where parameters are to be held fixed: so nothing needs to be detached.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.pairs import Pair
from dregcli.engine.programs.program_model import ProgramModel

Named = dict[str, Tensor]


def normal_of(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and scale of a diagonal Gaussian."""
    base: Any = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    assert isinstance(base, Normal)
    return base.loc, base.scale


def three_backward_passes(
    model: ProgramModel, pixels: Tensor, draws: AddressedDraws, pair: Pair, mode: str = "score"
) -> Named:
    """The gradient by every parameter, descent for the mean over the batch; a parameter with two roles has the sum.

    The model's program must give the prior of a latent before it reads the latent.
    """
    module: Any = model.module
    x = pixels.reshape(-1, *model.data.shape)
    numbers = {name: each.detach() for name, each in model.draw(pixels, draws).values.items()}

    live: Named = {}

    def draw_live(name: str, q: Distribution) -> Tensor:
        loc, scale = normal_of(q)
        live[name] = loc + scale * ((numbers[name] - loc) / scale).detach()
        return live[name]

    module.posterior(x, draw_live)

    leaves = {name: each.clone().requires_grad_() for name, each in numbers.items()}
    log_q: Named = {}
    scale_q: Named = {}

    def draw_leaf(name: str, q: Distribution) -> Tensor:
        log_q[name], scale_q[name] = q.log_prob(leaves[name]), normal_of(q)[1].detach()
        return leaves[name]

    module.posterior(x, draw_leaf)
    log_p: Named = {}
    priors: dict[str, tuple[Tensor, Tensor]] = {}

    def given_leaf(name: str, prior: Distribution) -> None:
        log_p[name], priors[name] = prior.log_prob(leaves[name]), normal_of(prior)

    p = module.model(leaves, given_leaf)
    log_x = p.log_prob(x.reshape(-1, *p.event_shape))
    terms, c = pair.at((log_x + _sum(log_p) - _sum(log_q)).detach())

    by_x = _by(log_x, leaves)
    by_rest = _by(_sum(log_p) - _sum(log_q), leaves)
    g = {name: by_x[name] + by_rest[name] for name in leaves}

    outputs = [*live.values(), log_x, _sum(log_q)]
    seeds = [*(_times(c.path, g[name]) for name in live), c.model, c.score]
    if mode == "score":
        outputs.append(_sum(log_p))
        seeds.append(c.model)
    else:
        square = c.model - terms.dmodel
        moved = _moved(module, leaves, joint=mode == "joint")
        by_all = _by(log_x + _sum(log_p), leaves)
        for name, (loc, scale) in priors.items():
            own = -((leaves[name] - loc) / scale.square()).detach()
            along = by_x[name] if mode == "joint" else by_all[name] - own
            seed = _times(c.model, along) - _times(square, g[name])
            if mode == "blend":
                share = (scale_q[name] / scale).square().clamp(max=1.0).detach()
                density = Normal(loc, scale).log_prob(leaves[name].detach())
                outputs.append(density + torch.zeros_like(seed))
                seeds.append((1.0 - share) * _times(c.model, torch.ones_like(seed)))
                seed = share * seed
            outputs.append(moved[name] + torch.zeros_like(seed))
            seeds.append(seed)
    wanted = {name: each for name, each in module.named_parameters() if each.requires_grad}
    listed = [(each, seed) for each, seed in zip(outputs, seeds, strict=True) if each.requires_grad]
    found = torch.autograd.grad(
        [each for each, _ in listed], list(wanted.values()), [seed for _, seed in listed], materialize_grads=True
    )
    return {name: -each / len(pixels) for name, each in zip(wanted, found, strict=True)}


def _moved(module: Any, leaves: Named, *, joint: bool) -> Named:
    """Samples of the priors with the numbers of the leaves; lower ones follow the upper ones' if ``joint``."""
    moved: Named = {}
    z = {name: each.detach() for name, each in leaves.items()}

    def given(name: str, prior: Distribution) -> None:
        loc, scale = normal_of(prior)
        moved[name] = loc + scale * ((z[name] - loc) / scale).detach()
        if joint:
            z[name] = moved[name]

    module.model(z, given)
    return moved


def _sum(parts: Named) -> Tensor:
    return torch.stack([each.expand_as(next(iter(parts.values()))) for each in parts.values()]).sum(0)


def _by(value: Tensor, leaves: Named) -> Named:
    found = torch.autograd.grad(value.sum(), list(leaves.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _times(weights: Tensor, values: Tensor) -> Tensor:
    return weights.reshape(*weights.shape, *(1,) * (values.ndim - 2)) * values
