"""What ``dreg bias-check`` was asked for."""

from dataclasses import dataclass
from typing import Any, ClassVar

from dregcli.app.planning.executing import Shape
from dregcli.defaults import DETECT, DIAGNOSED_EXAMPLES, FALSE_ALARM, MAX_BATCHES
from dregcli.engine.diagnostics.bias_check import number_faults
from dregcli.errors import Fault
from dregcli.names import Backward
from dregcli.specs.execution import AUTO, DEFAULT_INFLATION, DEFAULT_PRECISION, ExecutionSpec, chunk_faults
from dregcli.specs.resolve import flag, spec_faults


@dataclass(frozen=True)
class BiasRequest:
    """A request to check estimators.

    Attributes:
        command: the command that asks.
        run: whose model, a name or a version; None trains one first.
        dataset: of a model that is trained first; None is the embedded one.
        task: of a model that is trained first; None is generative.
        capture: what the run of a model that is trained first keeps of changes to the source; None is names.
        objective: of estimators named alone; None is the run's, or iwae.
        estimators: names, pairs or ``all``; none is the run's, or dreg.
        k: samples per example; None is the run's, or 64.
        checkpoint: last, best or a step.
        examples: training examples, drawn by the seed and then fixed.
        seed: addresses examples, pixels and noise.
        false_alarm: the probability of calling any unbiased pair biased, over the whole call.
        detect: the relative bias that a verdict of unbiased must have been able to find.
        max_batches: batches at most.
        max_seconds: seconds of this process at most.
        device: auto, cpu or cuda.
        backward: how the gradients of the pairs are computed; those they are compared with are dense.
        screen_inflation: of screened; None is the default.
        screen_precision: of screened; None is the default.
        k_chunk: samples at once, or auto.
    """

    command: ClassVar[str] = "bias-check"
    run: str | None = None
    dataset: str | None = None
    task: str | None = None
    capture: str | None = None
    objective: str | None = None
    estimators: tuple[str, ...] = ()
    k: int | None = None
    checkpoint: str = "last"
    examples: int = DIAGNOSED_EXAMPLES
    seed: int = 0
    false_alarm: float = FALSE_ALARM
    detect: float = DETECT
    max_batches: int = MAX_BATCHES
    max_seconds: float | None = None
    device: str = "auto"
    backward: str = Backward.DENSE.value
    screen_inflation: float | None = None
    screen_precision: str | None = None
    k_chunk: int | str = AUTO

    def samples(self, of_run: int) -> tuple[int, ...]:
        """Samples per example that are looked at, the most first; ``of_run`` is what the run has, or a new one."""
        return (self.k if self.k is not None else of_run,)

    def training_samples(self, of_new: int) -> tuple[int, ...]:
        """Samples to train a model with, the first number that its pair can take."""
        return self.samples(of_new)

    def auto_chunk(self, shape: Shape, k: int) -> int | None:
        """What ``auto`` is for ``k_chunk``, here and now."""
        return shape.chunk(Backward(self.backward), k, self.examples)

    def faults(self) -> list[Fault]:
        """What cannot be, whatever the run."""
        wrong = {
            "k": (self.k is not None and self.k < 1, "must be at least 1"),
            "examples": (self.examples < 1, "must be at least 1"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
            "device": (self.device not in ("auto", "cpu", "cuda"), "must be auto, cpu or cuda"),
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
        return faults + [Fault(flag(fault.field), fault.message) for fault in numbers]

    def execution(self, k: int) -> dict[str, Any]:
        """How gradients are computed, as the fields of an ``ExecutionSpec``; ``k_chunk`` may still be auto."""
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
        """What cannot be of how gradients are computed, with K samples."""
        faults = chunk_faults(self.k_chunk)
        chunk = None if faults or self.k_chunk == AUTO or k < 1 else self.k_chunk
        return faults + spec_faults(self.execution(max(k, 1)) | {"k_chunk": chunk}, ExecutionSpec)
