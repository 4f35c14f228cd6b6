"""Hamiltonian transitions: reversible, volume-preserving, and leaving their target as it is."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine.hamiltonian import Points, WhitenedLikelihood, energy, leapfrog, transition
from dregcli.engine.models.base import Model
from tests.support.exact import MODELS, small_batch, small_structured, small_vae
from tests.support.linear_gaussian import LinearGaussian

B_INVERSE = 0.6
SIZE = torch.tensor(0.3, dtype=torch.float64)


def _case(model: Model, chains: int = 3) -> tuple[WhitenedLikelihood, Points, Tensor]:
    pixels, noise = small_batch(model, k=2 * chains)
    likelihood = WhitenedLikelihood(model, pixels)
    return likelihood, likelihood(noise[:chains]), noise[chains:]


@pytest.mark.parametrize("name", MODELS)
def test_the_likelihood_is_the_joint_without_the_prior(name) -> None:
    """log p(x | z) by torch's Normal, and its slope in whitened latents by differences."""
    model = MODELS[name].build()
    pixels, e = small_batch(model, k=2)
    likelihood = WhitenedLikelihood(model, pixels)
    prior = model.latent_prior(pixels)
    with torch.no_grad():
        z = prior.loc + prior.scale * e
        expected = model.log_joint(pixels, (z,)) - Normal(prior.loc, prior.scale).log_prob(z).sum(-1)
    found = likelihood(e)
    torch.testing.assert_close(found.log_likelihood, expected, rtol=1e-10, atol=1e-10)
    for i in range(e.shape[-1]):
        shift = torch.zeros_like(e)
        shift[..., i] = 1e-5
        slope = (likelihood(e + shift).log_likelihood - likelihood(e - shift).log_likelihood) / 2e-5
        torch.testing.assert_close(found.slope[..., i], slope, rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not found.slope.requires_grad


def test_a_trajectory_leads_back_to_its_start() -> None:
    for model in (small_vae(), small_structured()):
        likelihood, start, momentum = _case(model)
        end, arrived = leapfrog(likelihood, start, momentum, b=B_INVERSE, step_size=SIZE, leapfrogs=7)
        back, turned = leapfrog(likelihood, end, -arrived, b=B_INVERSE, step_size=SIZE, leapfrogs=7)
        assert (end.e - start.e).abs().max() > 0.1
        torch.testing.assert_close(back.e, start.e, rtol=0, atol=1e-10)
        torch.testing.assert_close(turned, -momentum, rtol=0, atol=1e-10)


def test_small_steps_conserve_energy() -> None:
    """Of second order: half the step, a quarter of the error."""
    likelihood, start, momentum = _case(small_vae())
    errors = []
    for halvings in range(3):
        count = 16 * 2**halvings
        step = torch.tensor(0.8 / count, dtype=torch.float64)
        end, arrived = leapfrog(likelihood, start, momentum, b=1.0, step_size=step, leapfrogs=count)
        errors.append(float((energy(end, arrived, 1.0) - energy(start, momentum, 1.0)).norm()))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.2)


def _volume(likelihood: WhitenedLikelihood, step_size) -> float:
    """|det| of (e, p) -> (e', p') of one example's two latents, by central differences."""
    at = torch.tensor([0.3, -0.4, 0.7, 0.2], dtype=torch.float64)
    shifts = 1e-6 * torch.cat([torch.eye(4, dtype=torch.float64), -torch.eye(4, dtype=torch.float64)])
    given = (at + shifts).unsqueeze(1)
    start = likelihood(given[..., :2].contiguous())
    end, arrived = leapfrog(likelihood, start, given[..., 2:], b=B_INVERSE, step_size=step_size(start.e), leapfrogs=5)
    reached = torch.cat([end.e, arrived], dim=-1)[:, 0]
    return float(torch.linalg.det((reached[:4] - reached[4:]) / 2e-6).abs())


