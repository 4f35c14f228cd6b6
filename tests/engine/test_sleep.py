"""The sleep phase of rws: the posterior learns on samples of the model."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    Normal,
    Transform,
    TransformedDistribution,
    constraints,
)

from dregcli.engine import check_bias, multi_sample_loss
from dregcli.engine.diagnostics.replicates import ModelReplicates
from dregcli.engine.diagnostics.source import ModelSource, comparison_of
from dregcli.engine.dreams import DreamNoise, Dreams, sleep_gradient
from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.likelihoods import make_likelihood
from dregcli.engine.models.base import Model
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.words import parse_objective, parse_scheduled, word_of
from dregcli.errors import SpecError
from dregcli.names import Backward, DataKind, LikelihoodName, Network
from tests.engine.test_captured import call_again
from tests.support.exact import LEVELS, MODELS, small_batch
from tests.support.program_oracle import drawn
from tests.support.small_training import small_trainer, take
from tests.support.sweep import swept

EXECUTIONS = {
    "dense": Execution(),
    "in chunks": Execution(k_chunk=16),
    "screened": Execution(Backward.SCREENED, 40.0),
}


class _Bits(LatentModel):
    """Two bits as latents, of which the second depends on the first in q; with ``number``, a number beside them."""

    def __init__(self, *, number: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

        self.number = number
        self.prior, self.weight, self.bias = parameter(2), parameter(2, 2), parameter(2)
        self.q, self.q_of_first = parameter(2, 2), parameter(1)
        if number:
            self.q_of_number = parameter(2)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        logits = x.flatten(1) @ self.q
        first = draw("first", Independent(Bernoulli(logits=logits[:, :1]), 1))
        draw("second", Independent(Bernoulli(logits=logits[:, 1:] + self.q_of_first * first), 1))
        if self.number:
            draw("number", Independent(Normal(x.flatten(1) @ self.q_of_number[:, None], 0.7), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("first", Independent(Bernoulli(logits=self.prior[:1]), 1))
        given("second", Independent(Bernoulli(logits=self.prior[1:]), 1))
        if self.number:
            given("number", Independent(Normal(self.prior[:1].detach(), 1.0), 1))
        bits = torch.cat([z["first"], z["second"]], dim=-1)
        shift = z["number"] if self.number else 0.0
        return Independent(Bernoulli(logits=bits @ self.weight + self.bias + shift), 1)


class _Shared(LatentModel):
    """A parameter of both p and q: z ~ N(m, 1), and q is N(x + m, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.tensor([0.3, -0.4], dtype=torch.float64))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", Independent(Normal(x.flatten(1) + self.m, 1.0), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", Independent(Normal(self.m, 1.0), 1))
        return Independent(Bernoulli(logits=z["z"]), 1)


def _program(module: nn.Module) -> ProgramModel:
    half = torch.full((1, 1, 2), 0.5, dtype=torch.float64)
    return ProgramModel(module, ModelData((1, 1, 2), DataKind.BINARY, 1, half, half))


def _noise(model: Model, *, batch: int, step: int = 0) -> DreamNoise:
    width = model.latent_width
    return DreamNoise(Randomness(0), Stream.NOISE, step, batch=batch, width=width, dtype=torch.float64)


def _enumerated(module: _Bits) -> list[tuple[Dreams, float]]:
    """Every (x, z) with its probability."""
    found: list[tuple[Dreams, float]] = []
    for values in product((0.0, 1.0), repeat=4):
        first, second, *x = (torch.tensor([[[each]]], dtype=torch.float64) for each in values)
        z = {"first": first, "second": second}
        log_p = torch.zeros((), dtype=torch.float64)

        def given(name: str, prior: Distribution, z: dict[str, Tensor] = z) -> None:
            nonlocal log_p
            log_p = log_p + prior.log_prob(z[name]).sum()

        pixels = torch.cat(x, dim=-1)[0]
        log_likelihood = module.model(z, given).log_prob(pixels).sum()
        found.append((Dreams(pixels, z), (log_p + log_likelihood).exp().item()))
    return found


def test_the_expected_gradient_by_enumeration() -> None:
    """All 16 dreams of two bits and two pixels go through the function that training calls."""
    module = _Bits()
    model, every = _program(module), _enumerated(module)
    assert sum(p for _, p in every) == pytest.approx(1.0, abs=1e-12)
    target = torch.zeros((), dtype=torch.float64)
    for dreams, p in every:
        (x1, x2), first, second = dreams.pixels[0], dreams.latents["first"], dreams.latents["second"]
        logits = x1 * module.q[0] + x2 * module.q[1]
        for bit, logit in ((first, logits[0]), (second, logits[1] + module.q_of_first[0] * first)):
            log_q = bit * nn.functional.logsigmoid(logit) + (1 - bit) * nn.functional.logsigmoid(-logit)
            target = target + p * log_q.sum()
    phi = model.posterior_parameters()
    expected = dict(zip(phi, torch.autograd.grad(target, list(phi.values())), strict=True))
    for name, each in expected.items():
        found = sum(p * sleep_gradient(model, dreams)[name] for dreams, p in every)
        torch.testing.assert_close(-found, each, rtol=1e-12, atol=1e-12)


