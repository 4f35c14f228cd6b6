"""``multi_sample_loss`` in chunks and with screening, against one call of log_joint and against all choices."""

import math
import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import TanhTransform

from dregcli.engine import check_bias, multi_sample_loss
from dregcli.engine.own import passes
from dregcli.engine.pairs import Pair
from dregcli.errors import NotFinite, SpecError
from tests.support.chosen_rows import F64, LARGE, OWN, Own, conv, expected_gradient, flow, shared
from tests.support.every_pair import pairs_of_different_weights
from tests.support.sweep import swept

PAIRS = pairs_of_different_weights(3)
KINDS = [("iwae", "dreg"), ("iwae", "reparam"), ("iwae", "vimco"), ("rws", "dreg-norm")]
"""Pairs with a path alone, with path and score, with a score alone, and with other weights for theta."""


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# --- every choice of rows ---


TURNS = ("shared", "flow", "shared", "shared", "conv", "shared", "shared")
"""Steps of conv and flow take the longest, so that fewer pairs have them."""


@swept("pair, name", [(pair, TURNS[i % 7]) for i, pair in enumerate(PAIRS)], named=lambda p, n: f"{p.word}-{n}")
def test_every_pair_has_the_expectation_of_all_rows(pair: Pair, name: str) -> None:
    own = OWN[name](1)
    found, choices = expected_gradient(own, 3, pair.objective, pair.estimator, screen=LARGE)
    assert choices >= 4
    assert distance(found, own.gradient(3, pair.objective, pair.estimator)) < 1e-10


@swept("pair, name", [(pair, name) for pair in KINDS for name in OWN], named=lambda p, n: f"{p}-{n}")
def test_two_examples_have_the_expectation_of_all_rows(pair: tuple[str, str], name: str) -> None:
    own = OWN[name](2)
    found, choices = expected_gradient(own, 2, *pair, screen=LARGE, k_chunk=1)
    assert choices >= 8
    assert distance(found, own.gradient(2, *pair)) < 1e-10


def _without_probability(draw: passes.SamplesInPasses, arrays: list[Tensor]):
    parts, inverse = PARTS(draw, arrays)
    return parts, (inverse != 0.0).double()


def _among_the_kept(draw: passes.SamplesInPasses, arrays: list[Tensor]):
    """Weights of the kept rows that sum to what the weights of all rows sum to."""
    parts, inverse = PARTS(draw, arrays)
    kept = (inverse != 0.0).double()
    share = (kept * arrays[0]).sum(0)
    return parts, torch.where(share == 0.0, 0.0, kept * arrays[0].sum(0) / share)


PARTS = passes.SamplesInPasses._parts


