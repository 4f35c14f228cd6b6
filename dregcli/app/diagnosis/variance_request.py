"""What ``dreg variance`` was asked for."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from dregcli.app.common.sample_counts import parse_ks
from dregcli.app.planning.asked_pairs import ALL
from dregcli.app.planning.executing import Shape
from dregcli.defaults import DIAGNOSED_EXAMPLES
from dregcli.engine.diagnostics.measurement import GROUPS
from dregcli.engine.diagnostics.variance import FEWEST_REFERENCE, FEWEST_REPLICATES
from dregcli.engine.pairs import Pair
from dregcli.errors import Fault
from dregcli.names import Backward
from dregcli.specs.execution import AUTO, ExecutionSpec, chunk_faults
from dregcli.specs.resolve import spec_faults

MODEL_KS, TOY_KS = "1,4,16,64", "4,16,64,256"
MODEL_REPLICATES, TOY_REPLICATES = 200, 4000
LEAST_REFERENCE_K = 1024
REFERENCE_SHARE = 8
"""Replicates for each one of the reference: at a large K a few have little noise left."""

_MOST_MEMORY = 2**30
"""Of which a pass over all rows takes a quarter at most: the moments of ten estimators need some, too."""


@dataclass(frozen=True)
class VarianceRequest:
    """A request to measure how gradients vary.

    Attributes:
        command: the command that asks.
        run: whose model, a name or a version; None trains one first, or is the toy.
        toy: the Gaussian toy instead of a model.
        k: numbers of samples with commas between; None is the default of a model or of the toy.
        estimators: names, pairs or ``all``.
        objective: of estimators named alone; None is the run's, or iwae.
        replicates: R, at each K; None is the default of a model or of the toy.
        examples: training examples, drawn by the seed and then fixed.
        seed: addresses examples, pixels and noise; of the toy all of it.
        checkpoint: last, best or a step.
        device: auto, cpu or cuda.
        k_chunk: samples at once, or auto.
        reference_k: samples of the reference gradient; None is 1,024, or the largest K if that is more.
        dataset: of a model that is trained first; None is the embedded one.
        task: of a model that is trained first; None is generative.
        capture: what the run of a model that is trained first keeps of changes to the source; None is names.
        out: the folder for results of the toy, which has no run; None keeps none.
    """

    command: ClassVar[str] = "variance"
    run: str | None = None
    toy: bool = False
    k: str | None = None
    estimators: tuple[str, ...] = ()
    objective: str | None = None
    replicates: int | None = None
    examples: int = DIAGNOSED_EXAMPLES
    seed: int = 0
    checkpoint: str = "last"
    device: str = "auto"
    k_chunk: int | str = AUTO
    reference_k: int | None = None
    dataset: str | None = None
    task: str | None = None
    capture: str | None = None
    out: str | None = None
    _parsed: tuple[tuple[int, ...], list[Fault]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Whole numbers of the text, once."""
        object.__setattr__(self, "_parsed", parse_ks(self.k if self.k is not None else self.default_ks))
        if not self.estimators:
            object.__setattr__(self, "estimators", (ALL, "rws/dreg") if self.toy and not self.objective else (ALL,))

    @property
    def default_ks(self) -> str:
        """Of a model or of the toy."""
        return TOY_KS if self.toy else MODEL_KS

    @property
    def ks(self) -> tuple[int, ...]:
        """The numbers of samples, ascending; what is no such number is left out."""
        return self._parsed[0]

    @property
    def count(self) -> int:
        """R."""
        if self.replicates is not None:
            return self.replicates
        return TOY_REPLICATES if self.toy else MODEL_REPLICATES

    @property
    def reference(self) -> int:
        """Samples of the reference."""
        return self.reference_k if self.reference_k is not None else max(LEAST_REFERENCE_K, *self.ks, 1)

    @property
    def reference_count(self) -> int:
        """Replicates of the reference."""
        return max(FEWEST_REFERENCE, self.count // REFERENCE_SHARE)

    def samples(self, of_run: int) -> tuple[int, ...]:
        """The numbers of samples, the most first."""
        return tuple(reversed(self.ks)) or (of_run,)

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """As any other model that is trained for a diagnosis, so that they can share it; or else one of the list."""
        return (of_new, *self.samples(of_new))

    def faults(self) -> list[Fault]:
        """What cannot be, whatever the run."""
        wrong = {
            "replicates": (
                self.count < FEWEST_REPLICATES,
                f"must be at least {FEWEST_REPLICATES}, 2 in {GROUPS} groups",
            ),
            "examples": (self.examples < 1, "must be at least 1"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
            "device": (self.device not in ("auto", "cpu", "cuda"), "must be auto, cpu or cuda"),
        }
        faults = [*self._parsed[1]]
        faults += [Fault(name, f"{why}, got {getattr(self, name)}.") for name, (is_so, why) in wrong.items() if is_so]
        if self.reference < max(self.ks, default=1):
            most = max(self.ks, default=1)
            faults.append(Fault("reference-k", f"must be at least the largest K, {most}, got {self.reference}."))
        if self.toy and self.run is not None:
            faults.append(Fault("toy", f"is no model of a run: leave --toy or '{self.run}' out."))
        if self.toy:
            given = (("dataset", self.dataset), ("task", self.task))
            faults += [
                Fault(name, f"is of a model: the toy has its own, got '{word}'.") for name, word in given if word
            ]
        elif self.out is not None:
            faults.append(Fault("out", "is for --toy: results of a run are kept in the run."))
        if self.toy and self.checkpoint != "last":
            faults.append(Fault("checkpoint", f"is one of a RUN: the toy has none, got '{self.checkpoint}'."))
        return faults

    def reference_faults(self, pairs: list[Pair]) -> list[Fault]:
        """Why some of the pairs that are the reference cannot be with so many samples."""
        found = [fault for pair in pairs for fault in pair.faults(self.reference)]
        advice = f"got {self.reference}; give a --reference-k that can be."
        return list(dict.fromkeys(Fault("reference-k", f"{each.message} {advice}") for each in found))

    def execution(self, k: int) -> dict[str, Any]:
        """Over all rows: what screening adds to the variance is not the estimators'."""
        return {"k": k, "backward": Backward.DENSE.value, "k_chunk": self.k_chunk}

    def execution_faults(self, k: int) -> list[Fault]:
        """What cannot be of how gradients are computed."""
        faults = chunk_faults(self.k_chunk)
        chunk = None if faults or self.k_chunk == AUTO else self.k_chunk
        return faults + spec_faults(self.execution(max(k, 1)) | {"k_chunk": chunk}, ExecutionSpec)

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """What ``auto`` is for ``k_chunk``: the reference has the most samples."""
        return shape.chunk(Backward.DENSE, max(k, self.reference), self.examples, most=_MOST_MEMORY)
