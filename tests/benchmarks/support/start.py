"""A trained model for all contestants to start from: how much screening saves depends on how far training is.

    python -m tests.benchmarks.support.start --file START.npz --options '{"dataset": "mnist", ...}' --steps 2000

The file holds the model's tensors under their own names, for peers of any make; and the training images beside them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from dregcli.data.folders import default_data_dir
from tests.benchmarks.support.command import run
from tests.benchmarks.support.serve import serve

IMAGES = "images"
"""Stored training values, uint8, (N, D)."""

LEVELS = "levels"
"""The stored value that means an intensity of 1."""


def load_model(trainer: Any, file: Path) -> None:
    """Put the trained tensors into a trainer's model."""
    import torch

    with np.load(file) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name not in (IMAGES, LEVELS)}
    trainer.model.load_state_dict(tensors)


def main() -> None:
    """Train, keep the file, tell where training came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--options", type=json.loads, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--data-dir", type=Path, default=None)
    asked = parser.parse_args()

    from dregcli.engine.device import prepare_process
    from dregcli.names import Split
    from tests.benchmarks.support.modes import make_plan, make_trainer

    prepare_process()
    plan = make_plan({**asked.options, "steps": max(1, asked.steps)}, asked.data_dir or default_data_dir())
    trainer = make_trainer(plan)
    row: dict[str, float] = {}
    for _ in range(asked.steps):
        trainer.advance()
        if trainer.step % plan.spec.log_every == 0:
            row = trainer.row()
    tensors = {name: tensor.cpu().numpy() for name, tensor in trainer.state().model.items()}
    images = np.asarray(plan.data.dataset.splits[Split.TRAIN])
    np.savez(asked.file, **{**tensors, IMAGES: images, LEVELS: np.float32(plan.data.dataset.levels)})
    about = {"bound": row.get("bound"), "ess": row.get("ess"), "k": plan.spec.k, "pixels": images[0].size}
    serve(lambda _: {}, about)


if __name__ == "__main__":
    run(main)
