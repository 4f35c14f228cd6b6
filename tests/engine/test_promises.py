"""A declared promise is measured: expected gradients by quadrature, no statistics."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from dregcli.engine import ESTIMATORS, OBJECTIVES
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.names import Promise
from tests.support.every_pair import checked_pairs
from tests.support.quadrature import (
    Gaussian1d,
    expected_gradient,
    formula_gradient,
    standard_deviation,
    target_gradient,
)
from tests.support.sweep import swept

NODES = {1: 64, 2: 64, 3: 32}
"""Nodes a dimension; each case shows that the quadrature has converged with them."""

CASES = [(pair, k) for k in (1, 2, 3) for pair in checked_pairs(k)]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@cache
def expected(pair: Pair, k: int, nodes: int) -> torch.Tensor:
    return expected_gradient(pair, Gaussian1d(), k=k, nodes=nodes)


def contract_faults(pair: Pair, k: int) -> list[str]:
    """Everything in which a pair does not do what it promises."""
    nodes, model = NODES[k], Gaussian1d()
    found, target = expected(pair, k, nodes), target_gradient(pair, model, k=k, nodes=nodes)
    scale = target.norm()
    faults = []
    if (found[0] - target[0]).abs() > 1e-6 * scale:
        faults.append("theta's expected gradient is not the target's")
    bias = float((found[1:] - target[1:]).norm() / scale)
    if pair.promise(k) is Promise.UNBIASED and bias > 1e-6:
        faults.append(f"promised unbiased, relative bias {bias:.2g}")
    if pair.promise(k) is Promise.BIASED and bias < 1e-3:
        faults.append(f"promised biased, relative bias {bias:.2g}")
    formula = formula_gradient(pair, model, k=k, nodes=nodes)
    if formula is not None and (found[1:] - formula).norm() > 1e-6 * scale:
        faults.append("the expectation is not the formula's")
    return faults


@swept("pair, k", CASES, named=lambda pair, k: f"{pair.word}-k{k}")
def test_the_promise_holds(pair: Pair, k: int) -> None:
    fine, coarse = expected(pair, k, NODES[k]), expected(pair, k, NODES[k] * 3 // 4)
    assert distance(coarse, fine) < 1e-6, "the quadrature itself has not converged"
    assert contract_faults(pair, k) == []


class _StlDeclaredUnbiased(Stl):
    def promise(self, objective, k):
        return Promise.UNBIASED


class _StlWithoutThePublishedBias(Stl):
    def expectation(self, objective):
        return {"iwae": 1.0}


class _KTimesTooLarge(Reparam):
    """Of dreg: sbi's and normflows' mistake."""

    def coefficients(self, objective, terms):
        k = terms.log_w.shape[0]
        return replace(super().coefficients(objective, terms), path=k * terms.path.square(), score=0 * terms.score)


class _ThetaBySquares(Reparam):
    """TensorFlow Probability's mistake."""

    def coefficients(self, objective, terms):
        return replace(super().coefficients(objective, terms), model=terms.model.square())


class _DregDeclaredBiased(Reparam):
    def promise(self, objective, k):
        return Promise.BIASED


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        (_StlDeclaredUnbiased, "promised unbiased"),
        (_StlWithoutThePublishedBias, "not the formula's"),
        (_KTimesTooLarge, "promised unbiased"),
        (_ThetaBySquares, "theta's"),
        (_DregDeclaredBiased, "promised biased"),
    ],
)
def test_wrong_twins_break_the_contract(twin: type, said: str) -> None:
    (fault,) = contract_faults(Pair(OBJECTIVES["iwae"](), twin()), 2)
    assert said in fault


@pytest.mark.parametrize("k", [2, 3])
def test_the_bias_of_stl_is_exactly_the_rws_update(k: int) -> None:
    """E[STL] = E[IWAE] + E[RWS]: by quadrature to rounding."""
    words = [("iwae", "stl"), ("iwae", "reparam"), ("rws", "reparam")]
    stl, iwae, rws = (expected(resolve_pair(*pair, k), k, NODES[k]) for pair in words)
    torch.testing.assert_close(stl[1:], iwae[1:] + rws[1:], rtol=1e-12, atol=1e-14)


