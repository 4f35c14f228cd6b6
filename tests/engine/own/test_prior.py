"""``multi_sample_loss`` with a prior of its own: gradients, checks and refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import SoftplusTransform, TanhTransform

from dregcli.engine import gradient_report, multi_sample_loss
from dregcli.engine.diagnostics.own_model import OwnModelSource
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.own import samples
from dregcli.engine.own.prior import OwnPrior
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import standard_normal
from dregcli.errors import SpecError
from tests.engine.programs.test_executors import KeepsAll
from tests.support.chosen_rows import LARGE, Own, expected_gradient
from tests.support.exact import relative_distance
from tests.support.hierarchies import HIERARCHIES
from tests.support.one_latent import Tempered
from tests.support.own_hierarchies import OwnHierarchy
from tests.support.prior_rules import RULES
from tests.support.program_oracle import drawn
from tests.support.program_zoo import pixels_of
from tests.support.straight_through import StraightThrough
from tests.support.sweep import swept

K = 8
F64 = torch.float64
WORDS = ("iwae/dreg", "iwae/reparam", "rws/dreg", "iwae/vimco", "vr-iwae:alpha=0.3/dreg", "piwae:groups=4/stl")
WAYS = {"score": "score", "gdreg": "joint", "blend": "blend"}


def own_and_step(name: str, rule: str) -> tuple[OwnHierarchy, Step]:
    """A model's programs as one's own loss, and as a step of the program, at the same samples."""
    model = HIERARCHIES[name]()
    x = pixels_of(model)
    draws = KeepsAll(drawn(model, k=K, batch=len(x)))
    return OwnHierarchy.of(model, x, draws), Step(model, x, draws, Execution(), rule=RULES[rule])


def off(own: OwnHierarchy, step: Step, word: str, way: str, **options: Any) -> float:
    found, expected = own.gradients(word, way, **options), step.gradients(resolve_pair(*word.split("/"), K)).whole()
    return relative_distance(found, {name: expected[name] for name in found})


@pytest.fixture
def conditional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the posterior's standard deviation depend on earlier latents, as that of a program does."""

    def spread_of(posterior: Any, prior: OwnPrior | None) -> Tensor | None:
        blended = prior is not None and prior.rule is not None and prior.rule.blended
        return posterior.own.conditional_stddev() if blended else None

    monkeypatch.setattr(samples, "spread_of", spread_of)


@pytest.mark.usefixtures("conditional")
@swept("name, way", [(name, way) for name in HIERARCHIES for way in WAYS])
def test_the_gradient_of_the_same_model_as_two_programs(name: str, way: str) -> None:
    own, step = own_and_step(name, WAYS[way])
    words = WORDS if name in ("top-down", "bottom-up") and way != "score" else WORDS[:1]
    far = {word: off(own, step, word, way) for word in words}
    if way == "gdreg":
        far["chunks"] = off(own, step, WORDS[0], way, k_chunk=3, check=name == "ladder")
    assert {word: each for word, each in far.items() if not each < 1e-10} == {}


@pytest.mark.parametrize(("stddev", "rule"), [(1e-9, "score"), (1e9, "layer")])
def test_a_blend_lies_between_the_score_and_the_layers_samples(stddev: float, rule: str) -> None:
    own, step = own_and_step("bottom-up", rule)
    own.stddev = torch.full((len(own.x), own.width), stddev, dtype=F64)
    assert off(own, step, "iwae/dreg", "blend") < 1e-10


# Twins that are wrong.


def test_a_gradient_without_its_square_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = samples.prior_seeds
    monkeypatch.setattr(samples, "prior_seeds", lambda *args: seeds(*args[:-1], torch.zeros_like(args[-1])))
    assert off(*own_and_step("top-down", "joint"), "iwae/dreg", "gdreg") > 1e-3


@pytest.mark.parametrize("order", ["bottom-up", "top-down"])
def test_dead_inputs_of_conditionals_are_caught(order: str) -> None:
    for word in ("iwae/dreg", "rws/dreg"):
        assert off(*own_and_step(order, "joint"), word, "gdreg", dead=True) > 1e-3


def test_lower_samples_that_stay_are_caught() -> None:
    """Samples of one layer at a time have another gradient, which is as right as that of all together."""
    assert off(*own_and_step("top-down", "layer"), "iwae/dreg", "gdreg") > 1e-3


# A small model whose rows are chosen.


