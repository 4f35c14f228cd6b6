"""How a run's gradients are computed: every ``auto`` decided, and what the engine needs to know of it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from dregcli.app.planning.machine import (
    auto_chunk,
    auto_precision,
    cache_size,
    compile_pays,
    compile_saves,
    has_compiler,
    memory_at_hand,
)
from dregcli.data.dataset import Dataset
from dregcli.engine.execution import Execution
from dregcli.engine.likelihoods import LIKELIHOODS
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.words import parse_objective
from dregcli.errors import Fault, SpecError
from dregcli.names import Backward, LikelihoodName, Precision, Task
from dregcli.specs.execution import AUTO, ExecutionSpec, chunk_faults, compile_faults, with_screening
from dregcli.specs.run import RunSpec

OnOff = Literal["on", "off"]

_NO_COMPILER = "torch.compile finds no C++ compiler here: install g++ or clang++"


@dataclass(frozen=True)
class Decided:
    """Options with nothing left to decide.

    Attributes:
        options: by field of the spec.
        faults: in what was asked for.
        warnings: of what could not be had.
    """

    options: dict[str, Any]
    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Shape:
    """The size of a decoder's work.

    Attributes:
        outputs: of the decoder, for one row.
        widest: numbers for one row in its widest layer.
        device: where.
    """

    outputs: int
    widest: int
    device: str

    @classmethod
    def of(cls, options: Mapping[str, Any], dataset: Dataset) -> "Shape":
        """That of a run's options, as far as they are valid."""
        pixels = dataset.pixels
        if options.get("task", Task.GENERATIVE) != Task.GENERATIVE:  # the bottom rows; the larger part
            pixels = dataset.channels * (dataset.height - dataset.height // 2) * dataset.width
        outputs = pixels * LIKELIHOODS[LikelihoodName(options["likelihood"])].outputs_per_pixel
        hidden = options.get("hidden", RunSpec.model_fields["hidden"].default)
        return cls(outputs, max([outputs, *hidden]), options["device"])

    def evaluation_saves(self, *, examples: int, k: int, k_chunk: int | None) -> float:
        """Seconds that compilation saves of an evaluation, as ``decide_compile`` weighs them."""
        at_once = min(k, k_chunk or k) * EVALUATION_BATCH
        return compile_saves(rows=examples * k, rows_at_once=at_once, outputs=self.outputs, evaluating=True)

    def chunk(self, backward: Backward, k: int, batch_size: int, *, most: int | None = None) -> int | None:
        """What ``auto`` is for ``k_chunk``, here and now, with the memory at hand or with ``most`` bytes of it."""
        memory = memory_at_hand(self.device)
        return auto_chunk(
            backward=backward,
            k=k,
            batch_size=batch_size,
            outputs=self.widest,
            memory=memory if most is None else min(memory, most),
            cache=cache_size(self.device),
        )

    def evaluation_chunk(self, k: int) -> int | None:
        """What ``auto`` is for the evaluation of a split."""
        return self.chunk(Backward.SCREENED, k, EVALUATION_BATCH)


def decide_execution(options: Mapping[str, Any], dataset: Dataset | None) -> Decided:
    """A run's options with ``backward`` and all that belongs to it decided.

    Args:
        options: by field of the spec, the device resolved. What else is wrong with them is told elsewhere.
        dataset: the run's; None where it cannot be had.
    """
    known = dict(options)
    if known.get("backward") == AUTO:
        known["backward"] = _auto_backward(known)
    faults = chunk_faults(chunk := known.get("k_chunk", AUTO))
    word = known.get("compile", AUTO)
    shape = _shape(known, dataset)
    if shape and known["backward"] == Backward.SCREENED and known.get("screen_precision") is None:
        _, k, batch_size, _ = _numbers(known)
        known["screen_precision"] = auto_precision(outputs=k * batch_size * shape.outputs, device=shape.device).value
    known = with_screening(known)
    if faults:
        chunk = None
    if chunk == AUTO:
        backward, k, batch_size, _ = _numbers(known)
        chunk = shape.chunk(Backward(backward), k, batch_size) if shape else None
    known["k_chunk"] = None if chunk == known.get("k", _default("k")) else chunk
    seconds = 0.0
    if shape:
        _, k, batch_size, steps = _numbers(known)
        at_once = min(k, known["k_chunk"] or k) * batch_size
        seconds = compile_saves(rows=steps * k * batch_size, rows_at_once=at_once, outputs=shape.outputs)
    known["compile"], of_compile, warnings = decide_compile(word, seconds)
    return Decided(known, faults + of_compile, warnings)


def _auto_backward(options: Mapping[str, Any]) -> str:
    """Screened, but where weights are equal: then it would keep every row, and have looked at all of them before."""
    if any(options.get(key) is not None for key in ("screen_inflation", "screen_precision")):
        return Backward.SCREENED.value
    objective, k = options.get("objective", _default("objective")), options.get("k", _default("k"))
    with suppress(SpecError):  # told with the objective
        if type(k) is int and k >= 1 and isinstance(objective, str) and parse_objective(objective).is_linear(k):
            return Backward.DENSE.value
    return Backward.SCREENED.value


def decide_compile(word: object, seconds: float) -> tuple[OnOff, list[Fault], list[str]]:
    """Whether to compile.

    Args:
        word: as asked for: ``auto``, ``on`` or ``off``.
        seconds: what it would save.

    Returns:
        The answer, every fault, and a warning where it would pay and cannot be done.
    """
    if faults := compile_faults(word):
        return "off", faults, []
    if word == "off" or (word == AUTO and not compile_pays(seconds)):
        return "off", [], []
    if has_compiler():
        return "on", [], []
    if word == AUTO:
        cost = f"without one this takes about {seconds:,.0f} s longer."
        return "off", [], [f"{_NO_COMPILER}; {cost}"]
    return "off", [Fault("compile", f"{_NO_COMPILER}, or use --compile off.")], []


def _default(name: str) -> Any:  # noqa: ANN401 - of any field
    return RunSpec.model_fields[name].default


def _numbers(known: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    backward, k, batch_size = (known.get(key, _default(key)) for key in ("backward", "k", "batch_size"))
    return backward, k, batch_size, known.get("steps")


def _shape(known: Mapping[str, Any], dataset: Dataset | None) -> Shape | None:
    """The size of a run; None where a fault or missing data, told elsewhere, leaves it open."""
    backward, *numbers = _numbers(known)
    hidden = known.get("hidden", _default("hidden"))
    sizes: list[object] = [*numbers, *(cast("Sequence[object]", hidden) if isinstance(hidden, list | tuple) else [0])]
    valid = all(type(each) is int and each >= 1 for each in sizes) and backward in list(Backward)
    valid = valid and known.get("likelihood") in list(LikelihoodName)
    return Shape.of(known, dataset) if valid and dataset is not None else None


def execution_of(spec: ExecutionSpec) -> Execution:
    """What the engine needs to know of how gradients are computed."""
    if spec.screen_inflation is None or spec.screen_precision is None:  # dense
        return Execution(backward=spec.backward, k_chunk=spec.k_chunk)
    return Execution(
        backward=spec.backward,
        inflation=spec.screen_inflation,
        precision=spec.screen_precision,
        k_chunk=spec.k_chunk,
    )


def bound_computed(spec: RunSpec) -> str:
    """In what the bound of training's metrics is computed; every other bound is in float32."""
    return "bfloat16 with randomised correction" if spec.screen_precision is Precision.BFLOAT16 else "float32"