@pytest.mark.parametrize("twin", [_without_probability, _among_the_kept])
@pytest.mark.parametrize("name", list(OWN))
def test_wrong_weights_of_kept_rows_are_biased(name: str, twin: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    own = OWN[name](2)
    monkeypatch.setattr(passes.SamplesInPasses, "_parts", twin)
    found, _ = expected_gradient(own, 2, screen=LARGE)
    assert distance(found, own.gradient(2)) > 1e-3


def test_without_a_kept_row_theta_gets_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimiser treats a missing gradient in another way than 0."""
    own = conv(2)
    monkeypatch.setattr(passes, "choose", lambda probability, _: probability < 0.0)
    own.loss(4, screen=0.15, check=False)[0].backward()
    assert all(torch.count_nonzero(each.grad) == 0 for each in own.parameters)


def test_few_rows_are_differentiated_and_none_without_weight() -> None:
    """The rows of the second pass are those that were kept; the generator alone decides."""
    own, sizes = conv(4), list[tuple[int, ...]]()
    counted = Own(own.posterior, lambda z, rows: (sizes.append(tuple(z.shape[:2])), own.log_joint(z, rows))[1], [])

    def rows(screen: float, seed: int) -> int:
        sizes.clear()
        generator = torch.Generator().manual_seed(seed)
        counted.loss(64, screen=screen, generator=generator, check=False)
        (whole, first, *second) = sizes
        assert (whole, first) == ((64, 4), (1, 4))
        return sum(count for _, count in second)

    many, few = rows(0.01, 0), rows(1.0, 0)
    assert 0 < few < many / 2 < 128
    assert few == rows(1.0, 0)
    assert len({rows(1.0, seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("given", [False, True])
def test_the_choice_draws_from_the_given_generator_alone(given: bool) -> None:
    own = conv(4)
    own.loss(8)
    without = torch.random.get_rng_state()
    own.loss(8, screen=0.15, generator=torch.Generator() if given else None)
    assert torch.equal(torch.random.get_rng_state(), without) == given


# --- chunks ---


@swept("pair", PAIRS, named=lambda pair: pair.word)
def test_chunks_have_the_gradient_of_one_call(pair: Pair) -> None:
    own = shared(2)
    expected, loss = own.gradient(3, pair.objective, pair.estimator), own.loss(3, pair.objective, pair.estimator)[0]
    found = own.loss(3, pair.objective, pair.estimator, k_chunk=2, check=False)[0]
    assert distance(own.gradient(3, pair.objective, pair.estimator, k_chunk=2), expected) < 1e-12
    torch.testing.assert_close(found, loss, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(OWN))
@pytest.mark.parametrize(
    "options", [{"k_chunk": 1}, {"k_chunk": 4}, {"screen": 1e-9}, {"screen": 1e-9, "k_chunk": 2}]
)
def test_any_chunk_and_a_screen_that_keeps_all_rows(name: str, options: dict) -> None:
    own = OWN[name](3)
    for pair in KINDS:
        assert distance(own.gradient(5, *pair, **options), own.gradient(5, *pair)) < 1e-12


def test_the_graph_of_log_joint_does_not_grow_with_k() -> None:
    """The largest number of bytes that log_joint's graph holds at one time."""
    own, held, most = conv(4), [0], [0]

    class Saved:
        def __init__(self, value: Tensor) -> None:
            self.value = value.detach()  # what it is part of would hold it forever
            size = value.numel() * value.element_size()
            held[0] += size
            most[0] = max(most[0], held[0])
            weakref.finalize(self, lambda: held.__setitem__(0, held[0] - size))

    def log_joint(z: Tensor, rows) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.value):
            return own.log_joint(z, rows)

    def peak(k: int, **options) -> int:
        held[0] = most[0] = 0
        Own(own.posterior, log_joint, own.parameters).gradient(k, **options)
        return most[0]

    assert peak(1024, k_chunk=16) == peak(64, k_chunk=16)
    assert peak(1024) > 10 * peak(64)  # one call holds all rows: the measurement sees them
    assert peak(1024, screen=0.5, k_chunk=16) <= peak(1024, k_chunk=16)


def test_random_numbers_of_log_joint_are_the_same_in_both_passes() -> None:
    own = shared(2)

    def log_joint(z: Tensor) -> Tensor:
        mask = torch.rand(z.shape, dtype=F64) < 0.5
        x = torch.ones(2, 3, dtype=F64)
        return -(x - (mask * z) @ own.parameters[0]).square().sum(-1) - 0.5 * z.square().sum(-1)

    torch.manual_seed(3)
    loss, _ = multi_sample_loss(log_joint, own.posterior(), 4, estimator="reparam", k_chunk=2, check=True)
    (found,) = torch.autograd.grad(loss, own.parameters[:1])
    after = torch.rand(())
    torch.manual_seed(3)
    z = own.posterior().rsample((4,))
    log_w = torch.cat([log_joint(part) for part in z.split(2)]) - own.posterior().log_prob(z)
    expected = -(torch.logsumexp(log_w, 0) - math.log(4)).mean()
    (gradient,) = torch.autograd.grad(expected, own.parameters[:1])
    torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-12, atol=0.0)
    assert distance(found, gradient) < 1e-12
    assert torch.equal(after, torch.rand(()))  # torch's later random numbers are those of one pass


# --- as any loss ---


