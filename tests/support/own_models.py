"""Small models of a user's own, as files."""

from pathlib import Path
from typing import Final

import torch

from dregcli.engine.programs.contract import ModelData
from dregcli.names import DataKind

MODEL: Final = """
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent

import dregcli
from dregcli import gaussian, standard_normal


class TinyVae(dregcli.LatentModel):
    def __init__(self, data, latent_dim: int = 2, scale: float = 1.0):
        super().__init__()
        self.latent_dim, self.scale = latent_dim, scale
        pixels = data.mean.numel()
        self.encoder = nn.Linear(pixels, 2 * latent_dim)
        self.decoder = nn.Linear(latent_dim, pixels)

    def posterior(self, x, draw):
        draw("z", gaussian(self.scale * self.encoder(x.flatten(1))))

    def model(self, z, given):
        given("z", standard_normal(self.latent_dim))
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)
"""
"""A linear model, in a file that imports nothing beside it."""


def write_model(folder: Path, text: str = MODEL, name: str = "tiny.py") -> Path:
    """Write a model into a folder and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def small_data() -> ModelData:
    """Of binary examples of shape (1, 2, 3)."""
    shape = (1, 2, 3)
    return ModelData(shape, DataKind.BINARY, 1, torch.full(shape, 0.5), torch.full(shape, 0.5))
