"""The model of several stochastic layers, and the families of its posterior."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.app.models.find import find_code
from dregcli.app.models.importing import class_of
from dregcli.engine.diagonal_gaussian import standard_normal_log_prob
from dregcli.engine.likelihoods import LIKELIHOODS, make_likelihood
from dregcli.engine.models.vae import Vae
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.hierarchical import HierarchicalVae
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import DataKind, LikelihoodName, PosteriorOrder, TopPrior
from dregcli.specs.models import PROGRAMS, settings_of
from tests.engine.programs import test_executors, test_gradients
from tests.support.program_oracle import drawn
from tests.support.program_zoo import made, pixels_of
from tests.support.sweep import swept

KINDS = {
    LikelihoodName.BERNOULLI: (DataKind.BINARY, 1),
    LikelihoodName.GAUSSIAN: (DataKind.REAL, 1),
    LikelihoodName.DISCRETISED_LOGISTIC: (DataKind.INTENSITY, 255),
}
TOP_DOWN = {"posterior_order": PosteriorOrder.TOP_DOWN}
LEARNED = {"top_prior": TopPrior.LEARNED}
MODELS: dict[str, dict[str, Any]] = {
    "bottom-up": {},
    "bottom-up, learned top prior": LEARNED,
    "top-down": TOP_DOWN,
    "top-down, three layers": {"latent_dim": (3, 2, 2), "hidden": ((4,), (3, 4), (3,)), **TOP_DOWN, **LEARNED},
    "bottom-up, full": {"posterior": "full"},
    "top-down, full": {"posterior": "full", **TOP_DOWN},
}


def data_of(name: LikelihoodName = LikelihoodName.BERNOULLI) -> ModelData:
    mean, spread = torch.linspace(0.2, 0.8, 6).reshape(1, 2, 3), torch.linspace(0.1, 0.4, 6).reshape(1, 2, 3)
    return ModelData((1, 2, 3), *KINDS[name], mean, spread)


def small(**options: Any) -> ProgramModel:
    """A model whose entries below a factor's diagonal are not at their start, which is 0."""

    def build(data: ModelData) -> HierarchicalVae:
        return HierarchicalVae(data, **{"latent_dim": (3, 2), "hidden": ((5, 4), (4,)), **options})

    model = made(build, data_of())
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for each in model.module.parameters():
            each += 0.2 * torch.randn(each.shape, generator=generator, dtype=each.dtype)
    return model


@swept("name", MODELS)
def test_gradients_are_the_oracles(name: str) -> None:
    model = small(**MODELS[name])
    assert (model.discrete, model.unreached) == ((), [])
    assert test_gradients.off(model, test_gradients.pairs("iwae/dreg", "jvi:order=1/dreg", "rws/dreg")) == {}
    assert test_gradients.off_bound(model) < 1e-10


def test_chunks_and_kept_rows_give_denses_gradients() -> None:
    for name in ("bottom-up", "top-down, full"):
        pair = test_gradients.pairs("iwae/dreg", k=test_executors.K)[0]
        assert test_executors.off(small(**MODELS[name]), pair) == {}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_one_layer_is_the_built_in_vae(name: LikelihoodName) -> None:
    """Of equal seeds, so also of equal initial weights; both densities, and both posteriors' order."""
    data = data_of(name)
    mean, spread = data.mean.flatten(), data.spread.flatten()
    likelihood = make_likelihood(name, spread=spread, levels=data.levels)
    divisor = spread if likelihood.standardises else None
    generator = torch.Generator().manual_seed(4)
    vae = Vae(mean, hidden=(5, 4), latent_dim=2, generator=generator, likelihood=likelihood, spread=divisor).double()
    x, z = torch.rand(3, 6).double().round(), torch.randn(4, 3, 2).double()
    for order in PosteriorOrder:
        torch.manual_seed(4)
        own = HierarchicalVae(data, latent_dim=(2,), hidden=((5, 4),), likelihood=name, posterior_order=order)
        log_q, log_p = densities(own.double(), x, {"z1": z})
        assert torch.allclose(log_p, vae.log_joint(x, (z,)), rtol=1e-12)
        q = vae.posterior(x)
        expected = standard_normal_log_prob((z - q.loc) / q.scale) - q.scale.log().sum(-1)
        assert torch.allclose(log_q, expected, rtol=1e-12)


