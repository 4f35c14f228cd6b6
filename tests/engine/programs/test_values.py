"""Values of a user's model for evaluations and pictures: equal to the built-in twin's, and to closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
)

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.likelihood_estimate import estimate
from dregcli.engine.programs.contract import Draw, Given, LatentModel, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import EXAMPLES_BLOCK, best_of_k, latent_variances, prior_images, traversals
from dregcli.errors import SpecError
from dregcli.names import Split
from tests.support.exact import small_vae
from tests.support.plain_models import PlainVae, SmallModel, TwoLayers, small_data

DATA = small_data()
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def _twins():
    vae = small_vae()
    return vae, ProgramModel(PlainVae(vae).double(), small_data(1, 3, 4))


def _program(module: nn.Module) -> ProgramModel:
    torch.manual_seed(3)
    for each in module.parameters():
        nn.init.normal_(each, std=0.7)
    return ProgramModel(module.double(), DATA)


def _pixels(n: int, width: int = 16) -> Tensor:
    return (torch.rand(n, width, generator=torch.Generator().manual_seed(1)) > 0.5).double()


def _noise(k: int, batch: int, model: ProgramModel, seed: int = 0) -> AddressedNoise:
    where = Randomness(seed), Stream.EVALUATION_NOISE, 0
    return AddressedNoise(*where, k=k, batch=batch, width=model.latent_width, dtype=torch.float64)


def test_a_plain_twin_gives_the_built_in_models_values() -> None:
    vae, twin = _twins()
    pixels = _pixels(EXAMPLES_BLOCK + 3, 12)
    for function in (
        lambda model: prior_images(model, pixels[:1], Randomness(1), k=20),
        lambda model: best_of_k(model, pixels, Randomness(1), k=21).images,
        lambda model: best_of_k(model, pixels, Randomness(1), k=21).log_w,
        lambda model: latent_variances(model, iter([pixels, pixels[:4]]), split=Split.TEST, seed=0),
        lambda model: torch.cat([each.flatten() for each in traversals(model, pixels[:1], (2, 0), (-3.0, 0.0, 1.0))]),
        lambda model: model.kl_from_prior(pixels),
        lambda model: model.posterior_means(pixels, _noise(1, len(pixels), twin)),
    ):
        torch.testing.assert_close(function(twin), function(vae), **EXACT)
    assert twin.coordinates() == vae.coordinates() == {0: "z0", 1: "z1", 2: "z2"}
    assert (twin.no_means, twin.no_traversals, twin.no_annealing) == (None, None, None)


def test_more_images_of_a_users_model_begin_with_what_fewer_are() -> None:
    for model in (_twins()[1], _program(TwoLayers(DATA)), _program(_Mixed())):
        pixels = model.data.mean.flatten().double().unsqueeze(0)
        few, many = (prior_images(model, pixels, Randomness(5), k=k) for k in (3, 40))
        assert torch.equal(few, many[:3])
        assert not torch.equal(many[:16], many[16:32])


class _Mixed(LatentModel):
    """A mixture as the prior, a Laplace posterior, and a discrete latent beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(16, 7), nn.Linear(5, 16)
        self.centres = nn.Parameter(torch.zeros(4, 2))

    def prior(self) -> Distribution:
        parts = Independent(Normal(self.centres, torch.full_like(self.centres, 0.6)), 1)
        return MixtureSameFamily(Categorical(logits=torch.zeros_like(self.centres[:, 0])), parts)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        loc, raw, logits = self.encoder(x.flatten(1)).split([2, 2, 3], dim=-1)
        draw("z", Independent(Laplace(loc, raw.exp()), 1))
        draw("c", OneHotCategorical(logits=logits))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", self.prior())
        given("c", OneHotCategorical(logits=torch.zeros(3).to(self.centres)))
        return Independent(Bernoulli(logits=self.decoder(torch.cat([z["z"], z["c"]], -1))), 1)


