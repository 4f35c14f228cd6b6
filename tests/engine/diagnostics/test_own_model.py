"""The bias check and the gradient report for one's own torch model."""

import math
from collections.abc import Callable
from functools import cache
from itertools import count

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli.engine import check_bias, gradient_report
from dregcli.engine.diagnostics.bias_check import FIRST_LOOK, BiasCheck, BiasResult
from dregcli.engine.diagnostics.gradient_report import GradientReport, Moments
from dregcli.engine.diagnostics.references import comparison_of
from dregcli.engine.diagnostics.source import ModelSource
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness
from dregcli.errors import SpecError
from dregcli.names import Verdict
from tests.support.dense import dense_gradients
from tests.support.exact import small_batch, small_vae
from tests.support.given_noise import Own, diagnostic_noise
from tests.support.quadrature import Gaussian1d, column_gradients, grid
from tests.support.straight_through import StraightThrough

K, SEED = 4, 2
FALSE_ALARM = 1e-7


def _own() -> Own:
    model = small_vae()
    pixels, _ = small_batch(model, k=K)
    return Own(model, pixels, k=K, seed=SEED)


class _Gaussian:
    """``Gaussian1d`` as a torch model, with one example."""

    def __init__(self) -> None:
        theta, mu, log_sd = Gaussian1d(theta=-1.0).parameters()
        self.named = {"theta": theta, "mu": mu.detach()[None].requires_grad_(), "log_sd": log_sd}

    def __call__(self) -> tuple[Callable[[Tensor], Tensor], Distribution]:
        theta, mu, log_sd = self.named.values()
        q = Normal(mu, log_sd.exp())

        def log_joint(z: Tensor) -> Tensor:
            x = torch.tensor(0.7, dtype=torch.float64)
            return Normal(theta, 1.0).log_prob(z) + Normal(1.3 * z, 0.5**0.5).log_prob(x)

        return log_joint, q


@pytest.fixture
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# check_bias.


