"""Learned priors that can move with their parameters: expected gradients by quadrature, and why others cannot."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    HalfNormal,
    Independent,
    LogNormal,
    MultivariateNormal,
    StudentT,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import AffineTransform, TanhTransform, Transform

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.errors import SpecError
from tests.support.one_latent import gaussian_of_two, of, off
from tests.support.prior_rules import RULES
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.sweep import swept


def _full(numbers: Tensor) -> Distribution:
    zero = torch.zeros_like(numbers[..., 0])
    rows = [torch.stack([numbers[..., 2].exp(), zero], -1), torch.stack([numbers[..., 4], numbers[..., 3].exp()], -1)]
    return MultivariateNormal(numbers[..., :2], scale_tril=torch.stack(rows, -2))


class _Sinh(Transform):
    """sinh of every number."""

    domain = codomain = constraints.real
    bijective = True
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return torch.sinh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.asinh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cosh(x).log()


def _flow(numbers: Tensor) -> Distribution:
    """Affine maps with parameters on both sides of a bend."""
    steps = [_Sinh(), AffineTransform(numbers[..., 4:6], numbers[..., 6:8].exp(), 1)]
    return TransformedDistribution(gaussian_of_two(numbers), steps)


def _fixed_base(numbers: Tensor) -> Distribution:
    """The base is no Gaussian."""
    zero = torch.zeros(2).to(numbers)
    base = Independent(StudentT(zero + 6.0, zero, zero + 1.0), 1)
    return TransformedDistribution(base, [AffineTransform(numbers[..., :2], numbers[..., 2:4].exp(), 1)])


def _log_normal(numbers: Tensor) -> Distribution:
    return Independent(LogNormal(0.5 * numbers[..., :2], (numbers[..., 2:4] - 0.9).exp()), 1)


def _squashed(numbers: Tensor) -> Distribution:
    return TransformedDistribution(gaussian_of_two(0.7 * numbers), [TanhTransform(cache_size=1)])


def _half_normal(numbers: Tensor) -> Distribution:
    return Independent(HalfNormal(numbers[..., 2:4].exp()), 1)


MOVING: dict[str, tuple[Callable[[], ProgramModel], bool]] = {
    "Gaussian": (lambda: of(gaussian_of_two, gaussian_of_two), True),
    "Gaussian with a full covariance": (lambda: of(gaussian_of_two, _full), False),
    "q with a full covariance": (lambda: of(_full, gaussian_of_two), True),
    "transforms with parameters": (lambda: of(gaussian_of_two, _flow), False),
    "parameters in the transform alone": (lambda: of(gaussian_of_two, _fixed_base), False),
    "q ends in a transform without parameters": (lambda: of(_log_normal, _log_normal), False),
    "such a transform with a cache": (lambda: of(_squashed, _squashed), False),
    "q has transforms with parameters": (lambda: of(_flow, _flow), False),
}
"""Models, and whether a blend is possible."""


@swept("name", MOVING)
def test_they_have_the_scores_expected_gradient(name: str) -> None:
    build, has_blend = MOVING[name]
    model = build()
    rules = {rule: RULES[rule] for rule in ("joint", "blend")[: 1 + has_blend]}
    for rule in rules.values():
        assert rule is not None
        assert model.no_prior_path(rule) is None
        assert off(model, rule) < 2e-4
        assert off(model, rule, square=False) > 1e-2


REFUSED = {
    "mixture of Gaussians as prior": (
        "joint",
        "(MixtureSameFamily) is neither a Gaussian nor an",
    ),
    "VampPrior": ("joint", "(MixtureSameFamily) is neither"),
    "beta": ("joint", "(Beta) is neither"),
    "small conv": ("joint", "has no parameters to learn"),
    "shared matrix": ("joint", "has no parameters to learn"),
    "categorical": ("joint", "is discrete"),
    "lognormal": ("blend", "a blend needs a prior of 'z' that is a diagonal Gaussian"),
    "flow": ("blend", "the standard deviation of its q"),
}
"""Models of the zoo, a rule and what is said of it."""


@swept("name", REFUSED)
def test_others_are_refused_with_the_reason(name: str) -> None:
    rule, said = REFUSED[name]
    model = {**PATHS, **SCORES}[name]()
    x = pixels_of(model)
    with pytest.raises(SpecError) as error:
        Step(model, x, drawn(model, k=2, batch=len(x)), Execution(), rule=RULES[rule])
    (fault,) = error.value.faults
    assert said in fault.message
    assert "Use --prior-gradient score." in fault.message


@swept("name", [name for name, (rule, _) in REFUSED.items() if rule == "blend"])
def test_what_has_no_blend_may_still_move(name: str) -> None:
    assert PATHS[name]().no_prior_path(_joint()) is None


def test_a_prior_beside_a_discrete_latent_moves() -> None:
    assert SCORES["discrete and continuous"]().no_prior_path(_joint()) is None


class _NoInverse(Transform):
    """A bend without an inverse, which a posterior may end in."""

    domain = codomain = constraints.real
    bijective = True
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return x + 0.5 * torch.sin(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (1.0 + 0.5 * torch.cos(x)).log()


def test_a_posterior_that_cannot_be_undone_is_refused() -> None:
    model = of(lambda numbers: TransformedDistribution(gaussian_of_two(numbers), [_NoInverse()]), gaussian_of_two)
    refusal = model.no_prior_path(_joint())
    assert refusal is not None
    assert "cannot be undone" in refusal


def _joint() -> PriorRule:
    rule = RULES["joint"]
    assert rule is not None
    return rule
