"""The posterior q(z | x) of given examples, for use outside of the program."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.programs.families import mean_or_none, scale_or_none, words_of
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import UsageError

_DRAW = "draw samples: encode(x).sample(k)"

Latent = Tensor | dict[str, Tensor]
"""Values of z: a tensor, or for a model with several latents a tensor by each name."""


class Encoded(ABC):
    """The posterior q(z | x) of B examples.

    A model with one latent gives tensors; a model with several latents gives a dict of tensors by name.
    """

    @property
    @abstractmethod
    def mean(self) -> Any:  # noqa: ANN401 - a tensor, or a dict of tensors
        """Means of q, shape (B, Z); a latent that depends on an earlier one has its mean at the earlier one's mean.

        Raises:
            UsageError: a distribution has no mean.
        """

    @property
    @abstractmethod
    def scale(self) -> Any:  # noqa: ANN401
        """Standard deviations of q, shape (B, Z), in the same way as ``mean``.

        Raises:
            UsageError: a distribution has no standard deviation.
        """

    @abstractmethod
    def sample(self, k: int = 1, seed: int = 0) -> Any:  # noqa: ANN401
        """Draw k samples of z for each example, shape (k, B, Z); the same seed gives the same samples."""


class GaussianEncoded(Encoded):
    """The posterior of a built-in model.

    Args:
        posterior: q(z | x).
    """

    def __init__(self, posterior: DiagonalGaussian) -> None:
        self._posterior = posterior

    @property
    def mean(self) -> Tensor:
        """Means of q, shape (B, Z)."""
        return self._posterior.loc

    @property
    def scale(self) -> Tensor:
        """Standard deviations of q, shape (B, Z)."""
        return self._posterior.scale

    def sample(self, k: int = 1, seed: int = 0) -> Tensor:
        """Draw k samples of z for each example, shape (k, B, Z)."""
        loc = self._posterior.loc
        noise = _noise(seed, k, loc, loc.shape[1]).noise(0, k)
        return self._posterior.rsample(noise)[0]


class ProgramEncoded(Encoded):
    """The posterior of a user's model.

    Args:
        model: the model.
        pixels: examples, (B, D).
    """

    def __init__(self, model: ProgramModel, pixels: Tensor) -> None:
        self._model, self._pixels = model, pixels

    @property
    def mean(self) -> Latent:
        """Means of q."""
        return self._of_each("mean", mean_or_none)

    @property
    def scale(self) -> Latent:
        """Standard deviations of q."""
        return self._of_each("standard deviation", scale_or_none)

    def sample(self, k: int = 1, seed: int = 0) -> Latent:
        """Draw k samples of each latent for each example, (k, B, ...)."""
        # In whole blocks: the last bits of a later latent depend on the number of rows that are computed at once.
        whole = -(-k // NOISE_BLOCK) * NOISE_BLOCK
        noise = _noise(seed, whole, self._pixels, self._model.latent_width)
        parts = [
            self._model.draw(self._pixels, noise, first=first, count=NOISE_BLOCK).values
            for first in range(0, whole, NOISE_BLOCK)
        ]
        return only({name: torch.cat([part[name] for part in parts])[:k] for name in parts[0]})

    def _of_each(self, what: str, value: Callable[[Distribution], Tensor | None]) -> Latent:
        """Return a value of each distribution, while the latents stay at their means."""
        found: dict[str, Tensor] = {}

        def draw(name: str, q: Distribution) -> Tensor:
            at, of_q = mean_or_none(q), value(q)
            if at is None or of_q is None:
                what_is = f"q of '{name}' ({words_of(q)}) has no {what} in closed form."
                raise UsageError(what_is, hint=_DRAW)
            conditional = len(q.batch_shape) == 2
            found[name] = of_q[0] if conditional else of_q
            return at if conditional else at.unsqueeze(0)

        module = cast("Any", self._model.module)
        module.posterior(self._pixels.reshape(-1, *self._model.data.shape), draw)
        return only(found)


def program_means(model: ProgramModel, z: dict[str, Tensor]) -> Tensor:
    """Return E[x | z] of N latents of a user's model, shape (N, D).

    Args:
        model: the model.
        z: latents by name, (N, ...) each.

    Raises:
        UsageError: p(x | z) has no mean.
    """

    def given(_name: str, _prior: Distribution) -> None:
        """Take no prior: the latents are known."""

    programs = cast("Any", model.module)
    p: Distribution = programs.model({name: each.unsqueeze(1) for name, each in z.items()}, given)
    if (mean := mean_or_none(p)) is None:
        what = f"p(x | z) ({words_of(p)}) has no mean."
        raise UsageError(what, hint="give the distribution a property `mean`")
    # Not len(mean), which torch.export would take for fixed.
    return mean.reshape(mean.shape[0], -1)


def only(values: dict[str, Tensor]) -> Latent:
    """Return the one latent of a model that has one, else all by name."""
    return next(iter(values.values())) if len(values) == 1 else values


def _noise(seed: int, k: int, like: Tensor, width: int) -> AddressedNoise:
    return AddressedNoise(
        Randomness(seed, like.device),
        Stream.SAMPLE_POSTERIOR,
        0,
        k=k,
        batch=len(like),
        width=width,
        dtype=like.dtype,
    )
