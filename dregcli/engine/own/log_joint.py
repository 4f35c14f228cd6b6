"""A user's log_joint: its two forms, and its values over all rows, in calls of some samples each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from dregcli.engine.own.prior import OwnPrior
from dregcli.engine.own.rows import DATA_OUTSIDE, RowChoice, density_faults, required_parameters, with_rows
from dregcli.engine.replay import Replay
from dregcli.errors import Fault, SpecError

LogJoint = Callable[[Tensor], Tensor] | Callable[[Tensor, RowChoice], Tensor]
"""Maps samples (K, B, ...), or rows of them (1, R, ...), to log p(x, z), shape (K, B) or (1, R), nats.

With a prior beside it, it returns log p(x | z)."""


@dataclass(frozen=True)
class Joint:
    """A user's log_joint of one or two parameters, behind one form.

    Attributes:
        function: what the user gave.
        takes_rows: whether it has a second parameter, the rows.
        prior: the prior, if the function returns log p(x | z) alone.
    """

    function: LogJoint
    takes_rows: bool
    prior: OwnPrior | None = None

    @classmethod
    def of(cls, function: LogJoint, prior: OwnPrior | None = None) -> "Joint":
        """Find out by its signature which form the user's function has.

        Raises:
            SpecError: it is no function of z, or of z and the rows.
        """
        if not callable(function):
            message = f"must be a function of samples z, got {type(function).__name__}."
            raise SpecError([Fault("log_joint", message)])
        if (count := required_parameters(function)) > 2:
            message = f"must be a function of samples z, or of z and rows, but it needs {count} arguments."
            raise SpecError([Fault("log_joint", message)], hint=DATA_OUTSIDE)
        return cls(function, count == 2, prior)

    def __call__(self, z: Tensor, rows: RowChoice) -> Tensor:
        """Return log p(x, z) of shape (K, B), nats.

        Raises:
            SpecError: the result has another shape or half precision.
        """
        # The prior is first, so that its random numbers can be drawn again without the likelihood.
        log_prior = None if self.prior is None else self.prior.log_p(z, rows)
        function = cast("Any", self.function)
        found = with_rows("log_joint", function, z, rows) if self.takes_rows else function(z)
        if faults := density_faults("log_joint", "log_joint(z)", found, z, tuple(z.shape[:2])):
            raise SpecError(faults)
        return found if log_prior is None else found + log_prior

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