@pytest.mark.parametrize("options", [{"k_chunk": 2}, {"screen": 0.5, "k_chunk": 2}, {"screen": 0.5}])
def test_scaled_accumulated_and_inside_a_larger_loss(options: dict) -> None:
    own = shared(3)
    one, other = (own.gradient(4, *pair, **options) for pair in KINDS[:2])
    for parameter in own.parameters:
        parameter.grad = None
    own.loss(4, *KINDS[0], check=False, **options)[0].backward()
    penalty = sum(each.square().sum() for each in own.parameters)
    (2.5 * own.loss(4, *KINDS[1], check=False, **options)[0] + 0.1 * penalty).backward()
    found = torch.cat([each.grad.flatten() for each in own.parameters])
    value = torch.cat([each.detach().flatten() for each in own.parameters])
    assert distance(found, one + 2.5 * other + 0.2 * value) < 1e-12


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_parameters_get_nothing_and_the_rest_is_unchanged(frozen: int) -> None:
    own = conv(2)
    parts = [0 if i in (0, 1) else 1 for i in range(len(own.parameters))]  # encoder, decoder
    for estimator in ("dreg", "reparam", "vimco"):
        for options in ({"k_chunk": 1}, {"screen": 0.5}):
            for parameter in own.parameters:
                parameter.requires_grad_()
            whole = own.loss(4, "iwae", estimator, check=False, k_chunk=3)[0]
            expected = torch.autograd.grad(whole, own.parameters)
            for i, parameter in enumerate(own.parameters):
                parameter.grad = None
                parameter.requires_grad_(not (parts[i] == frozen or i == frozen))
            own.loss(4, "iwae", estimator, check=False, **options)[0].backward()
            for parameter, gradient in zip(own.parameters, expected, strict=True):
                assert (parameter.grad is not None) == parameter.requires_grad
                if parameter.requires_grad and "k_chunk" in options:
                    assert distance(parameter.grad, gradient) < 1e-12


def test_hooks_of_parameters_see_the_whole_gradient_once() -> None:
    own, seen = conv(2), list[Tensor]()
    expected = own.gradient(6)
    own.parameters[-1].register_hook(lambda gradient: (seen.append(gradient), 0.5 * gradient)[1])
    own.loss(6, k_chunk=2, check=False)[0].backward()
    assert len(seen) == 1
    assert distance(own.parameters[-1].grad, 0.5 * expected[-1:]) < 1e-12


def test_the_posterior_and_what_lies_before_log_joint_keep_their_graphs() -> None:
    """Two losses on one posterior; and an encoder's output that log_joint uses too."""
    own = shared(2)
    x = torch.randn(2, 3, dtype=F64)
    weight, slope = own.parameters

    def gradient(**options) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        loc = torch.tanh(x @ slope)
        q = Independent(Normal(loc, 0.5), 1)

        def log_joint(z: Tensor, rows) -> Tensor:
            return Independent(Normal(rows(loc), 1.0), 1).log_prob(z) - (rows(x) - z @ weight).square().sum(-1)

        losses = [multi_sample_loss(log_joint, q, 5, estimator=each, **options)[0] for each in ("dreg", "reparam")]
        return torch.autograd.grad(sum(losses), (weight, slope))

    for options in ({"k_chunk": 2}, {"screen": 1e-9, "k_chunk": 2}):
        for one, each in zip(gradient(**options), gradient(), strict=True):
            # The choice of rows draws numbers before the second loss draws its samples.
            assert "screen" in options or distance(one, each) < 1e-12
            assert one.isfinite().all()


def test_without_gradients_it_evaluates() -> None:
    own = flow(3)
    loss, bound = own.loss(6)
    for options in ({"k_chunk": 4}, {"screen": 0.15}):
        with torch.no_grad():
            other = own.loss(6, **options)
        assert not other[0].requires_grad
        torch.testing.assert_close((loss.detach(), bound), other, rtol=1e-12, atol=0.0)


# --- posteriors and forms of log_joint ---


class _Module(nn.Module):
    def __init__(self, own: Own) -> None:
        super().__init__()
        self.own = own

    def forward(self, z: Tensor, rows) -> Tensor:
        return self.own.log_joint(z, rows)