class TwoLayers:
    """Two layers of one number, whose upper prior depends on the example."""

    def __init__(self) -> None:
        self.x = torch.tensor([[0.3, -1.0], [1.2, 0.4]], dtype=F64)
        self.q = torch.tensor([0.4, -0.3, 0.2, 0.9], dtype=F64, requires_grad=True)
        self.top = torch.tensor([0.5, 0.8], dtype=F64, requires_grad=True)
        self.below = torch.tensor([0.7, -0.4, 1.2], dtype=F64, requires_grad=True)
        self.decoder = torch.tensor([0.9, -0.6], dtype=F64, requires_grad=True)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.q, self.top, self.below, self.decoder]

    def posterior(self) -> Distribution:
        return gaussian_of(self.x @ self.q.reshape(2, 2), torch.full((2, 2), 0.6, dtype=F64))

    def log_likelihood(self, z: Tensor, rows: RowChoice) -> Tensor:
        # A parameter of the prior is in the likelihood, too.
        return Normal(z[..., :1] * self.decoder + self.below[0], 0.8).log_prob(rows(self.x)).sum(-1)

    def prior(self, z: Tensor, rows: RowChoice) -> list[tuple[Distribution, Tensor]]:
        low, up = z[..., :1], z[..., 1:]
        above = gaussian_of(self.top[0] * rows(self.x)[..., :1], self.top[1])
        return [(above, up), (gaussian_of(torch.tanh(up) * self.below[0] + self.below[1], self.below[2]), low)]

    def log_joint(self, z: Tensor, rows: RowChoice) -> Tensor:
        return self.log_likelihood(z, rows) + sum(p.log_prob(part) for p, part in self.prior(z, rows))

    def gradient(self, way: str | None, posterior: Distribution | None = None, **options: Any) -> Tensor:
        loss = self.loss(way, posterior, **options)
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, self.parameters)])

    def loss(self, way: str | None, posterior: Distribution | None = None, **options: Any) -> Tensor:
        torch.default_generator.manual_seed(3)
        density = self.log_joint if way is None else self.log_likelihood
        given = {} if way is None else {"prior": self.prior, "prior_gradient": way}
        return multi_sample_loss(density, posterior or self.posterior(), **{"k": 2, **given, **options})[0]


def gaussian_of(loc: Tensor, scale: Tensor) -> Distribution:
    return Independent(Normal(loc, scale), 1)


