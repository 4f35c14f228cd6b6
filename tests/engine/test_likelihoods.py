"""Likelihoods against torch's distributions and direct evaluation in float64: values, gradients, masses, extremes."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine.likelihoods import LIKELIHOODS, Likelihood, make_likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.likelihoods.discretised_logistic import DiscretisedLogistic
from dregcli.engine.likelihoods.gaussian import Gaussian
from dregcli.names import LikelihoodName
from tests.support.exact import LEVELS, naive_log_likelihood

K, B = 4, 3


def _made(name: LikelihoodName, width: int, levels: int = LEVELS) -> Likelihood:
    return make_likelihood(name, spread=torch.linspace(0.2, 1.3, width, dtype=torch.float64), levels=levels)


def _inputs(likelihood: Likelihood, width: int, *, size: float = 1.0) -> tuple[Tensor, Tensor]:
    """Outputs (K, B, ...) and pixels (B, D) with both edges among them, float64."""
    generator = torch.Generator().manual_seed(width)
    outputs = torch.randn(K, B, likelihood.outputs_per_pixel * width, generator=generator, dtype=torch.float64)
    pixels = torch.randint(0, LEVELS + 1, (B, width), generator=generator) / LEVELS
    pixels[0, 0], pixels[-1, -1] = 0.0, 1.0
    return size * outputs, pixels.double()


def test_every_name_has_its_likelihood() -> None:
    assert list(LIKELIHOODS) == list(LikelihoodName)
    for name, kind in LIKELIHOODS.items():
        assert type(_made(name, 3)) is kind


@pytest.mark.parametrize("width", [1, 7, 64, 784])
@pytest.mark.parametrize("name", LikelihoodName)
def test_value_and_gradient_are_those_of_the_formula(name: LikelihoodName, width: int) -> None:
    likelihood = _made(name, width)
    outputs, pixels = _inputs(likelihood, width)
    weights = torch.rand(K, B, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = outputs.requires_grad_()
    expected = naive_log_likelihood(likelihood, exact, pixels)
    (by_formula,) = torch.autograd.grad((weights * expected).sum(), exact)
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        leaf = outputs.detach().to(dtype).requires_grad_()
        found = likelihood.to(dtype).log_prob(leaf, pixels.to(dtype))
        (gradient,) = torch.autograd.grad((weights.to(dtype) * found).sum(), leaf)
        assert found.dtype == gradient.dtype == dtype
        assert (found.double() - expected).norm() <= close * expected.norm()
        assert (gradient.double() - by_formula).norm() <= close * by_formula.norm()
        assert torch.equal(likelihood.log_prob(leaf.detach(), pixels.to(dtype)), found.detach())


@pytest.mark.parametrize("name", LikelihoodName)
def test_the_gradient_is_the_values_own(name: LikelihoodName) -> None:
    likelihood = _made(name, 5)
    outputs, pixels = _inputs(likelihood, 5, size=3.0)
    assert torch.autograd.gradcheck(lambda x: likelihood.log_prob(x, pixels), outputs.requires_grad_())


@pytest.mark.parametrize("name", LikelihoodName)
def test_it_moves_with_its_model_and_holds_no_parameters(name: LikelihoodName) -> None:
    likelihood = _made(name, 5)
    assert list(likelihood.parameters()) == []
    assert list(likelihood.state_dict()) == ([] if name is LikelihoodName.BERNOULLI else ["spread"])
    outputs, pixels = (each.float() for each in _inputs(likelihood, 5))
    assert likelihood.to(torch.float32).log_prob(outputs, pixels).dtype == torch.float32


# Bernoulli.


@pytest.mark.parametrize("width", [1, 7, 64, 784, 1024])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 500.0])
def test_bernoulli_in_float32_at_any_size(width: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(width)
    logits = spread * torch.randn(4, 3, width, generator=generator)
    pixels = (torch.rand(3, width, generator=generator) < 0.3).float()
    weights = torch.rand(4, 3, generator=generator)

    exact = logits.double().requires_grad_()
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(
        exact, pixels.double().expand_as(exact), reduction="none"
    ).sum(-1)
    (expected_gradient,) = torch.autograd.grad((weights * expected).sum(), exact)

    leaf = logits.clone().requires_grad_()
    found = Bernoulli().log_prob(leaf, pixels)
    (gradient,) = torch.autograd.grad((weights * found).sum(), leaf)
    torch.testing.assert_close(found.double(), expected, rtol=3e-6, atol=1e-4)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-6)


def test_bernoulli_takes_intensities() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(5, 2, 50, generator=generator, dtype=torch.float64)
    pixels = torch.rand(2, 50, generator=generator, dtype=torch.float64)
    expected = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(pixels).sum(-1)
    torch.testing.assert_close(Bernoulli().log_prob(logits, pixels), expected, rtol=1e-13, atol=1e-12)


def test_bernoullis_start_and_mean() -> None:
    mean = torch.linspace(0, 1, 9)
    bias = Bernoulli().initial_bias(mean)
    torch.testing.assert_close(bias, torch.logit(mean.clamp(1e-3, 1 - 1e-3)))
    torch.testing.assert_close(Bernoulli().mean(bias.expand(2, 1, 9)), mean.clamp(1e-3, 1 - 1e-3).expand(2, 1, 9))


# Gaussian.

_SPREAD = torch.tensor([0.5, 2.0, 30.0], dtype=torch.float64)
_MEAN = torch.tensor([-1.0, 10.0, 4.0], dtype=torch.float64)


def test_gaussian_starts_at_the_datas_mean_and_spread() -> None:
    gaussian = Gaussian(_SPREAD)
    outputs = gaussian.initial_bias(_MEAN).expand(1, 2, 6)
    pixels = torch.stack([_MEAN, _MEAN + 3.0])
    expected = Normal(_MEAN, _SPREAD).log_prob(pixels).sum(-1)
    torch.testing.assert_close(gaussian.log_prob(outputs, pixels)[0], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gaussian.mean(outputs), _MEAN.expand(1, 2, 3))


@pytest.mark.parametrize("unit", [1e-3, 255.0])
def test_gaussian_in_other_units_differs_by_the_units_alone(unit: float) -> None:
    outputs = torch.randn(K, B, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pixels = torch.randn(B, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = Gaussian(unit * _SPREAD).log_prob(outputs, unit * pixels)
    expected = Gaussian(_SPREAD).log_prob(outputs, pixels) - 3 * math.log(unit)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        Gaussian(unit * _SPREAD).initial_bias(unit * _MEAN), Gaussian(_SPREAD).initial_bias(_MEAN)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_density_is_bounded_by_its_floor_and_finite_at_any_scale(dtype: torch.dtype) -> None:
    gaussian = Gaussian(_SPREAD).to(dtype)
    loc = (_MEAN / _SPREAD).to(dtype)
    for raw in (-1e30, -1e4, -30.0, 0.0, 30.0, 1e4, 1e15):
        outputs = torch.cat([loc, torch.full_like(loc, raw)]).expand(1, 1, 6).clone().requires_grad_()
        found = gaussian.log_prob(outputs, _MEAN.to(dtype).expand(1, 3))
        (gradient,) = torch.autograd.grad(found.sum(), outputs)
        softplus = math.log1p(math.exp(raw)) if raw < 30 else raw
        expected = Normal(_MEAN, _SPREAD * (0.01 + softplus)).log_prob(_MEAN).sum()
        torch.testing.assert_close(found.double().squeeze(), expected, rtol=1e-5, atol=1e-4)
        assert torch.isfinite(gradient).all()
        at_floor = Normal(_MEAN, 0.01 * _SPREAD).log_prob(_MEAN).sum()
        assert found.double().squeeze() <= at_floor + 1e-4


def test_a_gaussian_without_the_spreads_own_term_is_caught() -> None:
    """The twin gives densities in units of the spread: right gradients, wrong nats."""
    likelihood = _made(LikelihoodName.GAUSSIAN, 5)
    outputs, pixels = _inputs(likelihood, 5)
    twin = Gaussian(torch.ones(5, dtype=torch.float64)).log_prob(outputs, pixels / likelihood.get_buffer("spread"))
    expected = naive_log_likelihood(likelihood, outputs, pixels)
    assert (twin - expected).abs().min() > 0.1
    torch.testing.assert_close(likelihood.log_prob(outputs, pixels), expected, rtol=1e-12, atol=1e-12)


# Discretised logistic.


def _masses(levels: int, outputs: list[tuple[float, float]], dtype: torch.dtype) -> Tensor:
    """The mass of every level under each pair of loc and raw scale, shape (pairs, levels + 1)."""
    likelihood = DiscretisedLogistic(torch.ones(1, dtype=dtype), levels=levels)
    pixels = (torch.arange(levels + 1, dtype=dtype) / levels).unsqueeze(-1)
    given = torch.tensor(outputs, dtype=dtype).unsqueeze(1).expand(-1, levels + 1, 2)
    return likelihood.log_prob(given, pixels).exp()


LOCS_AND_SCALES = list(product([-40.0, -0.3, 0.0, 0.123, 0.5, 1.0, 7.0], [-1e4, -6.0, -2.0, 1.0, 20.0]))


def _not_one(masses: Tensor, close: float) -> dict[tuple[float, float], float]:
    """The sums of masses that are not 1, by loc and raw scale."""
    sums = zip(LOCS_AND_SCALES, masses.double().sum(dim=1).tolist(), strict=True)
    return {each: found for each, found in sums if not abs(found - 1.0) <= close}


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("levels", [1, 2, 16, 255])
def test_the_masses_of_all_levels_sum_to_one(dtype: torch.dtype, close: float, levels: int) -> None:
    assert _not_one(_masses(levels, LOCS_AND_SCALES, dtype), close) == {}


def test_a_mass_that_is_missing_is_named() -> None:
    """The wrong twin: one level left out."""
    short = _not_one(_masses(16, LOCS_AND_SCALES, torch.float64)[:, :-1], 1e-12)
    assert (7.0, -2.0) in short
    assert (-40.0, -2.0) not in short


def test_masses_without_open_ends_do_not_sum_to_one() -> None:
    """The wrong twin, by the formula: bins of equal width everywhere."""
    ends = (torch.arange(18, dtype=torch.float64) - 0.5) / 16
    scale = math.log1p(math.exp(-2.0)) + 0.05 / 16
    twin = torch.sigmoid((ends[1:] - 0.123) / scale) - torch.sigmoid((ends[:-1] - 0.123) / scale)
    (right,) = _masses(16, [(0.123, -2.0)], torch.float64)
    torch.testing.assert_close(right[1:-1], twin[1:-1], rtol=1e-12, atol=1e-15)
    assert abs(float(twin.sum()) - 1.0) > 0.1


def test_the_logistics_extremes_are_finite_and_right_in_float32() -> None:
    """All locs and scales in one call."""
    levels = 255
    likelihood = DiscretisedLogistic(torch.ones(1), levels=levels)
    pixels = torch.tensor([0.0, 1.0, 128.0, 254.0, 255.0]).unsqueeze(-1) / levels
    locs = [-1e30, -1e6, -100.0, -1.0, 0.0, 0.5, 2.0, 1e3, 1e6, 1e30]
    given = torch.tensor(list(product(locs, [-1e30, -50.0, -5.0, 0.0, 50.0, 1e6])))
    outputs = given.unsqueeze(1).expand(-1, 5, 2).clone().requires_grad_()
    found = likelihood.log_prob(outputs, pixels)
    (gradient,) = torch.autograd.grad(found.sum(), outputs)
    exact = DiscretisedLogistic(torch.ones(1, dtype=torch.float64), levels=levels)
    in_double = outputs.detach().double().requires_grad_()
    expected = exact.log_prob(in_double, pixels.double())
    (expected_gradient,) = torch.autograd.grad(expected.sum(), in_double)
    # The scale is at least .05 of a bin, loc is rounded to 2^-24 of itself: 20 * 255 * 6e-8 of |loc|.
    allowed = 1e-4 * expected.abs() + 1e-3 * given[:, :1].abs().clamp(min=1.0)
    size = expected_gradient.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-3)
    right = torch.isfinite(found).all(dim=1) & torch.isfinite(gradient).all(dim=2).all(dim=1)
    right &= ((found - expected).abs() <= allowed).all(dim=1)
    right &= ((gradient - expected_gradient).abs() <= 1e-3 * size).all(dim=2).all(dim=1)
    assert given[~right].tolist() == []


def test_the_tail_is_right_where_a_difference_of_sigmoids_is_not() -> None:
    """Far below loc a mass is exp(b) (1 - exp(-d)), and the derivative of its logarithm -1 / scale."""
    scale = math.log1p(math.exp(-3.0)) + 0.05 / 255
    likelihood = DiscretisedLogistic(torch.ones(1, dtype=torch.float64), levels=255)
    outputs = torch.tensor([50.0, -3.0], dtype=torch.float64).expand(1, 1, 2).clone().requires_grad_()
    found = likelihood.log_prob(outputs, torch.full((1, 1), 100 / 255, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found.sum(), outputs)
    b, d = (100.5 / 255 - 50.0) / scale, 1 / (255 * scale)
    assert found.item() == pytest.approx(b + math.log1p(-math.exp(-d)), rel=1e-12)
    assert gradient[0, 0, 0].item() == pytest.approx(-1 / scale, rel=1e-9)
    twin = torch.sigmoid(torch.tensor([b, b - d], dtype=torch.float32))
    assert torch.isneginf((twin[0] - twin[1]).log())


@pytest.mark.parametrize("levels", [1, 16, 255])
@pytest.mark.parametrize(("loc", "raw"), [(0.4, -2.0), (0.0, 0.0), (1.3, -4.0), (-5.0, 1.0)])
def test_the_logistics_mean_is_that_of_its_masses(levels: int, loc: float, raw: float) -> None:
    (masses,) = _masses(levels, [(loc, raw)], torch.float64)
    expected = float((masses * torch.arange(levels + 1) / levels).sum())
    likelihood = DiscretisedLogistic(torch.ones(1, dtype=torch.float64), levels=levels)
    found = likelihood.mean(torch.tensor([loc, raw], dtype=torch.float64).expand(1, 1, 2))
    assert found.shape == (1, 1, 1)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_the_logistic_takes_the_nearest_level() -> None:
    """Pixels are levels up to rounding: the mass is the level's own, to the bit."""
    likelihood = DiscretisedLogistic(torch.ones(1), levels=255)
    levels = torch.arange(256).unsqueeze(-1)
    outputs = torch.tensor([0.3, -2.0]).expand(1, 256, 2)
    found = likelihood.log_prob(outputs, levels / 255)
    for near in (levels.float() * (1 / 255), levels / 255 + 1e-4):
        assert torch.equal(likelihood.log_prob(outputs, near), found)


def test_the_logistic_starts_at_the_datas_mean_and_spread() -> None:
    """Away from the edges, and with bins that are small beside the spread."""
    levels, spread = 255, torch.tensor([0.05], dtype=torch.float64)
    likelihood = DiscretisedLogistic(spread, levels=levels)
    bias = likelihood.initial_bias(torch.tensor([0.47], dtype=torch.float64))
    y = torch.arange(levels + 1, dtype=torch.float64) / levels
    masses = likelihood.log_prob(bias.expand(1, levels + 1, 2), y.unsqueeze(-1))[0].exp()
    mean = float((masses * y).sum())
    deviation = math.sqrt(float((masses * (y - mean).square()).sum()))
    assert mean == pytest.approx(0.47, abs=1e-4)
    assert deviation == pytest.approx(0.05, rel=0.01)
