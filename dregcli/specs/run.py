"""The resolved spec of a training run: everything that determines its numbers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import to_jsonable_python

from dregcli.devices import kind_of
from dregcli.names import LikelihoodName, ModelName, PosteriorOrder, PriorGradient, Task, TopPrior
from dregcli.posteriors import parse_posterior
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.execution import ROUNDING_ONLY, ExecutionSpec, Positive
from dregcli.specs.layers import Hidden, Latents, layer_sizes_of
from dregcli.specs.models import OF_MODELS, SETTINGS, is_layered, models_with, settings_of, short_name
from dregcli.specs.options import (
    AnyPriorGradient,
    Device,
    EvalEvery,
    LayerSizes,
    OnOff,
    ParentSpec,
    Settings,
    SizesOfLayers,
    Steps,
    Threads,
)

SPEC_VERSION = 1
_VAE: Final = SETTINGS[ModelName.VAE]


class RunSpec(ExecutionSpec, Settings, frozen=True):
    """A resolved training run, without ``auto``, epochs or preset.

    It has the fields of ``Settings``, with types that leave nothing open. None means: no screening
    (``screen_inflation``, ``screen_precision``), all samples at once (``k_chunk``), torch's own choice (``threads``),
    evaluations with ``k`` samples (``eval_k``), a run that starts from no other run (``parent``), a built-in model
    (``model_digest``), or a model that has no such setting (``OF_MODELS``). With several stochastic layers,
    ``latent_dim`` has a number for each, and ``hidden`` the sizes for each.
    """

    spec_version: Literal[1] = SPEC_VERSION
    dataset: str
    data_checksum: str
    split_convention: str
    binarisation: str = "dynamic"
    likelihood: Annotated[LikelihoodName | None, Field(strict=False)] = LikelihoodName.BERNOULLI
    hidden: LayerSizes | SizesOfLayers | None = _VAE["hidden"]
    # The usual value is checked too, since it may not fit the hidden layers or the model of a spec without it.
    latent_dim: Annotated[Positive | LayerSizes | None, Field(validate_default=True)] = _VAE["latent_dim"]
    posterior: str | None = _VAE["posterior"]
    posterior_order: Annotated[PosteriorOrder | None, Field(strict=False)] = PosteriorOrder.BOTTOM_UP
    top_prior: Annotated[TopPrior | None, Field(strict=False)] = TopPrior.STANDARD
    estimator: str = "dreg"
    prior_gradient: AnyPriorGradient = PriorGradient.SCORE
    track_estimators: Annotated[tuple[str, ...], Field(strict=False)] = ()
    steps: Steps
    device: Device = "cpu"
    threads: Threads | None = None
    compile: OnOff = "off"
    eval_every: EvalEvery = 500

    @property
    def bound_k(self) -> int:
        """Samples per example in the evaluations during training and at its end."""
        return self.eval_k or self.k

    @property
    def latents(self) -> int | None:
        """Number of latent dimensions of all stochastic layers; None if the model states it elsewhere."""
        return sum(self.latent_dim) if isinstance(self.latent_dim, tuple) else self.latent_dim

    @model_validator(mode="before")
    @classmethod
    def _without_settings_of_others(cls, given: object) -> object:
        """Let the settings that the model does not have be None."""
        if not isinstance(given, Mapping):
            return given
        content = cast("Mapping[str, object]", given)
        return {**_missing_of(content.get("model", ModelName.VAE)), **content}

    @field_validator(*OF_MODELS)
    @classmethod
    def _check_of_model(cls, value: object, info: ValidationInfo) -> object:
        model, name = info.data.get("model"), info.field_name
        if model is None or name is None:
            return value
        if (name in settings_of(model)) == (value is None):
            message = "is missing." if value is None else f"{_only_with(name)}, not with {model}."
            raise ValueError(message)
        return value

    @field_validator("latent_dim")
    @classmethod
    def _check_layers(cls, latent_dim: Latents | None, info: ValidationInfo) -> Latents | None:
        model, hidden = info.data.get("model"), info.data.get("hidden")
        if latent_dim is None or hidden is None or model is None:
            return latent_dim
        latents, sizes, faults = layer_sizes_of(model, latent_dim, hidden)
        if faults:
            raise ValueError(faults[0].message)
        if latents != latent_dim or sizes != hidden:
            lists = "must be a list" if latents != latent_dim else "needs lists of hidden layers"
            message = f"{lists}, with one entry for each stochastic layer of {model}."
            raise ValueError(message)
        return latent_dim

    @field_validator("hidden")
    @classmethod
    def _check_hidden(cls, hidden: Hidden | None, info: ValidationInfo) -> Hidden | None:
        model = info.data.get("model")
        if hidden is None or is_layered(model):
            return hidden
        if model == ModelName.LINEAR_GAUSSIAN:
            if hidden:
                message = "linear-gaussian has no hidden layers: leave --hidden out."
                raise ValueError(message)
        elif not hidden:
            message = "must be layer sizes such as 200,200, got ()."
            raise ValueError(message)
        return hidden

    @field_validator("binarisation")
    @classmethod
    def _one_spelling(cls, word: str) -> str:
        return parse_binarisation(word).word

    @field_validator("posterior")
    @classmethod
    def _one_spelling_of_posteriors(cls, word: str | None) -> str | None:
        return None if word is None else parse_posterior(word).word


def _missing_of(model: object) -> dict[str, None]:
    """Return None for every setting that a model does not have."""
    has = settings_of(model)
    return {name: None for name in OF_MODELS if name not in has}


def _only_with(setting: str) -> str:
    return f"only applies with {', '.join(models_with(setting))}"


RUN_ONLY: Final = ("model_before",)
"""Fields that record what happened to a run: a new run with the same settings does not get them."""


def defaults_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of a spec as plain JSON values, without the version, which is always written."""
    return {
        name: to_jsonable_python(field.get_default())
        for name, field in kind.model_fields.items()
        if not field.is_required() and name != "spec_version"
    }


