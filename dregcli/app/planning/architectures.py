"""What each kind of model decides for a run by itself, and what it cannot be given."""

from dataclasses import dataclass
from typing import Final

from dregcli.data.dataset import Dataset
from dregcli.errors import Fault
from dregcli.names import DataKind, LikelihoodName, ModelName, Task
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec

LINEAR_LATENTS: Final = 5
"""Latent dimensions of a linear model where none are given: those that the data set of its name was drawn with."""


@dataclass(frozen=True)
class Architecture:
    """What follows from the model.

    Attributes:
        hidden: sizes of the hidden layers.
        latent_dim: number of latent dimensions.
        likelihood: the only one that the model has, or the one that was asked for; None is still open.
        compiles: whether the likelihood has arithmetic that torch.compile can do.
    """

    hidden: tuple[int, ...]
    latent_dim: int
    likelihood: LikelihoodName | None
    compiles: bool = True


def architecture(options: RunOptions, dataset: Dataset | None) -> tuple[Architecture, list[Fault]]:
    """What follows from the model, and every option that the model cannot have.

    Args:
        options: as asked for.
        dataset: the data of the run; None where they cannot be had.
    """
    if options.model is ModelName.LINEAR_GAUSSIAN:
        latents = LINEAR_LATENTS if options.latent_dim is None else options.latent_dim
        hidden = options.hidden or ()
        return Architecture(hidden, latents, LikelihoodName.GAUSSIAN, compiles=False), _of_linear(options, dataset)
    default = RunSpec.model_fields
    hidden = default["hidden"].default if options.hidden is None else options.hidden
    latents = default["latent_dim"].default if options.latent_dim is None else options.latent_dim
    return Architecture(hidden, latents, options.likelihood), []


def _of_linear(options: RunOptions, dataset: Dataset | None) -> list[Fault]:
    faults: list[Fault] = []
    name = ModelName.LINEAR_GAUSSIAN
    if options.task is not Task.GENERATIVE:
        faults.append(Fault("task", f"{name} is a model of whole images: leave it out, got '{options.task}'."))
    if options.likelihood not in (None, LikelihoodName.GAUSSIAN):
        faults.append(Fault("likelihood", f"{name} has gaussian pixels: leave it out, got '{options.likelihood}'."))
    if options.compile == "on":
        faults.append(Fault("compile", f"{name} has nothing to compile: leave it out."))
    if dataset is not None and dataset.kind is DataKind.BINARY:
        message = f"{name} is a model of real values or intensities, and {dataset.name} is binary."
        faults.append(Fault("model", message))
    return faults
