"""What a model needs to be built without its data set; each checkpoint holds it beside the weights."""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from dregcli.engine.programs.contract import ModelData
from dregcli.errors import StoreFormatError
from dregcli.names import DataKind
from dregcli.specs.models import OF_MODELS
from dregcli.specs.run import RunSpec, spelt_out
from dregcli.store.checkpoints import Checkpoint
from dregcli.store.run import Run

ARCHITECTURE: Final = ("model", "model_options", "model_digest", "task", *OF_MODELS)
"""The fields of a spec that say which network the weights belong to."""


def about_model(spec: RunSpec, data: ModelData) -> dict[str, Any]:
    """Return the model's word, its settings and the description of its data, as plain JSON values."""
    whole = spelt_out(spec.model_dump(mode="json"))
    return {
        **{name: whole[name] for name in ARCHITECTURE if name in whole},
        "data": {"shape": list(data.shape), "kind": data.kind.value, "levels": data.levels},
    }


def data_tensors(data: ModelData) -> dict[str, Tensor]:
    """Return the tensors that belong to ``about_model``, by name."""
    return {"mean": data.mean, "spread": data.spread}


def read_model_data(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ModelData:
    """Return what ``about_model`` and ``data_tensors`` wrote.

    Raises:
        KeyError, TypeError, ValueError: they did not write this.
    """
    found = about["data"]
    shape = tuple(int(size) for size in found["shape"])
    data = ModelData(shape, DataKind(found["kind"]), int(found["levels"]), tensors["mean"], tensors["spread"])
    if len(shape) != 3 or data.mean.shape != shape or data.spread.shape != shape:
        message = f"the mean and the spread must have the shape {shape}"
        raise ValueError(message)
    return data


def stored_model_data(checkpoint: Checkpoint, run: Run) -> ModelData | None:
    """Return what the model of a checkpoint knows of its data; None if an earlier version wrote the checkpoint.

    Raises:
        StoreFormatError: another version wrote it in another form.
    """
    if not checkpoint.about:
        return None
    try:
        return read_model_data(checkpoint.about, checkpoint.data)
    except (KeyError, TypeError, ValueError) as error:
        what = f"The checkpoint of step {checkpoint.step} describes its data in an unknown form: {error!r}"
        raise StoreFormatError(what, where=str(run.path), hint="use the dreg version that wrote it") from error
