"""Every objective's value and weight arrays against the naive value and automatic differentiation of it."""

import math
from itertools import permutations

import pytest
import torch

from dregcli.engine import OBJECTIVES
from dregcli.engine.objectives import FunctionObjective, Objective, jvi
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.jvi import Jvi
from dregcli.engine.objectives.miwae import Miwae
from dregcli.engine.objectives.vr_iwae import VrIwae
from dregcli.engine.words import word_of
from tests.support.naive_values import naive_values
from tests.support.sweep import swept

K = (1, 2, 3, 6)
CASES = [(setting, k) for k in K for entry in OBJECTIVES.values() for setting in entry.settings(k)]


def named(objective: Objective, k: int) -> str:
    return f"{word_of(objective)}-k{k}"


def log_weights(k: int, batch: int = 3, spread: float = 2.0) -> torch.Tensor:
    return spread * torch.randn(k, batch, generator=torch.Generator().manual_seed(k), dtype=torch.float64)


def own_derivative(rows: torch.Tensor, log_w: torch.Tensor) -> torch.Tensor:
    """d rows_k / d log_w_k for every k."""
    found = torch.zeros_like(rows)
    if rows.requires_grad:
        for i in range(len(rows)):
            (row,) = torch.autograd.grad(rows[i].sum(), log_w, retain_graph=True, allow_unused=True)
            found[i] = 0.0 if row is None else row[i]
    return found


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-9, atol=1e-11)


@swept("objective, k", CASES, named=named)
def test_terms_are_the_derivatives_of_the_naive_values(objective: Objective, k: int) -> None:
    log_w = log_weights(k).requires_grad_()
    of_model, of_posterior = naive_values(objective)
    terms = objective.terms(log_w.detach())
    close(terms.value, of_model(log_w))
    (model,) = torch.autograd.grad(of_model(log_w).sum(), log_w, create_graph=True)
    close(terms.model, model)
    close(terms.dmodel, own_derivative(model, log_w))
    if of_posterior is None:
        score = torch.softmax(log_w, dim=0)
        path = torch.zeros_like(score)
    else:
        (path,) = torch.autograd.grad(of_posterior(log_w).sum(), log_w, create_graph=True)
        score = -path
    close(terms.path, path)
    close(terms.score, score)
    close(terms.dscore, own_derivative(score, log_w))


@swept("objective, k", CASES, named=named)
def test_linear_says_that_dscore_is_0(objective: Objective, k: int) -> None:
    assert objective.is_linear(k) == bool((objective.terms(log_weights(k)).dscore.abs() < 1e-12).all())


@swept("objective, k", [case for case in CASES if case[0].is_function], named=named)
def test_replacing_one_weight_at_a_time(objective: FunctionObjective, k: int) -> None:
    log_w, replacement = log_weights(k), log_weights(k + 10)[:k]
    value, _ = naive_values(objective)
    for i in range(k):
        changed = log_w.clone()
        changed[i] = replacement[i]
        close(objective.replaced(log_w, replacement)[i], value(changed))


@swept("objective, k", CASES, named=named)
def test_the_weights_of_theta_are_those_of_the_objective_that_is_named(objective: Objective, k: int) -> None:
    """The last line is the twin: the ELBO's weights are not IWAE's."""
    own, named_one, iwae = (each.terms(log_weights(k)) for each in (objective, objective.of_theta, Iwae()))
    close(named_one.model, own.model)
    close(named_one.dmodel, own.dmodel)
    if k > 1 and objective.name == "elbo":
        assert not torch.allclose(own.model, iwae.model)


@swept("objective, k", [case for case in CASES if case[1] == 2], named=named)
def test_a_value_that_rises_with_k_is_never_below_its_mean_over_subsets(objective: Objective, k: int) -> None:
    """The reason why its expectation rises: no expectation is needed to see it. jvi is the twin.

    Samples are exchangeable, so that the mean over all orders of four samples has the expectation of the value.
    """
    log_w = log_weights(2 * k, batch=200, spread=3.0)
    orders = [list(each) for each in permutations(range(2 * k))]
    many, few = (torch.stack([objective.value(log_w[each[:n]]) for each in orders]).mean(dim=0) for n in (2 * k, k))
    if objective.of_theta.is_linear(k) and objective.of_theta.is_linear(2 * k):
        close(many, few)
    elif objective.rises_with_k:
        assert bool((many > few).all())
    if objective == Jvi(1):
        assert not objective.rises_with_k
        assert bool((many < few - 1.0).any())


def test_rws_keeps_the_weight_of_a_path_where_one_weight_dominates() -> None:
    """1 - v is 0 in floats here: v - v^2 is 0, but v (1 - v) is the sum of the others' weights."""
    log_w = torch.tensor([[0.0], [-40.0], [-41.0]], dtype=torch.float64)
    terms, others = OBJECTIVES["rws"]().terms(log_w), log_w[1:].exp().sum()
    assert float((terms.model - terms.model.square())[0]) == 0.0
    assert float(terms.dscore[0]) == pytest.approx(float(others), rel=1e-12)
    assert torch.equal(terms.dmodel, terms.dscore)


