"""Traversals of a user's model: one number of a latent moves through the prior, and the image follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.programs.ancestral import ancestral, is_conditional, mean_of, never_drawn
from dregcli.engine.programs.densities import ModelProgram
from dregcli.engine.programs.families import is_discrete, mean_or_none, scale_or_none, words_of
from dregcli.engine.programs.latents import Posterior
from dregcli.errors import Fault, SpecError


class _Impossible(Exception):
    """A traversal is impossible; the argument is the reason."""


@dataclass(frozen=True)
class Centre:
    """What a traversal starts from: the latents at q's mean of one example, and their priors.

    Attributes:
        z: values of each latent, (1, 1, ...).
        priors: the prior of each latent at these values, in the order of ``given``.
    """

    z: Mapping[str, Tensor]
    priors: Mapping[str, Distribution]


def centre(posterior: Posterior, model: ModelProgram, x: Tensor) -> Centre:
    """Return the centre of one example: every latent at q's mean given the earlier ones', or at q's mode if discrete.

    Args:
        posterior: the posterior's program.
        model: the model's program.
        x: the example, (1, ...).

    Raises:
        SpecError: a latent has no mean.
    """
    z: dict[str, Tensor] = {}

    def draw(name: str, distribution: Distribution) -> Tensor:
        q = distribution
        value = q.mode if is_discrete(q) else mean_or_none(q)
        if value is None:
            message = f"q of '{name}' ({words_of(q)}) has no mean in closed form"
            raise SpecError([Fault("model", f"{message}.")])
        z[name] = value if len(q.batch_shape) == 2 else value.unsqueeze(0)
        return z[name]

    posterior(x, draw)
    ancestry, _ = ancestral(model, never_drawn, z)
    return Centre(z, ancestry.priors)


def movable(at: Centre) -> tuple[dict[int, str], dict[str, str]]:
    """Return the names of the numbers that can move, by column, and by latent why others cannot.

    Columns are in the order in which q draws the latents.
    """
    found: dict[int, str] = {}
    why: dict[str, str] = {}
    column = 0
    for name, z in at.z.items():
        try:
            _width(name, at.priors[name])
        except _Impossible as error:
            why[name] = str(error)
        else:
            single = len(at.z) == 1 and name == "z"
            found |= {column + i: f"z{i}" if single else f"{name}[{i}]" for i in range(z.numel())}
        column += z.numel()
    return found, why


def traversal(
    at: Centre, model: ModelProgram, columns: Sequence[int], offsets: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return E[x | z] while each of some numbers moves through its prior, and where it has not moved.

    The prior is the latent's own, given the latents above at q's mean. A latent whose prior depends on others and is
    given after the moved one follows: it takes its prior's mean. All others stay where they are.

    Args:
        at: the centre.
        model: the model's program.
        columns: numbers to move, by their columns.
        offsets: values of the moved number, in standard deviations of the prior from its mean.

    Returns:
        The images without a move, in which the latents below follow too, (L, D), and the moved images, (L, S, D).
    """
    leads: list[Tensor] = []
    images: list[Tensor] = []
    for column in columns:
        name, place = _located(at, column)
        z, rows = at.z[name], (len(offsets), 1)
        loc, scale = (each.expand_as(z).flatten() for each in _width(name, at.priors[name]))
        moved = z.reshape(1, 1, -1).repeat(*rows, 1)
        moved[:, 0, place] = loc[place] + scale[place] * torch.tensor(offsets, dtype=z.dtype, device=z.device)
        still = {other: each for other, each in at.z.items() if other not in _followers(at, name)}
        known = {other: each.expand(*rows, *each.shape[2:]) for other, each in still.items()}
        known[name] = moved.reshape(*rows, *z.shape[2:])
        leads.append(mean_of(ancestral(model, _follow, still)[1], (1, 1))[0, 0])
        images.append(mean_of(ancestral(model, _follow, known)[1], rows)[:, 0])
    return torch.stack(leads), torch.stack(images)


def _followers(at: Centre, name: str) -> list[str]:
    """Return the latents that follow a moved one."""
    order = list(at.priors)
    later = order[order.index(name) + 1 :]
    return [each for each in later if is_conditional(each, at.priors[each], (1, 1))]


def _follow(latent: int, name: str, prior: Distribution) -> Tensor:
    value = prior.mode if is_discrete(prior) else mean_or_none(prior)
    if value is None:
        message = f"the prior of '{name}' ({words_of(prior)}) has no mean in closed form."
        raise SpecError([Fault("model", message)])
    return value


def _width(name: str, prior: Distribution) -> tuple[Tensor, Tensor]:
    """Return a prior's mean and standard deviation."""
    if is_discrete(prior):
        message = f"the latent '{name}' is discrete"
        raise _Impossible(message)
    mean, scale = mean_or_none(prior), scale_or_none(prior)
    if mean is None or scale is None:
        message = f"the prior of '{name}' ({words_of(prior)}) has no mean or no variance in closed form"
        raise _Impossible(message)
    return mean, scale


def _located(at: Centre, column: int) -> tuple[str, int]:
    """Return the latent of a column, and the place of its number."""
    for name, z in at.z.items():
        if column < z.numel():
            return name, column
        column -= z.numel()
    message = f"no latent has the column {column}"
    raise IndexError(message)
