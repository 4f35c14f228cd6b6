"""Which settings of the spec a model has: built-in models have some that other models do not have."""

import re
from collections.abc import Mapping
from typing import Any, Final

from dregcli.names import LikelihoodName, ModelName, PosteriorOrder, TopPrior
from dregcli.posteriors import Family

PROGRAMS: Final = {
    "conv": "dregcli.engine.programs.conv:ConvVae",
    "hierarchical": "dregcli.engine.programs.hierarchical:HierarchicalVae",
    "sbn": "dregcli.engine.programs.sbn:SigmoidBeliefNetwork",
}
"""The built-in models that are classes like a user's own: ``module:Class`` by the word for ``--model``. Such a model
takes its settings of ``SETTINGS`` and its other options, by ``--model-option``, as arguments of its constructor; its
code is part of dreg, so that a run keeps no copy and no digest of it."""

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    ModelName.VAE: {"likelihood": None, "hidden": (200, 200), "latent_dim": 50, "posterior": Family.DIAGONAL.value},
    ModelName.LINEAR_GAUSSIAN: {"likelihood": LikelihoodName.GAUSSIAN, "hidden": (), "latent_dim": 5},
    "hierarchical": {
        "likelihood": None,
        "hidden": ((200, 200), (100, 100)),
        "latent_dim": (100, 50),
        "posterior": Family.DIAGONAL.value,
        "posterior_order": PosteriorOrder.BOTTOM_UP,
        "top_prior": TopPrior.STANDARD,
    },
    "sbn": {"hidden": (), "latent_dim": (200, 200, 200)},
}
"""By the word of a model, its settings and their values if the user gives none; None follows from the data.

The form of ``latent_dim`` says whether a model has several stochastic layers: then ``latent_dim`` and ``hidden`` are
lists with one entry for each layer. A model that is not in this table has no such settings: it states its sizes as
options of its constructor, and its own distribution of the pixels.
"""

OF_MODELS: Final = tuple(dict.fromkeys(name for settings in SETTINGS.values() for name in settings))
"""All settings that only some models have. In the spec of any other model they are None."""


def is_network(word: object) -> bool:
    """Whether a model's word means one of the built-in networks of ``ModelName``."""
    return word in list(ModelName)


def settings_of(word: object) -> Mapping[str, Any]:
    """Return the settings that a model has, with the values that they have if the user gives none."""
    return SETTINGS.get(word, {}) if isinstance(word, str) else {}


def is_layered(word: object) -> bool:
    """Whether a built-in model has several stochastic layers, and lists of sizes."""
    return isinstance(settings_of(word).get("latent_dim"), tuple)


def models_with(setting: str) -> list[str]:
    """Return the words of the models that have a setting."""
    return [word for word, settings in SETTINGS.items() if setting in settings]


def split_models(text: str) -> list[str]:
    """Split words of models with commas between; a comma in the path of a file is part of its word."""
    words, begun = list[str](), list[str]()
    for part in text.split(","):
        word = part.strip()
        if ":" in part:
            words.append(",".join([*begun, part]).strip())
            begun = []
        elif word in SETTINGS or word in PROGRAMS:
            words += [*begun, word]
            begun = []
        else:
            begun.append(part)
    return [each.strip() for each in (*words, *begun) if each.strip()]


def short_name(word: str) -> str:
    """Return a model's word as part of a run's name: ``my_model.py:ConvVae`` becomes ``conv-vae``."""
    name = word.rpartition(":")[2].replace("_", "-")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
