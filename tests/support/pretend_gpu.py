"""A GPU that this machine does not have: fake tensors, which have a device and no values.

Every operation is dispatched, and torch refuses those whose tensors are on different devices, as on a GPU. What needs
a real one is stubbed: generators draw nothing; a backward pass gives gradients of the right shapes after a look at
the devices of its seeds; and where the host asks for values, or where a shape depends on values, it gets some.
"""

import contextlib
from collections.abc import Generator, Sequence
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from dregcli.engine import tape

SOME = 3
"""Number of entries that a search in a tensor finds."""


class _Points:
    """Sobol points, which torch computes on the CPU."""

    def __init__(self, width: int) -> None:
        self._width = width

    def draw(self, k: int, *, dtype: torch.dtype) -> Tensor:
        return torch.ones(k, self._width, dtype=dtype)


class MixedDevices(AssertionError):
    """A backward pass begins on another device than the values that it is for."""


class _NoGenerator:
    """A generator that is given to nobody: with None, torch draws from its own."""

    def __init__(self, device: Any = None) -> None:
        self.device = device

    def manual_seed(self, seed: int) -> None:
        del seed


def _zeros(shape: Sequence[int]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0.0


def _found(mask: Tensor) -> tuple[Tensor, ...]:
    """All entries of a list, and some of a table."""
    if mask.dim() == 1:
        return (torch.arange(len(mask), device=mask.device),)
    return tuple(torch.zeros(SOME, dtype=torch.int64, device=mask.device) for _ in range(mask.dim()))


def _without_masks(index: Any) -> tuple[Any, ...]:
    """The places of a few entries in place of every mask."""
    parts: tuple[Any, ...] = cast("Any", index) if isinstance(index, tuple) else (index,)
    whole: list[Any] = []
    for part in parts:
        mask: Tensor | None = part if isinstance(part, Tensor) and part.dtype == torch.bool else None
        whole += [part] if mask is None else _found(mask)
    return tuple(whole)


class NoFloat64(AssertionError):
    """A tensor would be float64 on a device that is to have none."""


class _NoFloat64(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        leaves: list[Any] = tree_leaves(found)
        for each in leaves:
            if isinstance(each, Tensor) and each.device.type == "cuda" and each.dtype == torch.float64:
                message = f"{func} makes float64"
                raise NoFloat64(message)
        return found


class _Values(TorchFunctionMode):
    """Answers where the host asks for values: a search finds something, except what would be a fault."""

    def __init__(self) -> None:
        super().__init__()
        self._faults = WeakIdKeyDictionary()

    def _fault(self, tensor: Tensor) -> Tensor:
        self._faults[tensor] = True
        return tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        match name:
            case "item":
                return 0.0
            case "__float__":
                return 1.0
            case "__int__" | "__index__":
                return 1
            case "__bool__":
                return args[0] not in self._faults
            case "isnan" | "isinf":
                return self._fault(func(*args, **kwargs))
            case "any" if args and args[0] in self._faults:
                return self._fault(func(*args, **kwargs))
            case "equal" | "allclose":
                return True
            case "tolist":
                return _zeros(args[0].shape)
            case "nonzero":
                found = _found(args[0])
                return found if kwargs.get("as_tuple") else torch.stack(found, dim=1)
            case "__getitem__":
                return func(args[0], _without_masks(args[1]))
            case "__setitem__":
                return func(args[0], _without_masks(args[1]), args[2])
            case _:
                return func(*args, **kwargs)


def _gradients(
    outputs: Any, inputs: Any, grad_outputs: Any = None, *, is_grads_batched: bool = False, **_: Any
) -> tuple[Tensor, ...]:
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs or [])
    for out, seed in zip(outs, seeds, strict=False):
        if seed.device != out.device:
            message = f"a backward pass from {out.device} begins with numbers on {seed.device}"
            raise MixedDevices(message)
    batch = (len(seeds[0]),) if is_grads_batched else ()
    ends = [_metadata(each) if isinstance(each, GradientEdge) else each for each in ins]
    return tuple(torch.empty((*batch, *each.shape), dtype=each.dtype, device=each.device) for each in ends)


def _metadata(edge: GradientEdge) -> Any:
    """Return what has the shape, the type and the device of an edge's tensor."""
    node: Any = edge.node
    return node._input_metadata[edge.output_nr]


def _moved(module: nn.Module, device: torch.device | str) -> nn.Module:
    """Move what ``Module.to`` moves: parameters and buffers. It fails on fake tensors, whose device can be set."""
    for each in (*module.parameters(), *module.buffers()):
        assert isinstance(each, FakeTensor)
        each.fake_device = torch.ones((), device=device).device
    return module


def _with_deltas(inputs: Tensor, record: Any) -> Tensor:
    """Apply a taped layer, and give it the derivative that a backward pass would."""
    found = _APPLY(inputs, record)
    record.delta = torch.empty_like(found.detach())
    return found


_APPLY: Any = tape._TapedLinear.apply  # pyright: ignore[reportPrivateUsage]


def _with_slopes(inputs: Tensor, record: Any, likelihood: Any, pixels: Tensor) -> Tensor:
    """Apply a taped last layer with its likelihood, and give it the derivative that a backward pass would."""
    found = _APPLY_LIKELIHOOD(inputs, record, likelihood, pixels)
    record.delta = inputs.new_empty(*inputs.shape[:-1], record.layer.out_features).detach()
    record.times = torch.ones_like(found.detach())
    return found


_APPLY_LIKELIHOOD: Any = tape._TapedLikelihood.apply  # pyright: ignore[reportPrivateUsage]


def _itself(module: nn.Module) -> nn.Module:
    return module


def _nothing(*_: Any) -> None:
    return None


def _no_context(**_: Any) -> contextlib.nullcontext[None]:
    return contextlib.nullcontext()


def _draws_nothing(*_: Any) -> tuple[bool, bool]:
    return False, False


_STUBS: dict[str, Any] = {
    "torch.Generator": _NoGenerator,
    "torch.autograd.grad": _gradients,
    "torch.nn.Module.to": _moved,
    "torch.nn.Module.double": _itself,
    "torch.random.fork_rng": _no_context,
    "dregcli.engine.tape._TapedLinear.apply": _with_deltas,
    "dregcli.engine.tape._TapedLikelihood.apply": _with_slopes,
    "dregcli.engine.captured.MovedRandomness.move": _nothing,
    "dregcli.engine.programs.latents.seed_generators": _nothing,
    "dregcli.engine.programs.trial._draws_itself": _draws_nothing,
    "dregcli.engine.quasi.SobolEngine": _Points,
}


@contextlib.contextmanager
def pretend(*, float64: bool = True) -> Generator[torch.device]:
    """Let a GPU be there inside the block; models and data are made inside too.

    Args:
        float64: whether it has float64. Torch for Linux refuses even fake tensors of MPS, which does not.
    """
    with contextlib.ExitStack() as stack:
        for place, stub in _STUBS.items():
            stack.enter_context(patch(place, stub))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=False))
        if not float64:
            stack.enter_context(patch("dregcli.engine.wide.WITHOUT", {"cuda"}))
            stack.enter_context(_NoFloat64())
        stack.enter_context(_Values())
        yield torch.ones((), device="cuda").device
