"""A user's two programs as the parts of ``multi_sample_loss``: joint posterior, likelihood and factors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine import multi_sample_loss
from dregcli.engine.own.prior import Factors
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.hierarchy_oracle import Named, normal_of


class Joint(Distribution):
    """q of all latents behind one another, with given numbers if they fit, and random ones otherwise.

    Args:
        own: the model.
        dead: whether a conditional takes its input without its gradient.
    """

    has_rsample = True

    def __init__(self, own: "OwnHierarchy", *, dead: bool = False) -> None:
        self.own, self.dead = own, dead
        super().__init__(torch.Size((len(own.x),)), torch.Size((own.width,)), validate_args=False)

    @property
    def stddev(self) -> Tensor:
        return self.own.stddev

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        found: Named = {}

        def draw(name: str, q: Distribution) -> Tensor:
            loc, scale = normal_of(q)
            given, shape = self.own.numbers[name], (*sample_shape, *self._batch_shape, loc.shape[-1])
            noise = (given - loc) / scale if tuple(given.shape) == shape else torch.randn(shape, dtype=loc.dtype)
            found[name] = loc + scale * noise.detach()
            return found[name]

        self.own.module.posterior(self.own.x, draw)
        return torch.cat(list(found.values()), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        found: list[Tensor] = []

        def draw(name: str, q: Distribution) -> Tensor:
            part = self.own.part(value, name)
            found.append(q.log_prob(part))
            return part.detach() if self.dead else part

        self.own.module.posterior(self.own.x, draw)
        return torch.stack(found).sum(0)


@dataclass
class OwnHierarchy:
    """The programs of a model, for given samples.

    Attributes:
        module: the user's module.
        x: examples, (B, ...).
        numbers: the samples by latent, in the order of drawing, (K, B, Z) each.
        stddev: what the posterior says of its standard deviation.
    """

    module: Any
    x: Tensor
    numbers: Named
    stddev: Tensor = field(default_factory=lambda: torch.zeros(()))

    @classmethod
    def of(cls, model: ProgramModel, pixels: Tensor, draws: Any) -> "OwnHierarchy":
        numbers = {name: each.detach() for name, each in model.draw(pixels, draws).values.items()}
        return cls(model.module, pixels.reshape(-1, *model.data.shape), numbers)

    @property
    def width(self) -> int:
        return sum(each.shape[-1] for each in self.numbers.values())

    def part(self, z: Tensor, name: str) -> Tensor:
        """A latent's part of joint samples."""
        widths = [each.shape[-1] for each in self.numbers.values()]
        index = list(self.numbers).index(name)
        first = sum(widths[:index])
        return z[..., first : first + widths[index]]

    def conditional_stddev(self) -> Tensor:
        """The standard deviation of each number given those before it, at the samples, (K, B, Z)."""
        found: list[Tensor] = []

        def draw(name: str, q: Distribution) -> Tensor:
            found.append(normal_of(q)[1].detach().expand(self.numbers[name].shape))
            return self.numbers[name]

        self.module.posterior(self.x, draw)
        return torch.cat(found, -1)

    def _run(self, z: Tensor, given: Callable[[str, Distribution], None]) -> Distribution:
        return self.module.model({name: self.part(z, name) for name in self.numbers}, given)

    def prior(self, z: Tensor) -> Factors:
        """The factors."""
        found: list[tuple[Distribution, Tensor]] = []
        self._run(z, lambda name, p: found.append((p, self.part(z, name))))
        return found

    def log_likelihood(self, z: Tensor, rows: RowChoice) -> Tensor:
        """log p(x | z)."""
        p = self._run(z, lambda _name, _p: None)
        return p.log_prob(rows(self.x).reshape(-1, *p.event_shape))

    def gradients(self, word: str, prior_gradient: str, *, dead: bool = False, **options: Any) -> Named:
        """The gradient of the loss by every parameter."""
        objective, estimator = word.split("/")
        k = len(next(iter(self.numbers.values())))
        given: dict[str, Any] = {"check": False, "prior": self.prior, "prior_gradient": prior_gradient, **options}
        loss, _ = multi_sample_loss(self.log_likelihood, Joint(self, dead=dead), k, objective, estimator, **given)
        named = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
        return dict(zip(named, found, strict=True))
