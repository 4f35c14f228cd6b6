"""Derive settings of a run from its kind of model, and refuse options that the model cannot have."""

from dataclasses import dataclass, field
from typing import Any, Final

from dregcli.app.models.code import Code
from dregcli.app.models.constructor import Value
from dregcli.app.models.find import constructor_options
from dregcli.data.dataset import Dataset
from dregcli.errors import Fault, SpecError
from dregcli.names import DataKind, LikelihoodName, ModelName, Task
from dregcli.specs.models import OF_NETWORKS, is_network
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec

LINEAR_LATENTS: Final = 5
"""Default latent dimensions of a linear model: the same as in the data set ``linear-gaussian``."""


@dataclass(frozen=True)
class Architecture:
    """Settings that follow from the model.

    Attributes:
        hidden: sizes of the hidden layers; None if the model has no such setting.
        latent_dim: number of latent dimensions; None if the model has no such setting.
        likelihood: the only likelihood of the model, or the one that was asked for; None means not yet decided.
        compiles: whether the likelihood has arithmetic that torch.compile can do.
        code: fields of the spec about a model that is no built-in network: word, digest and options.
    """

    hidden: tuple[int, ...] | None
    latent_dim: int | None
    likelihood: LikelihoodName | None
    compiles: bool = True
    code: dict[str, Any] = field(default_factory=dict[str, Any])


def architecture(
    options: RunOptions, dataset: Dataset | None, code: Code | None = None
) -> tuple[Architecture, list[Fault]]:
    """Return the settings that follow from the model, and a fault for every option that the model cannot have.

    Args:
        options: the options that the user gave.
        dataset: the data of the run; None if they cannot be loaded.
        code: code of the model, if it is no built-in network and could be found.

    Raises:
        ModelFailed: the code raises an error when it is imported.
    """
    if not is_network(options.model):
        return _of_class(options, code)
    if options.model == ModelName.LINEAR_GAUSSIAN:
        latents = LINEAR_LATENTS if options.latent_dim is None else options.latent_dim
        hidden = options.hidden or ()
        return Architecture(hidden, latents, LikelihoodName.GAUSSIAN, compiles=False), _of_linear(options, dataset)
    default = RunSpec.model_fields
    hidden = default["hidden"].default if options.hidden is None else options.hidden
    latents = default["latent_dim"].default if options.latent_dim is None else options.latent_dim
    return Architecture(hidden, latents, options.likelihood), []


def _of_class(options: RunOptions, code: Code | None) -> tuple[Architecture, list[Fault]]:
    """Return the settings of a class of the user's own, which states its sizes as options of its constructor."""
    if code is None:  # the model has a fault, which is reported elsewhere
        return Architecture(None, None, None), []
    values: dict[str, Value] = {}
    try:
        values, faults = constructor_options(code, options.model_options)
    except SpecError as error:
        faults = list(error.faults)
    fields = {"model": code.word, "model_digest": code.digest, "model_options": values}
    found = Architecture(None, None, None, code=fields)
    return found, [*faults, *_not_of_class(options, code.name, tuple(values))]


def _not_of_class(options: RunOptions, name: str, has: tuple[str, ...]) -> list[Fault]:
    """Return a fault for every option that only the built-in networks have.

    Args:
        options: the options that the user gave.
        name: name of the class.
        has: names of the options of its constructor.
    """
    faults: list[Fault] = []
    for field_ in OF_NETWORKS:
        given: object = getattr(options, field_)
        if given is None:
            continue
        shown = str(given).strip("(),").replace(" ", "")
        if field_ == "likelihood":
            instead = f"{name} states the distribution of the pixels itself: leave --likelihood out, got '{shown}'."
        elif field_ in has:
            instead = f"{name} has it as its own option: give --model-option {field_}={shown}."
        else:
            option = field_.replace("_", "-")
            instead = f"{name} states its own sizes: leave --{option} out, got {shown}; see --model-option."
        faults.append(Fault(field_.replace("_", "-"), instead))
    if options.task is not Task.GENERATIVE:
        faults.append(Fault("task", f"{name} models whole images: leave --task out, got '{options.task}'."))
    return faults


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
