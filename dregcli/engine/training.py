"""The training loop's engine: one step at a time, all of its state in tensors and plain numbers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.examples import Examples
from dregcli.engine.gradients import Gradients, assign, dense_gradients
from dregcli.engine.learning import PREFIX, LearnedParameters
from dregcli.engine.models.base import LatentModel
from dregcli.engine.optimisation import adam_tensors, load_adam, make_adam
from dregcli.engine.pairs import Pair
from dregcli.engine.pixels import Pixels, training_pixels
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


def _diverged(step: int, named: Mapping[str, Tensor], indices: Tensor, bound: Tensor) -> Diverged:
    """The error that names the step, what is not finite, and the training examples it happened on."""
    broken = [name for name, tensor in named.items() if not torch.isfinite(tensor).all()]
    broken_examples = indices[~torch.isfinite(bound)]
    examples: list[int] = (broken_examples if len(broken_examples) else indices).tolist()  # pyright: ignore[reportUnknownVariableType]
    rest = f" (and {len(broken) - 1} more tensors)" if len(broken) > 1 else ""
    return Diverged(
        f"Training diverged: {broken[0] if broken else 'a gradient norm'} is not finite{rest}.",
        where=f"step {step}, training examples {', '.join(map(str, examples))}",
        hint="use a smaller --lr",
    )


@dataclass(frozen=True)
class TrainerState:
    """Everything a resumed run needs, as named tensors and plain numbers."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    window: dict[str, float]


class Trainer:
    """Trains a model, step by step, and what its estimator learns.

    Args:
        model: the model, on its device.
        pair: objective and estimator.
        examples: the training split, given on the model's device.
        pixels: how its stored values become pixels.
        k: samples per example.
        batch_size: examples per step, at most N.
        lr: Adam's learning rate.
        seed: addresses order, pixels and noise.
        train_model: False freezes theta; only the posterior is trained.
    """

    def __init__(
        self,
        model: LatentModel,
        pair: Pair,
        examples: Examples,
        pixels: Pixels,
        *,
        k: int,
        batch_size: int,
        lr: float,
        seed: int,
        train_model: bool = True,
    ) -> None:
        self.model = model
        self.step = 0
        self.window = Window()
        self.learned = LearnedParameters(pair, lr=lr)
        self._examples = examples
        self._pixels = pixels
        self._k = k
        self._batch_size = batch_size
        self._randomness = Randomness(seed, examples.device)
        self._theta = model.model_parameters() if train_model else {}
        self._phi = model.posterior_parameters()
        self._parameters: dict[str, nn.Parameter] = {**self._theta, **self._phi}
        self._optimizer = make_adam(self._parameters, lr=lr)
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass; the last partial batch is dropped."""
        return len(self._examples) // self._batch_size

    def _batch(self, step: int) -> Tensor:
        """Which examples step ``step`` (from 0) trains on, int64, shape (B,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order = self._randomness.permutation(Stream.ORDER, epoch, len(self._examples))
            self._epoch = (epoch, order)
        return self._epoch[1][position * self._batch_size :][: self._batch_size]

    def _drawn(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What step ``step`` (from 0) trains on: indices (B,), pixels (B, D), noise (K, B, Z)."""
        indices = self._batch(step)
        pixels = training_pixels(self._pixels, self._examples.rows(indices), self._randomness, step)
        noise = self._randomness.normal(
            Stream.NOISE, step, k=self._k, batch=self._batch_size, width=self.model.latent_width
        )
        return indices, pixels, noise

    def advance(self) -> None:
        """Take one optimisation step.

        Raises:
            Diverged: the bound or a gradient is not finite. The parameters are as before the step.
        """
        indices, pixels, noise = self._drawn(self.step)
        # Told before the step's work: rows that lie on the disk are brought while it runs.
        self._examples.expect(self._batch(self.step + 1))
        pair = self.learned.pair
        gradients = dense_gradients(self.model, pixels, noise, pair, train_model=bool(self._theta))
        slopes = self._record(gradients, indices)
        assign(self._theta, gradients.model)
        assign(self._phi, gradients.posterior)
        self._optimizer.step()
        # Last: parameters chosen by looking at these samples would bias the gradient made of them.
        self.learned.update(slopes)
        self.step += 1

    def _record(self, gradients: Gradients, indices: Tensor) -> dict[str, float]:
        """Add the step to the window, or refuse it when anything is not finite; the learned parameters' slopes."""
        log_w = gradients.log_w.double()
        bound = log_mean_exp(log_w)
        groups = (gradients.model, gradients.posterior)
        # Of a frozen theta there is no gradient, and its norm is 0.
        norms = [_norm(group.values()) if group else bound.new_zeros(()) for group in groups]
        means = [bound.mean(), gradients.value.mean(), effective_sample_size(log_w).mean()]
        # One transfer for all the numbers of a step.
        logged = [*means, *norms]
        numbers: list[float] = torch.stack([*logged, *gradients.learned.values()]).tolist()  # pyright: ignore[reportUnknownVariableType]
        if not all(map(math.isfinite, numbers)):
            named = {
                "the bound": bound,
                "the objective": gradients.value,
                **{f"the gradient of {name}": each for name, each in gradients.model.items()},
                **{f"the gradient of {name}": each for name, each in gradients.posterior.items()},
                **{f"the slope of the estimator's {name}": each for name, each in gradients.learned.items()},
            }
            raise _diverged(self.step + 1, named, indices, bound)
        self.window.add(*numbers[: len(logged)])
        return dict(zip(gradients.learned, numbers[len(logged) :], strict=True))

    def row(self) -> dict[str, float]:
        """The window's means, and the learned parameters' values as ``<estimator>.<name>``; a new window begins."""
        means = self.window.means()
        self.window = Window()
        if not self._theta:
            del means["model_gradient_norm"]
        name = self.learned.pair.estimator.name
        return means | {f"{name}.{each}": value for each, value in self.learned.values().items()}

    def check(self, state: TrainerState) -> None:
        """Prove that a state is good to continue from, at the cost of one forward pass.

        A step is refused when its own numbers are not finite, but whether the parameters it made are any good
        shows only in the next one: an update can be finite and ruin everything.

        Args:
            state: the trainer's state now.

        Raises:
            Diverged: a tensor of it, or the bound it gives on the next batch, is not finite.
        """
        indices, pixels, noise = self._drawn(self.step)
        with torch.no_grad():
            posterior = self.model.posterior(pixels)
            latents = posterior.rsample(noise)
            bound = log_mean_exp(self.model.log_joint(pixels, latents) - posterior.log_prob(latents))
        named = {
            **state.model,
            **{f"Adam's {name}": each for name, each in state.optimizer.items()},
            "the bound": bound,
        }
        if not all(torch.isfinite(tensor).all() for tensor in named.values()):
            raise _diverged(self.step, named, indices, bound)

    def state(self) -> TrainerState:
        """The state after the last step, copied."""
        model = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        optimizer = adam_tensors(self._optimizer, self._parameters) | self.learned.tensors()
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
        own = {name: tensor for name, tensor in optimizer.items() if not name.startswith(PREFIX)}
        load_adam(self._optimizer, self._parameters, own)
        self.learned.load(optimizer)
        self.step = step
        self.window = Window(**window)
