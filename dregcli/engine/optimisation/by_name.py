"""The optimizers of ``torch.optim``, as words such as ``adamw:weight_decay=0.05`` or ``sgd:momentum=0.9``."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn

from dregcli.engine.optimisation.adam import Adam, refuse_missing
from dregcli.errors import Fault, SpecError
from dregcli.names import OptimizerName
from dregcli.words import Value, read_word

_CLASSES: Final = {each.lower(): each for each in torch.optim.__all__}
_FUNCTIONAL: Final = (OptimizerName.ADAM, OptimizerName.ADAMW)
"""Optimizers whose step runs in one fused pass, which loads no compiler and which a GPU can record."""

_NOT_OPTIONS: Final = ("self", "params", "lr", "foreach", "maximize", "capturable", "differentiable", "fused")
"""Arguments of torch's classes that are no options of a word: the rate has options of its own, and the others change
how a step is computed."""


class Optimizer(Protocol):
    """What changes a group of parameters that share a learning rate."""

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that come next."""
        ...

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients, unless the flag of a broken step is set."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the state as ``<parameter>/<name>``; empty before the first step."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored."""
        ...


@dataclass(frozen=True)
class OptimizerWord:
    """An optimizer with its options.

    Attributes:
        name: the name of torch's class in small letters.
        options: the options that differ from torch's defaults, in torch's order; ``betas`` are ``beta1``, ``beta2``.
    """

    name: OptimizerName
    options: Mapping[str, Value]

    @property
    def word(self) -> str:
        """The word; parsing it gives an equal object."""
        values = [f"{name}={str(value).lower()}" for name, value in self.options.items()]
        return f"{self.name}:{','.join(values)}" if values else self.name.value

    @property
    def can_be_recorded(self) -> bool:
        """Whether a step on a GPU reads nothing on the host that changes, so that it can be recorded."""
        return self.name in _FUNCTIONAL

    @property
    def follows_rate(self) -> bool:
        """Whether a learning rate that changes during training changes the steps."""
        return self.name is not OptimizerName.RPROP  # its first step makes step sizes of the rate, which then adapt

    def build(self, parameters: Mapping[str, nn.Parameter], lr: float | Tensor, found_inf: Tensor) -> Optimizer:
        """Return the optimizer of a group of parameters.

        Args:
            parameters: parameters by name.
            lr: learning rate; a scalar tensor on the parameters' device if it changes and steps can be recorded.
            found_inf: flag with one element; while it is 1, a step changes nothing.
        """
        if self.name in _FUNCTIONAL:
            options: dict[str, Any] = {**_defaults(self.name), **self.options}
            decoupled = options.pop("decoupled_weight_decay", self.name is OptimizerName.ADAMW)
            return Adam(parameters, lr=lr, found_inf=found_inf, decoupled=decoupled, **options)
        made = self._class()(list(parameters.values()), float(lr), **self._arguments())
        return TorchOptimizer(parameters, made, found_inf)

    def faults(self) -> list[Fault]:
        """Return the faults of the options' values, for each option alone or as torch's class finds them."""
        found = [
            Fault("optimizer", f"parameter '{name}' of '{self.name}' must be {must_be}, got {value}.")
            for name, value in self.options.items()
            if (must_be := _must_be(name, value))
        ]
        # Only options that were given can be wrong. To ask a class of torch loads the compiler.
        if found or not self.options or self.name in _FUNCTIONAL:
            return found
        try:
            self._class()([nn.Parameter(torch.zeros(1))], **self._arguments())
        except ValueError as error:
            return [Fault("optimizer", f"{self.name}: {error}.")]
        return []

    def _class(self) -> Callable[..., torch.optim.Optimizer]:
        return getattr(torch.optim, _CLASSES[self.name])

    def _arguments(self) -> dict[str, Any]:
        """Return the options as torch's class takes them, tuples put together again."""
        found: dict[str, Any] = {}
        for name, default in _torch_defaults(self.name).items():
            if isinstance(default, tuple):
                parts = _parts(name, cast("tuple[float, ...]", default))
                found[name] = tuple(self.options.get(part, value) for part, value in parts.items())
            elif name in self.options:
                found[name] = self.options[name]
        return found


