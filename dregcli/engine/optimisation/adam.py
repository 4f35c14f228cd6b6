"""Adam and AdamW in torch's functional form, with their state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from dregcli.errors import UsageError

_STATE = ("step", "exp_avg", "exp_avg_sq")
_MAXIMUM = "max_exp_avg_sq"


class Adam:
    """torch's Adam, by default with the reference's settings (0.9, 0.999, 1e-8), in one pass over the parameters.

    It calls torch's functional interface. torch's own class would load the compiler, which costs a process that
    compiles nothing one second and 100 MB. That class also inspects every parameter again at each step.

    Args:
        parameters: parameters by name.
        lr: learning rate; a scalar tensor on the parameters' device if the caller changes it between steps.
        found_inf: flag on the device with one element; while it is 1, a step changes nothing.
        decoupled: whether the weights decay apart from the gradient, as in AdamW.
        beta1, beta2, eps, weight_decay, amsgrad: options of ``torch.optim.Adam``.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: float | Tensor,
        found_inf: Tensor | None = None,
        decoupled: bool = False,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        self._parameters = dict(parameters)
        self._lr = lr
        self.found_inf = found_inf
        self._names = (*_STATE, *((_MAXIMUM,) if amsgrad else ()))
        self._decoupled = decoupled
        self._amsgrad = amsgrad
        self._betas = (beta1, beta2)
        self._eps = eps
        self._weight_decay = weight_decay
        self._state: dict[str, list[Tensor]] = {}

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that come next."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down these gradients; each parameter needs one.

        Raises:
            UsageError: a parameter has no gradient.
        """
        refuse_missing(self._parameters, gradients)
        # torch's fused step reads memory in its order, without regard to strides. So all that it gets is contiguous;
        # a parameter that is not, such as a convolution in channels_last, is stepped as a copy.
        parameters = [each.contiguous() for each in self._parameters.values()]
        if not self._state:
            # As in torch's Adam, each parameter has its own step count, a float32 tensor.
            counts = [torch.zeros((), dtype=torch.float32, device=each.device) for each in parameters]
            moments = ([torch.zeros_like(each) for each in parameters] for _ in self._names[1:])
            self._state = dict(zip(self._names, (counts, *moments), strict=True))
        counts, first, second, *maximum = self._state.values()
        adam(
            parameters,
            [gradients[name].contiguous() for name in self._parameters],
            first,
            second,
            maximum[0] if maximum else [],
            counts,
            fused=True,
            found_inf=self.found_inf,
            decoupled_weight_decay=self._decoupled,
            amsgrad=self._amsgrad,
            lr=self._lr,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=self._weight_decay,
            eps=self._eps,
            maximize=False,
        )
        for parameter, stepped in zip(self._parameters.values(), parameters, strict=True):
            if stepped is not parameter:
                parameter.copy_(stepped)

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the state as ``<parameter>/<name>``; empty before the first step."""
        return {
            f"{name}/{key}": each.clone()
            for key, tensors in self._state.items()
            for name, each in zip(self._parameters, tensors, strict=True)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a tensor is missing.
        """
        self._state = {}
        if tensors:
            self._state = {
                key: [tensors[f"{name}/{key}"].to(each.device).clone() for name, each in self._parameters.items()]
                for key in self._names
            }


def refuse_missing(parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]) -> None:
    """Check that every parameter has a gradient.

    Raises:
        UsageError: a parameter has no gradient.
    """
    if missing := parameters.keys() - gradients.keys():
        what = f"no gradient for {', '.join(sorted(missing))}."
        raise UsageError(what, where="a step of the optimizer", hint="pass a gradient for every parameter")
