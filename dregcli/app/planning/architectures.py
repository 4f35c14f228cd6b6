"""Derive settings of a run from its kind of model, and refuse options that the model cannot have."""

from dataclasses import dataclass
from typing import Final

from dregcli.data.dataset import Dataset
from dregcli.errors import Fault
from dregcli.names import DataKind, LikelihoodName, ModelName, Task
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec

LINEAR_LATENTS: Final = 5
"""Default latent dimensions of a linear model: the same as in the data set ``linear-gaussian``."""


@dataclass(frozen=True)
class Architecture:
    """Settings that follow from the model.

    Attributes:
        hidden: sizes of the hidden layers.
        latent_dim: number of latent dimensions.
        likelihood: the only likelihood of the model, or the one that was asked for; None means not yet decided.
        compiles: whether the likelihood has arithmetic that torch.compile can do.
    """

    hidden: tuple[int, ...]
    latent_dim: int
    likelihood: LikelihoodName | None
    compiles: bool = True


def architecture(options: RunOptions, dataset: Dataset | None) -> tuple[Architecture, list[Fault]]:
    """Return the settings that follow from the model, and a fault for every option that the model cannot have.

    Args:
        options: the options that the user gave.
        dataset: the data of the run; None if they cannot be loaded.
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
        faults.append(Fault("task", f"{name} models whole images: leave --task out, got '{options.task}'."))
    if options.likelihood not in (None, LikelihoodName.GAUSSIAN):
        message = f"{name} has gaussian pixels: leave --likelihood out, got '{options.likelihood}'."
        faults.append(Fault("likelihood", message))
    if options.compile == "on":
        faults.append(Fault("compile", f"{name} has nothing to compile: leave --compile out."))
    if dataset is not None and dataset.kind is DataKind.BINARY:
        message = f"{name} models real values or intensities, but {dataset.name} is binary."
        faults.append(Fault("model", message))
    return faults
