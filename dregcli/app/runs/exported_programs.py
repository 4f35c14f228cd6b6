"""The two networks of a model as programs that torch alone can run: ``torch.export``."""

import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.engine.encoded import program_means
from dregcli.engine.loaded import LoadedModel
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.programs.program_model import ProgramModel


def _gaussian(model: LoadedModel) -> GaussianModel:
    assert isinstance(model.network, GaussianModel)
    return model.network


class _Encoder(nn.Module):
    """Examples (B, D) to the mean and the standard deviation of q(z | x), (B, Z) each."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = _gaussian(model)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.network.posterior(x)
        return posterior.loc, posterior.scale


class _Decoder(nn.Module):
    """Latents (B, Z) to the mean of x, (B, D)."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = _gaussian(model)
        self.register_buffer("example", model.any_example())

    def forward(self, z: Tensor) -> Tensor:
        return self.network.mean_pixels(self.example, (z[:, None],))[:, 0]  # pyright: ignore[reportArgumentType]


class _DecoderWithContext(nn.Module):
    """Latents (B, Z) and whole images (B, D), of which the context is used, to the mean of x, (B, D)."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = _gaussian(model)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.network.mean_pixels(x, (z[None],))[0]


class _ProgramDecoder(nn.Module):
    """The latents of a user's model in the order of drawing, (B, ...) each, to the mean of x, (B, D)."""

    def __init__(self, network: ProgramModel) -> None:
        super().__init__()
        self.network = network
        self.names = list(network.latents)

    def forward(self, *z: Tensor) -> Tensor:
        return program_means(self.network, dict(zip(self.names, z, strict=True)))


def exported_programs(model: LoadedModel) -> dict[str, bytes]:
    """Return the content of the files of encoder and decoder, for ``torch.export.load``. They take any batch size.

    A user's posterior is a program that draws, so that a user's model has only a decoder.

    Raises:
        Exception: torch cannot export the model; its errors have many types.
    """
    if isinstance(model.network, ProgramModel):
        latents = [torch.zeros(2, *shape) for shape in model.latents.values()]
        return {"decoder": _exported(_ProgramDecoder(model.network), *latents)}
    x, z = model.any_example().expand(2, -1), torch.zeros(2, model.latent_dim)
    decoder = _DecoderWithContext(model) if model.has_context else _Decoder(model)
    return {
        "encoder": _exported(_Encoder(model), x),
        "decoder": _exported(decoder, z, *((x,) if model.has_context else ())),
    }


def _exported(module: nn.Module, *inputs: Tensor) -> bytes:
    export: Any = torch.export  # its functions have no types
    size, buffer = {0: export.Dim("batch")}, io.BytesIO()
    if isinstance(module, _ProgramDecoder):
        shapes: Any = (tuple(size for _ in inputs),)  # the one argument *z
    else:
        shapes = tuple(size for _ in inputs)
    with warnings.catch_warnings(), _without_validation():
        warnings.simplefilter("ignore")  # of torch's own code
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        export.save(export.export(module.eval(), inputs, dynamic_shapes=shapes), buffer)
    return buffer.getvalue()


@contextmanager
def _without_validation() -> Generator[None]:
    """Switch off torch's checks of distributions, which depend on values and so cannot be exported."""
    before = cast("Any", Distribution)._validate_args
    Distribution.set_default_validate_args(value=False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(value=before)
