"""Adam, with its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from dregcli.errors import UsageError

_STATE = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """torch's Adam with the reference's settings (0.9, 0.999, 1e-8), fused into one pass over the parameters.

    By torch's functional interface: the class would load torch's compiler, which takes a second and 100 MB of a
    process that compiles nothing, and looks at every parameter anew at each step.

    Args:
        parameters: by name.
        lr: learning rate.
        found_inf: a flag on the device, of one element: while it is 1 a step changes nothing.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, lr: float, found_inf: Tensor | None = None) -> None:
        self._parameters = dict(parameters)
        self._lr = lr
        self.found_inf = found_inf
        self._state: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients, one for each parameter.

        Raises:
            UsageError: a parameter has none.
        """
        if missing := self._parameters.keys() - gradients.keys():
            what = f"no gradient for {', '.join(sorted(missing))}."
            raise UsageError(what, where="Adam.step", hint="give one for every parameter")
        parameters: list[Tensor] = list(self._parameters.values())
        if not self._state:
            # As torch's own: the count of steps is a float32 tensor of each parameter.
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
        """The state as ``<parameter>/<name>``, copied; empty before the first step."""
        return {
            f"{name}/{key}": each.clone()
            for key, tensors in self._state.items()
            for name, each in zip(self._parameters, tensors, strict=True)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave.

        Raises:
            KeyError: a tensor is missing.
        """
        self._state = {}
        if tensors:
            self._state = {
                key: [tensors[f"{name}/{key}"].to(each.device).clone() for name, each in self._parameters.items()]
                for key in _STATE
            }
