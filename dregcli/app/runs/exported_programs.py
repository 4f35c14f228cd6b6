"""The two networks of a model as programs that torch alone can run: ``torch.export``."""

import io
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.loaded import LoadedModel


class _Encoder(nn.Module):
    """Examples (B, D) to the mean and the standard deviation of q(z | x), (B, Z) each."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.network.posterior(x)
        return posterior.loc, posterior.scale


class _Decoder(nn.Module):
    """Latents (B, Z) to the mean of x, (B, D)."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = model.network
        self.register_buffer("example", model.any_example())

    def forward(self, z: Tensor) -> Tensor:
        return self.network.mean_pixels(self.example, (z[:, None],))[:, 0]  # pyright: ignore[reportArgumentType]


class _DecoderWithContext(nn.Module):
    """Latents (B, Z) and whole images (B, D), of which the context is used, to the mean of x, (B, D)."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.network.mean_pixels(x, (z[None],))[0]


def exported_programs(model: LoadedModel) -> dict[str, bytes]:
    """Return the content of the files of encoder and decoder, for ``torch.export.load``. They take any batch size.

    Raises:
        Exception: torch cannot export the model; its errors have many types.
    """
    x, z = model.any_example().expand(2, -1), torch.zeros(2, model.latent_dim)
    decoder = _DecoderWithContext(model) if model.has_context else _Decoder(model)
    return {
        "encoder": _exported(_Encoder(model), x),
        "decoder": _exported(decoder, z, *((x,) if model.has_context else ())),
    }


def _exported(module: nn.Module, *inputs: Tensor) -> bytes:
    export: Any = torch.export  # its functions have no types
    size, buffer = {0: export.Dim("batch")}, io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own code
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        export.save(export.export(module.eval(), inputs, dynamic_shapes=tuple(size for _ in inputs)), buffer)
    return buffer.getvalue()
