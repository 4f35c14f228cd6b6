"""Conditional distributions of a latent given a network's last features, for the families of ``--posterior``."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from dregcli.engine.models.networks import RAW_SCALE_OFFSET, layer_of, network
from dregcli.engine.programs.contract import gaussian
from dregcli.errors import Fault, SpecError
from dregcli.posteriors import Family, PosteriorRule

INSTALL: Final = "pip install -e '.[flows]'"


class DiagonalHead(nn.Module):
    """A diagonal Gaussian: one linear layer gives Z means and Z raw scales, as in the built-in networks.

    Args:
        width: number of features.
        latent_dim: number of dimensions of the latent, Z.
        generator: random generator of the initial weights.
    """

    def __init__(self, width: int, latent_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        (self.linear,) = network([width, 2 * latent_dim], generator)

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution given features of shape (..., width)."""
        return gaussian(self.linear(features))


class FullHead(nn.Module):
    """A Gaussian with a full covariance matrix: one linear layer gives Z means and the lower Cholesky factor.

    The diagonal of the factor is softplus(raw + 0.25), as the scales of a diagonal Gaussian. The initial weights are
    those of ``DiagonalHead``, and all other entries of the factor start at 0.

    Args:
        width: number of features.
        latent_dim: number of dimensions of the latent, Z.
        generator: random generator of the initial weights.
    """

    below: Tensor

    def __init__(self, width: int, latent_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        (diagonal,) = network([width, 2 * latent_dim], generator)
        assert isinstance(diagonal, nn.Linear)
        rest = latent_dim * (latent_dim - 1) // 2
        weight = torch.cat([diagonal.weight.detach(), torch.zeros(rest, width)])
        self.linear = layer_of(weight, torch.zeros(len(weight)))
        self._latent_dim = latent_dim
        self.register_buffer("below", torch.tril_indices(latent_dim, latent_dim, -1), persistent=False)

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution given features of shape (..., width)."""
        size = self._latent_dim
        loc, raw, rest = self.linear(features).split([size, size, self.below.shape[1]], dim=-1)
        factor = torch.diag_embed(nn.functional.softplus(raw + RAW_SCALE_OFFSET))
        factor[..., self.below[0], self.below[1]] = rest
        return MultivariateNormal(loc, scale_tril=factor, validate_args=False)


class FlowHead(nn.Module):
    """A normalising flow of zuko whose context is the features.

    Args:
        rule: kind of the flow, and number of its transforms.
        width: number of features.
        latent_dim: number of dimensions of the latent, Z.

    Raises:
        SpecError: zuko is not installed.
    """

    def __init__(self, rule: PosteriorRule, width: int, latent_dim: int) -> None:
        super().__init__()
        assert rule.flow is not None
        try:
            flows: Any = import_module("zuko.flows")
        except ModuleNotFoundError as error:
            message = f"'{rule.word}' needs zuko, which is not installed: in your clone of dreg, {INSTALL}."
            raise SpecError([Fault("posterior", message)]) from error
        kind: Callable[..., nn.Module] = getattr(flows, rule.flow.upper())
        # zuko draws the initial weights from torch's global generator.
        self.flow = kind(features=latent_dim, context=width, transforms=rule.layers)

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution given features of shape (..., width)."""
        return self.flow(features)


def make_head(rule: PosteriorRule, width: int, latent_dim: int, generator: torch.Generator) -> nn.Module:
    """Return the module that makes the distribution of a latent from features.

    Args:
        rule: family of the distribution.
        width: number of features.
        latent_dim: number of dimensions of the latent, Z.
        generator: random generator of the initial weights; a flow uses torch's global one.

    Raises:
        SpecError: the family needs a package that is not installed.
    """
    match rule.family:
        case Family.DIAGONAL:
            return DiagonalHead(width, latent_dim, generator)
        case Family.FULL:
            return FullHead(width, latent_dim, generator)
        case Family.FLOW:
            return FlowHead(rule, width, latent_dim)
