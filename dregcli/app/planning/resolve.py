"""Turn the options of a run into its spec, step by step; each step returns a value and every fault that it finds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from dregcli.app.common.ranks import device_faults, sharing_faults
from dregcli.app.models.code import Code
from dregcli.app.models.make import make_model
from dregcli.app.planning.architectures import Architecture, architecture, computes_in_blocks
from dregcli.app.planning.executing import Shape, decide_execution, width_of
from dregcli.app.planning.observation import observation
from dregcli.app.planning.optimising import optimisation_faults, prior_faults
from dregcli.app.planning.run_data import model_data_of
from dregcli.app.planning.tracked import tracked_words, with_trained
from dregcli.app.planning.words import canonical_words
from dregcli.data.dataset import Dataset
from dregcli.defaults import MOST_TRAINING_EVAL_K, TRAINING_PER_VALIDATION, VALIDATIONS
from dregcli.engine.device import resolve_device, threads, using_threads
from dregcli.engine.gradients import path_faults
from dregcli.engine.pairs import training_faults
from dregcli.engine.prior_rule import FIXED_PRIOR, RULES
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.words import parse_estimator, parse_scheduled
from dregcli.errors import DeviceUnavailable, Fault, SpecError, is_of_memory
from dregcli.names import LikelihoodName, PriorGradient, SampleNoise, Shard, Split, Task
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.execution import AUTO
from dregcli.specs.models import OF_MODELS, is_network, short_name
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag, spec_faults
from dregcli.specs.run import RunSpec

HINT = "correct the above; every option is shown by: dreg train --help"


class Faults(list[Fault]):
    """Faults found so far. A field with a known fault holds a placeholder, and later steps do not report it again."""

    def is_open(self, field: str) -> bool:
        """Whether a field has a known fault, so that its value is a placeholder."""
        return any(fault.field.partition("[")[0] == flag(field) for fault in self)

    def add(self, found: Iterable[Fault]) -> None:
        """Add the faults of one step, except faults of fields that have a known fault."""
        self += [fault for fault in found if not self.is_open(fault.field)]


def resolve(
    options: RunOptions, dataset: Dataset | None, found: Sequence[Fault] = (), code: Code | None = None
) -> tuple[RunSpec, tuple[str, ...]]:
    """Resolve the options of a run: decide every ``auto``, and convert epochs into steps.

    Args:
        options: the options that the user gave.
        dataset: the data of the run; None if they cannot be loaded. Then all other faults are still found.
        found: faults found before, which are reported together with the new ones. In ``options`` these fields hold
            their defaults.
        code: code of the model, if it is no built-in network and could be found.

    Returns:
        The spec, and warnings about ``auto`` decisions.

    Raises:
        ModelFailed: the code of the model raises an error when it is imported.
        SpecError: all faults at once.
        DeviceUnavailable: there is no fault, but the device is missing.
    """
    faults = Faults(found)
    steps, of_length = _length(options, dataset, faults)
    built, of_model = architecture(options, dataset, code)
    faults.add(of_length + of_model)
    observed, of_observation = _observed(options, built, dataset, known=not of_model)
    faults.add(of_observation)
    identity, of_identity = _identity(options, dataset)
    faults.add(of_identity)
    device, unavailable = _device(options)
    shape = _shape(options, built, observed, dataset, device)
    model = None if faults else _program(built, observed, dataset, code)
    faults.add(_refused_by_model(options, model))
    if model and shape:
        shape = replace(shape, widest=max(shape.widest, width_of(model)))
    number = threads() if options.threads in (AUTO, None) else options.threads
    with using_threads(number):  # chunks that are decided automatically fit into the caches of these cores
        decided, of_execution, warnings = decide_execution(options, shape, steps=steps, compiles=built.compiles)
    faults.add(of_execution)
    if not (faults.is_open("k") or faults.is_open("batch_size")):
        sizes = {"k": options.k, "batch_size": options.batch_size}
        faults.add(sharing_faults(options.shard, **sizes, precision=decided.screen_precision))
    if unavailable is None:
        faults.add(device_faults(device))
    tracked, of_words = _words(options, faults)
    faults.add(of_words)
    evaluations = _evaluations(options, dataset, steps)
    faults.add(
        optimisation_faults(options, dataset, steps=steps, eval_every=evaluations["eval_every"], tracked=tracked)
    )
    values: dict[str, Any] = {
        **{name: getattr(options, name) for name in RunSpec.model_fields if name != "spec_version"},
        **{"steps": steps, "device": device, "threads": number, "binarisation": "dynamic"},
        **{"track_estimators": tracked, **observed, **identity, **asdict(decided), **evaluations},
        "prior_gradient": _prior_gradient(options, model),
        "lr_posterior": None if options.lr_posterior == options.lr else options.lr_posterior,
        **built.code,
        **_settings(built, observed),
    }
    faults.add(spec_faults(values))
    if faults:
        raise SpecError(faults, hint=HINT)
    if unavailable:
        raise unavailable
    return RunSpec.model_validate(canonical_words(values)), tuple(warnings)


def _settings(built: Architecture, observed: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that only some models have: None for those that this model does not have."""
    likelihood = observed.get("likelihood", built.likelihood or LikelihoodName.BERNOULLI)
    whole = {**built.settings, "likelihood": likelihood}
    return {name: whole[name] if name in built.settings else None for name in OF_MODELS}


