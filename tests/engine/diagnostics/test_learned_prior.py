"""A learned prior as a block of its own: in a study of variance, and in a bias check of its kinds of gradients."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine.diagnostics.bias_check import BiasCheck, BiasResult
from dregcli.engine.diagnostics.measurement import Plan
from dregcli.engine.diagnostics.references import Comparison, comparison_of
from dregcli.engine.diagnostics.replicates import ModelReplicates
from dregcli.engine.diagnostics.source import ModelSource, StackedWeights
from dregcli.engine.diagnostics.variance import VarianceStudy
from dregcli.engine.draws import AddressedDraws
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.prior_rule import RULES
from dregcli.engine.programs.contract import Given, ModelData
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Backward, Network, PriorGradient, Verdict
from tests.support.exact import small_batch, small_structured, small_vae
from tests.support.program_zoo import Vamp, made, pixels_of
from tests.support.two_layers import model as two_numbers

K, SEED, STEP = 4, 3, 5
PAIRS = [resolve_pair(*words, K) for words in (("iwae", "dreg"), ("iwae", "stl"), ("elbo", "reparam"))]
SCORE, GDREG, BLEND = PriorGradient


def structured() -> tuple[Model, Tensor]:
    model = small_structured()
    return model, small_batch(model, k=K)[0]


def two_layers() -> tuple[Model, Tensor]:
    return two_numbers("bottom-up"), torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).double()


MODELS = {"structured": structured, "two layers": two_layers}
each_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)


def step_by(model: Model, pixels: Tensor, stream: Stream, kind: PriorGradient, pair: Pair, k: int = K) -> Gradients:
    """The gradients of one step of training, on the noise of a diagnosis."""
    draws = AddressedDraws(
        *(Randomness(SEED), stream, STEP),
        k=k,
        batch=len(pixels),
        width=model.latent_width,
        screening=Stream.DIAGNOSTIC_SCREENING,
        dtype=pixels.dtype,
    )
    return Step(model, pixels, draws, Execution(), rule=RULES[kind]).gradients(pair)


def flat(gradients: Named, names: list[str]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in gradients if name in names])


@each_model
def test_each_block_has_the_gradients_of_a_step_of_training(build: Callable[[], tuple[Model, Tensor]]) -> None:
    model, pixels = build()
    source = ModelReplicates(model, pixels, Randomness(SEED))
    assert source.networks == tuple(Network)
    assert source.prior_gradients == tuple(PriorGradient)
    drawn = source.draw(Stream.VARIANCE_NOISE, STEP, 1, PAIRS, K, [GDREG, SCORE, BLEND]).gradients
    of_prior = model.prior_parameters()
    others = [name for name in model.model_parameters() if name not in of_prior]
    asked = [(kind, PAIRS[i]) for kind in (GDREG, SCORE, BLEND) for i in (0, 2)]
    steps = [step_by(model, pixels, Stream.VARIANCE_NOISE, kind, pair) for kind, pair in asked]
    near = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(
        drawn[Network.PRIOR][:, 0], torch.stack([flat(s.model, of_prior) for s in steps]), **near
    )
    torch.testing.assert_close(drawn[Network.DECODER][:, 0], torch.stack([flat(s.model, others) for s in steps[:2]]))
    torch.testing.assert_close(
        drawn[Network.ENCODER][0, 0], flat(steps[0].posterior, list(steps[0].posterior)), **near
    )
    assert len({float(each.norm()) for each in drawn[Network.PRIOR]}) == len(asked), "no two are the same gradient"


class SharedWithLikelihood(Vamp):
    """A decoder's bias that also moves the mean of the prior, and nothing else in theta."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.decoder.weight.requires_grad_(requires_grad=False)

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", Independent(Normal(self.decoder.bias[:2], 1.0), 1))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


def test_a_shared_parameter_counts_in_the_prior_and_a_fixed_prior_has_no_block() -> None:
    vamp, shared, vae = made(Vamp), made(SharedWithLikelihood), small_vae()
    sources = [
        ModelReplicates(model, pixels, Randomness(SEED))
        for model, pixels in ((vamp, pixels_of(vamp)), (shared, pixels_of(shared)), (vae, small_batch(vae, k=K)[0]))
    ]
    assert [source.networks for source in sources] == [
        (Network.ENCODER, Network.DECODER, Network.PRIOR),
        (Network.ENCODER, Network.PRIOR),
        (Network.ENCODER, Network.DECODER),
    ]
    assert [source.prior_gradients for source in sources] == [(SCORE,), (SCORE, GDREG, BLEND), ()]
    drawn = sources[0].draw(Stream.VARIANCE_NOISE, STEP, 1, PAIRS[:1], K, [SCORE]).gradients
    step = step_by(vamp, pixels_of(vamp), Stream.VARIANCE_NOISE, SCORE, PAIRS[0])
    of_prior = ["inputs", "encoder.weight", "encoder.bias"]
    for network, gradients, names in (
        (Network.ENCODER, step.posterior, ["encoder.weight", "encoder.bias"]),
        (Network.DECODER, step.model, ["decoder.weight", "decoder.bias"]),
        (Network.PRIOR, step.model, of_prior),
    ):
        torch.testing.assert_close(drawn[network][0, 0], flat(gradients, names))


