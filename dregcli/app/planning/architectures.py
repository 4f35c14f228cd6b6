"""Derive settings of a run from its kind of model, and refuse options that the model cannot have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.constructor import Value
from dregcli.app.models.find import constructor_options
from dregcli.data.dataset import Dataset
from dregcli.devices import DeviceKind
from dregcli.engine.likelihoods import LIKELIHOODS
from dregcli.engine.programs.heads import INSTALL
from dregcli.errors import Fault, SpecError
from dregcli.names import DataKind, LikelihoodName, ModelName, Task
from dregcli.posteriors import Family, parse_posterior
from dregcli.specs.layers import layer_sizes_of
from dregcli.specs.models import OF_MODELS, is_network, models_with, settings_of
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag


@dataclass(frozen=True)
class Architecture:
    """Settings that follow from the model.

    Attributes:
        settings: the settings that the model has, by field of the spec; a likelihood of None is not yet decided.
        compiles: whether the likelihood has arithmetic that torch.compile can do.
        code: fields of the spec about a model that is no built-in network: word, digest and options.
    """

    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    compiles: bool = True
    code: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def likelihood(self) -> LikelihoodName | None:
        """The only likelihood of the model, or the one that was asked for; None means not yet decided."""
        return self.settings.get("likelihood")


def computes_in_blocks(model: str, likelihood: LikelihoodName | None, posterior: str | None, device: str) -> bool:
    """Whether the log-weights of a model are computed in blocks that fit the cache, and pixels can be linearised.

    So it is on a CPU for the networks with one diagonal Gaussian and pixels of 0 and 1.
    """
    if device != DeviceKind.CPU:
        return False
    network = is_network(model) and model != ModelName.LINEAR_GAUSSIAN
    diagonal = posterior in (None, Family.DIAGONAL.value)
    return network and diagonal and likelihood is not None and LIKELIHOODS[likelihood].linearises


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
    settings, faults = _settings(options)
    if is_network(options.model):
        faults += _not_of_network(options, settings)
        if options.model == ModelName.LINEAR_GAUSSIAN:
            return Architecture(settings, compiles=False), faults + _of_linear(options, dataset)
        return Architecture(settings), faults
    if code is None:  # the model has a fault, which is reported elsewhere
        return Architecture(settings), faults
    values: dict[str, Value] = {}
    try:
        values, of_options = constructor_options(code, options.model_options)
    except SpecError as error:
        of_options = list(error.faults)
    fields = {"model": code.word, "model_digest": code.digest, "model_options": values}
    found = Architecture(settings, code=fields)
    return found, [*faults, *of_options, *_not_of_class(options, _name(code), settings, tuple(values))]


def _name(code: Code) -> str:
    """Return the name of a model in messages: its word if it is built-in, otherwise the name of its class."""
    return code.word if code.kind is CodeKind.BUILT_IN else code.name


def _settings(options: RunOptions) -> tuple[dict[str, Any], list[Fault]]:
    """Return the settings of the model: those that the user gives, and otherwise the usual ones."""
    given = {name: getattr(options, name) for name in settings_of(options.model)}
    usual = settings_of(options.model).items()
    settings = {name: value if given[name] is None else given[name] for name, value in usual}
    faults: list[Fault] = []
    if "latent_dim" in settings:
        latents, hidden, faults = layer_sizes_of(options.model, given["latent_dim"], given["hidden"])
        settings |= {"latent_dim": latents, "hidden": hidden}
    if "posterior" in settings:
        try:
            rule = parse_posterior(settings["posterior"])
        except ValueError as error:
            faults.append(Fault("posterior", str(error)))
        else:
            settings["posterior"] = rule.word
            if rule.family is Family.FLOW and find_spec("zuko") is None:
                faults.append(
                    Fault(
                        "posterior",
                        f"'{rule.word}' needs zuko, which is not installed: in your clone of dreg, {INSTALL}.",
                    )
                )
    return settings, faults


def _not_of_network(options: RunOptions, settings: Mapping[str, Any]) -> list[Fault]:
    """Return a fault for every option that a network cannot have."""
    faults = [
        Fault(flag(name), f"only applies with --model {' or '.join(models_with(name))}, got '{value}'.")
        for name, value in _given_beyond(options, settings)
    ]
    posterior = settings.get("posterior", Family.DIAGONAL.value)
    if posterior != Family.DIAGONAL.value and options.task is not Task.GENERATIVE:
        message = f"'{posterior}' models whole images: leave --task out, or use --posterior {Family.DIAGONAL}."
        faults.append(Fault("posterior", message))
    return faults


def _not_of_class(options: RunOptions, name: str, settings: Mapping[str, Any], has: tuple[str, ...]) -> list[Fault]:
    """Return a fault for every option that a class does not have.

    Args:
        options: the options that the user gave.
        name: name of the model.
        settings: settings of the spec that it has.
        has: names of the options of its constructor.
    """
    faults: list[Fault] = []
    for field_, given in _given_beyond(options, settings):
        shown = str(given).strip("(),").replace(" ", "")
        option = flag(field_)
        if field_ == "likelihood":
            instead = f"{name} states the distribution of the pixels itself: leave --likelihood out, got '{shown}'."
        elif field_ in has:
            instead = f"{name} has it as its own option: give --model-option {field_}={shown}."
        elif field_ in ("hidden", "latent_dim"):
            instead = f"{name} states its own sizes: leave --{option} out, got {shown}; see --model-option."
        else:
            instead = f"{name} states its own distributions: leave --{option} out, got '{shown}'."
        faults.append(Fault(option, instead))
    if options.task is not Task.GENERATIVE:
        faults.append(Fault("task", f"{name} models whole images: leave --task out, got '{options.task}'."))
    return faults


def _given_beyond(options: RunOptions, settings: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the given settings that only other models have, with their values."""
    given: list[tuple[str, object]] = [(name, getattr(options, name)) for name in OF_MODELS if name not in settings]
    return [(name, value) for name, value in given if value is not None]


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
