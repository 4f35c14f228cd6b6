"""What a peer is asked on its command line: numpy alone, for interpreters without torch."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Asked:
    """Which step, and where it starts.

    Attributes:
        step: by its name.
        k: samples per example.
        batch_size: examples a step.
        network: which model.
        arrays: the model's tensors under their own names, and the images.
    """

    step: str
    k: int
    batch_size: int
    network: str
    arrays: dict[str, np.ndarray]


def asked_of(description: str | None, steps: Iterable[str], networks: Iterable[str] = ("mlp",)) -> Asked:
    """Parse the command line and load what it names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=list(steps))
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--network", choices=list(networks), default="mlp")
    found = parser.parse_args()
    with np.load(found.start) as file:
        return Asked(found.step, found.k, found.batch_size, found.network, dict(file))