def test_the_published_numbers_of_the_two_sample_example() -> None:
    model = Gaussian1d(mu=0.9, log_sd=-0.35)
    pairs = {e: resolve_pair("iwae", e, 2) for e in ("reparam", "dreg", "stl", "dreg-norm")}
    value = target_gradient(pairs["dreg"], model, k=2, nodes=80)
    off = {e: expected_gradient(pair, model, k=2, nodes=80) - value for e, pair in pairs.items()}
    assert float(off["reparam"].abs().max()) < 1e-10
    assert float(off["dreg"].abs().max()) < 3e-7
    assert abs(float(off["stl"][1])) == pytest.approx(0.52, abs=0.005)
    assert abs(float(off["dreg-norm"][1])) == pytest.approx(0.39, abs=0.005)


ONE_DIMENSION = Gaussian1d(mu=0.9, log_sd=-0.35, slope=1.0, noise=1.0)
"""The model of formulas' table at K = 4."""


@pytest.mark.parametrize(
    ("word", "by_mu", "by_log_sd", "error"),
    [
        ("iwae/reparam", -0.288, 0.163, 1e-3),
        ("iwae/dreg", -0.288, 0.163, 8e-4),
        ("rws/reparam", -0.616, 0.120, 1e-3),
        ("rws/dreg", -0.616, 0.120, 1e-3),
        ("iwae/stl", -0.904, 0.283, 1e-3),
        ("vr-iwae:alpha=0.3/reparam", -0.452, 0.142, 1e-3),
        ("vr-iwae:alpha=0.3/dreg", -0.452, 0.142, 1e-3),
        ("jvi/reparam", -0.045, 0.117, 1.5e-3),
        ("jvi/dreg", -0.045, 0.117, 1.5e-3),
    ],
)
def test_the_one_dimensional_table_at_k_4(word: str, by_mu: float, by_log_sd: float, error: float) -> None:
    gradient = expected_gradient(resolve_pair(*word.split("/"), 4), ONE_DIMENSION, k=4, nodes=24)
    assert float(gradient[1]) == pytest.approx(by_mu, abs=error)
    assert float(gradient[2]) == pytest.approx(by_log_sd, abs=error)


@pytest.mark.parametrize(
    ("word", "sd", "error"),
    [
        ("iwae/reparam", 0.855, 2e-3),
        ("iwae/dreg", 0.054, 1e-3),
        ("iwae/stl", 0.006, 1e-3),
        ("rws/reparam", 0.861, 2e-3),
        ("rws/dreg", 0.051, 1e-3),
        ("iwae/vimco:baseline=geometric", 0.67, 5e-3),
        ("iwae/vimco:baseline=arithmetic", 0.75, 5e-3),
        ("iwae/vimco-star", 0.39, 5e-3),
        ("iwae/reinforce", 4.85, 2e-2),
    ],
)
def test_the_standard_deviations_of_the_table(word: str, sd: float, error: float) -> None:
    found = standard_deviation(resolve_pair(*word.split("/"), 4), ONE_DIMENSION, k=4, nodes=24)
    assert float(found[1]) == pytest.approx(sd, abs=error)


def test_every_name_has_an_entry() -> None:
    assert all(entry.name == name for name, entry in {**OBJECTIVES, **ESTIMATORS}.items())


def test_every_pair_at_every_setting_is_among_the_cases() -> None:
    for k in (2, 3):
        words = {(p.objective.name, p.estimator.name) for p in checked_pairs(k)}
        expected_words = {(o, e) for o, e in PAIRS}
        assert words == expected_words


F_OBJECTIVES = ["elbo", "iwae", "jvi", "vr-iwae", "miwae", "ciwae", "tvo"]
PAIRS = {
    *((o, e) for o in [*F_OBJECTIVES, "piwae"] for e in ("reparam", "stl", "dreg")),
    *((o, e) for o in F_OBJECTIVES for e in ("reinforce", "vimco")),
    *(("iwae", e) for e in ESTIMATORS if e not in ("covariance", "double")),
    *(("tvo", e) for e in ("covariance", "double")),
    *(("rws", e) for e in ("reparam", "dreg", "dreg-norm")),
}
"""Exactly the pairs of the design, typed in."""


PATH_PAIRS = [p for p in checked_pairs(2) if p.uses_path and not p.uses_score]


@swept("pair", PATH_PAIRS, named=lambda pair: pair.word)
def test_path_gradient_vanishes_when_q_is_the_posterior(pair: Pair) -> None:
    gradient = expected_gradient(pair, Gaussian1d.at_the_posterior(), k=2, nodes=20)
    assert float(gradient[1:].abs().max()) < 1e-12
