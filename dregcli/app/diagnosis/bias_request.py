"""The options of ``dreg bias-check``, and their faults."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.planning.asked_pairs import AskedPair
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.machine import float64_faults
from dregcli.defaults import DETECT, DIAGNOSED_EXAMPLES, FALSE_ALARM, MAX_BATCHES
from dregcli.engine.diagnostics.bias_check import number_faults
from dregcli.engine.diagnostics.references import Takes, comparison_of, without_reference
from dregcli.engine.prior_rule import kind_faults
from dregcli.errors import Fault
from dregcli.names import Backward
from dregcli.specs.execution import AUTO, DEFAULT_INFLATION, DEFAULT_PRECISION, ExecutionSpec
from dregcli.specs.resolve import flag, setting_faults, spec_faults


@dataclass(frozen=True)
class BiasRequest:
    """A request to check estimators.

    Attributes:
        command: the command that makes the request.
        run: the run whose model is checked, a name or a version; None trains a model first.
        dataset: data set of a model that is trained first; None means the embedded one.
        task: task of a model that is trained first; None means generative.
        capture: which source changes the run of a model that is trained first keeps; None means names.
        objective: objective for estimators without one; None means the run's objective, or iwae.
        estimators: names, pairs or ``all``; empty means the run's estimator, or dreg.
        prior_gradient: kind of a learned prior's gradient to check, against the score; None means the run's.
        k: samples per example; None means the run's K, or 64.
        checkpoint: last, best or a step.
        examples: number of training examples, which are drawn by the seed and then fixed.
        seed: seed of examples, pixels and noise.
        false_alarm: probability, over the whole call, to report any unbiased pair as biased.
        detect: smallest relative bias that the check must be able to detect before it reports 'unbiased'.
        max_batches: largest number of batches.
        max_seconds: largest time of this process in seconds.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: CPU threads for torch, or auto.
        backward: how the gradients of the pairs are computed; the reference gradients are dense.
        screen_inflation: growth of the variance that screening may cause; None means the default.
        screen_precision: precision of screening's first pass; None means the default.
        k_chunk: samples that are computed at once, or auto.
        code: what the user says about the code of the run's model, or the model to train first.
    """

    command: ClassVar[str] = "bias-check"
    run: str | None = None
    dataset: str | None = None
    task: str | None = None
    capture: str | None = None
    objective: str | None = None
    estimators: tuple[str, ...] = ()
    prior_gradient: str | None = None
    k: int | None = None
    checkpoint: str = "last"
    examples: int = DIAGNOSED_EXAMPLES
    seed: int = 0
    false_alarm: float = FALSE_ALARM
    detect: float = DETECT
    max_batches: int = MAX_BATCHES
    max_seconds: float | None = None
    device: str = "auto"
    threads: int | str = AUTO
    backward: str = Backward.DENSE.value
    screen_inflation: float | None = None
    screen_precision: str | None = None
    k_chunk: int | str = AUTO
    code: CodeRequest = AS_TRAINED

    @property
    def prior_gradients(self) -> tuple[str, ...]:
        """The kind of a learned prior's gradient that the user asked for, if any."""
        return () if self.prior_gradient is None else (self.prior_gradient,)

    def samples(self, of_run: int) -> tuple[int, ...]:
        """Return the numbers of samples to examine, the largest first; ``of_run`` is the K of the run."""
        return (self.k if self.k is not None else of_run,)

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """Return the numbers of samples to try for training a model; the first valid one for its pair is used."""
        return self.samples(of_new)

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """Decide ``auto`` for ``k_chunk``, with the memory that is available now."""
        return shape.chunk(Backward(self.backward), k, self.examples)

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        wrong = {
            "k": (self.k is not None and self.k < 1, "must be at least 1"),
            "examples": (self.examples < 1, "must be at least 1"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
        }
        faults = [
            Fault(field, f"{why}, got {getattr(self, field)}.") for field, (is_so, why) in wrong.items() if is_so
        ]
        numbers = number_faults(
            false_alarm=self.false_alarm,
            detect=self.detect,
            max_batches=self.max_batches,
            max_seconds=self.max_seconds,
        )
        faults += [Fault(flag(fault.field), fault.message) for fault in numbers]
        faults += kind_faults(self.prior_gradients)
        faults += float64_faults("device", self.device, "the gradients of a check are compared in", "--device cpu")
        return faults + setting_faults(device=self.device, threads=self.threads)

    def pair_faults(self, pairs: Sequence[AskedPair], k: int, takes: Takes) -> list[Fault]:
        """Return a fault for each pair that has nothing to be compared with; those of ``all`` are left out."""
        found = {each: comparison_of(each.pair, k, takes) for each in pairs}
        some = any(of.pair != of.reference for of in found.values())
        alone = without_reference([of for each, of in found.items() if not (some and each.by_all)])
        return [Fault("estimator", why) for why in alone]

    def execution(self, k: int) -> dict[str, Any]:
        """Return the fields of an ``ExecutionSpec``; ``k_chunk`` may still be auto."""
        inflation, precision = self.screen_inflation, self.screen_precision
        if self.backward == Backward.SCREENED:
            inflation = DEFAULT_INFLATION if inflation is None else inflation
            precision = DEFAULT_PRECISION if precision is None else precision
        return {
            "k": k,
            "backward": self.backward,
            "screen_inflation": inflation,
            "screen_precision": precision,
            "k_chunk": self.k_chunk,
        }

    def execution_faults(self, k: int) -> list[Fault]:
        """Return the faults of ``execution`` with K samples."""
        faults = setting_faults(k_chunk=self.k_chunk)
        chunk = None if faults or self.k_chunk == AUTO or k < 1 else self.k_chunk
        return faults + spec_faults(self.execution(max(k, 1)) | {"k_chunk": chunk}, ExecutionSpec)
