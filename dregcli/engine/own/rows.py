"""The rows that a user's function computes, and what its log-densities must look like."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.errors import Fault, SpecError


@dataclass(frozen=True)
class RowChoice:
    """The rows that a call of log_joint computes. Call it with a tensor of examples, to take each row's example.

    Attributes:
        batch: number of examples, B.
        examples: the example of each chosen row, int64, (R,); None if every example has a row for each sample.
    """

    batch: int
    examples: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the example of each row, (R, ...), for a tensor (B, ...); without a choice of rows, x itself.

        Raises:
            SpecError: the tensor's first axis is not the examples.
        """
        if not x.ndim or x.shape[0] != self.batch:
            message = f"rows(x) takes a tensor of shape (B, ...) with B = {self.batch}, got {tuple(x.shape)}."
            message += " Leave out rows() for what all examples share."
            raise SpecError([Fault("log_joint", message)])
        # Indexing by a tensor has a gradient that is summed in one order on every device; index_select has not.
        return x if self.examples is None else x[self.examples]


DATA_OUTSIDE = "a second parameter is the rows; give data in the function itself: lambda z: log_joint(z, x)"
"""What to do about a function with parameters of its own."""


def with_rows(field: str, function: Callable[[Tensor, RowChoice], Any], z: Tensor, rows: RowChoice) -> Any:  # noqa: ANN401
    """Call a user's function with the rows.

    Raises:
        SpecError: it takes its second argument for something else.
    """
    try:
        return function(z, rows)
    except (TypeError, AttributeError) as error:
        if RowChoice.__name__ not in str(error):
            raise
        message = f"its second argument is the rows, to be called as rows(x), but it is used otherwise: {error}."
        raise SpecError([Fault(field, message)], hint=DATA_OUTSIDE) from error


def required_parameters(function: Callable[..., object]) -> int:
    """Return the number of positional parameters without a default; 1 if the signature does not say."""
    target: Any = getattr(function, "_orig_mod", function)  # below torch.compile
    if isinstance(target, nn.Module):
        target = target.forward
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is inspect.Parameter.empty for each in parameters)


def density_faults(field: str, call: str, found: Tensor, z: Tensor, shape: tuple[int, ...]) -> list[Fault]:
    """Return the reasons why the value of ``call`` cannot be the log-densities of samples z, one per (K, B) entry."""
    if not isinstance(found, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        return [Fault(field, f"{call} must return a tensor, got {type(found).__name__}.")]
    faults: list[Fault] = []
    if tuple(found.shape) != shape:
        message = (
            f"{call} must have shape (K, B) = {shape} for z of shape {tuple(z.shape)}, got {tuple(found.shape)}."
        )
        if tuple(found.shape[:2]) == shape:
            message += " Sum it over all axes after the first two."
        faults.append(Fault(field, message))
    if found.dtype not in (torch.float32, torch.float64):
        message = f"{call} must be float32 or float64, got {str(found.dtype).removeprefix('torch.')}."
        faults.append(Fault(field, f"{message} Leave autocast, or call .float(), before log-densities are summed."))
    return faults