def test_dreams_have_the_probabilities_of_the_model() -> None:
    """Of 4,000 dreams; 16 frequencies within 5 standard errors, which fails by chance once in 10^5 seeds."""
    module, count = _Bits(), 4000
    model = _program(module)
    dreams = model.dream(torch.zeros(count, 2, dtype=torch.float64), _noise(model, batch=count))
    seen = torch.cat([*(z[0] for z in dreams.latents.values()), dreams.pixels], dim=1)
    for each, p in _enumerated(module):
        wanted = torch.cat([*(z[0] for z in each.latents.values()), each.pixels], dim=1)
        share = (seen == wanted).all(dim=1).double().mean().item()
        assert abs(share - p) < 5.0 * (p * (1.0 - p) / count) ** 0.5


def test_a_shared_parameter_gets_no_path_through_dreams() -> None:
    """With a live path the gradient by m would be that of z - x - m at z = m + noise, which is 0."""
    model = _program(_Shared())
    pixels, noise = torch.zeros(5, 2, dtype=torch.float64), _noise(model, batch=5)
    dreams = model.dream(pixels, noise)
    (z,) = dreams.latents.values()
    found = sleep_gradient(model, dreams)["m"]
    torch.testing.assert_close(-found, (z[0] - dreams.pixels).mean(0) - model.module.m.detach())
    live = Dreams(dreams.pixels, {"z": z - model.module.m.detach() + model.module.m})
    assert not sleep_gradient(model, live)["m"].sub(found).abs().min() < 1e-3


@swept("name", LikelihoodName)
def test_samples_of_a_likelihood_have_its_mean_and_mass(name: LikelihoodName) -> None:
    """Over 20,000 draws, the mean within 5 standard errors."""
    spread = torch.tensor([0.3, 0.02], dtype=torch.float64)
    likelihood = make_likelihood(name, spread=spread, levels=LEVELS)
    outputs = torch.linspace(-0.5, 1.2, 2 * likelihood.outputs_per_pixel, dtype=torch.float64)
    outputs = outputs.expand(20_000, 1, -1)
    x = likelihood.sample(outputs, torch.Generator().manual_seed(1))
    error = x.mean(0) - likelihood.mean(outputs[:1])[0]
    assert (error.abs() < 5.0 * x.std(0) / 20_000**0.5).all()
    assert len(x[:, 0, 0].unique()) > 1
    if name is LikelihoodName.DISCRETISED_LOGISTIC:
        mass = likelihood.log_prob(outputs[:1], x.mode(dim=0).values).exp()
        same = (x == x.mode(dim=0).values).all(dim=-1).double().mean()
        assert abs(same - mass) < 5.0 * (mass * (1.0 - mass) / 20_000) ** 0.5
    if name is LikelihoodName.GAUSSIAN:
        scale = spread * (0.01 + nn.functional.softplus(outputs[0, 0, 2:]))
        torch.testing.assert_close(x.std(0)[0], scale, rtol=0.03, atol=0.0)


def test_a_dream_keeps_its_context() -> None:
    model = MODELS["structured"].build()
    assert isinstance(model, StructuredVae)
    pixels, _ = small_batch(model, k=1, batch=6)
    one, again, other = (model.dream(pixels, _noise(model, batch=6, step=step)).pixels for step in (0, 0, 1))
    context, target = model.parts
    assert torch.equal(one[:, context], pixels[:, context])
    assert not torch.equal(one[:, target], pixels[:, target])
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def _subjects() -> dict[str, tuple[Model, Tensor, tuple[str, ...]]]:
    bits = (torch.rand(4, 2, generator=torch.Generator().manual_seed(3)) < 0.5).double()
    both = ("reparam", "dreg", "dreg-norm")
    found: dict[str, tuple[Model, Tensor, tuple[str, ...]]] = {
        "bits": (_program(_Bits()), bits, ("reparam",)),
        "bits and a number": (_program(_Bits(number=True)), bits, both),
    }
    for name in ("vae", "structured", "gaussian"):
        model = MODELS[name].build()
        found[name] = model, small_batch(model, k=1)[0], both
    return found


