"""Adam, with its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from dregcli.errors import UsageError

_STATE = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """torch's Adam with the reference's settings (0.9, 0.999, 1e-8), fused into one pass over the parameters.

    It calls torch's functional interface. torch's own class would load the compiler, which costs a process that
    compiles nothing one second and 100 MB. That class also inspects every parameter again at each step.

    Args:
        parameters: parameters by name.
        lr: learning rate.
        found_inf: flag on the device with one element; while it is 1, a step changes nothing.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, lr: float, found_inf: Tensor | None = None) -> None:
        self._parameters = dict(parameters)
        self._lr = lr
        self.found_inf = found_inf
        self._state: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients; each parameter needs one.

        Raises:
            UsageError: a parameter has no gradient.
        """
        if missing := self._parameters.keys() - gradients.keys():
            what = f"no gradient for {', '.join(sorted(missing))}."
            raise UsageError(what, where="Adam.step", hint="pass a gradient for every parameter")
        parameters: list[Tensor] = list(self._parameters.values())
        if not self._state:
            # As in torch's Adam, each parameter has its own step count, a float32 tensor.
            counts = [torch.zeros((), dtype=torch.float32, device=each.device) for each in parameters]
            first, second = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
            self._state = dict(zip(_STATE, (counts, first, second), strict=True))
        counts, first, second = self._state.values()
        adam(
            parameters,
            [gradients[name] for name in self._parameters],
            first,
            second,
            [],
            counts,
            fused=True,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the state as ``<parameter>/<name>``; empty before the first step."""
        return {
            f"{name}/{key}": each.clone()
            for key, tensors in self._state.items()
            for name, each in zip(self._parameters, tensors, strict=True)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned.

        Raises:
            KeyError: a tensor is missing.
        """
        self._state = {}
        if tensors:
            self._state = {
                key: [tensors[f"{name}/{key}"].to(each.device).clone() for name, each in self._parameters.items()]
                for key in _STATE
            }
