"""Words, refusals, float safety, special cases and formulas of every pair."""

import contextlib
import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dregcli.engine import ESTIMATORS, OBJECTIVES, coefficients
from dregcli.engine.estimators.dreg_cv import DregCv
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair, word_faults
from dregcli.engine.weights import leave_one_out_logsumexp, leave_one_out_sum, log_one_minus_normalised
from dregcli.engine.words import parse_estimator, parse_objective, word_of
from dregcli.errors import NotFinite, SpecError
from tests.engine.test_objectives import log_weights
from tests.support.every_pair import checked_pairs
from tests.support.sweep import swept

ARRAYS = ("model", "path", "score")


def arrays(pair: Pair | str, log_w: torch.Tensor) -> list[torch.Tensor]:
    objective, estimator = pair.split("/") if isinstance(pair, str) else (pair.objective, pair.estimator)
    c = coefficients(objective, estimator, log_w)
    return [c.model, c.path, c.score]


def assert_same(one: Pair | str, other: Pair | str, log_w: torch.Tensor) -> None:
    for a, b in zip(arrays(one, log_w), arrays(other, log_w), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


# --- identities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("iwae/ovis:gamma=0", "iwae/vimco-star"),
        ("iwae/dreg-alpha:alpha=0", "iwae/dreg"),
        ("iwae/dreg-alpha:alpha=1", "rws/dreg"),
        ("iwae/dreg-cv:beta=1", "iwae/dreg"),
        ("iwae/dreg-cv:delta=1", "iwae/reparam"),
        ("vr-iwae:alpha=0/vimco", "iwae/vimco"),
        ("jvi:order=0/vimco", "iwae/vimco"),
        ("miwae:groups=1/vimco", "iwae/vimco"),
        ("ciwae:beta=0/reinforce", "iwae/reinforce"),
        ("ciwae:beta=1/vimco:baseline=geometric", "elbo/vimco:baseline=geometric"),
        ("vr-iwae:alpha=1/vimco", "elbo/vimco"),
    ],
)
def test_pairs_that_are_the_same(one: str, other: str) -> None:
    assert_same(one, other, log_weights(6))


def test_arithmetic_vimco_is_vimco_star_and_a_constant() -> None:
    vimco, star = arrays("iwae/vimco", log_weights(6))[2], arrays("iwae/vimco-star", log_weights(6))[2]
    torch.testing.assert_close(vimco - star, torch.full_like(star, math.log(1 - 1 / 6)), rtol=1e-11, atol=1e-13)


def test_half_of_dreg_alpha_is_half_of_stl() -> None:
    half, stl = arrays("iwae/dreg-alpha:alpha=0.5", log_weights(6))[1], arrays("iwae/stl", log_weights(6))[1]
    torch.testing.assert_close(half, stl / 2, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if OBJECTIVES[o].has_path])
def test_with_one_sample_stl_is_dreg(objective: str) -> None:
    word = f"{objective}:groups=1" if hasattr(OBJECTIVES[objective](), "groups") else objective
    word = "jvi:order=0" if objective == "jvi" else word
    assert_same(f"{word}/stl", f"{word}/dreg", log_weights(1))


BY_PLACE = [p for p in all_pairs() if hasattr(p.objective, "groups") or hasattr(p.estimator, "samples")]
"""The pairs whose samples have different parts: groups, or samples of a baseline."""


