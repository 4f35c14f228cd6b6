"""Who competes over a network's training step, and how each of them is started: our modes, and other codes' steps."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.process import share_cores
from tests.benchmarks.support.modes import mode_options
from tests.benchmarks.support.workers import Worker

HIDDEN, LATENT_DIM = (200, 200), 50

LABELS: Final = {
    "tfp-jax": "TFP on JAX, jitted",
    "hand-jax": "one backward pass on JAX, jitted",
    "two-backward": "plain torch, two losses",
    "hook": "plain torch, one backward pass",
    "dense": "dense",
    "dense-compiled": "dense, compiled",
    "screened": "screened float32",
    "screened-compiled": "screened float32, compiled",
    "linearised": "screened linearised",
    "linearised-compiled": "screened linearised, compiled",
    "bfloat16": "screened bfloat16",
    "bfloat16-compiled": "screened bfloat16, compiled",
    "tracked": "screened float32, ten estimators tracked",
}
"""Contestants as the pages call them."""

BASES: Final = ("tfp-jax", "hook", "two-backward", "dense")
"""Whose steps/s are 1: the first of these that takes part."""

JAX_PEERS: Final = {"tfp-jax": "tfp", "hand-jax": "hand"}


@dataclass(frozen=True)
class Network:
    """A model that contestants train.

    Attributes:
        options: of the run spec.
        modes: ours.
        torch_peers: steps of ``tests.benchmarks.peers.torch_steps``.
        jax_peers: steps of ``tests.benchmarks.peers.jax_steps``.
        train_steps: of the model that all start from.
    """

    options: dict[str, Any]
    modes: tuple[str, ...]
    torch_peers: tuple[str, ...]
    jax_peers: tuple[str, ...] = ()
    train_steps: int = 2000

    @property
    def contestants(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.modes, *self.torch_peers, *self.jax_peers)


NETWORKS: Final = {
    "mlp": Network(
        {"hidden": HIDDEN, "latent_dim": LATENT_DIM},
        tuple(name for name in LABELS if name not in (*JAX_PEERS, "two-backward", "hook")),
        ("two-backward", "hook"),
        tuple(JAX_PEERS),
    ),
    # Built in, and trained by the same code as any user's class: two programs, of which the engine knows nothing.
    "conv": Network({"model": "conv"}, ("dense", "screened"), ("two-backward",), train_steps=150),
}
"""The paper's tanh networks, and a convolutional VAE."""


@dataclass(frozen=True)
class Problem:
    """What a step works on.

    Attributes:
        network: one of ``NETWORKS``.
        data_words: the words of the command line that say where the data are.
        settings: what ``--set`` gave, for our modes.
        peers_python: the interpreter of JAX's peers.
    """

    network: str
    dataset: str
    batch_size: int
    data_words: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    peers_python: str | None = None

    def train(self, file: Path, *, k: int, steps: int | None) -> dict[str, Any]:
        """Train the model that all start from; where it came to, and its steps."""
        count = NETWORKS[self.network].train_steps if steps is None else steps
        words = ["--file", str(file), "--options", json.dumps(self._options(k)), "--steps", str(count)]
        worker = Worker("training", "tests.benchmarks.support.start", [*words, *self.data_words])
        try:
            about = worker.ready()
            worker.end()
        finally:
            worker.abandon()
        return {**about, "steps": count}

    def start_of(self, name: str, k: int, file: Path) -> Callable[[], Worker]:
        """What starts a contestant's process, from the trained model in a file."""
        shapes = ["--start", str(file), "--k", str(k), "--batch-size", str(self.batch_size)]
        if name in NETWORKS[self.network].torch_peers:
            words = [name, *shapes, "--network", self.network]
            return partial(Worker, name, "tests.benchmarks.peers.torch_steps", words)
        if name in JAX_PEERS:
            assert self.peers_python
            words = [JAX_PEERS[name], *shapes]
            return partial(Worker, name, "tests.benchmarks.peers.jax_steps", words, self.peers_python)
        options = json.dumps(self._options(k) | mode_options(name, self.settings))
        words = ["--options", options, "--start", str(file), *self.data_words]
        # As in ``dreg train``: its threads wait for each other in this way.
        waiting = dict(os.environ)
        share_cores(waiting)
        return partial(Worker, name, "tests.benchmarks.support.our_worker", words, environment=waiting)

    def _options(self, k: int) -> dict[str, Any]:
        """Options of the run spec that all our contestants share."""
        sizes = {"k": k, "batch_size": self.batch_size}
        return {"dataset": self.dataset, "device": "cpu", **sizes, **NETWORKS[self.network].options}
