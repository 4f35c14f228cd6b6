"""A user's model, loaded: its posterior, its means and its log-weights."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent

from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.loaded import LoadedModel
from dregcli.engine.models.vae import Vae
from dregcli.engine.programs.contract import Draw, Given, LatentModel
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness
from dregcli.errors import UsageError
from dregcli.names import Split
from tests.support.plain_models import SIDE, ConvVae, PlainVae, SmallModel, TwoLayers, small_data

DATA = small_data()


def _loaded(module: torch.nn.Module) -> LoadedModel:
    return LoadedModel(ProgramModel(module, DATA), DATA, has_context=False)


def _x(count: int = 3) -> Tensor:
    return (torch.rand(count, *DATA.shape, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def test_the_plain_twin_of_a_built_in_model_gives_its_numbers() -> None:
    vae = Vae(DATA.mean.flatten(), hidden=(5,), latent_dim=2, generator=torch.Generator().manual_seed(1))
    built_in, plain = LoadedModel(vae, DATA, has_context=False), _loaded(PlainVae(vae))
    x = _x()
    assert plain.latents == built_in.latents == {"z": (2,)}
    for name in ("mean", "scale"):
        torch.testing.assert_close(getattr(plain.encode(x), name), getattr(built_in.encode(x), name))
    z = built_in.encode(x).sample(20, seed=3)
    torch.testing.assert_close(plain.encode(x).sample(20, seed=3), z)
    torch.testing.assert_close(plain.decode(z), built_in.decode(z))
    torch.testing.assert_close(plain(x), built_in(x))
    torch.testing.assert_close(plain.log_weights(x, k=40), built_in.log_weights(x, k=40), rtol=1e-5, atol=0)
    first, second = plain.log_likelihood(x, k=100), built_in.log_likelihood(x, k=100)
    torch.testing.assert_close(first.bound, second.bound, rtol=1e-5, atol=0)
    torch.testing.assert_close(first.khat, second.khat, rtol=1e-3, atol=1e-3)


def test_a_convolution_gets_and_gives_images() -> None:
    model = _loaded(ConvVae(DATA))
    z = model.encode(_x().flatten(1)).sample(20)
    assert model.decode(z).shape == (20, 3, 1, SIDE, SIDE)
    torch.testing.assert_close(model.decode(z)[4, 1], model.decode(z[4, 1]))


def test_several_latents_are_a_dict_by_name() -> None:
    module = TwoLayers(DATA)
    model = _loaded(module)
    x = _x()
    q = model.encode(x)
    with torch.no_grad():
        loc = module.q1(x.flatten(1))[:, :2]
        torch.testing.assert_close(q.mean["z1"], loc)
        torch.testing.assert_close(q.mean["z2"], module.q2(torch.tanh(loc))[:, :2])
    z = q.sample(33, seed=1)
    assert {name: tuple(each.shape) for name, each in z.items()} == {"z1": (33, 3, 2), "z2": (33, 3, 2)}
    again = model.encode(x).sample(17, seed=1)
    assert all(torch.equal(again[name], z[name][:17]) for name in z), "the first samples do not depend on k"
    assert model.decode(z).shape == (33, 3, 1, SIDE, SIDE)
    assert model(x).shape == (3, 1, SIDE, SIDE)
    batch = SeenBatch(model.network, 0, x.flatten(1), Split.TEST, Randomness(5))
    assert torch.equal(model.log_weights(x, k=20, seed=5), batch.log_weights(k=20, k_chunk=16))
    for wrong, what in (
        (z["z1"], "has the latents z1, z2, but z has no names"),
        ({"z1": z["z1"]}, "but z has z1"),
        ({**z, "z2": z["z2"][:5]}, "different numbers of values"),
        ({**z, "z2": torch.zeros(33, 3, 1)}, r"z2 has the shape \(33, 3, 1\)"),
    ):
        with pytest.raises(UsageError, match=what):
            model.decode(wrong)


@pytest.mark.parametrize("family", ["full", "categorical", "student"])
def test_other_posteriors(family: str) -> None:
    model = _loaded(SmallModel(DATA, family))
    q = model.encode(_x())
    assert q.mean.shape == q.sample(1)[0].shape == (3, 2)
    assert model.decode(q.sample(4)).shape == (4, 3, 1, SIDE, SIDE)


def test_what_has_no_mean_says_so(monkeypatch) -> None:
    model = _loaded(SmallModel(DATA, "flow"))
    q = model.encode(_x())
    with pytest.raises(UsageError, match=r"q of 'z' \(TransformedDistribution\) has no mean"):
        _ = q.mean
    assert q.sample(3).shape == (3, 3, 2)

    def categorical(x: Tensor, draw: Draw) -> None:
        draw("z", Categorical(logits=torch.zeros(len(x), 4)))

    module = SmallModel(DATA)
    model = _loaded(module)
    monkeypatch.setattr(module, "posterior", categorical)
    with pytest.raises(UsageError, match=r"q of 'z' \(Categorical\) has no mean in closed form"):
        _ = model.encode(_x()).mean

    class Meanless(Independent):
        @property
        def mean(self) -> Tensor:
            raise NotImplementedError

    module = SmallModel(DATA)
    model, programmed = _loaded(module), module.model

    def without_mean(z: dict[str, Tensor], given: Given) -> Distribution:
        programmed(z, given)
        return Meanless(Bernoulli(logits=module.decoder(z["z"])), 1)

    monkeypatch.setattr(module, "model", without_mean)
    with pytest.raises(UsageError, match=r"p\(x \| z\) \(Meanless\) has no mean"):
        model.decode(torch.zeros(1, 2))


class Numbered(LatentModel):
    """One latent that is the number of a class."""

    def __init__(self) -> None:
        super().__init__()
        count = DATA.mean.numel()
        self.encoder, self.decoder = nn.Linear(count, 3), nn.Embedding(3, count)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("c", Categorical(logits=self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("c", Categorical(logits=torch.zeros(3)))
        return Independent(Bernoulli(logits=self.decoder(z["c"])), 1)


def test_a_latent_of_integers_stays_one_and_has_no_mean() -> None:
    """torch's own mean of numbered classes is NaN."""
    model = _loaded(Numbered())
    q = model.encode(_x())
    z = q.sample(4)
    torch.testing.assert_close(model.decode(z), model.decode(z.tolist()))
    assert model.decode(z).shape == (4, 3, 1, SIDE, SIDE)
    for name in ("mean", "scale"):
        with pytest.raises(UsageError, match=r"q of 'c' \(Categorical\) has no"):
            getattr(q, name)


def test_the_whole_state_can_be_loaded_again() -> None:
    """A loaded model is a torch module, with the user's module as a part of a part."""
    one, other = _loaded(SmallModel(DATA)), _loaded(SmallModel(DATA))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.log_weights(_x(), k=3), other.log_weights(_x(), k=3))


def test_samples_from_the_prior() -> None:
    for module in (ConvVae(DATA), TwoLayers(DATA)):
        model = _loaded(module)
        images = model.sample(20, seed=1)
        assert images.shape == (20, 1, SIDE, SIDE)
        assert torch.equal(images[:3], model.sample(3, seed=1))
