"""Numbers of a training step: what a row of metrics holds, and the error when they are not finite."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.gradients import Gradients
from dregcli.engine.wide import widened
from dregcli.errors import Diverged


@dataclass
class Window:
    """Sums over the steps since the last logged row. Kept in checkpoints, so that resuming loses no row."""

    count: int = 0
    bound: float = 0.0
    value: float = 0.0
    ess: float = 0.0
    model_gradient_norm: float = 0.0
    posterior_gradient_norm: float = 0.0
    clipped: float = 0.0

    def add(
        self,
        bound: float,
        value: float,
        ess: float,
        model_norm: float,
        posterior_norm: float,
        clipped: float = 0.0,
    ) -> None:
        """Add one step's numbers; ``clipped`` is 1 for a step whose gradient was made smaller."""
        self.count += 1
        self.bound += bound
        self.value += value
        self.ess += ess
        self.model_gradient_norm += model_norm
        self.posterior_gradient_norm += posterior_norm
        self.clipped += clipped

    def means(self) -> dict[str, float]:
        """The mean of each number over the window."""
        return {key: value / self.count for key, value in vars(self).items() if key != "count"}


LOGGED = 5
"""Count of a step's numbers that a window takes, without ``clipped``, which only clipped runs have."""


def norms(gradients: Gradients) -> Tensor:
    """Return the Euclidean norms of theta's and phi's gradients, shape (2,), float64; 0 for a frozen theta."""
    every = [*gradients.model.values(), *gradients.posterior.values()]
    squares = widened(torch.stack([torch.linalg.vector_norm(each) for each in every])).square_()
    count = len(gradients.model)
    return torch.stack([squares[:count].sum(), squares[count:].sum()]).sqrt_()


def diverged(step: int, named: Mapping[str, Tensor], indices: Tensor, bound: Tensor) -> Diverged:
    """Return the error that names the step, the non-finite tensors and the training examples."""
    broken = [name for name, tensor in named.items() if not torch.isfinite(tensor).all()]
    broken_examples = indices[~torch.isfinite(bound)]
    examples: list[int] = (broken_examples if len(broken_examples) else indices).tolist()  # pyright: ignore[reportUnknownVariableType]
    rest = f" (and {len(broken) - 1} more tensors)" if len(broken) > 1 else ""
    return Diverged(
        f"Training diverged: {broken[0] if broken else 'a gradient norm'} is not finite{rest}.",
        where=f"step {step}, training examples {', '.join(map(str, examples))}",
        hint="use a smaller --lr",
    )
