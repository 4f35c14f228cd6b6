"""What evaluations know of each layer: its part of the KL, its columns, and its active units."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, kl_divergence

from dregcli.app.evaluation.estimates import Collected, Estimates
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.likelihood_estimate import BatchEstimates, estimate
from dregcli.engine.models.base import Layer
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness
from dregcli.names import Split
from tests.support.linear_layers import linear_layers, standard_rows
from tests.support.plain_models import TwoLayers, small_data
from tests.support.program_zoo import PATHS, SCORES, made, pixels_of

SEVERAL = ("two layers", "two layers, flow above", "three draws", "discrete and continuous")


class WrongLayers(ProgramModel):
    """The part of each layer is attributed to the next one."""

    def weighed(self, *args: object, **options: object) -> tuple[Tensor, Tensor]:
        log_w, kl = super().weighed(*args, **options)  # pyright: ignore[reportArgumentType]
        return log_w, kl.roll(1, 0)


def _batch(model: ProgramModel, pixels: Tensor) -> SeenBatch:
    return SeenBatch(model, 0, pixels, Split.TEST, Randomness(0))


def _by_hand(model: ProgramModel, pixels: Tensor, k: int) -> dict[str, Tensor]:
    """log q - log p of each latent by name, (K, B)."""
    latents = model.draw(pixels, _batch(model, pixels)._draws(k, 0))
    priors: dict[str, Distribution] = {}
    model.model_program(latents.values, priors.__setitem__)
    return {name: each.log_q - priors[name].log_prob(each.z) for name, each in latents.located.items()}


@pytest.mark.parametrize("name", SEVERAL)
def test_each_layers_part_of_the_kl_is_its_own_and_the_parts_add_up(name: str) -> None:
    model = (PATHS | SCORES)[name]()
    pixels, k = pixels_of(model), 16
    with torch.no_grad():
        by_hand = _by_hand(model, pixels, k)
    found = estimate(_batch(model, pixels), (4, k), repeats=2, k_chunk=None)
    assert found.kl_layers is not None
    assert found.kl_prior_sampled is not None
    torch.testing.assert_close(found.kl_layers.sum(1), found.kl_prior_sampled, rtol=1e-12, atol=1e-12)
    expected = torch.stack([by_hand[layer.name].mean(0) for layer in model.layers()])
    torch.testing.assert_close(found.kl_layers[0], expected, rtol=1e-9, atol=1e-9)
    wrong = estimate(_batch(WrongLayers(model.module, model.data), pixels), (4, k), repeats=1, k_chunk=None)
    assert wrong.kl_layers is not None
    assert not torch.allclose(wrong.kl_layers[0], expected, atol=1e-3)


@pytest.mark.parametrize("kind", [ProgramModel, WrongLayers])
def test_the_kl_of_a_layer_given_the_upper_ones_sample_is_its_closed_form(kind: type[ProgramModel]) -> None:
    """Six standard errors; a wrong attribution is off by more."""
    own = linear_layers("down")
    model, k = kind(own.module, own.data), 4096
    pixels = own.module.draw(3, seed=1)
    found = estimate(_batch(model, pixels), (k,), repeats=1, k_chunk=None)
    assert found.kl_layers is not None
    with torch.no_grad():
        by_hand = _by_hand(own, pixels, k)
        z2 = own.draw(pixels, _batch(own, pixels)._draws(k, 0)).values["z2"]
        lower = kl_divergence(own.module.given_upper(pixels, z2), own.module.prior1(z2)).mean(0)
        upper = kl_divergence(gaussian(own.module.q2(pixels)), standard_rows(z2[:1])).reshape(-1)
    assert [layer.name for layer in own.layers()] == ["z1", "z2"]
    for i, (name, exact) in enumerate({"z1": lower, "z2": upper}.items()):
        allowed = 6.0 * by_hand[name].std(0) / k**0.5
        near = bool(((found.kl_layers[0, i] - exact).abs() < allowed).all())
        assert near == (kind is ProgramModel), name


@pytest.mark.parametrize(("order", "name"), [("down", "z1"), ("up", "z2")])
def test_a_layer_whose_q_is_its_prior_has_a_kl_of_0_and_has_collapsed(order: str, name: str) -> None:
    model = linear_layers(order, prior_as_q=name)
    found = _estimates(model, model.module.draw(40, seed=2), 8)
    layers = {each.layer.name: each for each in found.layers(0.01)}
    assert layers[name].kl.value == 0.0
    assert layers[name].collapsed
    # The means of z1 still vary, as z2 does.
    assert layers[name].active_units == (3 if name == "z1" else 0)
    assert not any(each.collapsed for each in layers.values() if each.layer.name != name)


def _estimates(model: ProgramModel, pixels: Tensor, k: int) -> Estimates:
    found = estimate(_batch(model, pixels), (k,), repeats=1, k_chunk=None)
    collected = Collected()
    collected.add(found, None)
    return Estimates((k,), collected.arrays(), model.no_means, model.layers())


def test_a_part_that_is_no_kl_does_not_show_a_collapse_by_itself() -> None:
    """Of a bottom-up q, the lower layer's part may be near 0, or negative, although the layer stores much."""

    class Copied(LatentModel):
        """z2 is a copy of z1 with noise, in q and in p, so that the lower layer's part is negative."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def posterior(self, x: Tensor, draw: Draw) -> None:
            z1 = draw("z1", self.around(2.0 * x - 1.0))
            draw("z2", self.around(z1))

        def around(self, loc: Tensor) -> Distribution:
            return gaussian(torch.cat([loc, torch.full_like(loc, -3.0) * self.scale], -1))

        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            given("z2", standard_normal(4))
            given("z1", self.around(z["z2"]))
            return Independent(Bernoulli(logits=4.0 * self.scale * z["z1"]), 1)

    model = ProgramModel(Copied().double(), small_data(4))
    pixels = torch.eye(4, dtype=torch.float64).repeat(3, 1)
    layers = _estimates(model, pixels, 64).layers(0.01)
    assert [(each.layer.name, each.layer.is_kl) for each in layers] == [("z1", False), ("z2", True)]
    assert abs(layers[0].kl.value) < 0.1, "the part alone looks like a collapse"
    assert layers[0].active_units == 4
    assert not any(each.collapsed for each in layers)


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (lambda: made(TwoLayers), [("z1", [0, 1], False), ("z2", [2, 3], True)]),
        (lambda: linear_layers("down"), [("z1", [2, 3, 4], True), ("z2", [0, 1], True)]),
        # The priors are given in the order c, a, b, and only that of b depends on another latent, a.
        (PATHS["three draws"], [("b", [1, 2, 3, 4], False), ("a", [0], True), ("c", [5, 6], True)]),
        (PATHS["normal"], [("z", [0, 1], True)]),
    ],
)
def test_layers_are_counted_from_x_whatever_the_order_of_q(
    build: Callable[[], ProgramModel], layers: list[tuple[str, list[int], bool]]
) -> None:
    assert [(each.name, [*each.columns], each.is_kl) for each in build().layers()] == layers


def test_units_of_bits_are_active_by_the_variance_of_their_probability() -> None:
    class Bits(LatentModel):
        def __init__(self, data: ModelData) -> None:
            super().__init__()
            count = torch.Size(data.shape).numel()
            self.q1, self.q2 = nn.Linear(count, 3), nn.Linear(3, 2)
            self.p1, self.decoder = nn.Linear(2, 3), nn.Linear(3, count)

        def posterior(self, x: Tensor, draw: Draw) -> None:
            z1 = draw("z1", Independent(Bernoulli(logits=self.q1(x.flatten(1))), 1))
            draw("z2", Independent(Bernoulli(logits=self.q2(z1)), 1))

        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            given("z2", Independent(Bernoulli(logits=torch.zeros(2).to(z["z2"])), 1))
            given("z1", Independent(Bernoulli(logits=self.p1(z["z2"])), 1))
            return Independent(Bernoulli(logits=self.decoder(z["z1"])), 1)

    model = made(Bits)
    model.module.q1.weight.data[1] = 0.0
    pixels = pixels_of(model, 30)
    found = _estimates(model, pixels, 4)
    with torch.no_grad():
        batch = _batch(model, pixels)
        drawn = model.draw(pixels, batch._draws(1, 0)).values["z1"][0]
        variances = [
            torch.sigmoid(each).var(0, correction=0) for each in (model.module.q1(pixels), model.module.q2(drawn))
        ]
    middle = float(torch.cat(variances).sort().values[2:4].mean())
    for layer, variance in zip(found.layers(middle), variances, strict=True):
        assert layer.inactive == tuple(torch.nonzero(variance <= middle).flatten().tolist())
    assert 1 in (found.layers(middle)[0].inactive or ())


def test_a_model_with_one_layer_has_no_numbers_by_layer() -> None:
    model = PATHS["normal"]()
    found = estimate(_batch(model, pixels_of(model)), (4,), repeats=1, k_chunk=None)
    assert found.kl_layers is None
    assert _estimates(model, pixels_of(model), 4).layers(0.01) == []
    assert Layer("z", range(2)) == model.layers()[0]
    assert isinstance(found, BatchEstimates)
