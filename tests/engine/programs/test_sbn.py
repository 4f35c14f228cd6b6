"""The built-in sigmoid belief network has the layers, the inputs and the initial values of the published ones."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli

from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.sbn import SigmoidBeliefNetwork
from dregcli.errors import SpecError
from dregcli.names import DataKind
from tests.support.plain_models import small_data

MEAN = torch.tensor([0.0, 0.3, 0.6, 1.0])
DATA = ModelData((1, 2, 2), DataKind.BINARY, 1, MEAN.reshape(1, 2, 2), torch.ones(1, 2, 2))


def sizes(networks: Any) -> list[list[int]]:
    return [[network[0].in_features, *(layer.out_features for layer in network[::2])] for network in networks]


def test_the_linear_and_the_non_linear_variant() -> None:
    linear = SigmoidBeliefNetwork(DATA)
    assert sizes(linear.encoders) == [[4, 200], [200, 200], [200, 200]]
    assert sizes(linear.decoders) == [[200, 4], [200, 200], [200, 200]]
    other = SigmoidBeliefNetwork(DATA, latent_dim=(5,), hidden=((7, 6),))
    assert sizes(other.encoders) == [[4, 7, 6, 5]]
    assert sizes(other.decoders) == [[5, 6, 7, 4]]
    assert {type(layer) for layer in list(other.decoders[0])[1::2]} == {torch.nn.Tanh}  # type: ignore[call-overload]


def test_initial_values() -> None:
    """The pixels' biases are the logits of their means, which are clipped; the top prior is even."""
    model: Any = SigmoidBeliefNetwork(DATA, latent_dim=(3, 2))
    expected = [math.log(p / (1.0 - p)) for p in (1e-4, 0.3, 0.6, 1.0 - 1e-4)]
    assert model.decoders[0][-1].bias.tolist() == pytest.approx(expected, rel=1e-3)
    assert not model.prior.any()
    bound = 1.0 / math.sqrt(3)  # torch's own initialisation
    assert 0.0 < model.decoders[0][0].weight.abs().max() <= bound
    assert model.encoders[1][0].bias.any()


def test_what_the_networks_see() -> None:
    """q of h1 sees (x - mean + 1) / 2; all others see bits as -1 and 1."""
    module: Any = SigmoidBeliefNetwork(DATA, latent_dim=(3, 2))
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0]]).reshape(1, 1, 2, 2)
    h1, h2 = torch.tensor([[[1.0, 0.0, 1.0]]]), torch.tensor([[[0.0, 1.0]]])
    seen: dict[str, Any] = {}

    def draw(name: str, q: Any) -> torch.Tensor:
        seen[f"q {name}"] = q.base_dist.logits
        return {"h1": h1, "h2": h2}[name]

    module.posterior(x, draw)
    p = module.model({"h1": h1, "h2": h2}, lambda name, p: seen.update({f"p {name}": p.base_dist.logits}))
    (q1, q2), (p1, p2) = ([each[0] for each in networks] for networks in (module.encoders, module.decoders))
    torch.testing.assert_close(seen["q h1"], q1((x.flatten(1) - MEAN + 1.0) / 2.0))
    torch.testing.assert_close(seen["q h2"], q2(2.0 * h1 - 1.0))
    torch.testing.assert_close(seen["p h1"], p2(2.0 * h2 - 1.0))
    torch.testing.assert_close(seen["p h2"], module.prior)
    assert p.event_shape == (1, 2, 2)
    assert type(p.base_dist) is Bernoulli
    torch.testing.assert_close(p.base_dist.logits.flatten(2), p1(2.0 * h1 - 1.0))
    assert ProgramModel(module, DATA).unreached == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent_dim": ()}, "latent_dim: there must be at least one layer"),
        ({"latent_dim": (3, 0)}, "latent_dim: must be at least 1, got 0"),
        ({"latent_dim": (3, 2), "hidden": ((4,),)}, "hidden: there are 2 layers of bits, but hidden layers for 1"),
        ({"latent_dim": (3,), "hidden": ((4, 0),)}, "hidden: must be at least 1, got 0"),
    ],
)
def test_sizes_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        SigmoidBeliefNetwork(DATA, **options)


def test_other_data_are_refused_with_the_way_out() -> None:
    for kind, way in ((DataKind.INTENSITY, "--binarisation dynamic"), (DataKind.REAL, "--model vae or conv")):
        with pytest.raises(SpecError, match=way):
            SigmoidBeliefNetwork(small_data(kind=kind))