_DEFAULTS: Final = defaults_of(RunSpec)
_PARENT_DEFAULTS: Final = defaults_of(ParentSpec)


def as_json(spec: RunSpec) -> dict[str, Any]:
    """Return the spec as the program writes it: plain JSON values, without those that equal their defaults."""
    return _without_defaults(spec.model_dump(mode="json"))


def spelt_out(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a written spec together with the defaults that it leaves out."""
    whole = {**_defaults_for(content), **content}
    if isinstance(parent := whole["parent"], Mapping):
        whole["parent"] = {**_PARENT_DEFAULTS, **parent}
    return whole


def _without_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values that equal their defaults.

    Therefore a field that is added later does not change the spec or the hash of earlier runs.
    """
    kept = _not_in(_defaults_for(content), content)
    if isinstance(parent := kept.get("parent"), Mapping):
        kept["parent"] = _not_in(_PARENT_DEFAULTS, cast("Mapping[str, Any]", parent))
    return kept


def _defaults_for(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the defaults of a written spec: the settings that its model does not have are None."""
    return {**_DEFAULTS, **_missing_of(content.get("model", _DEFAULTS["model"]))}


def _not_in(defaults: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in defaults or value != defaults[key]}


NO_EFFECT: Final = (
    # They change the order of sums, so they change numbers by rounding alone.
    *ROUNDING_ONLY,
    # Tracking computes further gradients from the noise of the step. Training does not use them.
    "track_estimators",
    # How often training writes a row of metrics. A row reads numbers that training has computed anyway.
    "log_every",
    # Validations draw pixels and noise at addresses of their own, and change no parameter. They also mark the best
    # checkpoint, but the final bounds are those of the last step, and an evaluation of the best checkpoint is kept
    # with its step. A run with patience stops by its validations, so ``numbers_of`` counts this interval for it.
    "eval_every",
    # Which bounds are computed at the end. Each has the same value whether the others are computed or not.
    "final_eval",
    # How often training writes its state to the disk, and how many states it keeps.
    "checkpoint_every",
    "keep_last",
    # How much of dreg's source the run keeps.
    "capture",
)
"""Settings that cannot change the final numbers of a run: the only such list.

Runs that differ only in these settings are one group of a report, and for a study each counts as trained before.
Every other setting counts, and so does a new setting that nobody adds to this list.
"""

DECIDED_BY_PATIENCE: Final = ("eval_every",)
"""Settings of ``NO_EFFECT`` that do have an effect on a run with patience."""


def numbers_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a spec, with its defaults, that affect the final numbers of its run."""
    whole = spelt_out(spec)
    whole["device"] = kind_of(str(whole["device"]))
    counts = () if whole["patience"] is None else DECIDED_BY_PATIENCE
    return {key: value for key, value in whole.items() if key in counts or key not in NO_EFFECT}


def experiment_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that repeats of one experiment share: ``numbers_of`` without the seed."""
    return {key: value for key, value in numbers_of(spec).items() if key != "seed"}


def group_hash(spec: Mapping[str, Any]) -> str:
    """Return the hash of ``experiment_of``, without values that equal their defaults."""
    text = json.dumps(_without_defaults(experiment_of(spec)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_run_name(spec: RunSpec) -> str:
    """Return the name of a run that the user did not name: ``<dataset>-<objective>-<estimator>-k<K>``.

    If the task or the model is not the usual one, its name follows the data set: of a class of the user's own the
    class's name, such as ``conv-vae`` for ``ConvVae``. A run with a parent is called
    ``<parent's name>-finetune-<objective>-<estimator>-k<K>``.
    """
    usual = (Task.GENERATIVE, ModelName.VAE)
    parts = [spec.dataset, *(short_name(each) for each in (spec.task, spec.model) if each not in usual)]
    origin = f"{spec.parent.run.split('/')[0]}-finetune" if spec.parent else "-".join(parts)
    objective = spec.objective.replace("->", "-to-").replace("@", "-in-")
    text = f"{origin}-{objective}-{spec.estimator}-k{spec.k}"
    return "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "-" for c in text)