def test_jvi_in_chunks_is_jvi(monkeypatch: pytest.MonkeyPatch) -> None:
    log_w, replacement = log_weights(7), log_weights(17)[:7]
    objective = Jvi(3)
    whole, replaced = objective.terms(log_w), objective.replaced(log_w, replacement)
    monkeypatch.setattr("dregcli.engine.objectives.jvi._CHUNK", 30)
    chunked = objective.terms(log_w)
    close(chunked.value, whole.value)
    close(chunked.model, whole.model)
    close(chunked.dscore, whole.dscore)
    close(objective.replaced(log_w, replacement), replaced)


@pytest.mark.parametrize(("k", "elements"), [(5, 10), (1000, 32_000), (3000, 96_000), (2, 1 << 22)])
def test_jvi_keeps_few_leave_one_out_sets_at_a_time(k: int, elements: int) -> None:
    chunks = list(jvi._without_one(torch.empty(k, elements // k)))
    assert torch.cat([removed for removed, _ in chunks]).tolist() == list(range(k))
    assert all(len(removed) * elements <= max(jvi._CHUNK, elements) for removed, _ in chunks)
    for removed, rest in chunks:
        assert rest.shape == (k - 1, len(removed))
        assert not (rest == removed).any()


@pytest.mark.parametrize("k", [2, 5, 64])
def test_known_special_cases(k: int) -> None:
    log_w = log_weights(k)
    iwae = Iwae().terms(log_w)
    elbo = OBJECTIVES["elbo"]().terms(log_w)
    for twin, original in [
        (VrIwae(0.0), iwae),
        (VrIwae(1.0), elbo),
        (Jvi(0), iwae),
        (OBJECTIVES["ciwae"](0.0), iwae),
        (OBJECTIVES["ciwae"](1.0), elbo),
        (Miwae(1), iwae),
        (Miwae(k), elbo),
        (OBJECTIVES["piwae"](1), iwae),
    ]:
        found = twin.terms(log_w)
        for name in ("value", "model", "path", "score", "dscore", "dmodel"):
            torch.testing.assert_close(
                getattr(found, name), getattr(original, name), rtol=1e-12, atol=1e-14, msg=f"{twin} {name}"
            )


def test_jvi_of_order_1_is_the_published_formula() -> None:
    """g_k = K v_k - (K-1)/K sum_{j != k} v_k^(-j), and the same with squares for dreg."""
    k = 5
    log_w = log_weights(k)
    w = log_w.exp()
    g, h = torch.zeros_like(w), torch.zeros_like(w)
    for i in range(k):
        v = w[i] / w.sum(dim=0)
        without = [w[i] / (w.sum(dim=0) - w[j]) for j in range(k) if j != i]
        g[i] = k * v - (k - 1) / k * sum(without)
        h[i] = k * v**2 - (k - 1) / k * sum(each**2 for each in without)
    terms = Jvi(1).terms(log_w)
    close(terms.path, g)
    close(terms.path + terms.dscore, h)


def test_vr_iwae_close_to_alpha_1_keeps_its_digits() -> None:
    log_w = log_weights(8) - 100.0
    gap = 1e-9
    expected = log_w.mean(dim=0) + 0.5 * gap * log_w.var(dim=0, correction=0)
    torch.testing.assert_close(VrIwae(1.0 - gap).terms(log_w).value, expected, rtol=0, atol=1e-11)


def test_jvi_at_65536_samples_takes_no_square_array() -> None:
    """K x K float64 would be 34 GB; and the derivative must still be right: the value is homogeneous of degree 1."""
    log_w = log_weights(65_536, batch=1)
    terms = Jvi(1).terms(log_w)
    assert torch.isfinite(terms.model).all()
    assert math.isclose(float(terms.model.sum()), 1.0, rel_tol=1e-6)
    assert abs(float(terms.value - Iwae().terms(log_w).value)) < 0.01


class _NormalisedOverTheWrongAxis(Miwae):
    """A twin: pythae's mistake, invisible where there are as many groups as samples in each."""

    def _grouped(self, x: torch.Tensor) -> torch.Tensor:
        k, batch = x.shape
        return x.reshape(self.groups, k // self.groups * batch)


def test_twin_groups_over_the_wrong_axis_is_caught() -> None:
    log_w = log_weights(6).requires_grad_()
    (expected,) = torch.autograd.grad(naive_values(Miwae(3))[0](log_w).sum(), log_w)
    wrong = _NormalisedOverTheWrongAxis(3)
    softmax = torch.softmax(wrong._grouped(log_w.detach()), dim=0).reshape(6, 3) / 3
    assert float((softmax - expected).abs().max()) > 0.05


def test_twin_log_k_of_the_wrong_k_is_caught() -> None:
    """As if log K were that of another K: the naive value is off by the difference, far above the tolerance."""
    log_w = log_weights(6)
    wrong = torch.logsumexp(log_w, dim=0) - math.log(5)
    with pytest.raises(AssertionError):
        close(wrong, naive_values(Iwae())[0](log_w))
