"""The training loop's engine: one step at a time, all of its state in tensors and plain numbers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.gradients import Gradients, assign, dense_gradients
from dregcli.engine.models.vae import Vae
from dregcli.engine.optimisation import adam_tensors, load_adam, make_adam
from dregcli.engine.pairs import Pair
from dregcli.engine.pixels import training_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import effective_sample_size, log_mean_exp
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

    def add(self, bound: float, value: float, ess: float, model_norm: float, posterior_norm: float) -> None:
        """Add one step's numbers."""
        self.count += 1
        self.bound += bound
        self.value += value
        self.ess += ess
        self.model_gradient_norm += model_norm
        self.posterior_gradient_norm += posterior_norm

    def means(self) -> dict[str, float]:
        """The mean of each number over the window."""
        return {key: value / self.count for key, value in vars(self).items() if key != "count"}


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of several tensors together, float64."""
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
    return norms.double().square().sum().sqrt()


@dataclass(frozen=True)
class TrainerState:
    """Everything a resumed run needs, as named tensors and plain numbers."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    window: dict[str, float]


class Trainer:
    """Trains a model, step by step.

    Args:
        model: the model, on its device.
        pair: objective and estimator.
        stored: uint8 training pixels, shape (N, D), on the model's device.
        levels: the stored value of intensity 1.
        k: samples per example.
        batch_size: examples per step, at most N.
        lr: Adam's learning rate.
        seed: addresses order, pixels and noise.
    """

    def __init__(
        self,
        model: Vae,
        pair: Pair,
        stored: Tensor,
        levels: int,
        *,
        k: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        self.model = model
        self.step = 0
        self.window = Window()
        self._pair = pair
        self._stored = stored
        self._levels = levels
        self._k = k
        self._batch_size = batch_size
        self._randomness = Randomness(seed, stored.device)
        self._theta = model.model_parameters()
        self._phi = model.posterior_parameters()
        self._parameters: dict[str, nn.Parameter] = {**self._theta, **self._phi}
        self._optimizer = make_adam(self._parameters, lr=lr)
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass; the last partial batch is dropped."""
        return self._stored.shape[0] // self._batch_size

    def _batch(self, step: int) -> Tensor:
        """Which examples step ``step`` (from 0) trains on, int64, shape (B,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order = self._randomness.permutation(Stream.ORDER, epoch, self._stored.shape[0])
            self._epoch = (epoch, order)
        return self._epoch[1][position * self._batch_size :][: self._batch_size]

    def advance(self) -> None:
        """Take one optimisation step.

        Raises:
            Diverged: the bound or a gradient is not finite. The parameters are as before the step.
        """
        indices = self._batch(self.step)
        pixels = training_pixels(self._stored[indices], self._levels, self._randomness, self.step)
        noise = self._randomness.normal(
            Stream.NOISE, self.step, k=self._k, batch=self._batch_size, width=self.model.latent_width
        )
        gradients = dense_gradients(self.model, pixels, noise, self._pair)
        self._record(gradients, indices)
        assign(self._theta, gradients.model)
        assign(self._phi, gradients.posterior)
        self._optimizer.step()
        self.step += 1

    def _record(self, gradients: Gradients, indices: Tensor) -> None:
        """Add the step to the window, or refuse it when anything is not finite."""
        log_w = gradients.log_w.double()
        bound = log_mean_exp(log_w)
        norms = [_norm(group.values()) for group in (gradients.model, gradients.posterior)]
        # One transfer for all the numbers of a step.
        means = [bound.mean(), gradients.value.mean(), effective_sample_size(log_w).mean()]
        numbers: list[float] = torch.stack([*means, *norms]).tolist()  # pyright: ignore[reportUnknownVariableType]
        if not all(map(math.isfinite, numbers)):
            raise self._diverged(bound, gradients, indices)
        self.window.add(*numbers)

    def _diverged(self, bound: Tensor, gradients: Gradients, indices: Tensor) -> Diverged:
        candidates: dict[str, Tensor] = {"the bound": bound, "the objective": gradients.value}
        candidates |= {
            f"the gradient of {name}": gradient
            for name, gradient in (*gradients.model.items(), *gradients.posterior.items())
        }
        broken = [name for name, tensor in candidates.items() if not torch.isfinite(tensor).all()]
        broken_examples = indices[~torch.isfinite(bound)]
        examples: list[int] = (broken_examples if len(broken_examples) else indices).tolist()  # pyright: ignore[reportUnknownVariableType]
        rest = f" (and {len(broken) - 1} more tensors)" if len(broken) > 1 else ""
        return Diverged(
            f"Training diverged: {broken[0] if broken else 'a gradient norm'} is not finite{rest}.",
            where=f"step {self.step + 1}, training examples {', '.join(map(str, examples))}",
            hint="use a smaller --lr, and start again or resume from the last good checkpoint",
        )

    def state(self) -> TrainerState:
        """The state after the last step, copied."""
        model = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        optimizer = adam_tensors(self._optimizer, self._parameters)
        return TrainerState(self.step, model, optimizer, dict(vars(self.window)))

    def load(
        self,
        step: int,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        window: Mapping[str, Any],
    ) -> None:
        """Continue from a state."""
        self.model.load_state_dict(dict(model))
        load_adam(self._optimizer, self._parameters, optimizer)
        self.step = step
        self.window = Window(**window)
