"""The options of ``dreg variance``, and their faults."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.planning.asked_pairs import ALL, AskedPair
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.machine import float64_faults
from dregcli.defaults import DIAGNOSED_EXAMPLES, LEAST_REFERENCE_K, MODEL_KS, MODEL_REPLICATES, TOY_KS, TOY_REPLICATES
from dregcli.engine.diagnostics.measurement import GROUPS
from dregcli.engine.diagnostics.references import Takes, directions_of
from dregcli.engine.diagnostics.variance import FEWEST_REFERENCE, FEWEST_REPLICATES
from dregcli.engine.pairs import Pair
from dregcli.engine.prior_rule import kind_faults
from dregcli.errors import Fault
from dregcli.names import Backward
from dregcli.specs.execution import AUTO, ExecutionSpec
from dregcli.specs.number_lists import MOST_SAMPLES, parse_ks
from dregcli.specs.resolve import setting_faults, spec_faults

REFERENCE_SHARE = 8
"""Number of replicates per reference replicate: at a large K a few replicates have little noise."""

_MOST_MEMORY = 2**30
"""Bytes of memory of which a pass over all rows takes at most a quarter; moments of ten estimators need some, too."""


@dataclass(frozen=True)
class VarianceRequest:
    """A request to measure how gradients vary.

    Attributes:
        command: the command that makes the request.
        run: the run whose model is measured, a name or a version; None trains a model first, or means the toy.
        toy: whether to measure on the Gaussian toy instead of a model.
        k: numbers of samples separated by commas; None means the default of a model or of the toy.
        estimators: names, pairs or ``all``.
        objective: objective for estimators without one; None means the run's objective, or iwae.
        prior_gradients: kinds of the gradient of a learned prior; empty means all that the prior has.
        replicates: number of replicates R at each K; None means the default of a model or of the toy.
        examples: number of training examples, which are drawn by the seed and then fixed.
        seed: seed of examples, pixels and noise; for the toy, seed of all random numbers.
        checkpoint: last, best or a step.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: CPU threads for torch, or auto.
        k_chunk: samples that are computed at once, or auto.
        reference_k: samples of the reference gradient; None means 1,024, or the largest K if it is more, or the next
            number that the objectives allow.
        dataset: data set of a model that is trained first; None means the embedded one.
        task: task of a model that is trained first; None means generative.
        capture: which source changes the run of a model that is trained first keeps; None means names.
        out: the folder for results of the toy, which has no run; None means that they are not written.
        code: what the user says about the code of the run's model, or the model to train first.
    """

    command: ClassVar[str] = "variance"
    run: str | None = None
    toy: bool = False
    k: str | None = None
    estimators: tuple[str, ...] = ()
    objective: str | None = None
    prior_gradients: tuple[str, ...] = ()
    replicates: int | None = None
    examples: int = DIAGNOSED_EXAMPLES
    seed: int = 0
    checkpoint: str = "last"
    device: str = "auto"
    threads: int | str = AUTO
    k_chunk: int | str = AUTO
    reference_k: int | None = None
    dataset: str | None = None
    task: str | None = None
    capture: str | None = None
    out: str | None = None
    code: CodeRequest = AS_TRAINED
    _parsed: tuple[tuple[int, ...], list[Fault]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the numbers of samples once, and choose default estimators."""
        object.__setattr__(self, "_parsed", parse_ks(self.k if self.k is not None else self.default_ks))
        if not self.estimators:
            object.__setattr__(self, "estimators", (ALL, "rws/dreg") if self.toy and not self.objective else (ALL,))

    @property
    def default_ks(self) -> str:
        """The default numbers of samples, for a model or for the toy."""
        return TOY_KS if self.toy else MODEL_KS

    @property
    def ks(self) -> tuple[int, ...]:
        """The numbers of samples, ascending; words that are not valid numbers are left out."""
        return self._parsed[0]

    @property
    def count(self) -> int:
        """The number of replicates R."""
        if self.replicates is not None:
            return self.replicates
        return TOY_REPLICATES if self.toy else MODEL_REPLICATES

    @property
    def reference(self) -> int:
        """The number of samples of the reference."""
        return self.reference_k if self.reference_k is not None else max(LEAST_REFERENCE_K, *self.ks, 1)

    @property
    def reference_count(self) -> int:
        """The number of replicates of the reference."""
        return max(FEWEST_REFERENCE, self.count // REFERENCE_SHARE)

    def samples(self, of_run: int) -> tuple[int, ...]:
        """Return the numbers of samples, the largest first."""
        return tuple(reversed(self.ks)) or (of_run,)

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """Return the numbers of samples to try for training a model.

        The first is the number of every diagnosis, so that diagnoses share a trained model; the list follows.
        """
        return (of_new, *self.samples(of_new))

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        wrong = {
            "replicates": (
                self.count < FEWEST_REPLICATES,
                f"must be at least {FEWEST_REPLICATES}, 2 in {GROUPS} groups",
            ),
            "examples": (self.examples < 1, "must be at least 1"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
        }
        faults = [*self._parsed[1], *setting_faults(device=self.device, threads=self.threads)]
        faults += float64_faults("device", self.device, "variances are measured in", "--device cpu")
        faults += kind_faults(self.prior_gradients)
        faults += [Fault(name, f"{why}, got {getattr(self, name)}.") for name, (is_so, why) in wrong.items() if is_so]
        if self.reference < max(self.ks, default=1):
            most = max(self.ks, default=1)
            faults.append(Fault("reference-k", f"must be at least the largest K, {most}, got {self.reference}."))
        if self.reference > MOST_SAMPLES:
            faults.append(Fault("reference-k", f"must be at most {MOST_SAMPLES:,}, got {self.reference}."))
        if self.toy and self.run is not None:
            faults.append(Fault("toy", f"cannot be given with a run: leave --toy or '{self.run}' out."))
        if self.toy:
            faults += self._of_models()
        elif self.out is not None:
            faults.append(Fault("out", "only applies with --toy: results of a run are kept in the run."))
        return faults

    def _of_models(self) -> list[Fault]:
        """Return a fault for each given option that only a model has."""
        given: dict[str, object] = {
            "dataset": self.dataset,
            "task": self.task,
            "capture": self.capture,
            "prior-gradient": ",".join(self.prior_gradients),
            "checkpoint": self.checkpoint if self.checkpoint != "last" else None,
            "examples": self.examples if self.examples != DIAGNOSED_EXAMPLES else None,
            "k-chunk": self.k_chunk if self.k_chunk != AUTO else None,
            "model": self.code.model,
        }
        message = "does not apply to the toy: leave it out"
        found = [Fault(name, f"{message}, got '{word}'.") for name, word in given.items() if word]
        return found + ([Fault("trust-code", f"{message}.")] if self.code.trust else [])

    def reference_faults(self, pairs: list[Pair]) -> list[Fault]:
        """Return the faults of the reference pairs with the number of samples of the reference."""
        found = [fault for pair in pairs for fault in pair.faults(self.reference)]
        advice = f"got {self.reference}; give a valid --reference-k."
        return list(dict.fromkeys(Fault("reference-k", f"{each.message} {advice}") for each in found))

    def with_reference(self, pairs: Iterable[Pair]) -> "VarianceRequest":
        """Return the request with a default of ``reference_k`` that the objectives of some pairs allow."""
        if self.reference_k is not None:
            return self
        least, objectives = self.reference, {pair.objective for pair in pairs}
        valid = (k for k in range(least, 2 * least) if not any(each.faults(k) for each in objectives))
        return replace(self, reference_k=next(valid, least))

    def pair_faults(self, pairs: Sequence[AskedPair], k: int, takes: Takes) -> list[Fault]:
        """Return the faults of the reference of some pairs."""
        asked = [each.pair for each in pairs]
        whole = self.with_reference(asked)
        return whole.reference_faults(directions_of(asked, whole.reference, takes))

    def execution(self, k: int) -> dict[str, Any]:
        """Return the fields of an ``ExecutionSpec``: dense, because screening would add its own variance.

        The reference is computed in the same chunks, so that a chunk may be as large as its number of samples.
        """
        most = max(k, min(self.reference, MOST_SAMPLES))
        return {"k": most, "backward": Backward.DENSE.value, "k_chunk": self.k_chunk}

    def execution_faults(self, k: int) -> list[Fault]:
        """Return the faults of ``execution`` with K samples."""
        faults = setting_faults(k_chunk=self.k_chunk)
        chunk = None if faults or self.k_chunk == AUTO else self.k_chunk
        return faults + spec_faults(self.execution(max(k, 1)) | {"k_chunk": chunk}, ExecutionSpec)

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """Decide ``auto`` for ``k_chunk``; the reference has the largest number of samples."""
        return shape.chunk(Backward.DENSE, max(k, self.reference), self.examples, most=_MOST_MEMORY)