def _step(model: Model, pixels: Tensor, execution: Execution, k: int) -> Step:
    draws = drawn(model, k=k, batch=len(pixels))  # pyright: ignore[reportArgumentType]
    return Step(model, pixels, draws, execution, dreams=_noise(model, batch=len(pixels)))


def _mixed(wake: Named, sleep: Named, share: float) -> Named:
    return {name: (1.0 - share) * each + share * sleep[name] for name, each in wake.items()}


@swept("how", EXECUTIONS)
@pytest.mark.parametrize("name", ["bits", "bits and a number", "vae", "structured", "gaussian"])
def test_a_step_mixes_both_phases(name: str, how: str) -> None:
    """Theta's gradient is that of rws to the bit; phi's is the mix, with no wake part at 1 and no sleep part at 0."""
    model, pixels, estimators = _subjects()[name]
    asleep = sleep_gradient(model, model.dream(pixels, _noise(model, batch=len(pixels))))
    assert all(each.abs().max() > 1e-4 for each in asleep.values())
    for word in estimators:
        awake = _step(model, pixels, EXECUTIONS[how], 20).gradients(resolve_pair("rws", word, 20))
        pairs = [resolve_pair(f"rws:sleep={share}", word, 20) for share in (0.0, 0.3, 1.0)]
        for pair in pairs:
            found = _step(model, pixels, EXECUTIONS[how], 20).gradients(pair)
            assert all(torch.equal(each, awake.model[key]) for key, each in found.model.items())
            torch.testing.assert_close(
                found.posterior, _mixed(awake.posterior, asleep, pair.objective.dreams), rtol=1e-9, atol=1e-12
            )
            if pair.objective.dreams in (0.0, 1.0):
                whole = asleep if pair.objective.dreams else awake.posterior
                assert all(torch.equal(each, whole[key]) for key, each in found.posterior.items())
        theta, phi = _step(model, pixels, EXECUTIONS[how], 20).each(tuple(pairs), train_model=True)
        for i, pair in enumerate(pairs):
            expected = _mixed(awake.posterior, asleep, pair.objective.dreams)
            torch.testing.assert_close({key: each[i] for key, each in phi.items()}, expected, rtol=1e-9, atol=1e-12)
        assert all(len(each) == len(pairs) for each in theta.values())


def _trainer(word: str = "rws:sleep=0.4", **settings: Any) -> Any:
    return small_trainer(start=word, word="dreg", **settings)


def test_training_dreams_by_the_step() -> None:
    """A resumed run has the dreams of the uncut one; and a recorded step dreams anew at each repetition."""
    straight, first, second, recorded = (_trainer(record=each) for each in (None, None, None, call_again))
    recorded.warm_up()
    assert vars(recorded)["_captured"]
    take(straight, 8)
    state = take(first, 3).state()
    second.load(state.step, state.model, state.optimizer, state.window)
    a, b, c = straight.state(), take(second, 5).state(), take(recorded, 8).state()
    awake = take(_trainer("rws"), 8).state()
    assert all(torch.equal(a.model[name], b.model[name]) for name in a.model)
    for name, each in a.model.items():
        torch.testing.assert_close(c.model[name], each, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(a.model[name], awake.model[name]) for name in a.model)


def test_a_bias_check_has_dreams_on_both_sides() -> None:
    """Differences have none, since they are equal; the reference, which the bias is measured by, has them."""
    model, pixels, _ = _subjects()["vae"]
    pair = resolve_pair("rws:sleep=0.3", "dreg-norm", 3)
    comparison = comparison_of(pair, 3)

    def drawn_at(word: str) -> Any:
        source = ModelSource(model, pixels, k=3, randomness=Randomness(0))
        of = comparison_of(resolve_pair(word, "dreg-norm", 3), 3)
        return source.draw(2, [of], references=True), of.reference

    (found, reference), (awake, plain) = drawn_at("rws:sleep=0.3"), drawn_at("rws")
    assert comparison.reference == reference
    for name, each in awake.differences[0].items():
        torch.testing.assert_close(found.differences[0][name], 0.7 * each if name in ("loc", "scale") else each)
    noise = DreamNoise(
        Randomness(0), Stream.DIAGNOSTIC_NOISE, 2, batch=len(pixels), width=model.latent_width, dtype=pixels.dtype
    )
    asleep = sleep_gradient(model, model.dream(pixels, noise))
    for name, each in awake.references[plain].items():
        expected = 0.7 * each + 0.3 * asleep[name].flatten() if name in asleep else each
        torch.testing.assert_close(found.references[reference][name], expected)


