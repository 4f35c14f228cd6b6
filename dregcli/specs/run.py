"""The resolved spec of a training run: all that decides its numbers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import to_jsonable_python

from dregcli.names import LikelihoodName, ModelName, Task
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.execution import ROUNDING_ONLY, ExecutionSpec
from dregcli.specs.options import Device, OnOff, ParentSpec, Positive, Settings

__all__ = ["ParentSpec", "RunSpec", "as_json", "default_run_name", "experiment_of", "group_hash", "spelt_out"]

SPEC_VERSION = 1


class RunSpec(ExecutionSpec, Settings, frozen=True):
    """A training run, resolved: no ``auto``, no epochs, no preset left.

    Its fields are those of ``Settings``, in types that leave nothing to decide.
    """

    spec_version: Literal[1] = SPEC_VERSION
    dataset: str
    data_checksum: str
    split_convention: str
    binarisation: str = "dynamic"
    likelihood: Annotated[LikelihoodName, Field(strict=False)] = LikelihoodName.BERNOULLI
    hidden: Annotated[tuple[Positive, ...], Field(strict=False)] = (200, 200)
    latent_dim: Positive = 50
    estimator: str = "dreg"
    track_estimators: Annotated[tuple[str, ...], Field(strict=False)] = ()
    steps: Positive
    device: Device = "cpu"
    threads: Positive | None = Field(default=None, description="None is torch's own choice.")
    compile: OnOff = "off"

    @field_validator("hidden")
    @classmethod
    def _of_the_model(cls, hidden: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if info.data.get("model") is ModelName.LINEAR_GAUSSIAN:
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


def defaults_of(kind: type[RunSpec]) -> dict[str, Any]:
    """The defaults of a spec as plain JSON values, but for its version, which is always written."""
    return {
        name: to_jsonable_python(field.get_default())
        for name, field in kind.model_fields.items()
        if not field.is_required() and name != "spec_version"
    }


_DEFAULTS: Final = defaults_of(RunSpec)


def as_json(spec: RunSpec) -> dict[str, Any]:
    """The spec as it is written: plain JSON values, without what equals its default."""
    return _without_defaults(spec.model_dump(mode="json"))


def spelt_out(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a spec as it was written, with the defaults that it leaves out."""
    return {**_DEFAULTS, **content}


def _without_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """So a field that is added later changes no spec, and no hash, of a run that did without it."""
    return {key: value for key, value in content.items() if key not in _DEFAULTS or value != _DEFAULTS[key]}


NOT_OF_THE_EXPERIMENT: Final = ("seed", "track_estimators", "keep_last", "capture")
"""Fields in which repeats of one experiment may differ: the seed, and those that training does not notice."""


def up_to_rounding(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a spec that its numbers depend on, up to rounding; with the defaults that it leaves out."""
    return {key: value for key, value in spelt_out(spec).items() if key not in (*ROUNDING_ONLY, "capture")}


def experiment_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What repeats of one experiment share: the resolved spec without the seed.

    What changes numbers by rounding alone is left out too: a machine with less free memory makes no other experiment.
    """
    return {key: value for key, value in up_to_rounding(spec).items() if key not in NOT_OF_THE_EXPERIMENT}


def group_hash(spec: Mapping[str, Any]) -> str:
    """The hash of ``experiment_of``, without what equals its default."""
    text = json.dumps(_without_defaults(experiment_of(spec)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_run_name(spec: RunSpec) -> str:
    """The name of a run that was given none: ``<dataset>-<objective>-<estimator>-k<K>``.

    A task or model other than the usual one is named after the data set. A run with a parent is called
    ``<parent's name>-finetune-<objective>-<estimator>-k<K>``.
    """
    usual = (Task.GENERATIVE, ModelName.VAE)
    parts = [spec.dataset, *(each for each in (spec.task, spec.model) if each not in usual)]
    origin = f"{spec.parent.run.split('/')[0]}-finetune" if spec.parent else "-".join(parts)
    text = f"{origin}-{spec.objective}-{spec.estimator}-k{spec.k}"
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)
