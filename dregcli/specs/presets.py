"""Settings by name, and the defaults they override. Flag > config > preset > default."""

from typing import Any, Final

from dregcli.specs.execution import AUTO, DEFAULT_BACKWARD

DEFAULTS: Final[dict[str, Any]] = {
    "dataset": "digits",
    "steps": 2000,
    "device": AUTO,
    "backward": DEFAULT_BACKWARD,
    "k_chunk": AUTO,
    "compile": AUTO,
}

PRESETS: Final[dict[str, dict[str, Any]]] = {
    # The reference's setting, arXiv 1810.04152 and its code: evaluation every 10 passes over 50,000 images in
    # batches of 32. The code trains until it is stopped; 1,000,000 steps are 640 passes.
    "paper": {
        "dataset": "mnist",
        "objective": "iwae",
        "k": 64,
        "batch_size": 32,
        "lr": 3e-4,
        "hidden": (200, 200),
        "latent_dim": 50,
        "steps": 1_000_000,
        "eval_every": 15_620,
        "checkpoint_every": 15_620,
        "log_every": 100,
    },
}