def test_forms_of_log_joint_that_take_rows() -> None:
    own = shared(2)

    def more(scale: float, z: Tensor, rows, shift: float = 0.0) -> Tensor:
        return scale * own.log_joint(z, rows) + shift

    for form in (_Module(own), partial(more, 1.0), lambda z, rows, x=1.0: x * own.log_joint(z, rows)):
        assert distance(Own(own.posterior, form, own.parameters).gradient(4, screen=1e-9), own.gradient(4)) < 1e-12


def test_rows_in_the_bias_check() -> None:
    own = shared(2)
    (found,) = check_bias(
        lambda: (own.log_joint, own.posterior()), {"weight": own.parameters[0]}, k=3, max_batches=384
    )
    assert found.pair.word == "iwae/dreg"


def _full(a: Tensor) -> Distribution:
    return MultivariateNormal(a, scale_tril=torch.diag_embed(a.exp()) + 0.1 * a.unsqueeze(-1).tril(-1))


def _squashed(a: Tensor) -> Distribution:
    """The last transform has no parameters, so that log q is differentiated before it."""
    return Independent(TransformedDistribution(Normal(a, a.exp()), [TanhTransform()]), 1)


def _discrete(a: Tensor) -> Distribution:
    return Independent(Bernoulli(logits=a), 1)


@pytest.mark.parametrize(
    ("build", "estimator"), [(_full, "dreg"), (_full, "stl"), (_squashed, "dreg"), (_discrete, "vimco")]
)
def test_other_posteriors(build: Callable[[Tensor], Distribution], estimator: str) -> None:
    a = torch.tensor([[0.3, -0.4], [0.2, 0.5]], dtype=F64, requires_grad=True)
    theta = torch.tensor([[0.3, -0.4], [0.2, 0.5]], dtype=F64, requires_grad=True)
    x = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=F64)
    own = Own(lambda: build(a), lambda z, rows: -(z @ theta - rows(x)).square().sum(-1), [a, theta])
    dense = own.gradient(3, "iwae", estimator)
    assert distance(own.gradient(3, "iwae", estimator, k_chunk=2), dense) < 1e-12
    found, _ = expected_gradient(own, 2, "iwae", estimator, screen=LARGE)
    assert distance(found, own.gradient(2, "iwae", estimator)) < 1e-10


# --- what is refused ---


def refused(call: Callable[[], object], *said: str) -> None:
    with pytest.raises(SpecError) as caught:
        call()
    assert all(each in str(caught.value) for each in said), str(caught.value)


def with_joint(log_joint: Callable[..., Tensor], batch: int = 3) -> Own:
    own = shared(batch)
    return Own(own.posterior, log_joint, own.parameters)


def test_numbers_that_cannot_work() -> None:
    own = shared(2)
    for wrong in (0, -1, 1.5, True):
        refused(lambda wrong=wrong: own.loss(3, k_chunk=wrong), "k_chunk", "at least 1", repr(wrong))
    for wrong in (0, -0.1, math.nan, math.inf, True, "0.15"):
        refused(lambda wrong=wrong: own.loss(3, screen=wrong), "screen", "above 0", repr(wrong))


def test_screening_needs_rows() -> None:
    own = shared(3)
    for form in (lambda z: z.sum(-1), Normal(0.0, 1.0).log_prob, lambda z, x=own: z.sum(-1)):
        refused(lambda form=form: with_joint(form).loss(4, screen=0.15), "log_joint", "one parameter", "rows(x)")


def test_rows_that_are_used_wrongly() -> None:
    own = shared(3)
    x = torch.randn(3, 3, dtype=F64)
    weight = own.parameters[0]

    def forgotten(z: Tensor, rows) -> Tensor:
        return -(x - z @ weight).square().sum(-1)

    def another(z: Tensor, rows) -> Tensor:
        return -(rows(x).flip(0) - z @ weight).square().sum(-1)

    def shape(z: Tensor, rows) -> Tensor:
        return -(rows(x.mT.contiguous()[:2]) - z @ weight).square().sum(-1)

    def summed(z: Tensor, rows) -> Tensor:
        found = -(rows(x) - z @ weight).square().sum(-1)
        return found if len(z) > 1 else found.sum(-1)

    refused(lambda: with_joint(forgotten).loss(5, screen=0.5), "log_joint", "chosen rows", "rows(x)")
    refused(lambda: with_joint(another).loss(5, screen=0.5, check=False), "log_joint", "second pass", "rows(x)")
    refused(lambda: with_joint(shape).loss(5, screen=0.5), "log_joint", "(B, ...) with B = 3", "got (2, 3)")
    refused(lambda: with_joint(summed).loss(5, screen=0.5), "log_joint", "(K, B)")


