"""What a run that trains only q takes from its parent."""

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.app.training.origin import hand_over
from dregcli.engine.programs.contract import Draw, Given, LatentModel, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.plain_models import small_data


class _Tied(LatentModel):
    """The encoder has one weight with two names."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.decoder = nn.Linear(8, 16)
        self.register_buffer("count", torch.tensor(float(seed)))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.second(torch.tanh(self.first(x.flatten(1))))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(8))
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)


def test_a_new_q_keeps_its_own_values_under_every_name() -> None:
    parent, fresh, child = (ProgramModel(_Tied(seed), small_data()) for seed in (1, 2, 2))
    hand_over(parent, child, reset_encoder=True)
    old, new, made = (each.state_dict() for each in (parent, fresh, child))
    for name in made:
        expected = old if name in ("count", "decoder.weight", "decoder.bias") else new
        assert torch.equal(made[name], expected[name]), name
    hand_over(parent, child, reset_encoder=False)
    assert all(torch.equal(each, old[name]) for name, each in child.state_dict().items())