@pytest.mark.parametrize("word", ["iwae/dreg", "rws/dreg", "iwae/vimco"])
def test_the_score_is_the_gradient_of_the_same_log_joint(word: str) -> None:
    model, (objective, estimator) = TwoLayers(), word.split("/")
    ways = {way: model.gradient(way, objective=objective, estimator=estimator) for way in (None, "score", "gdreg")}
    torch.testing.assert_close(ways["score"], ways[None], rtol=1e-12, atol=1e-12)
    assert (ways["gdreg"] - ways[None]).norm() > 1e-3
    # What is not in the prior has the same gradient.
    for part in (slice(0, 4), slice(9, 11)):
        torch.testing.assert_close(ways["gdreg"][part], ways[None][part], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", ["gdreg", "blend"])
@pytest.mark.parametrize("estimator", ["dreg", "vimco"])
def test_screened_rows_have_the_expectation_of_all_rows(way: str, estimator: str) -> None:
    model = TwoLayers()
    own = Own(model.posterior, model.log_likelihood, model.parameters)
    options: dict[str, Any] = {"prior": model.prior, "prior_gradient": way}
    found, choices = expected_gradient(own, 2, "iwae", estimator, screen=LARGE, **options)
    assert choices > 2
    torch.testing.assert_close(found, own.gradient(2, "iwae", estimator, **options), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k_chunk", [None, 1])
def test_a_posterior_with_a_last_transform_has_the_gradient_of_its_density(k_chunk: int | None) -> None:
    """A class of its own is differentiated at z, and torch's before the last transform."""

    class Whole(Distribution):
        has_rsample = True

        def __init__(self, inner: Distribution) -> None:
            super().__init__(inner.batch_shape, inner.event_shape, validate_args=False)
            self.inner = inner

        def rsample(self, sample_shape: Any = ()) -> Tensor:
            return self.inner.rsample(sample_shape)

        def log_prob(self, value: Tensor) -> Tensor:
            return self.inner.log_prob(value)

    model = TwoLayers()

    def posterior() -> Distribution:
        base = Normal(model.x @ model.q.reshape(2, 2), 0.6)
        return Independent(TransformedDistribution(base, [TanhTransform(), SoftplusTransform()]), 1)

    found = model.gradient("gdreg", posterior(), k_chunk=k_chunk)
    torch.testing.assert_close(found, model.gradient("gdreg", Whole(posterior())), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k_chunk", [None, 1])
def test_a_frozen_posterior_leaves_thetas_gradient(k_chunk: int | None) -> None:
    model = TwoLayers()
    expected = model.gradient("gdreg")[4:]
    model.q.requires_grad_(requires_grad=False)
    model.loss("gdreg", k_chunk=k_chunk).backward()
    found = torch.cat([each.grad for each in model.parameters[1:] if each.grad is not None])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert model.q.grad is None


@pytest.mark.parametrize("way", ["gdreg", "blend"])
def test_the_difference_that_a_bias_check_tests_is_that_of_the_gradients(way: str) -> None:
    model = TwoLayers()
    named = dict(zip(("q", "top", "below", "decoder"), model.parameters, strict=True))
    source = OwnModelSource(
        lambda: (model.log_likelihood, model.posterior(), model.prior), named, k=2, prior_gradient=way
    )
    (compared,) = source.compared([resolve_pair("iwae", "dreg", 2)])
    torch.default_generator.manual_seed(3)
    found = source.draw(0, [compared], references=True)
    reference = found.references[compared.reference]
    gradient = torch.cat([reference[name] + found.differences[0].get(name, 0.0) for name in named])
    torch.testing.assert_close(gradient, model.gradient(way), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.cat([reference[name] for name in named]), model.gradient("score", estimator="reparam")
    )


def test_a_report_has_the_variance_of_the_priors_gradient() -> None:
    model = TwoLayers()

    def variance(way: str) -> dict[str, float]:
        torch.default_generator.manual_seed(3)
        named = {"top": model.top, "decoder": model.decoder}
        (report,) = gradient_report(
            lambda: (model.log_likelihood, model.posterior(), model.prior),
            *(named, 2, "iwae", "dreg"),
            **{"batches": 8, "prior_gradient": way},
        )
        return {name: each.variance for name, each in report.blocks.items()}

    score, gdreg = variance("score"), variance("gdreg")
    assert score["decoder"] == pytest.approx(gdreg["decoder"], rel=1e-10)
    assert score["top"] != pytest.approx(gdreg["top"], rel=1e-3)


@pytest.mark.parametrize("k_chunk", [None, 1])
def test_dropout_in_the_prior_is_the_same_in_every_evaluation(k_chunk: int | None) -> None:
    model, seen = TwoLayers(), list[float]()

    def prior(z: Tensor) -> list[tuple[Distribution, Tensor]]:
        low, up = z[..., :1], z[..., 1:]
        torch.rand(1)
        noise = torch.rand(up.shape, dtype=F64)
        seen.append(float(noise.sum()))
        return [(standard_normal(1), up), (gaussian_of(model.below[0] * up * noise, model.below[2]), low)]

    def log_likelihood(z: Tensor) -> Tensor:
        return (z * torch.rand(z.shape, dtype=F64)).sum(-1)

    multi_sample_loss(
        *(log_likelihood, model.posterior(), 2), prior=prior, prior_gradient="gdreg", check=False, k_chunk=k_chunk
    )
    assert len(seen) >= 2 * len(set(seen))
    assert len(set(seen)) == 2 // (k_chunk or 2)


def test_without_gradients_there_is_the_same_value() -> None:
    model = TwoLayers()
    with torch.no_grad():
        torch.testing.assert_close(model.loss("blend"), model.loss(None), rtol=1e-12, atol=1e-12)


# What is refused.


def _of_itself(z: Tensor) -> list[tuple[Distribution, Tensor]]:
    return [(gaussian_of(z[..., :1], torch.ones(1)), z[..., :1]), (standard_normal(1), z[..., 1:])]


def _in_a_circle(z: Tensor) -> list[tuple[Distribution, Tensor]]:
    low, up = z[..., :1], z[..., 1:]
    return [(gaussian_of(up, torch.ones(1)), low), (gaussian_of(low, torch.ones(1)), up)]


def _mixture() -> Distribution:
    means = torch.zeros(3, 2, requires_grad=True)
    return MixtureSameFamily(Categorical(torch.ones(3)), gaussian_of(means, torch.ones(2)))


REFUSED: dict[str, tuple[Any, str, str]] = {
    "a part is missing": (lambda z: [(standard_normal(1), z[..., :1])], "score", "misses numbers of z"),
    "a part is there twice": (lambda z: [(standard_normal(2), z)] * 2, "score", "more than once"),
    "a part is scaled": (lambda z: [(standard_normal(2), 2 * z)], "score", "as they are"),
    "a part is cut": (lambda z: [(standard_normal(2), z.detach())], "gdreg", "as they are"),
    "a factor depends on itself": (_of_itself, "score", "is the density of"),
    "two factors depend on each other": (_in_a_circle, "score", "prior[0], prior[1] depends on"),
    "a mixture": (_mixture(), "gdreg", "(MixtureSameFamily) is neither a Gaussian nor"),
    "numbers apart": (Normal(torch.zeros(2), 1.0), "score", "the part must be (K, B) = (4, 2) and the event_shape"),
    "no list": (lambda z: standard_normal(2), "score", "must return a list of pairs"),
    "no pair": (lambda z: [standard_normal(2)], "score", "must be a pair"),
    "a density of its own": (
        Independent(Tempered(torch.zeros(2, requires_grad=True), 1.0), 1),
        "gdreg",
        "(Tempered) is neither",
    ),
    "no prior": (None, "gdreg", "needs to know the prior"),
    "a number": (3, "score", "cannot be a int"),
    "another word": (standard_normal(2), "layer", "must be one of 'score', 'gdreg', 'blend', got 'layer'"),
    "one for each example": (gaussian_of(torch.zeros(2, 2), torch.ones(2)), "screened", "those of chosen rows"),
    "discrete": (standard_normal(2), "discrete", "has no rsample"),
    "straight-through": (standard_normal(2), "straight-through", "is discrete"),
    "no standard deviation": (gaussian_of(torch.zeros(2, requires_grad=True), torch.ones(2)), "flow", "no `stddev`"),
    "some samples left out": (standard_normal(2), "ovis-mc", "leaves samples out of theta's gradient"),
    "outside": (standard_normal(2), "outside", "log p is -inf for some samples"),
}


@swept("name", REFUSED)
def test_refused_with_the_reason(name: str) -> None:
    prior, way, said = REFUSED[name]
    loc = torch.zeros(2, 2, requires_grad=True)
    options: dict[str, Any] = {"estimator": "vimco"}
    posterior: Distribution = gaussian_of(loc, torch.ones(2))
    if way == "screened":
        way, options["screen"] = "gdreg", 0.2
    if way == "discrete":
        way, posterior = "gdreg", Independent(Bernoulli(logits=loc), 1)
    if way == "straight-through":
        way, posterior = "gdreg", Independent(StraightThrough(logits=loc), 1)
    if way == "flow":
        way, posterior = "blend", Independent(TransformedDistribution(Normal(loc, 1.0), [TanhTransform()]), 1)
    if way == "ovis-mc":
        way, options["estimator"] = "gdreg", "ovis-mc:samples=2,exclusive=true"
    slope = torch.ones(2, requires_grad=True)
    outside = way == "outside"
    way = "gdreg" if outside else way

    def log_likelihood(z: Tensor, rows: RowChoice) -> Tensor:
        found = (slope * z).sum(-1)
        return torch.where(torch.arange(4)[:, None] > 0, found, -torch.inf) if outside else found

    with pytest.raises(SpecError) as error:
        multi_sample_loss(log_likelihood, posterior, 4, prior=prior, prior_gradient=way, **options)
    assert said in error.value.faults[0].message


def test_rows_of_the_prior_are_checked() -> None:
    """A batch normalisation inside the prior mixes rows."""
    norm = nn.BatchNorm1d(1)
    loc = torch.zeros(3, 2, requires_grad=True)

    def prior(z: Tensor) -> list[tuple[Distribution, Tensor]]:
        up = z[..., 1:]
        below = norm(up.flatten(0, 1)).reshape(up.shape)
        return [(standard_normal(1), up), (gaussian_of(below, torch.ones(1)), z[..., :1])]

    def loss(module: nn.Module) -> None:
        module.train()
        multi_sample_loss(lambda z: z.sum(-1), gaussian_of(loc, torch.ones(2)), 4, prior=prior)

    with pytest.raises(SpecError, match="other samples"):
        loss(norm)
