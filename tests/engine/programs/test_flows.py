"""Normalising flows of zuko as posteriors. It is an optional package: without it these tests are skipped."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from tests.engine.programs import test_executors, test_gradients
from tests.engine.programs.test_unbiased import off_each
from tests.support.one_latent import gaussian_of_two, of, off
from tests.support.prior_rules import RULES
from tests.support.program_oracle import drawn
from tests.support.program_zoo import made, pixels_of

zuko: Any = pytest.importorskip("zuko", reason="needs zuko, of the extra dreg[flows]")


class FlowVae(LatentModel):
    """A flow whose context is made of an example by an encoder."""

    def __init__(self, data: ModelData, flow: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.encoder = nn.Linear(count, 4)
        self.flow = flow(features=2, context=4, transforms=2, hidden_features=(6,), **options)
        self.decoder = nn.Linear(2, count)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", self.flow(torch.tanh(self.encoder(x.flatten(1)))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


FLOWS: dict[str, Callable[[], ProgramModel]] = {
    "MAF": lambda: made(lambda data: FlowVae(data, zuko.flows.MAF)),
    "NSF": lambda: made(lambda data: FlowVae(data, zuko.flows.NSF, bins=4)),
}
each_flow = pytest.mark.parametrize("name", FLOWS)


@each_flow
def test_gradients_are_the_oracles(name: str) -> None:
    model = FLOWS[name]()
    assert (model.discrete, model.unreached) == ((), [])
    assert test_gradients.off(model, test_gradients.pairs(*test_gradients.WORDS)) == {}


@each_flow
def test_reparam_is_autograd_of_the_bound(name: str) -> None:
    assert test_gradients.off_bound(FLOWS[name]()) < 1e-10


@each_flow
def test_chunks_and_kept_rows_give_denses_gradients(name: str) -> None:
    assert test_executors.off(FLOWS[name](), resolve_pair("iwae", "dreg", test_executors.K)) == {}


@each_flow
def test_screening_is_unbiased(name: str) -> None:
    model = FLOWS[name]()
    assert off_each(model, pixels_of(model, 1), torch.zeros(3, 1, 2, dtype=torch.float64), every_nth=8) == {}


@each_flow
def test_samples_are_at_their_address(name: str) -> None:
    model = FLOWS[name]()
    x = pixels_of(model)
    long = model.draw(x, drawn(model, k=128, batch=len(x))).values["z"]
    torch.rand(3)
    short = model.draw(x, drawn(model, k=40, batch=len(x))).values["z"]
    later = model.draw(x, drawn(model, k=128, batch=len(x)), first=32, count=20).values["z"]
    assert torch.equal(short, long[:40])
    assert torch.equal(later, long[32:52])


class _Prior(nn.Module):
    """A flow without a context as a learned prior."""

    def __init__(self, flow: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.flow = flow(features=2, transforms=2, hidden_features=(4,), activation=nn.Tanh, **options).double()

    def forward(self) -> Distribution:
        return self.flow()


PRIORS = {"MAF": (lambda: _Prior(zuko.flows.MAF), 2e-3), "NSF": (lambda: _Prior(zuko.flows.NSF, bins=4), 4e-2)}
"""Priors, and how exact quadrature is with them: their derivatives have corners."""


@pytest.mark.parametrize("name", PRIORS)
def test_a_learned_prior_moves_with_its_parameters(name: str) -> None:
    build, tolerance = PRIORS[name]
    rule = RULES["joint"]
    assert rule is not None
    model = of(gaussian_of_two, build())
    assert model.no_prior_path(rule) is None
    assert off(model, rule) < tolerance
    assert off(model, rule, square=False) > 10 * tolerance
