"""Engine objects from a spec and its data."""

import torch
from torch import Tensor

from dregcli.data.dataset import Dataset
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.names import Split
from dregcli.specs.run import RunSpec


def build_model(spec: RunSpec, dataset: Dataset) -> Vae:
    """The run's model before its first step. Weights are drawn on the CPU, so that every device has the same."""
    generator = Randomness(spec.seed).generator(Stream.INITIALISATION)
    mean = torch.from_numpy(dataset.mean_intensity())
    model = Vae(mean, hidden=spec.hidden, latent_dim=spec.latent_dim, generator=generator)
    return model.to(spec.device)


def stored_pixels(spec: RunSpec, dataset: Dataset, split: Split, limit: int | None = None) -> Tensor:
    """A split's uint8 pixels on the run's device, shape (N, D); its first ``limit`` examples when given."""
    pixels = dataset.splits[split][:limit]
    return torch.tensor(pixels, device=spec.device)


def build_trainer(spec: RunSpec, dataset: Dataset) -> Trainer:
    """The run's trainer before its first step; of a run with a parent theta is frozen."""
    return Trainer(
        build_model(spec, dataset),
        resolve_pair(spec.objective, spec.estimator, spec.k),
        stored_pixels(spec, dataset, Split.TRAIN),
        dataset.levels,
        k=spec.k,
        batch_size=spec.batch_size,
        lr=spec.lr,
        seed=spec.seed,
        train_model=spec.parent is None,
    )
