"""Annealing of a model with two layers and a learned conditional prior: in the noise of all layers, top-down."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.annealed import mean_log_p
from dregcli.engine.annealing import Annealing
from dregcli.engine.hamiltonian import Target
from dregcli.engine.programs.annealed import JoinedLatents, WhitenedProgram
from dregcli.engine.programs.contract import Given
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.errors import SpecError
from tests.support.annealing import measured
from tests.support.linear_layers import DATA, LOWER, NOISE, UPPER, LinearLayers, linear_layers
from tests.support.program_zoo import SCORES

SIGMAS = 5.0
ANNEALING = Annealing(40, chains=16, leapfrogs=3)


class Joined(ProgramModel):
    """Chains move through z itself, in q's order, although the priors could be whitened."""

    def annealed(self, pixels: Tensor) -> Target:
        like = {name: torch.zeros(1, 1, *shape, dtype=torch.float64) for name, shape in self.latents.items()}
        return JoinedLatents(self.model_program, self.densities, pixels, like)


class Apart(LinearLayers):
    """Wrong: the lower layer's prior does not see the upper one."""

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        def apart(name: str, prior: Distribution) -> None:
            given(name, self.prior1(torch.zeros_like(z["z2"])) if name == "z1" else prior)

        return super().model(z, apart)


def _joined(order: str) -> ProgramModel:
    return Joined(LinearLayers(order), DATA)


def _apart(order: str) -> ProgramModel:
    return ProgramModel(Apart(order), DATA)


@pytest.mark.parametrize(
    ("build", "order", "is_exact"),
    [(linear_layers, "up", True), (_joined, "down", True), (_apart, "down", False)],
)
def test_the_estimate_is_the_exact_log_p(build: Callable[[str], ProgramModel], order: str, is_exact: bool) -> None:
    """Off by chance once in two million seeds; a prior that does not see the layer above is off by more."""
    model = build(order)
    pixels = model.module.draw(24, seed=3)
    found = measured(model, pixels, ANNEALING)
    # Half the square of the standard error is the bias of the log of an unbiased estimate.
    estimate, allowed = found.log_p + 0.5 * found.stderr.square(), SIGMAS * mean_log_p([found]).of_chains
    assert allowed < 0.3
    assert (abs(float((estimate - model.module.exact(pixels)).mean())) < allowed) == is_exact


def test_the_order_of_q_changes_no_chain() -> None:
    chains = [
        measured(model, model.module.draw(3, seed=1), Annealing(6, chains=3, leapfrogs=2)).log_weights
        for model in (linear_layers("up"), linear_layers("down"))
    ]
    torch.testing.assert_close(*chains, rtol=1e-12, atol=1e-12)


def test_slopes_lead_through_the_lower_layers_prior_to_the_upper_layers_noise() -> None:
    model = linear_layers()
    pixels = model.module.draw(3, seed=1)
    target = model.annealed(pixels)
    assert isinstance(target, WhitenedProgram)
    assert target.width == LOWER + UPPER
    e = torch.linspace(-1.5, 1.0, 2 * 3 * 5, dtype=torch.float64).reshape(2, 3, 5)
    points = target(e)
    own = model.module
    with torch.no_grad():
        z1 = own.p1(e[..., :UPPER]) + own.raw.exp() * e[..., UPPER:]
        at_z1 = (pixels - own.decoder(z1)) @ own.decoder.weight / NOISE**2
        slope = torch.cat([at_z1 @ own.p1.weight, own.raw.exp() * at_z1], -1)
    torch.testing.assert_close(points.slope, slope, rtol=1e-10, atol=1e-10)
    assert slope[..., :UPPER].abs().min() > 1e-4


def test_chains_cannot_move_through_a_discrete_layer() -> None:
    with pytest.raises(SpecError, match=r"'c' \(OneHotCategorical\) is discrete, and chains move along gradients"):
        SCORES["discrete and continuous"]().annealed(torch.zeros(1, 16))
