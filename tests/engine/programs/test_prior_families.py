"""Learned priors that can move with their parameters: expected gradients by quadrature, and why others cannot."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    HalfNormal,
    Independent,
    LogNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import AffineTransform, TanhTransform, Transform

from dregcli.engine import multi_sample_loss
from dregcli.engine.execution import Execution
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.programs.annealed import JoinedLatents, WhitenedProgram
from dregcli.engine.programs.contract import Draw, Given, LatentModel
from dregcli.engine.programs.program_model import ProgramModel
from tests.engine.programs.test_mixed_latents import _GivenBits
from tests.support.one_latent import Tempered, gaussian_of_two, of, off
from tests.support.prior_rules import RULES
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, SCORES
from tests.support.sweep import swept
from tests.support.two_layers import K, averaged, built, nodes, rows


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
    refusal = model.no_prior_path(_rule(rule))
    assert refusal is not None
    assert said in refusal


@swept("name", [name for name, (rule, _) in REFUSED.items() if rule == "blend"])
def test_what_has_no_blend_may_still_move(name: str) -> None:
    assert PATHS[name]().no_prior_path(_rule("joint")) is None


def test_a_prior_beside_a_discrete_latent_moves() -> None:
    assert SCORES["discrete and continuous"]().no_prior_path(_rule("joint")) is None


class _BitBelow(LatentModel):
    """A bit below a number: the bit's prior moves with the number's sample, as a likelihood does."""

    def __init__(self) -> None:
        super().__init__()
        self.bits: Tensor | None = None
        self.q = nn.Parameter(torch.tensor([0.2, -0.4, 0.3, 0.6], dtype=torch.float64))
        self.p = nn.Parameter(torch.tensor([0.1, -0.1, 0.4, 0.7], dtype=torch.float64))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        number = draw("number", gaussian_of_one(self.q, x[:, :1]))
        draw("bit", Independent(_GivenBits(self.q[2] + self.q[3] * number, self.bits), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        number, bit = z["number"], z["bit"]
        given("number", gaussian_of_one(self.p, number))
        given("bit", Independent(Bernoulli(logits=self.p[2] + self.p[3] * torch.sin(number)), 1))
        mean = torch.cat([0.5 * number + bit, 0.4 * torch.sin(number) - bit], -1)
        return Independent(Normal(mean, torch.full_like(mean, 1.5)), 1)


def gaussian_of_one(numbers: Tensor, like: Tensor) -> Distribution:
    return Independent(Normal(numbers[0].expand_as(like), numbers[1].exp().expand_as(like)), 1)


@pytest.mark.parametrize("rule", ["joint", "blend"])
def test_a_bit_whose_prior_depends_on_a_sample_that_moves(rule: str) -> None:
    module = _BitBelow()
    model = built(module)
    at = nodes(24).noise[::24, :1], nodes(24).probability.reshape(24, 24).sum(1)
    number = module.q[0] + module.q[1].exp() * at[0]
    chance = torch.sigmoid(module.q[2] + module.q[3] * number)[:, 0].detach()
    module.bits = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat_interleave(24).reshape(1, -1, 1)
    found = rows(model, at[0].repeat(2, 1).unsqueeze(0))
    probability = torch.cat([1.0 - chance, chance]) * at[1].repeat(2)
    gradients: list[Tensor] = []
    for each in (_rule(rule), None):
        weigh = PairWeigh((resolve_pair("iwae", "dreg", K),), learning=False, mixed=True, rules=(each,))
        weights = replace(averaged(weigh, found.log_w[0], probability), path=None, score=None, pathless=None)
        gradients.append(found.sums(weights).model[0]["p"])
    along, score = gradients
    assert float((along - score).norm() / score.norm()) < 1e-6
    assert float((along - score).norm()) > 0.0
    assert float(score[:2].abs().min()) > 0.01
    torch.testing.assert_close(along[2:], score[2:], rtol=1e-12, atol=0.0)


class _NoInverse(Transform):
    """A bend without an inverse, which a posterior may end in."""

    domain = codomain = constraints.real
    bijective = True
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return x + 0.5 * torch.sin(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (1.0 + 0.5 * torch.cos(x)).log()


class _OtherWay(Distribution):
    """A flow of some other package: its transform leads from the base's values to its own, not back as zuko's."""

    arg_constraints = {}  # noqa: RUF012 - as in torch
    has_rsample = True

    def __init__(self, numbers: Tensor) -> None:
        self.base = gaussian_of_two(torch.zeros_like(numbers))
        self.transform = AffineTransform(numbers[..., :2], numbers[..., 2:4].exp(), 1)
        super().__init__(event_shape=torch.Size((2,)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return TransformedDistribution(self.base, [self.transform]).log_prob(value)


def test_a_transform_of_unknown_direction_is_refused() -> None:
    """Taken the wrong way round it would give values equal to z, and a wrong gradient."""
    refusal = of(gaussian_of_two, _OtherWay).no_prior_path(_rule("joint"))
    assert refusal is not None
    assert "is neither" in refusal


def _half_without_stddev(numbers: Tensor) -> Distribution:
    """The first number has no mean, the second one a standard deviation."""
    df = torch.tensor([0.8, 5.0]).to(numbers)
    return Independent(StudentT(df, numbers[..., :2], numbers[..., 2:4].exp()), 1)


def test_a_number_of_q_without_a_standard_deviation_has_the_score_in_a_blend() -> None:
    """In ``multi_sample_loss`` too. Its share was NaN, and with it every gradient."""
    model = of(_half_without_stddev, gaussian_of_two)
    assert model.no_prior_path(_rule("blend")) is None
    x, pair = torch.tensor([[0.3, -0.6]], dtype=torch.float64), resolve_pair("iwae", "dreg", 4)
    draws = drawn(model, k=4, batch=1)
    steps = [Step(model, x, draws, Execution(), rule=rule) for rule in (_rule("blend"), None)]
    blend, score = (each.gradients(pair).model["numbers"] for each in steps)
    first, second = [0, 2], [1, 3]
    torch.testing.assert_close(blend[first], score[first], rtol=1e-10, atol=1e-10)
    assert blend[second].isfinite().all()
    assert (blend[second] - score[second]).norm() > 1e-3
    found: list[Tensor] = []
    for way in ("blend", "score"):
        torch.manual_seed(0)
        numbers, q = (torch.full((4,), 0.2, dtype=torch.float64, requires_grad=True) for _ in range(2))
        posterior = _half_without_stddev(q.expand(2, -1))
        loss, _ = multi_sample_loss(
            lambda z: -z.square().sum(-1), posterior, 4, prior=gaussian_of_two(numbers), prior_gradient=way
        )
        found.append(torch.autograd.grad(loss, numbers)[0])
    torch.testing.assert_close(found[0][first], found[1][first], rtol=1e-10, atol=1e-10)
    assert found[0].isfinite().all()
    assert (found[0][second] - found[1][second]).norm() > 1e-3


def test_a_gaussian_with_a_density_of_its_own_does_not_move() -> None:
    """Neither gradients nor annealing may take it for torch's Gaussian, which its samples say it is."""
    model = of(
        gaussian_of_two,
        lambda numbers: Independent(Tempered(numbers[..., :2], numbers[..., 2:4].exp()), 1),
    )
    for rule in ("joint", "blend"):
        refusal = model.no_prior_path(_rule(rule))
        assert refusal is not None
        assert "is neither a Gaussian" in refusal
    pixels = torch.zeros(1, 2, dtype=torch.float64)
    assert isinstance(model.annealed(pixels), JoinedLatents)
    assert isinstance(of(gaussian_of_two, gaussian_of_two).annealed(pixels), WhitenedProgram)


def test_a_posterior_that_cannot_be_undone_is_refused() -> None:
    model = of(lambda numbers: TransformedDistribution(gaussian_of_two(numbers), [_NoInverse()]), gaussian_of_two)
    refusal = model.no_prior_path(_rule("joint"))
    assert refusal is not None
    assert "cannot be undone" in refusal


def _rule(name: str) -> PriorRule:
    rule = RULES[name]
    assert rule is not None
    return rule