def test_dropout_and_a_state_are_refused_where_they_cannot_be_repeated() -> None:
    own, calls = shared(3), list[int]()

    def dropout(z: Tensor, rows) -> Tensor:
        return own.log_joint(nn.functional.dropout(z, 0.5), rows)

    def state(z: Tensor, rows) -> Tensor:
        calls.append(1)
        return own.log_joint(z, rows) * (1.0 + len(calls))

    with_joint(dropout).loss(4, k_chunk=2)
    refused(lambda: with_joint(dropout).loss(4, screen=0.15), "dropout", ".eval()")
    refused(lambda: with_joint(state).loss(4, k_chunk=2), "second pass", "k_chunk")
    refused(lambda: with_joint(state).loss(4, screen=0.15), "second pass")


@pytest.mark.parametrize("options", [{"k_chunk": 2}, {"screen": 0.15}])
def test_the_checks_of_one_call_hold(options: dict) -> None:
    own = shared(3)
    norm = nn.BatchNorm1d(2, dtype=F64)
    torch.manual_seed(3)
    outer = own.posterior().rsample((4,))
    wrong = {
        "batch statistics": lambda z, rows: own.log_joint(norm(z.flatten(0, 1)).reshape(z.shape), rows),
        "swaps K and B": lambda z, rows: own.log_joint(z, rows).flip(1),
        "does not depend on z": lambda z, rows: own.log_joint(z.detach(), rows),
        "(K, B)": lambda z, rows: own.log_joint(z, rows).unsqueeze(-1).expand(*z.shape[:2], 3),
        "float32 or float64": lambda z, rows: own.log_joint(z, rows).half(),
        "-inf for some samples": lambda z, rows: own.log_joint(z, rows).masked_fill(
            z[..., 0] >= outer[..., 0].max(), -math.inf
        ),
    }
    for said, log_joint in wrong.items():
        with pytest.raises((SpecError, NotFinite)) as caught:
            with_joint(log_joint).loss(4, "iwae", "dreg", **options)
        assert said in str(caught.value), (said, str(caught.value))
    with pytest.raises(NotFinite, match="examples"):
        with_joint(lambda z, rows: own.log_joint(z, rows) * math.nan).loss(4, **options)
    own.parameters[0].requires_grad_(False)
    own.parameters[1].requires_grad_(False)
    refused(lambda: own.loss(4, **options), "nothing to train")


@pytest.mark.parametrize("options", [{"k_chunk": 1}, {"screen": 1e-9}])
def test_samples_outside_the_support(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of 0 that becomes NaN in log_joint is refused in chunks; screening never differentiates such rows."""
    loc = torch.zeros(1, 1, dtype=F64, requires_grad=True)
    theta = torch.tensor(1.0, dtype=F64, requires_grad=True)

    def right(z: Tensor, rows) -> Tensor:
        inside = z > 0
        return torch.where(inside, (theta * torch.where(inside, z, 1.0)).log(), -math.inf).squeeze(-1)

    def wrong(z: Tensor, rows) -> Tensor:
        return torch.log(theta * (z > 0)).squeeze(-1) - z.squeeze(-1).square()

    def own(log_joint) -> Own:
        return Own(lambda: Independent(Normal(loc, 1.0), 1), log_joint, [loc, theta])

    assert (
        distance(own(right).gradient(6, "iwae", "reinforce", **options), own(right).gradient(6, "iwae", "reinforce"))
        < 1e-12
    )
    if "k_chunk" in options:
        with pytest.raises(NotFinite, match=r"torch\.where"):
            own(wrong).loss(6, "iwae", "reinforce", check=False, **options)
    else:
        monkeypatch.setattr(passes, "choose", lambda probability, _: probability > 0.0)
        assert own(wrong).gradient(6, "iwae", "reinforce", **options).isfinite().all()