def test_replicates_have_their_own_dreams() -> None:
    model, pixels, _ = _subjects()["vae"]
    pairs = [resolve_pair(word, "dreg", 3) for word in ("rws", "rws:sleep=1")]
    source = ModelReplicates(model, pixels, Randomness(0))
    one, again, other, reference = (
        source.draw(stream, number, 1, pairs, 3).gradients[Network.ENCODER][1]
        for stream, number in (
            (Stream.VARIANCE_NOISE, 0),
            (Stream.VARIANCE_NOISE, 0),
            (Stream.VARIANCE_NOISE, 1),
            (Stream.VARIANCE_REFERENCE, 0),
        )
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, reference)


class _StillQ(_Shared):
    """A posterior without parameters."""

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", Independent(Normal(x.flatten(1), 1.0), 1))


def test_a_posterior_without_parameters_trains_the_model_alone() -> None:
    """Its gradient is empty, awake and asleep, and what an estimator learns by it stays as it is."""
    model, pixels = _program(_StillQ()), torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    plain = {word: resolve_pair(word, "reparam", 3) for word in ("rws", "iwae")}
    theta = {word: _step(model, pixels, Execution(), 3).gradients(pair).model for word, pair in plain.items()}
    others = ("rws:sleep=0.3/dreg", "rws:sleep=1/reparam", "iwae/dreg-cv")
    pairs = tuple(resolve_pair(*word.split("/"), 3) for word in others)
    for pair in pairs:
        found = _step(model, pixels, Execution(), 3).gradients(pair)
        assert found.posterior == {}
        assert torch.equal(found.model["m"], theta[pair.objective.name]["m"])
        assert found.learned == dict.fromkeys(pair.estimator.learned, 0.0)
        assert [each.dtype for each in found.slopes()] == [torch.float64] * len(pair.estimator.learned)
    assert _step(model, pixels, Execution(), 3).each(pairs, train_model=True)[1] == {}


class _NoSamples(Bernoulli):
    def sample(self, sample_shape: Any = ()) -> Tensor:
        raise NotImplementedError


class _Unsampled(_Bits):
    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        found = super().model(z, given)
        return Independent(_NoSamples(logits=found.mean), 1)


def test_what_cannot_dream_is_refused() -> None:
    """Before the first step, at whichever step of a schedule the dreams begin."""
    model = _program(_Unsampled())
    for change, dreams in (("0->0.9@10", 0.9), ("0->1@10:linear", 1.0), ("1->0@10:linear", 1.0)):
        objective = parse_scheduled(f"rws:sleep={change}")
        with pytest.raises(
            SpecError, match=rf"'rws:sleep={dreams}' trains q on samples of the model, but p\(x \| z\)"
        ):
            small_trainer(model=model, start=objective.start, word="reparam", objective=objective)
    with pytest.raises(
        SpecError, match=r"p\(x \| z\) .* cannot be sampled: it has no method sample\. Use rws without"
    ):
        model.require_pairs([resolve_pair("rws:sleep=0.5", "reparam", 3)])
    model.require_pairs([resolve_pair("rws", "reparam", 3)])
    loc = torch.zeros(2, 1, requires_grad=True)
    posterior = Independent(Normal(loc, 1.0), 1)

    def log_joint(z: Tensor) -> Tensor:
        return -z.square().sum(-1)

    with pytest.raises(SpecError, match="Use 'rws', and add a loss at samples of your model"):
        multi_sample_loss(log_joint, posterior, 3, "rws:sleep=0.5")
    with pytest.raises(SpecError, match="Use 'rws', and add a loss at samples of your model"):
        check_bias(lambda: (log_joint, posterior), {"loc": loc}, 3, "rws:sleep=0.5")
    with pytest.raises(SpecError, match="sleep must be from 0 to 1"):
        resolve_pair("rws:sleep=1.5", "dreg", 3)


class _NoInverse(Transform):
    bijective = True
    domain = codomain = constraints.real

    def _call(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.tanh(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.log1p(0.1 * (1.0 - torch.tanh(x).square()))


class _Bent(_Shared):
    def posterior(self, x: Tensor, draw: Draw) -> None:
        def bent(name: str, q: Distribution) -> Tensor:
            return draw(name, TransformedDistribution(q, [_NoInverse()]))

        super().posterior(x, bent)


def test_a_density_that_is_only_known_at_own_samples_is_refused() -> None:
    model = _program(_Bent())
    with pytest.raises(SpecError, match=r"log q of .* needs transforms with an inverse\. Use rws without sleep\."):
        model.require_pairs([resolve_pair("rws:sleep=0.5", "dreg", 3)])
    model.require_pairs([resolve_pair("rws", "dreg", 3)])


def test_earlier_runs_keep_their_word() -> None:
    assert word_of(parse_objective("rws:sleep=0")) == word_of(parse_objective("rws")) == "rws"
    assert word_of(parse_objective("rws:sleep=.5")) == "rws:sleep=0.5"