def _must_be(name: str, value: Value) -> str | None:
    """Return what the value of an option must be; None if it is."""
    if not math.isfinite(float(value)):
        return "a finite number"
    if name.startswith("beta"):
        return None if 0.0 <= float(value) < 1.0 else "at least 0 and less than 1"
    return None if float(value) >= 0.0 else "at least 0"


@cache
def _torch_defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(torch.optim, _CLASSES[name]).__init__).parameters
    return {key: each.default for key, each in parameters.items() if key not in _NOT_OPTIONS}


def _parts(name: str, values: tuple[float, ...]) -> dict[str, float]:
    """Return the members of a tuple as options of their own: ``betas`` gives ``beta1`` and ``beta2``."""
    return {f"{name.removesuffix('s')}{i}": value for i, value in enumerate(values, 1)}


@cache
def _defaults(name: str) -> dict[str, bool | float]:
    """Return the options of an optimizer, each with torch's default."""
    found: dict[str, bool | float] = {}
    for key, default in _torch_defaults(name).items():
        if isinstance(default, tuple):
            found |= _parts(key, cast("tuple[float, ...]", default))
        else:
            found[key] = default if isinstance(default, bool) else float(default)
    return found


def parse_optimizer(word: str) -> OptimizerWord:
    """Return the optimizer that a word names.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), it does not take these options, or torch
            refuses a value.
    """

    def kinds(name: str) -> dict[str, type]:
        return {key: bool if isinstance(value, bool) else float for key, value in _defaults(name).items()}

    name, values = read_word("optimizer", word, OptimizerName, kinds)
    options = {key: values.get(key, default) for key, default in _defaults(name).items()}
    found = OptimizerWord(
        OptimizerName(name), {key: value for key, value in options.items() if value != _defaults(name)[key]}
    )
    if faults := found.faults():
        raise SpecError(faults)
    return found


class TorchOptimizer:
    """An optimizer of ``torch.optim``, with its state as named tensors.

    A broken step changes nothing here either. On a GPU this needs no wait: the step is taken on the parameters and
    the state, and the old values are put back where the flag is set. Only the first step waits, since it makes the
    state.

    Args:
        parameters: parameters by name.
        optimizer: torch's optimizer of these parameters, in this order.
        found_inf: flag on the device with one element; while it is 1, a step changes nothing.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, found_inf: Tensor
    ) -> None:
        self._parameters = dict(parameters)
        self._optimizer = optimizer
        self._broken = found_inf
        self._begun = False

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that come next."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients; each parameter needs one.

        Raises:
            UsageError: a parameter has no gradient.
        """
        refuse_missing(self._parameters, gradients)
        waits = not self._begun or not self._broken.is_cuda
        if waits and self._broken.item():
            return
        self._begun = True
        changing = [] if waits else [*self._parameters.values(), *self._held().values()]
        kept = [each.detach().clone() for each in changing]
        for name, parameter in self._parameters.items():
            parameter.grad = gradients[name]
        self._optimizer.step()
        for parameter in self._parameters.values():
            parameter.grad = None
        for each, before in zip(changing, kept, strict=True):
            # Some of torch's state lies on the CPU, such as the counts of steps. A broken run takes no further step
            # that counts, so that they need not be put back.
            if each.is_cuda:
                each.copy_(torch.where(self._broken > 0.0, before, each))

    def _held(self) -> dict[str, Tensor]:
        """Return the state itself, as ``<parameter>/<name>``; what torch keeps as None is left out."""
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in cast("Mapping[str, Tensor | None]", self._optimizer.state[parameter]).items()
            if value is not None
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the state as ``<parameter>/<name>``; empty before the first step."""
        return {name: each.clone() for name, each in self._held().items()} if self._begun else {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored."""
        names = list(self._parameters)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            parameter, _, key = name.rpartition("/")
            if parameter in self._parameters:
                state.setdefault(names.index(parameter), {})[key] = tensor.clone()
        self._begun = bool(state)
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        # torch knows the device of every tensor of the state, but it gives some scalars another precision.
        for i, parameter in enumerate(self._parameters.values()):
            loaded = self._optimizer.state[parameter]
            loaded.update({key: each.to(loaded[key].device) for key, each in state.get(i, {}).items()})
