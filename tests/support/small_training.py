"""A trainer of a small model in float32, on 20 binary examples, 4 steps an epoch."""

from typing import Any

import torch
from torch import Tensor

from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.execution import Execution
from dregcli.engine.models.base import Model
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import AsStored
from dregcli.engine.training import Trainer
from dregcli.names import Backward, Precision
from tests.support.exact import small_vae

K, BATCH = 4, 5
DENSE, SCREENED = Execution(), Execution(Backward.SCREENED)
HALF = Execution(Backward.SCREENED, precision=Precision.BFLOAT16)
STL, RWS = resolve_pair("iwae", "stl", K), resolve_pair("rws", "dreg", K)


def binary_examples() -> Tensor:
    """Shape (20, 12), float32."""
    return (torch.rand(20, 12, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def small_trainer(
    kind: type[Trainer] = Trainer,
    *,
    word: str = "dreg",
    start: Objective | str = "iwae",
    stored: Tensor | None = None,
    model: Model | None = None,
    **changes: Any,
) -> Trainer:
    """A trainer of a model, by default a small VAE, on stored values as they are; ``start`` is its objective."""
    settings: dict[str, Any] = {"k": K, "batch_size": BATCH, "lr": 0.01, "seed": 1, **changes}
    examples = ResidentExamples(binary_examples() if stored is None else stored)
    return kind(model or small_vae().float(), resolve_pair(start, word, K), examples, AsStored(1), **settings)


def trained_sha256(trainer: Trainer) -> str:
    """Of parameters and Adam's state as they lie there, without asking the trainer for its state."""
    adam = trainer.trained.updates.tensors()  # not the trainer's state, which would collect
    # Before the first step there is no state, and one of zeros is the same.
    adam = {name: each for name, each in adam.items() if each.any()}
    return tensors_sha256({**trainer.model.state_dict(), **adam, **trainer.trained.learned.tensors()})


def take(trainer: Trainer, steps: int) -> Trainer:
    """So many steps, and then their numbers."""
    for _ in range(steps):
        trainer.advance()
    trainer.collect()
    return trainer
