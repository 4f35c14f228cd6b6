"""How a step changes the parameters: optimizers, schedules of the learning rate, clipping, and averaged weights."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dregcli.engine.optimisation.adam import Adam
from dregcli.engine.optimisation.averaging import WeightAverage
from dregcli.engine.optimisation.by_name import Optimizer, OptimizerWord, parse_optimizer
from dregcli.engine.optimisation.schedules import Schedule, parse_schedule, warm_up_factor
from dregcli.engine.wide import widened
from dregcli.names import OptimizerName

__all__ = ["Adam", "Optimisation", "Optimizer", "OptimizerWord", "Updates", "parse_optimizer", "parse_schedule"]

RAW = "raw/"
"""Prefix of the names of the weights in training, which lie beside the state of an optimizer if the model's tensors
are averages."""


@dataclass(frozen=True)
class Optimisation:
    """How a run's steps change the parameters.

    Attributes:
        optimizer: optimizer with its options.
        schedule: schedule of the learning rate.
        lr_posterior: learning rate of the parameters that only the posterior has; None means the model's.
        warmup_steps: steps in which the learning rate rises to its scheduled value.
        steps: all steps of the run; only schedules that depend on it read it.
        grad_clip: largest Euclidean norm of all gradients together; None does not limit them.
        ema: decay of the average of the weights; None takes no average.
        kl_warmup: steps in which the weight of the objective's KL part rises from 0 to 1.
    """

    optimizer: OptimizerWord = field(default_factory=lambda: OptimizerWord(OptimizerName.ADAM, {}))
    schedule: Schedule = field(default_factory=Schedule)
    lr_posterior: float | None = None
    warmup_steps: int = 0
    steps: int = 1
    grad_clip: float | None = None
    ema: float | None = None
    kl_warmup: int = 0

    def kl_weight(self, step: int) -> float:
        """Return the weight of the objective's KL part in a step (from 0)."""
        return min(1.0, step / self.kl_warmup) if self.kl_warmup else 1.0

    @property
    def varies(self) -> bool:
        """Whether the learning rate changes during training."""
        return self.schedule != Schedule() or self.warmup_steps > 0

    def factor(self, steps_per_epoch: int) -> Callable[[int], float]:
        """Return the function that gives the learning rate of a step (from 0), relative to the given rate."""
        scheduled = self.schedule.factor(steps=self.steps, steps_per_epoch=steps_per_epoch)
        return lambda step: warm_up_factor(step, self.warmup_steps) * scheduled(step)


class Updates:
    """What happens to the parameters of a run after a step's gradients are known.

    What changes from step to step, and what a recorded step reads, lies in tensors, which ``set_step`` fills.

    Args:
        theta: the model's parameters by name; empty if they are frozen.
        phi: the posterior's parameters. One that is also in ``theta`` has the learning rate of the model.
        optimisation: how they change.
        lr: learning rate.
        steps_per_epoch: steps of one pass over the data.
        broken: flag on the device with one element; while it is 1, a step changes nothing.
    """

    def __init__(
        self,
        theta: Mapping[str, nn.Parameter],
        phi: Mapping[str, nn.Parameter],
        optimisation: Optimisation,
        *,
        lr: float,
        steps_per_epoch: int,
        broken: Tensor,
    ) -> None:
        every = {**theta, **phi}
        self._how = optimisation
        self._factor = optimisation.factor(steps_per_epoch)
        rates = {"lr": (lr, every)}
        if optimisation.lr_posterior is not None:
            of_posterior = {name: each for name, each in phi.items() if name not in theta}
            rates = {"lr": (lr, dict(theta)), "lr_posterior": (optimisation.lr_posterior, of_posterior)}
        self._rates = {name: rate for name, (rate, _) in rates.items()}
        self._parts = {
            name: optimisation.optimizer.build(group, self._rate(rate, broken), broken)
            for name, (rate, group) in rates.items()
            if group
        }
        self._average = None if optimisation.ema is None else WeightAverage(every, optimisation.ema, broken)

    def _rate(self, lr: float, broken: Tensor) -> float | Tensor:
        """Return a rate as its optimizer reads it. torch's fused step reads float32 on a GPU."""
        if not self._how.varies or not self._how.optimizer.can_be_recorded:
            return lr
        dtype = torch.float64 if broken.device.type == "cpu" else torch.float32
        return torch.full((), lr, dtype=dtype, device=broken.device)

    @property
    def averages(self) -> bool:
        """Whether evaluations use an average of the weights."""
        return self._average is not None

    @property
    def clips(self) -> bool:
        """Whether large gradients are made smaller."""
        return self._how.grad_clip is not None

    def rates(self, step: int) -> dict[str, float]:
        """Return the learning rates of a step (from 0) by the name of their option."""
        return {name: rate * self._factor(step) for name, rate in self._rates.items()}

    def set_step(self, step: int) -> None:
        """Prepare the step with this number (from 0)."""
        if self._how.varies:
            rates = self.rates(step)
            for name, part in self._parts.items():
                part.set_rate(rates[name])
        if self._average:
            self._average.set_step(step)

    @torch.no_grad()
    def clipped(self, gradients: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradients with a limited norm, and whether they were larger: 0 or 1, float64, shape (1,).

        As ``torch.nn.utils.clip_grad_norm_``, over all parameters together.
        """
        assert self._how.grad_clip is not None
        squares = widened(torch.stack([torch.linalg.vector_norm(each) for each in gradients.values()])).square_()
        norm = squares.sum().sqrt_()
        factor: Tensor = (self._how.grad_clip / (norm + 1e-6)).clamp(max=1.0)
        limited = {name: each * factor.to(each.dtype) for name, each in gradients.items()}
        return limited, (norm > self._how.grad_clip).double().reshape(1)

    def apply(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients."""
        for part in self._parts.values():
            part.step(gradients)
        if self._average:
            self._average.update()

    @contextmanager
    def evaluated(self) -> Generator[None]:
        """Let the model have the weights that evaluations use."""
        if self._average is None:
            yield
            return
        with self._average.in_place():
            yield

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the state of the optimizers as ``<parameter>/<name>``."""
        return {name: each for part in self._parts.values() for name, each in part.tensors().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a tensor is missing.
        """
        for part in self._parts.values():
            part.load(tensors)

    def read_average(self) -> None:
        """Take the model's weights as the average."""
        if self._average:
            self._average.read()