def _length(options: RunOptions, dataset: Dataset | None, faults: Faults) -> tuple[int, list[Fault]]:
    """Return the number of optimisation steps, computed from the epochs if the user gave epochs."""
    size = len(dataset.splits[Split.TRAIN]) if dataset else None
    if size is None or faults.is_open("batch_size"):
        return options.steps, []
    if options.batch_size > size:
        message = f"must be at most the {size} training examples of {options.dataset}, got {options.batch_size}."
        return options.steps, [Fault("batch-size", message)]
    steps = options.steps if options.epochs is None else options.epochs * (size // options.batch_size)
    return steps, []


def _evaluations(options: RunOptions, dataset: Dataset | None, steps: int) -> dict[str, int | None]:
    """Return how often and with how many samples a run is evaluated."""
    k = min(options.k, MOST_TRAINING_EVAL_K) if options.eval_k is None else options.eval_k
    every = options.eval_every
    if every == AUTO:
        every = -(-steps // _validations(options, dataset, steps, k))
    return {"eval_every": every, "eval_k": None if k == options.k else k}


def _validations(options: RunOptions, dataset: Dataset | None, steps: int, k: int) -> int:
    """Return how often a run with this many steps is validated, with k samples per example: at least at its end.

    Patience counts validations, so that a run with patience has them whatever they cost.
    """
    if options.patience is not None or dataset is None:
        return VALIDATIONS
    rows_of_training = steps * options.batch_size * options.k
    affordable = rows_of_training // (TRAINING_PER_VALIDATION * len(dataset.splits[Split.VALID]) * k)
    return max(1, min(VALIDATIONS, affordable))


def _observed(
    options: RunOptions, built: Architecture, dataset: Dataset | None, *, known: bool
) -> tuple[dict[str, str], list[Fault]]:
    """Return binarisation and likelihood; neither if they could not be decided."""
    if not known:
        return {}, []
    asked = {"binarisation": options.binarisation, "likelihood": built.likelihood, "task": options.task}
    return observation(dataset, asked)


def _identity(options: RunOptions, dataset: Dataset | None) -> tuple[dict[str, str], list[Fault]]:
    """Return checksum and split of the data, and a fault if a config names other data than those on this machine."""
    if dataset is None:
        return {"data_checksum": "unknown", "split_convention": "unknown"}, []
    faults: list[Fault] = []
    actual = {"data_checksum": dataset.checksum, "split_convention": dataset.split_convention}
    for field, value in actual.items():
        asked = getattr(options, field)
        if asked not in (None, value):
            message = f"the {dataset.name} data on this machine have {value}, but the spec has {asked}."
            faults.append(Fault(flag(field), message))
    return actual, faults


def _device(options: RunOptions) -> tuple[str, DeviceUnavailable | None]:
    try:
        return resolve_device(options.device), None
    except DeviceUnavailable as error:
        return "cpu", error


def _shape(
    options: RunOptions, built: Architecture, observed: dict[str, str], dataset: Dataset | None, device: str
) -> Shape | None:
    """Return the size of the work; None if a fault or missing data leave it open."""
    if dataset is None or "likelihood" not in observed:
        return None
    likelihood = LikelihoodName(observed["likelihood"])
    hidden = built.settings.get("hidden")
    return Shape.of(
        dataset,
        task=options.task,
        likelihood=likelihood,
        hidden=hidden,
        device=device,
        in_blocks=computes_in_blocks(options.model, likelihood, built.settings.get("posterior"), device),
    )


def _program(
    built: Architecture, observed: dict[str, str], dataset: Dataset | None, code: Code | None
) -> ProgramModel | None:
    """Return the model of a run if it is no network: what it can do is only known once it is built.

    Raises:
        DeviceUnavailable: memory is too small for the model.
        ModelFailed: the constructor of the model raises an error.
        SpecError: the programs of the model do not fit the contract.
    """
    if dataset is None or code is None or "likelihood" not in observed:
        return None
    data = model_data_of(dataset, parse_binarisation(observed["binarisation"]))
    settings = {name: value for name, value in _settings(built, observed).items() if name in built.settings}
    try:
        return make_model(code, data, {**settings, **built.code["model_options"]}, seed=0)
    except (RuntimeError, MemoryError) as error:
        if not is_of_memory(error):
            raise
        smaller = ", ".join(f"--{flag(each)}" for each in ("latent_dim", "hidden") if each in built.settings)
        what = f"Out of memory: there is no room for {short_name(code.word)} with these sizes."
        raise DeviceUnavailable(what, hint=f"give smaller sizes: {smaller or '--model-option'}") from error


def _refused_by_model(options: RunOptions, model: ProgramModel | None) -> list[Fault]:
    """Return the faults of options that only some models can have; ``model`` is None for a network."""
    faults: list[Fault] = []
    if options.shard is Shard.BATCH and model is not None and (refusal := model.no_shared_batch):
        faults.append(Fault("shard", f"{refusal} Use --shard samples."))
    rule = None if options.prior_gradient == AUTO else RULES[options.prior_gradient]
    is_fixed = is_network(options.model) and options.task is Task.GENERATIVE
    if rule and (model is not None or is_fixed):
        faults += path_faults((lambda rule: FIXED_PRIOR) if model is None else model.no_prior_path, rule)
    return faults


def _prior_gradient(options: RunOptions, model: ProgramModel | None) -> object:
    """Return how the gradient of a learned prior is computed. The blend had the least variance on every task."""
    if options.prior_gradient != AUTO:
        return options.prior_gradient
    blend = RULES[PriorGradient.BLEND]
    assert blend is not None
    # A network has a learned prior, a Gaussian, if it models one part of an image given the other.
    learned = options.task is not Task.GENERATIVE if model is None else model.no_prior_path(blend) is None
    # Only the score allows antithetic samples: see require_antithetic.
    possible = learned and options.noise is SampleNoise.IID and not prior_faults(options)
    return PriorGradient.BLEND if possible else PriorGradient.SCORE


def _faults_of_words_alone(options: RunOptions) -> list[Fault]:
    """Look at objective and estimator without each other: one of the two is a stand-in."""
    faults: list[Fault] = []
    for word, parse in ((options.objective, parse_scheduled), (options.estimator, parse_estimator)):
        try:
            parse(word)
        except SpecError as error:
            faults += error.faults
    return faults


def _words(options: RunOptions, faults: Faults) -> tuple[Sequence[str], list[Fault]]:
    """Return the estimators to track, and every fault of these, of the objective and of the estimator."""
    k = None if faults.is_open("k") else options.k
    if faults.is_open("objective") or faults.is_open("estimator"):
        return (), _faults_of_words_alone(options)
    of_pair = training_faults(options.objective, options.estimator, k, options.noise)
    # A fault of the objective itself is reported once, with the objective.
    sound = k if not any(fault.field in ("objective", "k") for fault in of_pair) else None
    tracked, of_tracked = tracked_words(options.track_estimators, objective=options.objective, k=sound)
    return with_trained(tracked, options.estimator), of_pair + of_tracked
