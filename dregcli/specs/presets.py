"""Named settings. Precedence: option > config > preset > default."""

from pathlib import Path
from typing import Any, Final

from dregcli.errors import Fault
from dregcli.names import unknown
from dregcli.specs.config import read_config

PRESETS: Final[dict[str, dict[str, Any]]] = {
    # The reference's setting, arXiv 1810.04152 and its code: a checkpoint every 10 passes over 50,000 images in
    # batches of 32. The code trains until it is stopped; 1,000,000 steps are 640 passes. Unlike the code, the preset
    # leaves --eval-every open, so that a shorter training is evaluated in proportion.
    "paper": {
        "dataset": "mnist",
        "model": "vae",
        "objective": "iwae",
        "k": 64,
        "prior_gradient": "score",
        "batch_size": 32,
        "lr": 3e-4,
        "hidden": (200, 200),
        "latent_dim": 50,
        "steps": 1_000_000,
        "checkpoint_every": 15_620,
        "log_every": 100,
    },
}


def read_preset(word: str | None) -> tuple[dict[str, Any], list[Fault]]:
    """Return the options of a preset from ``PRESETS`` or from a user's file; no options if no preset is given.

    Args:
        word: the name of a preset, or the path of a file for ``read_config``.

    Returns:
        The options, and a fault if no such preset exists.

    Raises:
        UsageError: the file cannot be read, or holds no options.
    """
    if word is None:
        return {}, []
    if word in PRESETS:
        return PRESETS[word], []
    if Path(word).suffix in (".toml", ".json") or _is_file(word):
        return read_config(Path(word), "--preset"), []
    return {}, [Fault("preset", f"{unknown('preset', word, PRESETS)} Or give a TOML file of your own.")]


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # the word is too long for a file name
        return False