@swept("pair", (p for p in all_pairs() if p not in BY_PLACE), named=lambda pair: pair.word)
def test_coefficients_follow_a_permutation_of_the_samples(pair: Pair) -> None:
    log_w, order = log_weights(6), torch.tensor([3, 1, 5, 0, 4, 2])
    for straight, permuted in zip(arrays(pair, log_w), arrays(pair, log_w[order]), strict=True):
        torch.testing.assert_close(permuted, straight[order], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("objective", ["miwae", "piwae"])
@pytest.mark.parametrize("estimator", ["reparam", "dreg"])
def test_groups_follow_a_permutation_inside_them_and_of_them(objective: str, estimator: str) -> None:
    log_w, order = log_weights(6), torch.tensor([4, 3, 5, 1, 2, 0])
    pair = f"{objective}:groups=2/{estimator}"
    for straight, permuted in zip(arrays(pair, log_w), arrays(pair, log_w[order]), strict=True):
        torch.testing.assert_close(permuted, straight[order], rtol=1e-11, atol=1e-13)


@swept("pair", checked_pairs(4), named=lambda pair: pair.word)
def test_what_a_pair_says_it_uses_is_what_it_uses(pair: Pair) -> None:
    _, path, score = arrays(pair, log_weights(4))
    assert bool((path != 0).any()) == pair.uses_path
    # Of a baseline that hits the value exactly, as geometric VIMCO's of the ELBO nearly does, nothing can be said.
    assert bool((score != 0).any()) == pair.uses_score


# --- formulas ---------------------------------------------------------------------------------------------------


class _Row(dict[str, torch.Tensor]):
    """The symbols of ``dreg estimators`` at given log-weights, each computed as its description says."""

    def __init__(self, pair: Pair, log_w: torch.Tensor) -> None:
        k = log_w.shape[0]
        w = log_w.exp()
        terms = pair.objective.terms(log_w)
        without = torch.stack([torch.cat([log_w[:i], log_w[i + 1 :]]) for i in range(k)])
        super().__init__(
            K=k,
            v=w / w.sum(dim=0),
            L=w.mean(dim=0).log(),
            B=without.exp().sum(dim=1).log(),
            F=terms.value,
            g=terms.path,
            h=terms.path + terms.dscore,
            log=lambda x: torch.as_tensor(x, dtype=torch.float64).log(),
            sum=lambda x: x.sum(dim=0),
        )
        for part in (pair.objective, pair.estimator):
            self |= {f.name: getattr(part, f.name) for f in fields(part)}
        if "groups" in self:
            m = self["groups"]
            grouped = w.reshape(m, k // m, -1)
            self |= {"M": m, "v_m": (grouped / grouped.sum(dim=1, keepdim=True)).reshape(k, -1)}
        if "alpha" in self:
            powers = w ** (1 - self["alpha"])
            self["u"] = powers / powers.sum(dim=0)
        if hasattr(pair.estimator, "baseline"):
            mean = without.exp().mean(dim=1).log() if pair.estimator.baseline == "arithmetic" else without.mean(dim=1)
            self["F_r"] = pair.objective.replaced(log_w, mean)
        if pair.objective.name == "tvo":
            self |= _thermodynamic(pair.objective, log_w)
        if pair.estimator.name == "ovis-mc":
            self |= _auxiliary(log_w, pair.estimator.samples)


def _thermodynamic(tvo: Any, log_w: torch.Tensor) -> dict[str, torch.Tensor]:
    """g, c and d as their descriptions say."""
    k = len(log_w)
    found = {name: torch.zeros_like(log_w) for name in "gcd"}
    for b, width in zip(tvo.powers(), tvo.widths(), strict=True):
        v = torch.softmax(b * log_w, dim=0)
        off = log_w - (v * log_w).sum(dim=0)
        found["g"] += width * v * (1 + b * off)
        found["c"] += width * v * ((1 - b) * off * k / (k - 1) - 1)
        found["d"] += width * v * (1 - 2 * b + b * (1 - b) * off)
    return found


def _auxiliary(log_w: torch.Tensor, samples: int) -> dict[str, torch.Tensor]:
    n = len(log_w) - samples

    def signal(log_w: torch.Tensor) -> torch.Tensor:
        return log_w.exp().mean(dim=0).log() - torch.softmax(log_w, dim=0)

    baselines = torch.zeros_like(log_w)
    for i in range(n):
        for auxiliary in log_w[n:]:
            changed = log_w[:n].clone()
            changed[i] = auxiliary
            baselines[i] += signal(changed)[i] / samples
    first, nothing = log_w[:n], torch.zeros_like(log_w[n:])
    v = torch.cat([torch.softmax(first, dim=0), nothing])
    return {
        "v_n": v,
        "L_n": first.exp().mean(dim=0).log(),
        "A": baselines,
        "I_n": torch.cat([nothing[:1].expand(n, -1) + 1, nothing]),
    }


@swept("pair", checked_pairs(4), named=lambda pair: pair.word)
def test_the_formulas_shown_are_the_formulas_computed(pair: Pair) -> None:
    log_w = log_weights(4)
    found = dict(zip(ARRAYS, arrays(pair, log_w), strict=True))
    row = _Row(pair, log_w)
    for name in ARRAYS:
        formula = getattr(pair.formula, name).replace("^", "**")
        value = torch.as_tensor(eval(formula, {}, row), dtype=torch.float64).expand(log_w.shape)
        torch.testing.assert_close(found[name], value.contiguous(), rtol=1e-9, atol=1e-12, msg=f"{name}: {formula}")


def test_every_symbol_is_explained() -> None:
    known = {*SYMBOLS, "log", "sum", "alpha", "beta", "gamma", "delta", "sleep"}
    for pair in all_pairs():
        for name in ARRAYS:
            symbols = compile(getattr(pair.formula, name).replace("^", "**"), "", "eval").co_names
            assert set(symbols) <= known


# --- learned parameters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [e for entry in ESTIMATORS.values() for e in entry.settings() if e.learned])
def test_derivatives_by_learned_parameters(estimator: DregCv) -> None:
    """Against differences, which are exact up to rounding as the coefficients are linear in each."""
    log_w = log_weights(5)
    objective = OBJECTIVES["iwae"]()
    terms = objective.terms(log_w)
    found = estimator.derivatives(objective, terms)
    assert tuple(found) == estimator.learned
    values = {f.name: getattr(estimator, f.name) for f in fields(estimator)}
    for name in estimator.learned:
        up, down = (
            type(estimator)(**{**values, name: values[name] + step}).coefficients(objective, terms)
            for step in (0.5, -0.5)
        )
        for array in ARRAYS:
            difference = getattr(up, array) - getattr(down, array)
            torch.testing.assert_close(getattr(found[name], array), difference, rtol=1e-10, atol=1e-12)


# --- float safety -----------------------------------------------------------------------------------------------

EXTREMES = {
    "all equal": [3.0, 3.0, 3.0, 3.0],
    "spread of 1e4 nats": [0.0, -1e4, -3e3, -7e3],
    "one saturated": [0.0, -800.0, -800.0, -800.0],
    "far below": [-1e4, -1e4 - 1, -1e4 - 2, -1e4 - 3],
    "one impossible": [0.0, -1.0, -math.inf, 1.0],
    "one possible": [0.0, -math.inf, -math.inf, -math.inf],
    "none possible": [-math.inf] * 4,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_extreme_log_weights_are_finite_or_refused(name: str, k: int, dtype: torch.dtype) -> None:
    log_w = torch.tensor(EXTREMES[name], dtype=dtype)[:k, None]
    for pair in checked_pairs(k):
        if name in ("one possible", "none possible", "one impossible"):
            try:
                found = arrays(pair, log_w)
            except NotFinite:
                continue
        else:  # every log-weight is finite: there is nothing to refuse
            found = arrays(pair, log_w)
        assert all(torch.isfinite(array).all() for array in found), pair.word
        assert all(array.dtype == dtype for array in found)


def test_what_is_refused_is_what_has_no_value() -> None:
    """With one possible sample, estimators that leave it out have nothing left; the others work."""
    log_w = torch.tensor(EXTREMES["one possible"])[:, None]
    finite = set()
    for pair in all_pairs():
        if not pair.faults(4):
            with contextlib.suppress(NotFinite):
                arrays(pair, log_w)
                finite.add(pair.word.split(":")[0])
    with pytest.raises(NotFinite, match="examples 0 of the batch"):
        arrays("iwae/vimco", log_w)
    assert {"iwae/reparam", "iwae/dreg", "iwae/stl", "iwae/dreg-norm", "iwae/reinforce", "rws/dreg"} <= finite
    assert not {"iwae/vimco-star", "rws/dreg-norm", "jvi"} & finite


LOG_WEIGHT = st.one_of(st.floats(-1e4, 1e4), st.just(-math.inf), st.just(0.0))


@settings(deadline=None, max_examples=30)
@given(st.lists(LOG_WEIGHT, min_size=1, max_size=9), st.sampled_from([torch.float32, torch.float64]))
@example([0.0, -math.inf], torch.float32)
def test_no_pair_ever_returns_nan(values: list[float], dtype: torch.dtype) -> None:
    log_w = torch.tensor(values, dtype=dtype)[:, None]
    for pair in checked_pairs(len(values)):
        try:
            found = arrays(pair, log_w)
        except NotFinite:
            assert not math.isfinite(sum(values)), f"{pair.word} refuses finite log-weights"
            continue
        assert all(torch.isfinite(array).all() for array in found), pair.word
        if pair.objective.name != "jvi":
            assert float(found[0].sum()) == pytest.approx(1.0, abs=1e-5)


def test_dreg_of_iwae_is_the_squared_weight_even_when_it_is_tiny() -> None:
    """v - (v - v^2) in float32 would be wrong by 60 % here."""
    log_w = torch.zeros(65_536, 1) + torch.linspace(0, 1e-3, 65_536)[:, None]
    v = torch.softmax(log_w.double(), dim=0)
    torch.testing.assert_close(coefficients("iwae", "dreg", log_w).path.double(), v.square(), rtol=1e-6, atol=0)


def test_leave_one_out_is_exact_for_the_largest_weight() -> None:
    """1 - v is 0 in floats here, and its logarithm -inf; the right answer is -799.3."""
    log_w = torch.tensor([[0.0], [-800.0], [-800.0]], dtype=torch.float64)
    assert float(log_one_minus_normalised(log_w)[0]) == pytest.approx(math.log(2) - 800.0, rel=1e-14)
    expected = torch.tensor([math.log(2) - 800.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(leave_one_out_logsumexp(log_w)[:, 0], expected, rtol=1e-14, atol=1e-14)


@given(st.lists(st.floats(-50, 50) | st.sampled_from([-math.inf, -900.0, 0.0]), min_size=1, max_size=12))
def test_leave_one_out_sums_are_sums_of_the_others(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)[:, None]
    for i in range(len(values)):
        others = torch.cat([x[:i], x[i + 1 :]])
        assert float(leave_one_out_sum(x)[i]) == pytest.approx(float(others.sum()), abs=1e-9)
        expected = float(torch.logsumexp(others, 0)) if len(others) else -math.inf
        assert float(leave_one_out_logsumexp(x)[i]) == pytest.approx(expected, abs=1e-12)


# --- words and refusals -----------------------------------------------------------------------------------------


@swept("pair", checked_pairs(4), named=lambda pair: pair.word)
def test_a_word_names_what_it_was_made_of(pair: Pair) -> None:
    assert parse_objective(word_of(pair.objective)) == pair.objective
    assert parse_estimator(word_of(pair.estimator)) == pair.estimator


def test_minus_zero_is_zero() -> None:
    assert word_of(parse_estimator("ovis:gamma=-0")) == "ovis:gamma=0.0"


def test_unknown_names_come_with_the_nearest_one_and_all_at_once() -> None:
    faults = word_faults("iwea", "drge", 4)
    assert [fault.field for fault in faults] == ["objective", "estimator"]
    assert "Did you mean 'iwae'?" in faults[0].message
    assert "Did you mean 'dreg'?" in faults[1].message


@pytest.mark.parametrize(
    ("objective", "estimator", "k", "said"),
    [
        ("iwae:alpha=0.3", "dreg", 4, "'iwae' has no parameter 'alpha': it takes no parameters."),
        ("vr-iwae:beta=0.3", "dreg", 4, "it takes alpha."),
        ("vr-iwae:alpha=x", "dreg", 4, "parameter 'alpha' of 'vr-iwae' needs a number, got 'x'."),
        ("vr-iwae:alpha", "dreg", 4, "needs a number, got nothing."),
        ("vr-iwae:alpa=0.3", "dreg", 4, "it takes alpha. Did you mean 'alpha'?"),
        ("iwae", "vimco:baseline=geometrical", 4, "got 'geometrical'. Did you mean 'geometric'?"),
        ("vr-iwae:alpha=0.1,alpha=0.2", "dreg", 4, "is given twice."),
        ("vr-iwae:alpha=1.5", "dreg", 4, "alpha must be from 0 to 1, got 1.5."),
        ("vr-iwae:alpha=nan", "dreg", 4, "alpha must be from 0 to 1, got nan."),
        ("jvi:order=1.5", "dreg", 4, "needs a whole number, got '1.5'."),
        ("jvi:order=-1", "dreg", 4, "order must be at least 0"),
        ("jvi", "reparam", 1, "'jvi:order=1' needs at least 2 samples, got 1. Use --k 2 or more."),
        ("jvi:order=3", "dreg", 3, "'jvi:order=3' needs at least 4 samples, got 3."),
        ("jvi:order=9", "dreg", 64, "order 9 with k=64 sums 10^16 terms"),
        ("miwae:groups=3", "dreg", 8, "groups must divide k=8, got 3; these do: 1, 2, 4, 8."),
        ("miwae:groups=0", "dreg", 8, "groups must be at least 1"),
        ("piwae:groups=16", "dreg", 8, "needs at least 16 samples"),
        ("rws", "stl", 4, "'rws' has no path"),
        ("rws", "vimco", 4, "For 'rws' there are: reparam, dreg, dreg-norm."),
        ("jvi", "dreg-cv", 4, "'dreg-cv' is defined for objective 'iwae' only."),
        ("jvi", "ovis", 4, "For 'jvi' there are: reparam, stl, dreg, reinforce, vimco."),
        ("rws", "dreg-norm", 1, "needs at least 2 samples"),
        ("iwae", "vimco", 1, "'vimco:baseline=arithmetic' needs at least 2 samples"),
        ("iwae", "vimco:baseline=harmonic", 4, "needs one of arithmetic, geometric, got 'harmonic'."),
        ("iwae", "ovis:gamma=2", 4, "gamma must be from 0 to 1"),
        (
            "iwae",
            "ovis-mc",
            1,
            "'ovis-mc:samples=1,exclusive=false' needs at least 2 samples, got 1. Use --k 2 or more.",
        ),
        ("iwae", "ovis-mc:samples=4", 4, "needs at least 5 samples, got 4. Use --k 5 or more."),
        ("iwae", "ovis-mc:samples=0", 4, "samples must be at least 1, got 0."),
        ("iwae", "ovis-mc:exclusive=yes", 4, "needs true or false, got 'yes'."),
        ("vr-iwae", "ovis-mc", 4, "'ovis-mc' is defined for objective 'iwae' only."),
        ("tvo:partitions=0", "dreg", 4, "partitions must be at least 1, got 0."),
        ("tvo:beta=0", "dreg", 4, "beta must be above 0 and below 1, got 0."),
        ("tvo:beta=1", "dreg", 4, "beta must be above 0 and below 1, got 1."),
        ("tvo:beta=nan", "dreg", 4, "beta must be above 0 and below 1, got nan."),
        ("tvo:schedule=moment", "dreg", 4, "needs one of log, linear, moments, got 'moment'. Did you"),
        ("tvo", "covariance", 1, "'covariance' needs at least 2 samples, got 1."),
        ("iwae", "double", 4, "'double' is defined for objective 'tvo' only."),
        ("iwae", "dreg-alpha:alpha=-0.1", 4, "alpha must be from 0 to 1"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(objective: str, estimator: str, k: int, said: str) -> None:
    (fault,) = word_faults(objective, estimator, k)
    assert said in str(fault)
    with pytest.raises(SpecError):
        resolve_pair(objective, estimator, k)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_scalars_that_are_not_finite_are_refused(value: str) -> None:
    (fault,) = word_faults("iwae", f"dreg-cv:beta={value}", 4)
    assert "beta must be finite" in str(fault)


def test_without_a_k_only_what_is_wrong_whatever_it_is_is_told() -> None:
    assert word_faults("miwae:groups=3", "dreg", None) == []
    assert len(word_faults("vr-iwae:alpha=2", "ovis", None)) == 2


def test_an_order_of_many_digits_is_refused_in_few() -> None:
    (fault,) = word_faults("jvi:order=500", "dreg", 2000)
    assert len(str(fault)) < 120


@pytest.mark.parametrize("k", [2.5, "4", True])
def test_a_k_that_is_no_number_of_samples_is_refused(k) -> None:
    with pytest.raises(SpecError, match="k: must be a whole number"):
        resolve_pair("iwae", "dreg", k)


@pytest.mark.parametrize("k", [64, 2048])
def test_weights_do_not_depend_on_a_shift_of_the_log_weights(k: int) -> None:
    """Of 2^14 nats, which loses no digit of these log-weights; reinforce and dreg-cv weigh by the value itself."""
    log_w = (4.0 * log_weights(k, batch=2)).mul(1024).round().div(1024)
    for pair in all_pairs():
        if pair.estimator.name in ("reinforce", "dreg-cv", "vimco") or pair.faults(k):
            continue
        for near, far in zip(arrays(pair, log_w), arrays(pair, log_w - 2.0**14), strict=True):
            assert float((near - far).norm()) <= 1e-10 * float(near.norm()), pair.word


def test_vimco_of_vr_iwae_close_to_alpha_1_keeps_its_digits() -> None:
    """Next to the ELBO its weights are next to the ELBO's; the plain quotient is wrong by a third here."""
    log_w = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    (_, _, near), (_, _, elbo) = (arrays(f"{o}/vimco", log_w) for o in ("vr-iwae:alpha=0.9999999999999999", "elbo"))
    torch.testing.assert_close(near, elbo, rtol=1e-9, atol=1e-9)


def test_several_faults_come_together() -> None:
    faults = [str(fault) for fault in word_faults("vr-iwae:alpha=2", "dreg-alpha:alpha=2", 4)]
    assert len(faults) == 3  # both ranges and the refusal


@pytest.mark.parametrize("shape", [(4,), (0, 3), (4, 3, 2)])
def test_log_weights_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"shape \(K, B\)"):
        coefficients("iwae", "dreg", torch.zeros(shape))


def test_reduced_precision_comes_back_as_float32() -> None:
    assert coefficients("iwae", "dreg", torch.zeros(4, 1, dtype=torch.bfloat16)).path.dtype == torch.float32