def test_a_prior_without_normals_has_the_right_samples_at_its_address() -> None:
    """The mean and the square of the mixture's samples, and the share of each category; 6 standard errors."""
    model = _program(_Mixed())
    model.module.decoder.weight.data.zero_()
    model.module.decoder.bias.data.zero_()
    model.module.decoder.weight.data[:5] = 0.4 * torch.eye(5)
    k = 16 * 120
    images = prior_images(model, DATA.mean.flatten().double()[None], Randomness(0), k=k)[:, 0]
    z = torch.logit(images[:, :5]) / 0.4
    prior = model.module.prior()
    error = 6.0 * (prior.stddev / math.sqrt(k))
    assert ((z[:, :2].mean(0) - prior.mean).abs() < error).all()
    assert (z[:, :2].std(0) / prior.stddev - 1.0).abs().max() < 0.1
    assert (z[:, 2:].mean(0) - 1 / 3).abs().max() < 6.0 * math.sqrt(2 / 9 / k)
    assert torch.equal(z[:, 2:].round(decimals=6).sum(1), torch.ones(k).double())


@pytest.mark.parametrize(
    "family", ["normal", "full", "laplace", "lognormal", "squashed", "flow", "categorical", "bernoulli"]
)
def test_the_kl_is_torchs_closed_form_or_the_mean_over_the_draws(family: str) -> None:
    model = _program(SmallModel(DATA, family))
    pixels = _pixels(3)
    with torch.no_grad():
        exact = model.kl_from_prior(pixels)
        log_w, sampled = model.weighed(pixels, _noise(1024, 3, model), k_chunk=256)
    assert (exact is not None) == (family not in ("full", "flow"))
    latents = model.draw(pixels, _noise(1024, 3, model))
    priors: dict[str, Distribution] = {}
    p = model.module.model(latents.values, priors.__setitem__)
    ratio = latents.log_q - priors["z"].log_prob(latents.values["z"])
    torch.testing.assert_close(sampled[0], ratio.mean(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_w, p.log_prob(pixels) - ratio, rtol=1e-9, atol=1e-9)
    if exact is not None:
        assert exact.shape == sampled.shape
        assert ((sampled - exact).abs() < 6.0 * ratio.std(0) / 32.0).all()


def test_no_closed_form_is_taken_from_a_class_with_a_density_of_its_own() -> None:
    class Shifted(Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            return super().log_prob(value - 1.0)

    class Own(SmallModel):
        def posterior(self, x: Tensor, draw: Draw) -> None:
            outputs = self.encoder(x.flatten(1))
            draw("z", Independent(Shifted(outputs[..., :2], outputs[..., 2:4].exp()), 1))

    assert _program(Own(DATA)).kl_from_prior(_pixels(2)) is None


def test_conditional_latents_have_the_mean_given_one_draw_of_the_earlier_ones() -> None:
    model = _program(TwoLayers(DATA))
    pixels, noise = _pixels(4), _noise(1, 4, model)
    with torch.no_grad():
        found = model.posterior_means(pixels, noise)
        drawn = model.draw(pixels, noise).values["z1"][0]
        first = gaussian(model.module.q1(pixels)).mean
        second = gaussian(model.module.q2(torch.tanh(drawn))).mean
        assert model.kl_from_prior(pixels) is None
    torch.testing.assert_close(found, torch.cat([first, second], dim=1), **EXACT)
    assert not torch.allclose(second, gaussian(model.module.q2(torch.tanh(first))).mean, atol=1e-3)


def test_a_traversal_of_the_top_latent_moves_what_the_prior_makes_of_it() -> None:
    model = _program(TwoLayers(DATA))
    x = _pixels(1)
    assert model.coordinates() == {0: "z1[0]", 1: "z1[1]", 2: "z2[0]", 3: "z2[1]"}
    still, found = traversals(model, x, (3, 0), (-1.0, 2.0))
    own = model.module
    with torch.no_grad():
        z1 = gaussian(own.q1(x)).mean
        z2 = gaussian(own.q2(torch.tanh(z1))).mean

        def image(z: Tensor) -> Tensor:
            return torch.sigmoid(own.decoder(torch.tanh(z)))[0]

        lower = gaussian(own.p1(z2)).mean
        torch.testing.assert_close(still, torch.stack([image(lower), image(z1)]), **EXACT)
        assert not torch.allclose(still[0], still[1], atol=1e-3)
        for column, offset in enumerate((-1.0, 2.0)):
            top = z2.clone()
            top[0, 1] = offset
            torch.testing.assert_close(found[0, column], image(gaussian(own.p1(top)).mean), **EXACT)
            below, prior = z1.clone(), gaussian(own.p1(z2))
            below[0, 0] = (prior.mean + offset * prior.stddev)[0, 0]
            torch.testing.assert_close(found[1, column], image(below), **EXACT)


def test_what_a_model_cannot_show_has_a_reason() -> None:
    flow, categorical = (_program(SmallModel(DATA, family)) for family in ("flow", "categorical"))
    assert flow.no_means == "q of 'z' (TransformedDistribution) has no mean in closed form"
    assert flow.posterior_means(_pixels(2), _noise(1, 2, flow)) is None
    assert flow.no_traversals == flow.no_means
    assert (categorical.no_means, categorical.no_traversals) == (None, "the latent 'z' is discrete")
    squashed = _program(SmallModel(DATA, "lognormal"))
    assert squashed.no_traversals is None

    class Levels(SmallModel):
        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            given("z", standard_normal(2))
            return Independent(
                Categorical(logits=self.decoder(z["z"]).unsqueeze(-1).expand(*z["z"].shape[:2], 16, 3)), 1
            )

    with pytest.raises(SpecError, match=r"p\(x \| z\) \(Categorical\) has no mean"):
        prior_images(_program(Levels(DATA)), _pixels(1), Randomness(0), k=1)


def test_a_program_may_read_a_latent_before_it_gives_its_prior() -> None:
    """Only a chain of priors has an order that nobody can know then."""

    class Late(SmallModel):
        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            p = Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)
            super().model({"z": z["z"]}, given)
            return p

    class LateChain(TwoLayers):
        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            given("z1", gaussian(self.p1(z["z2"])))
            given("z2", standard_normal(2))
            return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z1"]))), 1)

    usual, late, chain = _program(SmallModel(DATA)), _program(Late(DATA)), _program(LateChain(DATA))
    images = [prior_images(model, _pixels(1), Randomness(0), k=20) for model in (usual, late)]
    assert torch.equal(*images)
    annealed = [model.annealed(_pixels(2))(torch.ones(3, 2, 2).double()) for model in (usual, late)]
    assert torch.equal(annealed[0].slope, annealed[1].slope)
    with pytest.raises(SpecError, match=r"reads z\['z2'\] before it calls given\('z2', ...\)"):
        prior_images(chain, _pixels(1), Randomness(0), k=1)
    assert "before it calls given('z2', ...)" in str(chain.no_annealing)


@pytest.mark.parametrize("axes", [(1,), (1, 1)])
def test_axes_of_size_1_in_a_prior_change_nothing(axes: tuple[int, ...]) -> None:
    """A learned prior is often a parameter of shape (1, Z), and training takes it."""

    class WithAxes(SmallModel):
        shape: tuple[int, ...] = ()

        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            loc = self.prior[:2].expand(*self.shape, 2)
            given("z", Independent(Normal(loc, torch.ones_like(loc)), 1))
            return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)

    class More(WithAxes):
        shape = axes

    usual, other = _program(WithAxes(DATA)), _program(More(DATA))
    x = _pixels(3)
    e = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(2, 3, 2)
    values = [
        (
            model.kl_from_prior(x),
            prior_images(model, x[:1], Randomness(0), k=20),
            model.annealed(x)(e).slope,
            *traversals(model, x[:1], [0, 1], [-1.0, 1.0]),
        )
        for model in (usual, other)
    ]
    torch.testing.assert_close(*values, **EXACT)


def test_estimates_of_a_users_model_are_in_evaluation_mode_and_leave_the_mode_as_it_was() -> None:
    class Dropping(SmallModel):
        def __init__(self) -> None:
            super().__init__(DATA)
            self.drop = nn.Dropout(0.5)

        def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
            given("z", standard_normal(2))
            return Independent(Bernoulli(logits=self.drop(self.decoder(z["z"]))), 1)

    model = _program(Dropping())
    batch = SeenBatch(model, 0, _pixels(3), Split.TEST, Randomness(0))
    once, again = (estimate(batch, (4, 16), repeats=2, k_chunk=None) for _ in range(2))
    assert torch.equal(once.bound, again.bound)
    assert model.module.drop.training
    assert once.kl_prior is not None
    assert once.kl_prior_sampled is None
    flow = estimate(
        SeenBatch(_program(SmallModel(DATA, "flow")), 0, _pixels(3), Split.TEST, Randomness(0)),
        (4,),
        repeats=2,
        k_chunk=None,
    )
    assert flow.kl_prior is flow.means is None
    assert flow.kl_prior_sampled is not None
    assert flow.kl_prior_sampled.shape == (2, 3)
