"""Weight arrays against autograd of the value, words, refusals, float safety."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dregcli.engine import ESTIMATORS, OBJECTIVES, coefficients
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.objectives import Iwae
from dregcli.engine.pairs import pair_faults, parse_objective, resolve_pair, word_faults
from dregcli.errors import SpecError


def _log_w(k: int, batch: int = 3, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(k, batch, generator=torch.Generator().manual_seed(k), dtype=torch.float64)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_terms_are_the_derivatives_of_the_value(objective: str, k: int) -> None:
    log_w = _log_w(k).requires_grad_()
    terms = OBJECTIVES[objective]().terms(log_w)
    (first,) = torch.autograd.grad(terms.value.sum(), log_w, create_graph=True)
    torch.testing.assert_close(terms.model, first, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(terms.path, first, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(terms.score, -first, rtol=1e-12, atol=1e-14)
    dscore = torch.zeros_like(first)
    if terms.score.requires_grad:
        for i in range(k):
            (row,) = torch.autograd.grad(terms.score[i].sum(), log_w, retain_graph=True, allow_unused=True)
            dscore[i] = row[i]
    torch.testing.assert_close(terms.dscore, dscore, rtol=1e-10, atol=1e-12)


def test_dreg_of_iwae_is_the_squared_weight_even_when_it_is_tiny() -> None:
    """v - (v - v^2) in float32 would be wrong by 60 % here."""
    log_w = torch.zeros(65_536, 1) + torch.linspace(0, 1e-3, 65_536)[:, None]
    v = torch.softmax(log_w.double(), dim=0)
    torch.testing.assert_close(coefficients("iwae", "dreg", log_w).path.double(), v.square(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_with_one_sample_stl_is_dreg(objective: str) -> None:
    stl, dreg = (coefficients(objective, estimator, _log_w(1)) for estimator in ("stl", "dreg"))
    assert torch.equal(stl.model, dreg.model)
    assert torch.equal(stl.path, dreg.path)


@pytest.mark.parametrize("estimator", list(ESTIMATORS))
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_coefficients_follow_a_permutation_of_the_samples(objective: str, estimator: str) -> None:
    log_w = _log_w(6)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    straight, permuted = coefficients(objective, estimator, log_w), coefficients(objective, estimator, log_w[order])
    for name in ("model", "path", "score"):
        torch.testing.assert_close(getattr(permuted, name), getattr(straight, name)[order], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("estimator", list(ESTIMATORS))
def test_uses_score_tells_the_truth(estimator: str) -> None:
    score = coefficients("iwae", estimator, _log_w(4)).score
    assert bool((score != 0).any()) == ESTIMATORS[estimator].uses_score


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1e4, 1e4), st.just(-float("inf"))), min_size=0, max_size=9),
    st.floats(-1e4, 1e4),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(list(ESTIMATORS)),
)
def test_iwae_coefficients_are_finite_while_one_weight_is(rest, one, dtype, estimator) -> None:
    log_w = torch.tensor([[one], *[[x] for x in rest]], dtype=dtype)
    c = coefficients("iwae", estimator, log_w)
    for array in (c.model, c.path, c.score):
        assert array.dtype == dtype
        assert torch.isfinite(array).all()
    assert float(c.model.sum()) == pytest.approx(1.0, abs=1e-5)


def test_unknown_names_come_with_the_nearest_one_and_all_at_once() -> None:
    faults = word_faults("iwea", "drge", 4)
    assert [fault.field for fault in faults] == ["objective", "estimator"]
    assert "Did you mean 'iwae'?" in faults[0].message
    assert "Did you mean 'dreg'?" in faults[1].message


def test_parameters_a_name_does_not_take_are_refused() -> None:
    with pytest.raises(SpecError, match="'iwae' has no parameter 'alpha'"):
        parse_objective("iwae:alpha=0.3")


def test_a_k_that_cannot_work_is_refused_with_the_way_out() -> None:
    class NeedsTwo(Iwae):
        smallest_k = 2

    (fault,) = pair_faults(NeedsTwo(), Dreg(), 1)
    assert str(fault) == "k: 'iwae' needs at least 2 samples, got 1; use --k 2."
    assert pair_faults(NeedsTwo(), Dreg(), 2) == []
    with pytest.raises(SpecError):
        resolve_pair(NeedsTwo(), "dreg", 1)


def test_log_weights_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(SpecError, match=r"shape \(K, B\)"):
        coefficients("iwae", "dreg", torch.zeros(4))