def densities(module: Any, x: Tensor, z: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """log q(z | x) and log p(x, z) by the two programs."""
    of_q: list[Tensor] = []
    of_p: list[Tensor] = []

    def draw(name: str, distribution: Any) -> Tensor:
        of_q.append(distribution.log_prob(z[name]))
        return z[name]

    module.posterior(x.reshape(-1, 1, 2, 3), draw)
    p = module.model(z, lambda name, prior: of_p.append(prior.log_prob(z[name])))
    return sum(of_q, torch.zeros(())), sum(of_p, torch.zeros(())) + p.log_prob(x.reshape(-1, 1, 2, 3))


def test_two_layers_are_those_on_paper() -> None:
    """Both densities and their gradients by each layer, written out with the same parameters."""
    module: Any = small().module
    x = torch.rand(3, 6).double().round()
    z = {name: torch.randn(2, 3, size).double().requires_grad_() for name, size in (("z1", 3), ("z2", 2))}

    def network(layers: Any, inputs: Tensor) -> Tensor:
        for i, layer in enumerate(layers):
            inputs = (torch.tanh(inputs) if i else inputs) @ layer.weight.T + layer.bias
        return inputs

    def log_normal(value: Tensor, outputs: Tensor) -> Tensor:
        loc, raw = outputs.chunk(2, -1)
        return torch.distributions.Normal(loc, torch.log1p(torch.exp(raw + 0.25))).log_prob(value).sum(-1)

    q1 = network([*module.encoders[0], module.heads[0].linear], x - module.mean)
    q2 = network([*module.encoders[1], module.heads[1].linear], z["z1"])
    log_q = log_normal(z["z1"], q1) + log_normal(z["z2"], q2)
    logits = network(module.decoders[0], z["z1"])
    log_p = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(-1)
    log_p = log_p + log_normal(z["z1"], network(module.decoders[1], z["z2"])) + standard_normal_log_prob(z["z2"])
    for mine, expected in zip(densities(module, x, z), (log_q, log_p), strict=True):
        assert torch.allclose(mine, expected, rtol=1e-12)
        by = [torch.autograd.grad(each.sum(), list(z.values()), retain_graph=True) for each in (mine, expected)]
        assert all(torch.allclose(*each, rtol=1e-10, atol=1e-12) for each in zip(*by, strict=True))


def test_the_usual_sizes_are_those_of_burda_and_others() -> None:
    """Sizes of every linear layer of arXiv 1509.00519, each with its biases, and nothing else."""
    data = ModelData((1, 28, 28), DataKind.BINARY, 1, torch.full((1, 28, 28), 0.5), torch.ones(1, 28, 28))
    module = HierarchicalVae(data, latent_dim=(100, 50), hidden=((200, 200), (100, 100)))
    q = ((784, 200), (200, 200), (200, 2 * 100), (100, 100), (100, 100), (100, 2 * 50))
    p = ((100, 200), (200, 200), (200, 784), (50, 100), (100, 100), (100, 2 * 100))
    weights = sorted((each.shape[1], each.shape[0]) for each in module.parameters() if each.ndim == 2)
    biases = sorted(len(each) for each in module.parameters() if each.ndim == 1)
    assert weights == sorted(q + p)
    assert biases == sorted(outputs for _, outputs in q + p)


def test_top_down_uses_the_example_and_the_layer_above_alone() -> None:
    """The lowest of three layers is Gaussian given x and z2: it does not depend on z3 once z2 is given."""
    module = small(**MODELS["top-down, three layers"]).module
    x = torch.rand(2, 1, 2, 3).double().requires_grad_()
    z = {f"z{i + 1}": torch.randn(4, 2, size).double().requires_grad_() for i, size in enumerate((3, 2, 2))}
    drawn_: dict[str, Tensor] = {}

    def draw(name: str, distribution: Any) -> Tensor:
        drawn_[name] = distribution.mean
        return z[name]

    module.posterior(x, draw)
    assert list(drawn_) == ["z3", "z2", "z1"]
    inputs = [x, z["z2"], z["z3"]]
    by = torch.autograd.grad(drawn_["z1"].sum(), inputs, allow_unused=True)
    assert [each is not None and bool(each.any()) for each in by] == [True, True, False]


def test_a_full_posterior_starts_as_the_diagonal_one() -> None:
    """At equal seeds. It is sampled at the same address; its factor is lower triangular with positive diagonal."""
    first, second = (_seeded(posterior=word) for word in ("full", "diagonal"))
    x = pixels_of(first)
    one, other = (model.draw(x, drawn(model, k=3, batch=len(x))) for model in (first, second))
    assert torch.allclose(one.values["z1"], other.values["z1"])
    assert torch.allclose(one.log_q, other.log_q)
    moved = small(posterior="full").module
    q: list[Any] = []
    moved.posterior(x.reshape(-1, 1, 2, 3), lambda name, each: q.append(each) or each.sample())
    factor = q[0].scale_tril
    assert torch.equal(factor, factor.tril())
    assert (factor.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert factor.tril(-1).any()


def test_a_learned_top_prior_starts_as_the_standard_one_and_is_trained() -> None:
    x, z = torch.rand(3, 6).double().round(), {"z1": torch.randn(2, 3, 3).double()}
    learned, standard = (_seeded(top_prior=word).module for word in (TopPrior.LEARNED, TopPrior.STANDARD))
    of_learned, of_standard = (densities(each, x, z)[1] for each in (learned, standard))
    assert torch.allclose(of_learned, of_standard, rtol=1e-6)
    of_learned.sum().backward()
    assert all(each.grad is not None and each.grad.all() for each in learned.prior.values())


def test_a_full_posterior_of_one_number() -> None:
    model = _seeded(latent_dim=(1,), posterior="full")
    x = pixels_of(model)
    assert torch.isfinite(model.draw(x, drawn(model, k=3, batch=len(x))).log_q).all()


def _seeded(**options: Any) -> ProgramModel:
    torch.manual_seed(2)
    module = HierarchicalVae(data_of(), **{"latent_dim": (3,), "hidden": ((4,),), **options}).double()
    return ProgramModel(module, data_of())


def test_flows_are_posteriors_of_each_layer() -> None:
    pytest.importorskip("zuko", reason="needs zuko, of the extra dreg[flows]")
    for options in ({"posterior": "flow:maf,layers=2"}, {"posterior": "flow:nsf", **TOP_DOWN}):
        model = small(**options)
        assert test_gradients.off(model, test_gradients.pairs("iwae/dreg")) == {}


@pytest.mark.parametrize("word", PROGRAMS)
def test_a_built_in_program_takes_the_settings_that_the_spec_has_for_it(word: str) -> None:
    """Each by name only, beside options that a user gives by --model-option."""
    parameters = inspect.signature(class_of(find_code(word))).parameters
    named = [name for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert set(named) == set(settings_of(word))
