"""A user's log_joint: its two forms, and its values over all rows, in calls of some samples each."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from dregcli.engine.replay import Replay
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


LogJoint = Callable[[Tensor], Tensor] | Callable[[Tensor, RowChoice], Tensor]
"""Maps samples (K, B, ...), or rows of them (1, R, ...), to log p(x, z), shape (K, B) or (1, R), nats."""


@dataclass(frozen=True)
class Joint:
    """A user's log_joint of one or two parameters, behind one form.

    Attributes:
        function: what the user gave.
        takes_rows: whether it has a second parameter, the rows.
    """

    function: LogJoint
    takes_rows: bool

    @classmethod
    def of(cls, function: LogJoint) -> "Joint":
        """Find out by its signature which form the user's function has."""
        return cls(function, _required_parameters(function) == 2)

    def __call__(self, z: Tensor, rows: RowChoice) -> Tensor:
        """Return log p(x, z) of shape (K, B), nats.

        Raises:
            SpecError: the result has another shape or half precision.
        """
        function = cast("Any", self.function)
        found = function(z, rows) if self.takes_rows else function(z)
        if faults := density_faults("log_joint", "log_joint(z)", found, z, tuple(z.shape[:2])):
            raise SpecError(faults)
        return found

    def values(self, z: Tensor, k_chunk: int | None) -> Tensor:
        """Return log p of all rows, (K, B), nats, in calls of ``k_chunk`` samples; detached if there are several."""
        k, batch = z.shape[:2]
        every = RowChoice(batch)
        if k_chunk is None or k_chunk >= k:
            return self(z, every)
        whole: Tensor | None = None
        for first in range(0, k, k_chunk):
            part = self(z[first : first + k_chunk], every).detach()
            whole = part.new_empty(k, batch) if whole is None else whole
            whole[first : first + k_chunk] = part
        return cast("Tensor", whole)

    def first_pass(self, z: Tensor, k_chunk: int | None) -> tuple[Tensor, Replay]:
        """Return log p of all rows without a graph, and the state of the generators from which it was computed."""
        replay = Replay(z.device)
        try:
            with torch.no_grad():
                return self.values(z, k_chunk), replay
        except RuntimeError:  # It may need autograd itself, for example for a score.
            replay = Replay(z.device)
            with torch.enable_grad():
                leaf = z.detach().requires_grad_(z.is_floating_point())
                return self.values(leaf, k_chunk).detach(), replay


def _required_parameters(function: LogJoint) -> int:
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
