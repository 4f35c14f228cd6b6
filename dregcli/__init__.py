"""Train deep latent-variable models with multi-sample bounds and gradient estimators you can trust."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dregcli.api.runs import load_run
    from dregcli.api.stores import open_store
    from dregcli.api.training import train
    from dregcli.engine.own.loss import multi_sample_loss
    from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, rows, standard_normal
    from dregcli.errors import DregError
    from dregcli.specs.options import RunOptions

__version__ = "0.1.0"

__all__ = [
    "Draw",
    "DregError",
    "Given",
    "LatentModel",
    "ModelData",
    "RunOptions",
    "gaussian",
    "load_run",
    "multi_sample_loss",
    "open_store",
    "rows",
    "standard_normal",
    "train",
]

_CONTRACT: Final = "dregcli.engine.programs.contract"
_HOMES: Final = {
    **dict.fromkeys(("Draw", "Given", "LatentModel", "ModelData", "gaussian", "rows", "standard_normal"), _CONTRACT),
    "DregError": "dregcli.errors",
    "RunOptions": "dregcli.specs.options",
    "load_run": "dregcli.api.runs",
    "multi_sample_loss": "dregcli.engine.own.loss",
    "open_store": "dregcli.api.stores",
    "train": "dregcli.api.training",
}
"""The module of each public name. They are imported at their first use, since most of them import torch."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a public name at its first use.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in _HOMES:
        message = f"module 'dregcli' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