def test_volume_is_preserved() -> None:
    """Not by step sizes that depend on where a chain is: these make transitions that are not right."""
    model = small_vae(latent_dim=2)
    likelihood = WhitenedLikelihood(model, small_batch(model, k=1, batch=1)[0])
    assert _volume(likelihood, lambda _: SIZE) == pytest.approx(1.0, abs=1e-6)
    assert abs(_volume(likelihood, lambda e: 0.3 / (1.0 + e.square().sum(-1))) - 1.0) > 1e-2


def _moved(*, corrected: bool, step_size: float) -> tuple[Tensor, Tensor, float]:
    """Expectations of e, e^2 and sin 3e under f_b, before a transition and after it, by quadrature over e and p.

    Also the mean acceptance.
    """
    model = small_vae(latent_dim=1)
    likelihood = WhitenedLikelihood(model, small_batch(model, k=1, batch=1)[0])
    grid = torch.linspace(-7.0, 7.0, 401, dtype=torch.float64)
    e, momentum = (axis.reshape(-1, 1, 1) for axis in torch.meshgrid(grid, grid, indexing="ij"))
    start = likelihood(e)
    weight = torch.softmax(-energy(start, momentum, B_INVERSE).flatten(), dim=0)
    step = torch.tensor(step_size, dtype=torch.float64)
    # At uniform numbers of 0 every proposal is taken; how probable that was is told beside it.
    end, probability = transition(
        likelihood, start, momentum, torch.zeros(len(e), 1), b=B_INVERSE, step_size=step, leapfrogs=3
    )
    taken = probability.flatten() if corrected else torch.ones(len(e), dtype=torch.float64)

    def features(at: Tensor) -> Tensor:
        return torch.stack([at, at.square(), torch.sin(3.0 * at)])[:, :, 0, 0]

    before, proposed = features(e), features(end.e)
    after = taken * proposed + (1.0 - taken) * before
    return before @ weight, after @ weight, float((taken * weight).sum())


def test_a_transition_leaves_its_target_as_it_is() -> None:
    """Exact but for the grid. Uncorrected proposals of the same step, the wrong twin, change it."""
    before, after, acceptance = _moved(corrected=True, step_size=0.9)
    assert 0.3 < acceptance < 0.95
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)
    before, after, _ = _moved(corrected=False, step_size=0.9)
    assert (after - before).abs().max() > 1e-2


class _Broken(LinearGaussian):
    """log p(x, z) is some other number where the first latent is above 1."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def log_joint(self, pixels, latents, rows=None) -> Tensor:
        return super().log_joint(pixels, latents).masked_fill(latents[0][..., 0] > 1.0, self.number)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_proposal_that_is_not_finite_is_never_accepted(number) -> None:
    model = _Broken(number)
    likelihood = WhitenedLikelihood(model, model.draw(2, seed=0))
    start = likelihood(torch.zeros(3, 2, 5, dtype=torch.float64))
    momentum = torch.zeros_like(start.e)
    momentum[0, :, 0] = 40.0
    uniform = torch.zeros(3, 2, dtype=torch.float64)
    end, probability = transition(likelihood, start, momentum, uniform, b=0.01, step_size=SIZE, leapfrogs=1)
    assert torch.equal(end.e[0], start.e[0])
    assert (probability[0] == 0.0).all()
    assert (probability[1:] > 0.0).all()
    assert torch.isfinite(end.log_likelihood).all()
    assert torch.isfinite(end.slope).all()


def test_a_chain_where_the_density_is_0_leaves_for_wherever_it_is_not() -> None:
    model = _Broken(-math.inf)
    likelihood = WhitenedLikelihood(model, model.draw(1, seed=0))
    e = torch.zeros(1, 1, 5, dtype=torch.float64)
    e[..., 0] = 1.5
    momentum = torch.zeros_like(e)
    momentum[..., 0] = -3.0
    most = torch.full((1, 1), 1.0 - 1e-12, dtype=torch.float64)
    end, probability = transition(likelihood, likelihood(e), momentum, most, b=0.5, step_size=SIZE, leapfrogs=1)
    assert float(probability) == 1.0
    assert float(end.e[0, 0, 0]) < 1.0
