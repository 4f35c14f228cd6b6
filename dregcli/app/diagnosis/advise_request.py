"""The options of ``dreg advise``, and their faults."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.planning.asked_pairs import ALL, AskedPair
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.machine import float64_faults
from dregcli.defaults import ADVICE_SECONDS
from dregcli.engine.diagnostics.references import Takes
from dregcli.engine.diagnostics.step_study import FEWEST_REPLICATES
from dregcli.errors import Fault
from dregcli.names import Backward
from dregcli.specs.execution import AUTO, ExecutionSpec
from dregcli.specs.number_lists import MOST_SAMPLES
from dregcli.specs.resolve import setting_faults, spec_faults

FACTOR: Final = 4
"""The numbers of samples beside K are K divided by this, and K times this."""

MOST_MEMORY: Final = 2**30
"""Bytes of memory of which a pass over all rows takes at most a quarter."""


@dataclass(frozen=True)
class AdviseRequest:
    """A request for advice.

    Attributes:
        command: the command that makes the request.
        run: the run whose model is measured, a name or a version; None trains a model first.
        k: samples per example; None means the run's.
        estimators: names, pairs or ``all``, to choose from.
        objective: the objective to stay with; None means the run's, or iwae.
        budget: seconds that the measurement may take, without the training of a model. It chooses the number of
            replicates, and whether other objectives are measured.
        replicates: number of replicates, in place of the one that the budget allows.
        seed: seed of batches, pixels and noise.
        checkpoint: last, best or a step.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: CPU threads for torch, or auto.
        k_chunk: samples that are computed at once, or auto.
        dataset: data set of a model that is trained first; None means the embedded one.
        task: task of a model that is trained first; None means generative.
        capture: which source changes the run of a model that is trained first keeps; None means names.
        code: what the user says about the code of the run's model, or the model to train first.
        examples: training examples from which an estimator learns its own parameters.
        prior_gradients: none; a learned prior's gradient is not measured.
    """

    command: ClassVar[str] = "advise"
    run: str | None = None
    k: int | None = None
    estimators: tuple[str, ...] = ()
    objective: str | None = None
    budget: float = ADVICE_SECONDS
    replicates: int | None = None
    seed: int = 0
    checkpoint: str = "last"
    device: str = "auto"
    threads: int | str = AUTO
    k_chunk: int | str = AUTO
    dataset: str | None = None
    task: str | None = None
    capture: str | None = None
    code: CodeRequest = AS_TRAINED
    examples: int = field(default=16, init=False)
    prior_gradients: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Choose from all estimators by default."""
        if not self.estimators:
            object.__setattr__(self, "estimators", (ALL,))

    def samples(self, of_run: int) -> tuple[int, ...]:
        """Return the number of samples."""
        return (self.k if self.k is not None else of_run,)

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """Return the number of samples for training a model: that of the advice."""
        return self.samples(of_new)

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        wrong = {
            "k": (self.k is not None and self.k < 1, "must be at least 1"),
            "budget": (
                not (math.isfinite(self.budget) and self.budget > 0.0),
                "must be a number of seconds above 0",
            ),
            "replicates": (
                self.replicates is not None and self.replicates < FEWEST_REPLICATES,
                f"must be at least {FEWEST_REPLICATES}",
            ),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
        }
        faults = setting_faults(device=self.device, threads=self.threads)
        faults += float64_faults("device", self.device, "variances are measured in", "--device cpu")
        return faults + [
            Fault(name, f"{why}, got {getattr(self, name)}.") for name, (is_so, why) in wrong.items() if is_so
        ]

    def pair_faults(self, pairs: Sequence[AskedPair], k: int, takes: Takes) -> list[Fault]:
        """Return no faults: every pair can be measured."""
        return []

    def ks(self, k: int) -> tuple[int, ...]:
        """Return the numbers of samples to measure, ascending: K and its neighbours."""
        return tuple(dict.fromkeys((max(1, k // FACTOR), k, min(k * FACTOR, MOST_SAMPLES))))

    def execution(self, k: int) -> dict[str, Any]:
        """Return the fields of an ``ExecutionSpec``: dense, because one pass then serves all pairs."""
        return {"k": k, "backward": Backward.DENSE.value, "k_chunk": self.k_chunk}

    def execution_faults(self, k: int) -> list[Fault]:
        """Return the faults of ``execution`` with K samples."""
        faults = setting_faults(k_chunk=self.k_chunk)
        chunk = None if faults or self.k_chunk == AUTO else self.k_chunk
        return faults + spec_faults(self.execution(max(k, 1)) | {"k_chunk": chunk}, ExecutionSpec)

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """Decide ``auto`` for ``k_chunk``."""
        return shape.chunk(Backward.DENSE, k, self.examples, most=MOST_MEMORY)
