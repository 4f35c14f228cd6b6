"""Compiled likelihoods against eager ones and direct formulas in float64; and that compilation comes to an end.

A compilation takes seconds. What is computed is proven on the compiled form of every kernel run eagerly; what the
compiler makes of it on a few shapes.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.app.planning.machine import has_compiler
from dregcli.engine.evaluation import evaluate
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.execution import Execution
from dregcli.engine.likelihoods import Likelihood, base, make_likelihood
from dregcli.engine.likelihoods.fused import part_count
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import Dynamic
from dregcli.engine.tape import RowTape
from dregcli.engine.training import Trainer
from dregcli.names import Backward, LikelihoodName, Split
from tests.support.dense import dense_gradients
from tests.support.exact import LEVELS, MODELS, naive_gradients, naive_log_likelihood, relative_distance, small_batch

K, B = 3, 2
EXTREMES = (90.0, -90.0, 0.0, 1e-4, -1e-4, 1e4, -1e4)

compiles = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler for what torch.compile writes")


@pytest.fixture(autouse=True)
def counters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Everything through compiled code, and none of it left for other tests: torch counts what it compiled."""
    from torch._dynamo import utils  # this part of torch takes a second, in the one process that runs these tests

    monkeypatch.setattr(base, "FEWEST_COMPILED", 1)
    torch._dynamo.reset()
    utils.counters.clear()
    yield utils.counters
    torch._dynamo.reset()


def _made(name: LikelihoodName, width: int) -> Likelihood:
    return make_likelihood(name, spread=torch.linspace(0.2, 1.3, width), levels=LEVELS)


def _in_compiled_form(likelihood: Likelihood) -> Likelihood:
    """The kernel that would be compiled, not compiled."""
    likelihood._compiled = type(likelihood).compiled_kernel
    return likelihood


def _inputs(likelihood: Likelihood, width: int, *, extreme: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (K, B, O), pixels (B, D) with both edges, and a bias (O,); every extreme at pixels of both kinds."""
    generator = torch.Generator().manual_seed(width)
    size = likelihood.outputs_per_pixel * width
    outputs = torch.randn(K, B, size, generator=generator)
    if extreme:
        outputs = torch.tensor(EXTREMES)[torch.arange(K * B * size).reshape(K, B, size) % len(EXTREMES)]
    pixels = torch.randint(0, LEVELS + 1, (B, width), generator=generator) / LEVELS
    pixels[0, 0], pixels[-1, -1] = 0.0, 1.0
    return outputs, pixels, torch.zeros(size) if extreme else 0.5 * torch.randn(size, generator=generator)


def _with_gradient(likelihood: Likelihood, outputs: Tensor, *rest: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values and their gradients with unequal weights, float64."""
    leaf = outputs.clone().requires_grad_()
    found = likelihood.log_prob(leaf, *rest)
    weights = torch.linspace(0.5, 2.0, found.numel(), dtype=found.dtype).reshape(found.shape)
    return found.detach().double(), torch.autograd.grad(found, leaf, weights)[0].double()


def _by_formula(likelihood: Likelihood, outputs: Tensor, pixels: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    leaf = (outputs.double() + bias.double()).requires_grad_()
    found = naive_log_likelihood(likelihood.double(), leaf, pixels.double())
    weights = torch.linspace(0.5, 2.0, found.numel(), dtype=torch.float64).reshape(found.shape)
    gradient = torch.autograd.grad(found, leaf, weights)[0]
    likelihood.float()
    return found.detach(), gradient


def _assert_near(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], close: float) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.isfinite(mine).all()
        assert (mine - theirs).norm() <= close * theirs.norm()


def _assert_extremes(likelihood: Likelihood, name: LikelihoodName, width: int) -> None:
    """Far out a difference of sigmoids is 0: there the logistic's oracle is the eager kernel in float64."""
    outputs, pixels, bias = _inputs(likelihood, width, extreme=True)
    found = _with_gradient(likelihood, outputs, pixels, bias)
    expected = _with_gradient(_made(name, width).double(), outputs.double(), pixels.double())
    if name is not LikelihoodName.DISCRETISED_LOGISTIC:
        _assert_near(expected, _by_formula(likelihood, outputs, pixels, bias), 1e-12)
    # A logistic's pixel where loc is 1e4 is 2e5 scales away, known to 2^-24 of loc / scale.
    assert torch.isfinite(found[0]).all()
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-4)
    size = expected[1].abs().amax(dim=-1, keepdim=True).clamp(min=1e-3)
    torch.testing.assert_close(found[1] / size, expected[1] / size, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "parts"), [(784, 7), (1024, 16), (64, 4), (392, 14), (21, 7), (1, 1), (37, 1)])
