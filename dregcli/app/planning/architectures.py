"""What each kind of model decides for a run by itself, and what it cannot be given."""

from collections.abc import Mapping
from typing import Any, Final

from dregcli.data.dataset import Dataset
from dregcli.errors import Fault
from dregcli.names import DataKind, LikelihoodName, ModelName, Task
from dregcli.specs.execution import AUTO

LINEAR_LATENTS: Final = 5
"""Latent dimensions of a linear model where none are given: those that the data set of its name was drawn with."""

_LINEAR: Final[dict[str, Any]] = {
    "hidden": (),
    "latent_dim": LINEAR_LATENTS,
    "likelihood": LikelihoodName.GAUSSIAN.value,
}


def for_model(options: Mapping[str, Any], dataset: Dataset | None) -> tuple[dict[str, Any], list[Fault]]:
    """Options with what follows from the model, and why they cannot be its.

    Args:
        options: by field of the spec; what is wrong with the word itself is told with the spec.
        dataset: the run's; None where it cannot be had.
    """
    known = dict(options)
    if known.get("model") != ModelName.LINEAR_GAUSSIAN:
        return known, []
    faults: list[Fault] = []
    name = ModelName.LINEAR_GAUSSIAN
    if known.get("task", Task.GENERATIVE) != Task.GENERATIVE:
        faults.append(Fault("task", f"{name} is of whole images: leave it out, got '{known['task']}'."))
    if known.get("likelihood", LikelihoodName.GAUSSIAN) != LikelihoodName.GAUSSIAN:
        faults.append(Fault("likelihood", f"{name} has gaussian pixels: leave it out, got '{known['likelihood']}'."))
    if known.get("compile", AUTO) == "on":
        faults.append(Fault("compile", f"{name} has nothing to compile: leave it out."))
    if dataset is not None and dataset.kind is DataKind.BINARY:
        faults.append(Fault("model", f"{name} is of real values or intensities, and {dataset.name} is binary."))
    return {**_LINEAR, **known, "compile": "off"}, faults