def test_a_study_measures_what_is_asked_along_the_direction_with_the_least_noise() -> None:
    model, pixels = structured()
    source = ModelReplicates(model, pixels, Randomness(SEED))

    def study(prior: list[PriorGradient] | None) -> VarianceStudy:
        return VarianceStudy(source, PAIRS, (2,), replicates=20, reference_k=32, reference_replicates=4, prior=prior)

    def finished(found: VarianceStudy) -> VarianceStudy:
        while not found.done:
            found.advance()
        return found

    every, some = finished(study(None)), study([SCORE])
    while not some.done:
        some.advance()
        numbers, arrays = some.state()
        some = study([SCORE])
        some.load(numbers, {name: each.clone() for name, each in arrays.items()})
    of = [(row.of.objective.name, row.of.prior) for row in every.rows() if row.of.network is Network.PRIOR]
    assert of == [(objective, kind) for objective in ("iwae", "elbo") for kind in PriorGradient]
    assert some.rows() == [row for row in every.rows() if row.of.prior in (None, SCORE)]
    assert [each.prior for each in some.references() if each.network is Network.PRIOR] == [BLEND, BLEND]
    assert {each.prior for each in some.references() if each.network is not Network.PRIOR} == {None}
    plan = Plan.of(PAIRS, 2, source, [SCORE])
    assert plan.prior == [SCORE, BLEND]
    assert plan.directions[Network.PRIOR] == [2, 3], "those of the blend, which come after both of the score"


# The bias check


def wanted(model: Model, pixels: Tensor, kind: PriorGradient, comparison: Comparison, k: int) -> dict[str, Tensor]:
    ours = step_by(model, pixels, Stream.DIAGNOSTIC_NOISE, kind, comparison.pair, k)
    others = step_by(model, pixels, Stream.DIAGNOSTIC_NOISE, SCORE, comparison.reference, k)
    found = {}
    for one, other in ((ours.posterior, others.posterior), (ours.model, others.model)):
        found |= {name: (one[name] - other[name]).flatten() for name in one}
    return found


class _TwinModel(Stl):
    """theta too gets dreg's weights."""

    def coefficients(self, objective, terms):
        found = super().coefficients(objective, terms)
        return replace(found, model=found.model.square())


EVERY_ROW = Execution(Backward.SCREENED, 1e-12)


@pytest.mark.parametrize(
    ("build", "kind", "execution"),
    [
        (structured, GDREG, Execution()),
        (structured, BLEND, EVERY_ROW),
        (two_layers, GDREG, Execution(k_chunk=16)),
        (two_layers, BLEND, EVERY_ROW),
    ],
)
def test_differences_are_those_of_steps_of_training(build, kind: PriorGradient, execution: Execution) -> None:
    model, pixels = build()
    k = 20
    twin = Pair(PAIRS[0].objective, _TwinModel())
    comparisons = [comparison_of(pair, k) for pair in (*PAIRS, twin)]
    source = ModelSource(model, pixels, k=k, randomness=Randomness(SEED), execution=execution, rule=RULES[kind])
    draw = source.draw(STEP, comparisons, references=True)
    of_prior = set(model.prior_parameters())
    for comparison, parts in zip(comparisons, draw.differences, strict=True):
        right = wanted(model, pixels, kind, comparison, k)
        found = {name: rows[0] for name, rows in source.expand({n: p.unsqueeze(0) for n, p in parts.items()}).items()}
        size = torch.cat(list(right.values())).norm()
        assert of_prior <= set(found)
        for name, each in right.items():
            assert (found.get(name, torch.zeros_like(each)) - each).norm() < 1e-9 * size, (comparison.pair.word, name)
        if execution.backward is Backward.DENSE and comparison.pair != twin:
            assert set(found) & set(model.model_parameters()) == of_prior, "the likelihood's weights are the same"
    for pair, parts in draw.references.items():
        step = step_by(model, pixels, Stream.DIAGNOSTIC_NOISE, SCORE, pair, k)
        for name, each in step.whole().items():
            torch.testing.assert_close(parts[name], each.flatten(), rtol=1e-9, atol=1e-11)


def checked(kind: PriorGradient, execution: Execution | None = None) -> BiasResult:
    """Check with a false alarm of 1e-7; 'unbiased' means that a bias of 0.5 is found with a probability of 0.9."""
    model, pixels = structured()
    source = ModelSource(model, pixels, k=K, randomness=Randomness(0), execution=execution, rule=RULES[kind])
    comparison = comparison_of(PAIRS[0], K)
    check = BiasCheck(source, [comparison], false_alarm=1e-7, detect=0.5, max_batches=384)
    while not check.done:
        if check.advance():
            check.look()
    (found,) = check.results()
    return found


SCREENED = Execution(Backward.SCREENED, 0.15)


@pytest.mark.parametrize(("kind", "execution"), [(GDREG, None), (BLEND, SCREENED)])
def test_a_gradient_along_the_priors_samples_is_found_unbiased(kind, execution) -> None:
    found = checked(kind, execution)
    assert found.verdict is Verdict.UNBIASED
    assert found.evidence
    assert {"prior.0.weight", "prior.2.bias"} <= set(found.evidence.t_blocks)


def test_a_gradient_without_its_square_is_found_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a false alarm of 1e-7; its largest |t| is 59, where 7.4 is enough."""
    right = StackedWeights.at

    def without_squares(*args, **kwargs) -> StackedWeights:
        found = right(*args, **kwargs)
        return replace(found, square=None if found.square is None else torch.zeros_like(found.square))

    monkeypatch.setattr(StackedWeights, "at", without_squares)
    found = checked(GDREG)
    assert found.verdict is Verdict.BIASED
    block = max(found.evidence.t_blocks, key=lambda name: abs(found.evidence.t_blocks[name]))
    assert block.startswith("prior.")
