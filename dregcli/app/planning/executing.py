"""Decide how a run's gradients are computed: every ``auto``, and the settings of the engine."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from dregcli.app.common.ranks import linearises_on_ranks
from dregcli.app.planning.architectures import computes_in_blocks
from dregcli.app.planning.machine import (
    DENSE_ARRAYS,
    auto_backward,
    auto_chunk,
    auto_precision,
    cache_size,
    compile_pays,
    compile_saves,
    float64_faults,
    has_compiler,
    memory_at_hand,
)
from dregcli.data.dataset import Dataset
from dregcli.engine.device import rounds_in_blocks, using_threads
from dregcli.engine.execution import Execution
from dregcli.engine.likelihoods import LIKELIHOODS
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.words import parse_scheduled
from dregcli.errors import Fault, SpecError
from dregcli.names import Backward, LikelihoodName, Precision, Task
from dregcli.specs.execution import AUTO, ExecutionSpec, with_screening
from dregcli.specs.layers import Hidden, all_sizes
from dregcli.specs.options import OnOff, RunOptions
from dregcli.specs.resolve import setting_faults
from dregcli.specs.run import RunSpec

_NO_COMPILER = "torch.compile finds no C++ compiler on this machine: install g++ or clang++"


@dataclass(frozen=True)
class Decided:
    """How the gradients of a run are computed; every ``auto`` is decided.

    Attributes:
        backward: whether the backward pass uses all rows or only some.
        screen_inflation: growth of the variance that screening may cause; None without screening.
        screen_precision: precision of screening's first pass; None without screening.
        k_chunk: samples that are computed at once; None means all.
        compile: whether the likelihood is compiled.
    """

    backward: Backward
    screen_inflation: float | None
    screen_precision: Precision | None
    k_chunk: int | None
    compile: OnOff


@dataclass(frozen=True)
class Shape:
    """The size of a decoder's work.

    Attributes:
        outputs: numbers that the decoder gives for one row.
        widest: numbers for one row in its widest layer.
        device: the device of the work.
        in_blocks: whether log-weights are computed in blocks that fit a CPU's cache, which compiled code would not
            make faster; see ``computes_in_blocks``. Then pixels can be linearised, too.
    """

    outputs: int
    widest: int
    device: str
    in_blocks: bool = False

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        task: Task,
        likelihood: LikelihoodName | None,
        hidden: Hidden | None,
        device: str,
        widest: int = 0,
        in_blocks: bool = False,
    ) -> "Shape":
        """Return the size of the work on a data set.

        Args:
            dataset: the data set.
            task: the part of an image that is modelled.
            likelihood: the distribution of the pixels; None for a class of the user's own.
            hidden: sizes of the hidden layers; None for a class of the user's own.
            device: the device.
            widest: numbers for one row in the widest layer of a class of the user's own; see ``width_of``.
            in_blocks: whether log-weights are computed in blocks.
        """
        pixels = dataset.pixels
        if task is not Task.GENERATIVE:  # the bottom half; the larger part if the number of rows is odd
            pixels = dataset.channels * (dataset.height - dataset.height // 2) * dataset.width
        outputs = pixels * (LIKELIHOODS[likelihood].outputs_per_pixel if likelihood else 1)
        return cls(outputs, max([outputs, widest, *all_sizes(hidden or ())]), device, in_blocks)

    @classmethod
    def of_run(cls, spec: RunSpec, dataset: Dataset, model: Model | None = None) -> "Shape":
        """Return the size of a run's work; without its model, a class of the user's own counts as one layer."""
        return cls.of(
            dataset,
            task=spec.task,
            likelihood=spec.likelihood,
            hidden=spec.hidden,
            device=spec.device,
            widest=0 if model is None else width_of(model),
            in_blocks=computes_in_blocks(spec.model, spec.likelihood, spec.posterior, spec.device),
        )

    def evaluation_saves(self, *, examples: int, k: int, k_chunk: int | None) -> float:
        """Return the seconds that compilation saves in an evaluation, for ``decide_compile``."""
        if self.in_blocks:
            return 0.0
        at_once = min(k, k_chunk or k) * EVALUATION_BATCH
        return compile_saves(
            rows=examples * k, rows_at_once=at_once, outputs=self.outputs, device=self.device, evaluating=True
        )

    def chunk(self, backward: Backward, k: int, batch_size: int, *, most: int | None = None) -> int | None:
        """Decide ``auto`` for ``k_chunk``, with the memory that is available now, but at most ``most`` bytes."""
        memory = memory_at_hand(self.device)
        return auto_chunk(
            backward=backward,
            k=k,
            batch_size=batch_size,
            outputs=self.widest,
            memory=memory if most is None else min(memory, most),
            cache=cache_size(self.device),
            device=self.device,
        )

    def evaluation_chunk(self, k: int) -> int | None:
        """Decide ``auto`` for ``k_chunk`` in the evaluation of a split."""
        return self.chunk(Backward.SCREENED, k, EVALUATION_BATCH)


def width_of(model: Model) -> int:
    """Return the numbers for one row in the widest layer of a class of the user's own; 0 for a built-in network.

    If a backward pass keeps more than that of a network with such a layer, it is the width of a network that keeps as
    much.
    """
    return max(model.widest, model.kept // DENSE_ARRAYS) if isinstance(model, ProgramModel) else 0


def decide_execution(
    options: RunOptions, shape: Shape | None, *, steps: int, compiles: bool = True
) -> tuple[Decided, list[Fault], list[str]]:
    """Decide every ``auto`` of how a run's gradients are computed.

    Args:
        options: the options that the user gave.
        shape: the size of the work; None if a fault, which is reported elsewhere, leaves it open.
        steps: optimisation steps.
        compiles: whether the model's likelihood has anything to compile.

    Returns:
        The decisions, every fault of the options, and a warning if compilation would pay but is not possible.
    """
    backward = _auto_backward(options, shape) if options.backward == AUTO else options.backward
    k, batch_size = options.k, options.batch_size
    precision = options.screen_precision
    if shape and backward is Backward.SCREENED and precision is None:
        precision = auto_precision(
            outputs=k * batch_size * shape.outputs,
            device=shape.device,
            in_blocks=shape.in_blocks,
            # Not by the ranks themselves: with and without them, a command is the same experiment.
            linearises=shape.in_blocks and linearises_on_ranks(options.shard),
        )
    faults = _precision_faults(options.screen_precision, shape)
    inflation, precision = with_screening(backward, options.screen_inflation, precision)
    chunk = options.k_chunk
    if chunk == AUTO:
        chunk = shape.chunk(backward, k, batch_size) if shape else None
    chunk = None if chunk == k else chunk
    seconds = 0.0
    first_is_compiled = backward is Backward.DENSE
    if shape and precision is Precision.BFLOAT16:
        first_is_compiled = not rounds_in_blocks(shape.device)
    if shape and (first_is_compiled or not shape.in_blocks):
        at_once = min(k, chunk or k) * batch_size
        seconds = compile_saves(
            rows=steps * k * batch_size, rows_at_once=at_once, outputs=shape.outputs, device=shape.device
        )
    compiled, of_compile, warnings = decide_compile(options.compile if compiles else "off", seconds)
    faults += of_compile
    if shape and backward is Backward.SCREENED:
        faults += float64_faults("backward", shape.device, "rows are screened in", "--backward dense")
    return Decided(backward, inflation, precision, chunk, compiled), faults, warnings


def _precision_faults(precision: Precision | None, shape: Shape | None) -> list[Fault]:
    """Return a fault if the first pass cannot be as exact as the user asked for."""
    if shape is None or precision is not Precision.LINEARISED or shape.in_blocks:
        return []
    message = (
        f"'{precision}' is for --model vae with a diagonal posterior and --likelihood bernoulli, on a CPU. "
        f"Use --screen-precision {Precision.FLOAT32}."
    )
    return [Fault("screen-precision", message)]


def _auto_backward(options: RunOptions, shape: Shape | None) -> Backward:
    """Return the faster one; ``dense`` if all weights are equal, since screening would compute every row twice."""
    if options.screen_inflation is not None or options.screen_precision is not None:
        return Backward.SCREENED
    with suppress(SpecError):  # reported with the objective
        if all(each.is_linear(options.k) for each in parse_scheduled(options.objective).stages()):
            return Backward.DENSE
    if shape is None:
        return Backward.SCREENED
    return auto_backward(outputs=options.k * options.batch_size * shape.outputs, device=shape.device)


def decide_compile(word: object, seconds: float) -> tuple[OnOff, list[Fault], list[str]]:
    """Decide whether to compile.

    Args:
        word: the user's option: ``auto``, ``on`` or ``off``.
        seconds: time that compilation would save.

    Returns:
        The answer, every fault, and a warning if compilation would pay but is not possible.
    """
    if faults := setting_faults(compile=word):
        return "off", faults, []
    if word == "off" or (word == AUTO and not compile_pays(seconds)):
        return "off", [], []
    if has_compiler():
        return "on", [], []
    if word == AUTO:
        cost = f"without a compiler this takes about {seconds:,.0f} s longer."
        return "off", [], [f"{_NO_COMPILER}; {cost}"]
    return "off", [Fault("compile", f"{_NO_COMPILER}, or use --compile off.")], []


def with_threads(threads: int | str) -> AbstractContextManager[None]:
    """Let torch use the number of threads that the user gave inside the block.

    ``auto`` and a number with a fault, which is reported elsewhere, change nothing.
    """
    return using_threads(threads if isinstance(threads, int) and not setting_faults(threads=threads) else None)


def execution_of(spec: ExecutionSpec) -> Execution:
    """Return the engine's settings for how gradients are computed."""
    if spec.screen_inflation is None or spec.screen_precision is None:  # dense
        return Execution(backward=spec.backward, k_chunk=spec.k_chunk)
    return Execution(
        backward=spec.backward,
        inflation=spec.screen_inflation,
        precision=spec.screen_precision,
        k_chunk=spec.k_chunk,
    )


def bound_computed(spec: RunSpec) -> str:
    """Return how exact the bound in training's metrics is; every other bound is computed in float32."""
    precision = spec.screen_precision or Precision.FLOAT32
    return f"{precision}{'' if precision is Precision.FLOAT32 else ' with randomised correction'}"
