"""Which settings of the spec a model has: the built-in networks have some that other models do not have."""

import re
from typing import Final

from dregcli.names import ModelName

PROGRAMS: Final = {"conv": "dregcli.engine.programs.conv:ConvVae"}
"""The built-in models that are classes like a user's own: ``module:Class`` by the word for ``--model``. Such a model
takes its options by ``--model-option``; its code is part of dreg, so that a run keeps no copy and no digest of it."""

OF_NETWORKS: Final = ("likelihood", "hidden", "latent_dim")
"""Settings of the built-in networks. In the spec of any other model they are None: such a model states its sizes as
options of its constructor, and its own distribution of the pixels."""


def is_network(word: object) -> bool:
    """Whether a model's word means one of the built-in networks of ``ModelName``."""
    return word in list(ModelName)


def short_name(word: str) -> str:
    """Return a model's word as part of a run's name: ``my_model.py:ConvVae`` becomes ``conv-vae``."""
    name = word.rpartition(":")[2].replace("_", "-")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