def test_compiled_code_works_on_parts_of_whole_vectors(width: int, parts: int) -> None:
    assert part_count(width) == parts


@pytest.mark.parametrize("width", [1, 21, 64, 784])
@pytest.mark.parametrize("name", LikelihoodName)
def test_the_compiled_form_is_the_formula(name: LikelihoodName, width: int) -> None:
    likelihood = _in_compiled_form(_made(name, width))
    outputs, pixels, bias = _inputs(likelihood, width)
    for given in (bias, None):
        found = _with_gradient(likelihood, outputs, pixels, given)
        added = torch.zeros_like(bias) if given is None else given
        _assert_near(found, _by_formula(likelihood, outputs, pixels, added), 3e-6)
        _assert_near(_with_gradient(_made(name, width), outputs, pixels, given), found, 3e-6)
        assert torch.equal(likelihood.log_prob(outputs, pixels, given).double(), found[0])
    _assert_extremes(likelihood, name, width)


def test_a_black_pixels_gradient_keeps_its_digits_far_out() -> None:
    """It is minus a sigmoid; as a difference from 1 it would be 0 from a logit of -17 on."""
    likelihood = _in_compiled_form(_made(LikelihoodName.BERNOULLI, 8))
    logits = torch.linspace(-80.0, -10.0, 8).expand(K, B, 8).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(likelihood.log_prob(logits, torch.zeros(B, 8)).sum(), logits)
    torch.testing.assert_close(gradient.double(), -torch.sigmoid(logits.detach().double()), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("name", LikelihoodName)
def test_small_arrays_are_not_compiled(name: LikelihoodName, monkeypatch: pytest.MonkeyPatch) -> None:
    likelihood = _made(name, 21)
    outputs, pixels, bias = _inputs(likelihood, 21)
    eager = likelihood.log_prob(outputs, pixels, bias)
    called: list[int] = []

    def compiled(given: Tensor, *rest: object, gradient: bool) -> tuple[Tensor, Tensor | None]:
        called.append(given.numel())
        return type(likelihood).kernel(given, *rest, gradient=gradient)

    likelihood._compiled = compiled
    for fewest in (outputs.numel() + 1, outputs.numel()):
        monkeypatch.setattr(base, "FEWEST_COMPILED", fewest)
        assert torch.equal(likelihood.log_prob(outputs, pixels, bias), eager)
    assert called == [outputs.numel()]
    likelihood.unfuse()
    likelihood.log_prob(outputs, pixels, bias)
    assert called == [outputs.numel()]


@compiles
@pytest.mark.parametrize(
    ("name", "width"),
    [
        (LikelihoodName.BERNOULLI, 784),
        (LikelihoodName.GAUSSIAN, 64),
        (LikelihoodName.DISCRETISED_LOGISTIC, 21),
    ],
)
def test_what_is_compiled_is_the_formula(counters: Any, name: LikelihoodName, width: int) -> None:
    likelihood = _made(name, width)
    likelihood.fuse()
    outputs, pixels, bias = _inputs(likelihood, width)
    found = _with_gradient(likelihood, outputs, pixels, bias)
    assert counters["stats"]["unique_graphs"] > 0
    graphs = dict(counters["stats"])
    _assert_near(found, _by_formula(likelihood, outputs, pixels, bias), 3e-6)
    _assert_near(found, _with_gradient(_made(name, width), outputs, pixels, bias), 3e-6)
    _assert_extremes(likelihood, name, width)
    assert dict(counters["stats"]) == graphs, "the same shapes are not compiled again"


@compiles
@pytest.mark.parametrize("name", ["structured"])
def test_a_fused_models_gradients_are_those_of_the_oracle(
    counters: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = MODELS[name]
    model = case.build()
    pixels, noise = small_batch(model, k=5)
    pair = resolve_pair("iwae", "reparam", 5)
    oracle = naive_gradients(model, pixels, noise, pair, crossed=case.crossed)
    model = model.float()
    given = pixels.float(), noise.float(), pair
    eager = dense_gradients(model, *given)
    model.fuse()
    found = dense_gradients(model, *given)
    assert counters["stats"]["unique_graphs"] > 0
    for expected in (eager, oracle):
        assert relative_distance(found.model, expected.model) < 1e-5
        assert relative_distance(found.posterior, expected.posterior) < 1e-5
    bias = next(each for each in reversed(found.model) if each.startswith("decoder.") and each.endswith(".bias"))
    assert relative_distance({bias: found.model[bias]}, {bias: oracle.model[bias]}) < 1e-5

    right = type(model.likelihood).value_and_gradient

    def twin(likelihood: Likelihood, outputs: Tensor, pixels: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The wrong twin: leaves the bias out, which the layer did not add either."""
        return right(likelihood, outputs, pixels, None)

    with monkeypatch.context() as patch:
        patch.setattr(type(model.likelihood), "value_and_gradient", twin)
        without = dense_gradients(model, *given)
    assert relative_distance({bias: without.model[bias]}, {bias: oracle.model[bias]}) > 1e-2
    contracted = RowTape._by_layers

    def unbiased(tape: RowTape, row_weights: Tensor):
        """Another: does not contract the gradient of a bias that it did not add itself."""
        delta_only = {id(each.layer.bias) for each in tape._layers if not each.with_bias}
        return ((parameter, g) for parameter, g in contracted(tape, row_weights) if id(parameter) not in delta_only)

    with monkeypatch.context() as patch:
        patch.setattr(RowTape, "_by_layers", unbiased)
        with pytest.raises(RuntimeError, match="cannot be weighted"):
            dense_gradients(model, *given)


@compiles
def test_batches_of_many_shapes_end_in_few_compilations(counters: Any) -> None:
    """Screening keeps another number of rows at every step, and the evaluation has a last batch of its own."""
    model = MODELS["vae"].build().float()
    stored = torch.randint(0, LEVELS + 1, (300, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    examples = ResidentExamples(stored)

    def bound(limit: int) -> Tensor:
        found = evaluate(model, examples, Dynamic(LEVELS), split=Split.TEST, k=16, seed=0, limit=limit)
        return torch.cat([each.bound for each in found])

    eager = bound(300)
    model.fuse()
    trainer = Trainer(
        model,
        resolve_pair("iwae", "dreg", 16),
        examples,
        Dynamic(LEVELS),
        k=16,
        batch_size=20,
        lr=0.0,
        seed=0,
        execution=Execution(Backward.SCREENED),
    )
    assert trainer.warm_up() is None
    for _ in range(3):
        trainer.advance()
    torch.testing.assert_close(bound(300), eager, rtol=1e-5, atol=1e-5)
    graphs = counters["stats"]["unique_graphs"]
    assert 0 < graphs < torch._dynamo.config.recompile_limit
    for i in range(20):
        trainer.advance()
        torch.testing.assert_close(bound(200 + i), eager[: 200 + i], rtol=1e-5, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == graphs