def test_the_check_is_that_of_the_program() -> None:
    """The same model, pixels and noise, once as ours and once as anybody's."""
    own, words = _own(), ("stl", "dreg", "reparam")
    results = check_bias(own, own.parameters(), K, "iwae", words, false_alarm=FALSE_ALARM, max_batches=FIRST_LOOK)
    source = ModelSource(own.model, own.pixels, k=K, randomness=Randomness(SEED))
    comparisons = [comparison_of(resolve_pair("iwae", word, K), K) for word in words]
    check = BiasCheck(source, comparisons, false_alarm=FALSE_ALARM, detect=0.02, max_batches=FIRST_LOOK)
    while not check.done:
        if check.advance():
            check.look()
    for found, expected in zip(results, check.results(), strict=True):
        assert found.comparison == expected.comparison
        assert (found.verdict, found.n, found.looks) == (expected.verdict, expected.n, expected.looks)
        assert found.promise == expected.promise
        for name in ("p_value", "relative_bias", "interval", "detectable"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
        ours, theirs = found.evidence, expected.evidence
        assert ours.t_blocks == pytest.approx(theirs.t_blocks, rel=1e-6)
        assert ours.t_learned == pytest.approx(theirs.t_learned, rel=1e-6)
        assert ours.t_gradient == pytest.approx(theirs.t_gradient, rel=1e-6)
        assert ours.square.value == pytest.approx(theirs.square.value, rel=1e-6)


@pytest.mark.usefixtures("_seeded")
def test_stl_is_found_and_dreg_is_not() -> None:
    """The false alarms' rate is 1e-7; the bias, .76 of the gradient, is 17 standard errors of a look's tests."""
    make = _Gaussian()
    stl, dreg = check_bias(
        make, make.named, K, "iwae", ["stl", "dreg"], false_alarm=FALSE_ALARM, detect=0.9, max_batches=4 * FIRST_LOOK
    )
    assert (stl.verdict, stl.promise) == (Verdict.BIASED, "biased")
    assert stl.relative_bias == pytest.approx(0.761, abs=0.4)
    assert set(stl.evidence.t_blocks) == {"mu", "log_sd"}
    assert dreg.verdict is Verdict.UNBIASED
    assert (stl.k, dreg.k) == (K, K)


@pytest.mark.usefixtures("_seeded")
def test_it_ends_when_its_time_is_over() -> None:
    make = _Gaussian()
    (result,) = check_bias(make, make.named, K, max_seconds=1e-9)
    assert (result.verdict, result.n, result.evidence) == (Verdict.INCONCLUSIVE, 1, None)


class _Bits:
    """Two learned bits, each of which should be 1 with another probability."""

    def __init__(self, kind: type[Bernoulli]) -> None:
        self.kind = kind
        self.logits = torch.tensor([[0.3, -0.5]], dtype=torch.float64, requires_grad=True)
        self.theta = torch.tensor([1.2, 0.4], dtype=torch.float64, requires_grad=True)

    def __call__(self) -> tuple[Callable[[Tensor], Tensor], Distribution]:
        prior = Independent(Bernoulli(logits=self.theta), 1)
        return lambda z: 2.0 * prior.log_prob(z), Independent(self.kind(logits=self.logits), 1)


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("kind", [Bernoulli, StraightThrough])
def test_a_posterior_without_a_path_is_checked_against_pairs_without_one(kind: type[Bernoulli]) -> None:
    make, words = _Bits(kind), ["vimco", "ovis:gamma=1", "reinforce"]
    named = {"logits": make.logits, "theta": make.theta}
    with pytest.raises(SpecError, match="Estimators that need only the score: reinforce, vimco"):
        check_bias(make, named, K)
    found = check_bias(make, named, K, "iwae", words, false_alarm=FALSE_ALARM, max_batches=FIRST_LOOK)
    assert [each.comparison.reference.estimator.name for each in found] == ["reinforce", "vimco", "vimco"]
    assert [each.verdict is Verdict.BIASED for each in found] == [False, True, False]
    with pytest.raises(SpecError, match="'rws/reparam' has nothing to be compared with"):
        check_bias(make, named, K, "rws", "reparam")


def _fault(call: Callable[[], list[BiasResult] | list[GradientReport]]) -> list[str]:
    with pytest.raises(SpecError) as raised:
        call()
    return [str(fault) for fault in raised.value.faults]


@pytest.mark.parametrize("function", [check_bias, gradient_report])
def test_frozen_parameters_are_refused_by_name(function) -> None:
    make = _Gaussian()
    make.named["mu"].requires_grad_(False)
    assert _fault(lambda: function(make, make.named, K)) == [
        "parameters: 'mu' does not require grad: leave out frozen parameters."
    ]
    assert _fault(lambda: function(make, {}, K)) == [
        "parameters: there are none: pass dict(model.named_parameters())."
    ]


@pytest.mark.usefixtures("_seeded")
def test_what_is_frozen_can_be_left_out() -> None:
    make = _Gaussian()
    make.named["theta"].requires_grad_(False)
    trained = {name: make.named[name] for name in ("mu", "log_sd")}
    (result,) = check_bias(make, trained, K, estimators=["stl"], false_alarm=FALSE_ALARM, max_batches=FIRST_LOOK)
    assert set(result.evidence.t_blocks) == set(trained)


def test_every_wrong_number_is_told_at_once() -> None:
    make = _Gaussian()
    faults = _fault(lambda: check_bias(make, make.named, K, false_alarm=0.0, detect=2.0, max_batches=383))
    assert [fault.split(":")[0] for fault in faults] == ["false_alarm", "detect", "max_batches"]
    assert "at least 384, got 383" in faults[-1]
    assert _fault(lambda: gradient_report(make, make.named, K, batches=1)) == ["batches: must be at least 2, got 1."]
    (fault,) = _fault(lambda: check_bias(make, make.named, 1, estimators=["dreg-cv"]))
    assert "needs at least 2 samples" in fault


@pytest.mark.parametrize("function", [check_bias, gradient_report])
def test_parameters_of_another_model_are_refused_by_name(function) -> None:
    """Else every estimator would pass: nothing differs in what nothing reaches."""
    gaussian = _Gaussian()
    stray = {name: torch.zeros(2, requires_grad=True) for name in ("old.weight", "old.bias")}
    with pytest.raises(SpecError) as error:
        function(gaussian, {**gaussian.named, **stray}, K, estimators=["stl"])
    assert [str(fault).split("'")[1] for fault in error.value.faults] == list(stray)


@pytest.mark.parametrize("wrong", [{"max_batches": 60.5}, {"max_seconds": math.nan}, {"max_seconds": -1.0}])
def test_a_check_that_would_not_end_is_refused(wrong) -> None:
    gaussian = _Gaussian()
    with pytest.raises(SpecError):
        check_bias(gaussian, gaussian.named, K, **wrong)


def test_no_estimators_are_refused_and_one_needs_no_list() -> None:
    gaussian = _Gaussian()
    with pytest.raises(SpecError, match="name at least one"):
        gradient_report(gaussian, gaussian.named, K, estimators=())
    (report,) = gradient_report(gaussian, gaussian.named, K, estimators="stl", batches=2)
    assert report.pair.estimator.name == "stl"


# gradient_report.

WORDS = ("reparam", "stl", "dreg", "vimco")
BATCHES = 30


def _moments(rows: np.ndarray) -> tuple[float, float]:
    sd = rows.std(axis=0, ddof=1)
    varying = sd > 0
    return float((sd**2).mean()), float((np.abs(rows.mean(axis=0))[varying] / sd[varying]).mean())


@cache
def stored_moments(word: str) -> dict[str, tuple[float, float]]:
    """Numpy's moments of stored dense gradients, of each parameter and of all together."""
    own, stored = _own(), dict[str, list[np.ndarray]]()
    for step in range(BATCHES):
        noise = diagnostic_noise(own.model, own.pixels, k=K, seed=SEED, step=step)
        found = dense_gradients(own.model, own.pixels, noise, resolve_pair("iwae", word, K))
        for name, part in {**found.posterior, **found.model}.items():
            stored.setdefault(name, []).append(part.detach().flatten().numpy())
    rows = {name: np.stack(parts) for name, parts in stored.items()}
    moments = {name: _moments(each) for name, each in rows.items()}
    return moments | {"total": _moments(np.concatenate(list(rows.values()), axis=1))}


def report_faults(reports: list[GradientReport]) -> list[str]:
    """Where reports differ from numpy's moments of stored dense gradients."""
    faults = []
    for word, report in zip(WORDS, reports, strict=True):
        expected = stored_moments(word)
        ours = {**report.blocks, "total": report.total}
        for name, (variance, snr) in expected.items():
            if ours[name].variance != pytest.approx(variance, rel=1e-8):
                faults.append(f"{word} {name}: variance")
            if ours[name].snr != pytest.approx(snr, rel=1e-8):
                faults.append(f"{word} {name}: snr")
        if set(ours) != set(expected) or report.n != BATCHES or report.pair != resolve_pair("iwae", word, K):
            faults.append(f"{word}: names")
    return faults


def _measured() -> list[GradientReport]:
    own = _own()
    return gradient_report(own, own.parameters(), K, "iwae", WORDS, batches=BATCHES)


@cache
def _reports() -> list[GradientReport]:
    """To be read only."""
    return _measured()


def test_moments_are_those_of_stored_gradients() -> None:
    assert report_faults(_reports()) == []


@pytest.mark.usefixtures("_seeded")
def test_a_coordinate_that_never_moves_has_no_ratio() -> None:
    """A dead unit's 0 / 0 must not make the mean over the others NaN."""
    gaussian, idle = _Gaussian(), torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def make():
        log_joint, q = gaussian()
        return lambda z: log_joint(z) + 0.0 * idle.sum(), q

    (report,) = gradient_report(make, {**gaussian.named, "idle": idle}, K, estimators=["dreg"], batches=20)
    moving = [report.blocks[name] for name in gaussian.named]
    assert report.total.snr == pytest.approx(sum(each.snr for each in moving) / 3)
    assert report.total.variance == pytest.approx(sum(each.variance for each in moving) / 6)
    assert report.blocks["idle"] == Moments(0.0, 0.0)
    assert report.at_floor == (report.total.snr < 2.5 * report.snr_floor)


@pytest.mark.usefixtures("_seeded")
def test_a_batch_that_does_not_reach_a_parameter_has_a_gradient_of_zero() -> None:
    """An expert that one batch of four uses: the report is that of a model that multiplies it by 0 in the others."""

    def report(unused: float | None) -> GradientReport:
        torch.manual_seed(1)
        gaussian, expert, made = _Gaussian(), torch.tensor(0.9, dtype=torch.float64, requires_grad=True), count()

        def make():
            log_joint, q = gaussian()
            share = 1.0 if next(made) % 4 == 0 else unused
            return (log_joint if share is None else lambda z: log_joint(z) + share * expert * z), q

        return gradient_report(make, {**gaussian.named, "expert": expert}, K, estimators=["dreg"], batches=20)[0]

    missing, zero = report(None), report(0.0)
    assert missing.blocks == zero.blocks
    assert missing.total == zero.total
    assert missing.blocks["expert"].variance > 0.0


def test_moments_about_zero_are_caught(monkeypatch) -> None:
    """The wrong twin: a second moment for a variance, as the reference's moving averages have it."""
    right = Moments.__init__

    def about_zero(self, variance: float, snr: float) -> None:
        right(self, variance * (1.0 + snr**2), snr)

    monkeypatch.setattr(Moments, "__init__", about_zero)
    assert report_faults(_measured())


def test_the_effective_sample_size_is_the_batches_mean() -> None:
    own, expected = _own(), []
    for step in range(BATCHES):
        noise = diagnostic_noise(own.model, own.pixels, k=K, seed=SEED, step=step)
        log_w = dense_gradients(own.model, own.pixels, noise, resolve_pair("iwae", "dreg", K)).log_w
        w = (log_w - log_w.amax(dim=0)).exp().numpy()
        expected.append((w.sum(axis=0) ** 2 / (w**2).sum(axis=0)).mean())
    reports = _reports()
    assert {report.ess for report in reports} == {reports[0].ess}
    assert reports[0].ess == pytest.approx(np.mean(expected), rel=1e-8)
    assert 1.0 < reports[0].ess < K


def test_the_floor_is_what_pure_noise_measures() -> None:
    """E |N(0, 1)| / sqrt(n)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    z = 6.0 * (nodes + 1.0)
    absolute = 2.0 * float((6.0 * weights * z * np.exp(-0.5 * z**2)).sum()) / math.sqrt(2.0 * math.pi)
    assert _reports()[0].snr_floor == pytest.approx(absolute / math.sqrt(BATCHES), rel=1e-8)


@pytest.mark.usefixtures("_seeded")
def test_variances_are_those_of_quadrature() -> None:
    """Within 8 standard errors, which a fourth moment by the same quadrature gives."""
    make, n = _Gaussian(), 600
    for report in gradient_report(make, make.named, 2, "iwae", ["reparam", "dreg"], batches=n):
        columns = column_gradients(report.pair, Gaussian1d(theta=-1.0), k=2, nodes=60)
        _, probability = grid(2, 60)
        centred = columns - (columns @ probability)[:, None]
        for i, name in enumerate(make.named):
            variance = float(centred[i].square() @ probability)
            stderr = math.sqrt((float(centred[i] ** 4 @ probability) - variance**2) / n)
            assert abs(report.blocks[name].variance - variance) < 8.0 * stderr, (report.pair.word, name)
