"""Watch the torch functions that a user's program calls, to find the line where a fault begins."""

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dregcli.engine.checks.finding import Place

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


@dataclass(frozen=True)
class Call:
    """One call of a torch function.

    Attributes:
        name: name of the function.
        inputs: tensors that it took.
        outputs: tensors that it returned.
        place: line of the user's code that led to the call.
        draws: whether it drew random numbers.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    place: Place | None
    draws: bool


class Frames:
    """Finds the line of the user's code that is running.

    Args:
        module: the user's module. Files in the folder of its class are the user's.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names = {each: name for name, each in module.named_modules()}
        self._module = module
        try:
            self._folder = os.path.dirname(os.path.abspath(inspect.getfile(type(module)))) + os.sep
        except (TypeError, OSError):
            self._folder = None

    def place(self) -> Place | None:
        """Return the innermost line of the user's code, and the innermost submodule, that the caller runs in."""
        frame: FrameType | None = sys._getframe(1)
        submodule: str | None = None
        while frame is not None:
            owner = frame.f_locals.get("self")
            if submodule is None and isinstance(owner, nn.Module) and self._names.get(owner):
                submodule = f"{self._names[owner]} ({type(owner).__name__})"
            if self._is_users(frame, owner):
                return Place(frame.f_code.co_filename, frame.f_lineno, submodule)
            frame = frame.f_back
        return None

    def of_error(self, error: BaseException) -> Place | None:
        """Return the innermost line of the user's code that an exception passed."""
        found, trace = None, error.__traceback__
        while trace is not None:
            if self._is_users(trace.tb_frame, trace.tb_frame.f_locals.get("self")):
                found = Place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
            trace = trace.tb_next
        return found

    def _is_users(self, frame: FrameType, owner: object) -> bool:
        path = frame.f_code.co_filename
        if path.startswith(_PACKAGE):
            return owner is self._module  # a model that comes with the program
        return self._folder is not None and path.startswith(self._folder)


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
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - torch's own convention
        """Call the function, and record it."""
        before = torch.get_rng_state()
        found = func(*args, **(kwargs or {}))
        outputs = tuple(_tensors([found]))
        # A later call may change a tensor in place.
        outputs = tuple(each.detach() if not each.requires_grad else each for each in outputs)
        if outputs:
            draws = not torch.equal(before, torch.get_rng_state())
            name = getattr(func, "__name__", str(func))
            inputs = tuple(_tensors([*args, *(kwargs or {}).values()]))
            self.calls.append(Call(name, inputs, outputs, self._frames.place(), draws))
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
    inputs, outputs = ([each for each in some if each.is_floating_point()] for some in (call.inputs, call.outputs))
    return bool(outputs) and any(each.requires_grad for each in inputs) and not any(e.requires_grad for e in outputs)


def is_half(call: Call) -> bool:
    """Whether a call returns half precision."""
    return any(each.dtype in (torch.float16, torch.bfloat16) for each in call.outputs)


def breaks(call: Call) -> bool:
    """Whether a call returns a number that is not finite, although all its inputs are finite."""
    return not all(map(_is_finite, call.outputs)) and all(map(_is_finite, call.inputs))


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
