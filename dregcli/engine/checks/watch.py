"""Watch the torch functions that a user's program calls, to find the line where a fault begins."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dregcli.engine.checks.finding import Place
from dregcli.engine.programs import contract

_PACKAGE = __name__.partition(".")[0]
_NOT_ENGINE = (__name__, contract.__name__)
"""This module, and the helpers that a user's programs call."""

_TAKES_NUMBERS = ("item", "tolist", "numpy", "__float__", "__array__")
"""Functions that return numbers of a tensor, without its graph."""


@dataclass(frozen=True)
class Call:
    """One call of a torch function.

    Attributes:
        name: name of the function.
        inputs: tensors that it took.
        outputs: tensors that it returned.
        place: line of the user's code that led to the call.
        draws: whether it drew random numbers.
        is_engines: whether the engine made the call, for example to draw a sample.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    place: Place | None
    draws: bool
    is_engines: bool


class Frames:
    """Finds the line of the user's code that is running.

    Args:
        module: the user's module. Files in the folder of its class are the user's.
    """

    def __init__(self, module: nn.Module) -> None:
        named = cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
        self._names = {each: name for name, each in named}
        self._module = module
        try:
            self._folder = re.sub(r"[^\\/]*$", "", inspect.getfile(type(module)))
        except (TypeError, OSError):
            self._folder = None

    def place(self) -> Place | None:
        """Return the innermost line of the user's code, and the innermost submodule, that the caller runs in."""
        return self.place_and_maker()[0]

    def place_and_maker(self) -> tuple[Place | None, bool]:
        """Return ``place``, and whether the engine runs between this line and the caller."""
        frame = inspect.currentframe()
        submodule: str | None = None
        is_engines = False
        while frame is not None:
            owner = frame.f_locals.get("self")
            if submodule is None and isinstance(owner, nn.Module) and self._names.get(owner):
                submodule = f"{self._names[owner]} ({type(owner).__name__})"
            if self._is_users(frame, owner):
                return Place(frame.f_code.co_filename, frame.f_lineno, submodule), is_engines
            is_engines = is_engines or (_is_ours(frame) and frame.f_globals["__name__"] not in _NOT_ENGINE)
            frame = frame.f_back
        return None, is_engines

    def of_error(self, error: BaseException) -> Place | None:
        """Return the innermost line of the user's code that an exception passed."""
        found, trace = None, error.__traceback__
        while trace is not None:
            if self._is_users(trace.tb_frame, trace.tb_frame.f_locals.get("self")):
                found = Place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
            trace = trace.tb_next
        return found

    def _is_users(self, frame: FrameType, owner: object) -> bool:
        if _is_ours(frame):
            return owner is self._module  # a model that comes with the program
        return self._folder is not None and frame.f_code.co_filename.startswith(self._folder)


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of this program."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE


class Watch(TorchFunctionMode):
    """Records every call of a torch function inside the block.

    Args:
        frames: finds the user's lines.
    """

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._frames = frames

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's own convention
        """Call the function, and record it."""
        before = torch.get_rng_state()
        found = func(*args, **(kwargs or {}))
        outputs = tuple(_tensors([found]))
        # A later call may change a tensor in place.
        outputs = tuple(each.detach() if not each.requires_grad else each for each in outputs)
        name = getattr(func, "__name__", str(func))
        if outputs or name in _TAKES_NUMBERS:
            draws = not torch.equal(before, torch.get_rng_state())
            inputs = tuple(_tensors([*args, *(kwargs or {}).values()]))
            place, is_engines = self._frames.place_and_maker()
            self.calls.append(Call(name, inputs, outputs, place, draws, is_engines))
        return found


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from _tensors(cast("list[Any]", each))


def place_of(calls: Iterable[Call], is_wrong: Callable[[Call], bool]) -> Place | None:
    """Return the place of the first call that is wrong."""
    for call in calls:
        if is_wrong(call):
            if call.place is None:
                return None
            return replace(call.place, part=call.place.part or f"torch function {call.name}")
    return None


def is_detached(call: Call) -> bool:
    """Whether autograd's graph ends at a call: an input has one and the output, a number, has none."""
    if call.is_engines:
        return False
    if call.name in _TAKES_NUMBERS:
        return any(each.requires_grad for each in call.inputs)
    inputs, outputs = ([each for each in some if each.is_floating_point()] for some in (call.inputs, call.outputs))
    return bool(outputs) and any(each.requires_grad for each in inputs) and not any(e.requires_grad for e in outputs)


def is_half(call: Call) -> bool:
    """Whether a call returns half precision."""
    return any(each.dtype in (torch.float16, torch.bfloat16) for each in call.outputs)


def is_single(call: Call) -> bool:
    """Whether a call turns double precision into single precision. Constants may have any precision."""
    return any(each.dtype is torch.float64 for each in call.inputs) and any(
        each.dtype is torch.float32 for each in call.outputs
    )


def breaks(call: Call) -> bool:
    """Whether a call returns a number that is not finite, although all its inputs are finite."""
    return not all(map(_is_finite, call.outputs)) and all(map(_is_finite, call.inputs))


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
