"""The resolved spec of a training run: all that decides its numbers. Its fields are the flags of ``dreg train``."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from dregcli.names import Capture, LikelihoodName, ModelName, Task
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.execution import ROUNDING_ONLY, STRICT, ExecutionSpec

SPEC_VERSION = 1

_LayerSize = Annotated[int, Field(ge=1, strict=True)]


class ParentSpec(BaseModel):
    """Where a run that trains q alone starts: at a checkpoint of another run, whose theta it keeps."""

    model_config = STRICT

    run: str = Field(pattern=r"^[^/]+/v[0-9]+$", description="NAME/v001")
    checkpoint: int = Field(ge=0, description="its step")
    model_sha256: str = Field(description="of the checkpoint's named model tensors")
    reset_encoder: bool = Field(default=False, description="q starts anew, at the seed's address")


class RunSpec(ExecutionSpec):
    """A training run, resolved: no ``auto``, no epochs, no preset left.

    Lengths are in optimisation steps; ``eval_every`` and ``checkpoint_every`` 0 mean only at the end.
    """

    spec_version: Literal[1] = SPEC_VERSION
    task: Task = Field(default=Task.GENERATIVE, strict=False)
    dataset: str
    data_checksum: str = Field(description="identifies the pixels of all splits")
    split_convention: str
    binarisation: str = Field(default="dynamic", description="a word of specs.binarisation")
    likelihood: LikelihoodName = Field(default=LikelihoodName.BERNOULLI, strict=False)
    model: ModelName = Field(default=ModelName.VAE, strict=False)
    hidden: tuple[_LayerSize, ...] = Field(default=(200, 200), strict=False)
    latent_dim: int = Field(default=50, ge=1)
    objective: str = "iwae"
    estimator: str = "dreg"
    batch_size: int = Field(default=32, ge=1)
    steps: int = Field(ge=1)
    lr: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    eval_seed: int = Field(default=0, ge=0, lt=2**63)
    eval_every: int = Field(default=500, ge=0)
    checkpoint_every: int = Field(default=500, ge=0)
    keep_last: int = Field(default=2, ge=1, description="newest checkpoints that are kept, beside the best")
    log_every: int = Field(default=50, ge=1)
    compile: Literal["on", "off"] = "off"
    track_estimators: tuple[str, ...] = Field(
        default=(), strict=False, description="words of estimators, or of pairs where the objective is another"
    )
    device: Literal["cpu", "cuda"] = "cpu"
    capture: Capture = Field(default=Capture.NAMES, strict=False, description="of the source tree's changes")
    parent: ParentSpec | None = None

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


_CAME_LATER: Final[dict[str, Any]] = {
    "parent": None,
    "model": "vae",
    "likelihood": "bernoulli",
    "screen_inflation": None,
    "screen_precision": None,
    "k_chunk": None,
    "compile": "off",
    "track_estimators": [],
    "keep_last": 2,
    "capture": "names",
}
"""Fields that the first specs did not have, and what every run was then: left out where they still say that, so that
a spec and its group are the same whenever they were written."""


def as_json(spec: RunSpec) -> dict[str, Any]:
    """The spec as plain JSON values."""
    content = spec.model_dump(mode="json")
    return {key: value for key, value in content.items() if key not in _CAME_LATER or value != _CAME_LATER[key]}


def spelt_out(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a spec as it was written, with what it leaves out."""
    return {**_CAME_LATER, **content}


NOT_OF_THE_EXPERIMENT: Final = ("seed", "track_estimators", "keep_last", "capture")
"""Fields that repeats of one experiment may differ in: training notices nothing of all but the first."""


def up_to_rounding(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a spec's plain values that its numbers depend on, but for rounding."""
    return {key: value for key, value in spec.items() if key not in (*ROUNDING_ONLY, "capture")}


def experiment_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What repeats of one experiment share: the resolved spec without the seed.

    Without what is rounding only too: a machine with less memory free makes no other experiment.
    """
    return {key: value for key, value in up_to_rounding(spec).items() if key not in NOT_OF_THE_EXPERIMENT}


def group_hash(spec: Mapping[str, Any]) -> str:
    """The hash of ``experiment_of``."""
    text = json.dumps(experiment_of(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_run_name(spec: RunSpec) -> str:
    """The name of a run that was given none: ``<dataset>-<objective>-<estimator>-k<K>``.

    Of another task or model than the usual: ``<dataset>-<task>-...``, ``<dataset>-<model>-...``. Of a run with a
    parent: ``<parent's name>-finetune-<objective>-<estimator>-k<K>``.
    """
    usual = (Task.GENERATIVE, ModelName.VAE)
    parts = [spec.dataset, *(each for each in (spec.task, spec.model) if each not in usual)]
    origin = f"{spec.parent.run.split('/')[0]}-finetune" if spec.parent else "-".join(parts)
    text = f"{origin}-{spec.objective}-{spec.estimator}-k{spec.k}"
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)
