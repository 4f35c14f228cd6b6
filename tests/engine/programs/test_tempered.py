"""At a smaller weight of the KL part, the built-in VAE and its plain twin have the same gradients."""

from itertools import product

import pytest
import torch

from dregcli.engine.draws import AddressedDraws
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.densities import ModelDensities
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward
from tests.support.exact import off_networks
from tests.support.plain_models import PlainVae, small_data
from tests.support.sweep import swept

K, B, Z = 40, 3, 2
EXECUTIONS = {
    "dense": Execution(),
    "in chunks": Execution(k_chunk=16),
    "screened": Execution(Backward.SCREENED, k_chunk=16),
}


def _off(how: str, estimator: str) -> dict[str, float]:
    data = small_data()
    mean = data.mean.flatten()
    vae = Vae(mean, hidden=(5,), latent_dim=Z, generator=torch.Generator().manual_seed(1)).double()
    x = (torch.rand(B, len(mean), generator=torch.Generator().manual_seed(2)) < 0.5).double()
    found = []
    for model in (vae, ProgramModel(PlainVae(vae), data)):
        draws = AddressedDraws(
            Randomness(0), Stream.NOISE, 3, k=K, batch=B, width=Z, screening=Stream.SCREENING, dtype=torch.float64
        )
        step = Step(model, x, draws, EXECUTIONS[how], kl_weight=0.4)
        gradients = step.gradients(resolve_pair("iwae", estimator, K))
        # Both models list their parameters in the same order, under their own names.
        every = (*gradients.posterior.values(), *gradients.model.values(), gradients.values)
        found.append({str(i): each for i, each in enumerate(every)})
    return off_networks(*found)


@swept("how, estimator", product(EXECUTIONS, ("dreg", "reparam", "vimco")))
def test_twins_have_the_same_gradients(how: str, estimator: str) -> None:
    assert _off(how, estimator) == {}


def test_a_prior_with_a_likelihood_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelDensities, "prior", lambda self: self)
    assert _off("in chunks", "dreg")
