"""Screening has dense's expectation, exactly: every mask and every choice is enumerated, nothing is estimated.

What dreg-cv learns from is a product of two gradients of the same rows. Its expectation is not the product of theirs,
and nothing is promised of it: it is not compared here.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from dregcli.engine import execution
from dregcli.engine.execution import Execution, screened
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.screened import ScreenedRows
from dregcli.engine.execution.screening import keep_probabilities
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.pairs import Pair, Theta, resolve_pair
from dregcli.names import Backward, Precision
from tests.support.dense import dense_gradients
from tests.support.every_pair import checked_pairs, pairs_of_different_weights
from tests.support.exact import MODELS, off_networks, small_batch
from tests.support.screening import Prescribed, chance, erring, every, expectation
from tests.support.sweep import swept

K = 4
LARGE = 3.0
"""Inflation with which even equal weights, the ELBO's, are kept with a probability below 1."""


@cache
def subject(name: str, k: int = K, b: int = 1) -> tuple[Vae | StructuredVae, Tensor, Tensor]:
    model = MODELS[name].build()
    return model, *small_batch(model, k=k, batch=b, seed=2)


def screening(precision: Precision, *, inflation: float = LARGE, k_chunk: int | None = None) -> Execution:
    return Execution(Backward.SCREENED, inflation, precision, k_chunk)


def dense(name: str, pair: Pair, k: int = K, b: int = 1, *, train_model: bool = True) -> Gradients:
    return dense_gradients(*subject(name, k, b), pair, train_model=train_model)


@pytest.fixture(autouse=True)
def _first_pass_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianBatch, "log_weights", erring())


both = pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
"""The executor treats all approximate first passes alike; the errors here are artificial."""


CASES = [
    *((pair, 3, Precision.BFLOAT16) for pair in pairs_of_different_weights(3)),
    *((pair, 4, Precision.BFLOAT16) for pair in checked_pairs(4) if getattr(pair.objective, "groups", None) == 2),
    *((pair, 4, Precision.FLOAT32) for pair in pairs_of_different_weights(4)[::5]),
]
"""Screening in bfloat16 has the choices of screening in float32, and corrections in addition: every pair takes it.

Three samples have half the choices of four, but make no groups of two.
"""


@swept("pair, k, precision", CASES, named=lambda pair, k, precision: f"{pair.word}-k{k}-{precision}")
def test_every_pair_has_denses_expectation(pair: Pair, k: int, precision: Precision) -> None:
    found = expectation(*subject("vae", k), pair, screening(precision))
    assert found.uncertain >= 2
    assert found.off(dense("vae", pair, k)) == {}


@both
@pytest.mark.parametrize(
    ("word", "inflation"),
    [("iwae/dreg", 0.2), ("jvi:order=1/vimco", 0.2), ("iwae/dreg", 1.0), ("rws/dreg-norm", 1.0)],
)
def test_whatever_the_inflation(word: str, inflation: float, precision: Precision) -> None:
    pair = resolve_pair(*word.split("/"), K)
    found = expectation(*subject("vae"), pair, screening(precision, inflation=inflation))
    assert found.uncertain >= (2 if inflation == 1.0 else 1)
    assert found.off(dense("vae", pair)) == {}


@both
@pytest.mark.parametrize("k_chunk", [1, 3])
@pytest.mark.parametrize("word", ["iwae/dreg", "rws/dreg-norm"])
def test_in_several_passes(word: str, k_chunk: int, precision: Precision) -> None:
    pair = resolve_pair(*word.split("/"), K)
    found = expectation(*subject("vae"), pair, screening(precision, k_chunk=k_chunk))
    assert found.off(dense("vae", pair)) == {}


@both
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("structured", "iwae/dreg"),
        ("structured", "iwae/reparam"),
        ("structured", "jvi:order=1/vimco"),
        ("structured-gaussian-crossed", "rws/dreg-norm"),
        ("discretised-logistic", "iwae/dreg"),
    ],
)
def test_models_with_tensors_of_examples(name: str, word: str, precision: Precision) -> None:
    """A structured model's prior is made of parameters, and shared by an example's rows."""
    pair = resolve_pair(*word.split("/"), K)
    found = expectation(*subject(name), pair, screening(precision))
    assert found.uncertain >= 2
    assert found.off(dense(name, pair)) == {}


@both
@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/vimco"])
def test_a_frozen_theta(word: str, precision: Precision) -> None:
    pair = resolve_pair(*word.split("/"), K)
    found = expectation(*subject("structured"), pair, screening(precision), train_model=False)
    assert found.model == {}
    assert found.off(dense("structured", pair, train_model=False)) == {}


@both
@pytest.mark.parametrize("word", ["iwae/dreg", "rws/reparam"])
def test_two_examples_that_err_differently(word: str, precision: Precision) -> None:
    pair = resolve_pair(*word.split("/"), 2)
    found = expectation(*subject("structured", 2, 2), pair, screening(precision, k_chunk=1))
    assert found.uncertain >= 2
    assert found.off(dense("structured", pair, 2, 2)) == {}


@both
@pytest.mark.parametrize("word", [None, "iwae/dreg"], ids=["first", "after another"])
def test_many_pairs_on_the_same_rows(word: str | None, precision: Precision) -> None:
    """Rows that are kept for many pairs together, by the largest of their probabilities.

    After another pair theta's gradient of its objective is taken over, with the rows that were kept for it; also by
    objectives with the same gradient.
    """
    model, pixels, noise = subject("vae")
    wanted = tuple(checked_pairs(K))[::3]
    thetas = list(dict.fromkeys(pair.theta for pair in wanted))
    assert Theta(Iwae()) in thetas
    theta, phi = Step(model, pixels, Prescribed(noise, _nothing, _none), Execution()).each(wanted, train_model=True)
    probability, total = None, [{n: torch.zeros_like(t) for n, t in each.items()} for each in (theta, phi)]
    choices = list(every(1)) if precision is Precision.BFLOAT16 else [_none]
    for mask in every(K, 1):
        for chosen in choices:
            draws = Prescribed(noise, mask, chosen)
            step = Step(model, pixels, draws, screening(precision))
            if word:
                step.gradients(resolve_pair(*word.split("/"), K))
            found = step.each(wanted, train_model=True)
            probability = draws.probability[-1]
            rate = torch.tensor([screened.CORRECTION_RATE if len(choices) > 1 else 0.0])
            weight = chance(mask, probability) * chance(chosen, rate)
            before = chance(mask, draws.probability[0]) * chance(chosen, rate)
            for name, each in found[0].items():
                for m, of in enumerate(thetas):
                    total[0][name][m] += (before if word and of.shared == Theta(Iwae()) else weight) * each[m]
            for name, each in found[1].items():
                total[1][name] += weight * each
    assert probability is not None
    assert int((probability < 1.0).sum()) >= 2
    for p, pair in enumerate(wanted):
        assert off_networks(*({n: t[p] for n, t in each.items()} for each in (total[1], phi)), 1e-10) == {}, pair.word
    assert off_networks(total[0], theta, 1e-10) == {}


_nothing, _none = torch.zeros(K, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)


# Wrong twins: what is easily done instead, and what it costs.


class _Renormalised(ScreenedRows):
    """Weights among the rows that were kept: self-normalised importance sampling."""

    def _keep(self, weigh):
        super()._keep(weigh)
        k, b, inverse = self._kept.k, self._kept.b, self._kept.inverse
        if len(k):
            among = torch.full_like(self.log_w, -torch.inf)
            among[k, b] = self.log_w[k, b] + inverse.log()
            self.weights = replace(weigh(among), value=self.weights.value)
            self._kept = replace(self._kept, inverse=torch.ones_like(inverse))


class _ProbabilityAgain(ScreenedRows):
    """The probability that a row would have been kept with, had its log-weight been known."""

    def _keep(self, weigh):
        super()._keep(weigh)
        again = keep_probabilities([self.weights.model, self.weights.path], LARGE)
        self._kept = replace(self._kept, inverse=again[self._kept.k, self._kept.b].reciprocal())


class _NoProbability(ScreenedRows):
    def _keep(self, weigh):
        super()._keep(weigh)
        self._kept = replace(self._kept, inverse=torch.ones_like(self._kept.inverse))


class _FirstPassAlone(ScreenedRows):
    """The coefficients are those of the approximate log-weights."""

    def _corrected(self, weigh):
        return weigh(self._first)


class _NotCorrected(ScreenedRows):
    def _corrected(self, weigh):
        return weigh(self.log_w)


class _Truncated(screened._Kept):
    """Rows beyond the capacity are dropped."""

    def parts(self, capacity):
        yield from list(super().parts(capacity))[:1]


def _mixed_without_a_shift(approximate, k, b, exact, inverse):
    mixed = approximate.double().clone()
    mixed[k, b] = exact.double()
    return mixed


def _corrected_without_the_rate(self, examples, times, exact):
    return right_corrected(self, examples, torch.ones_like(times), exact)


def _corrected_all_but_score(self, examples, times, exact):
    return replace(right_corrected(self, examples, times, exact), score=self.score)


right_corrected = RowWeights.corrected
Patch = Callable[[pytest.MonkeyPatch], None]


def _rows(twin: type[ScreenedRows]) -> Patch:
    return lambda patch: patch.setattr(execution, "ScreenedRows", twin)


def _no_shift(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(screened, "mixed_log_weights", _mixed_without_a_shift)
    patch.setattr(execution, "ScreenedRows", _NotCorrected)


TWINS: dict[str, tuple[Patch, Precision, str]] = {
    "mixed, not corrected": (_rows(_NotCorrected), Precision.BFLOAT16, "iwae/dreg"),
    "neither shifted nor corrected": (_no_shift, Precision.BFLOAT16, "iwae/dreg"),
    "the first pass's weights": (_rows(_FirstPassAlone), Precision.BFLOAT16, "iwae/dreg"),
    "corrected without the rate": (
        lambda patch: patch.setattr(RowWeights, "corrected", _corrected_without_the_rate),
        Precision.BFLOAT16,
        "iwae/dreg",
    ),
    "the score is not corrected": (
        lambda patch: patch.setattr(RowWeights, "corrected", _corrected_all_but_score),
        Precision.BFLOAT16,
        "iwae/reparam",
    ),
    "truncated": (lambda patch: patch.setattr(screened, "_Kept", _Truncated), Precision.FLOAT32, "iwae/dreg"),
    "renormalised": (_rows(_Renormalised), Precision.FLOAT32, "iwae/dreg"),
    "1/p forgotten": (_rows(_NoProbability), Precision.FLOAT32, "iwae/dreg"),
    "p of the exact weights": (_rows(_ProbabilityAgain), Precision.BFLOAT16, "iwae/dreg"),
}


@pytest.mark.parametrize("twin", TWINS)
def test_wrong_twins_are_biased(twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, precision, word = TWINS[twin]
    pair = resolve_pair(*word.split("/"), K)
    patch(monkeypatch)
    off = expectation(*subject("vae"), pair, screening(precision, k_chunk=2)).off(dense("vae", pair))
    assert "encoder" in off
    assert off["encoder"] > 1e-3


def _kept_if_chosen(noise: Tensor, mask: Tensor, chosen: Tensor) -> Prescribed:
    return Prescribed(noise, mask | chosen, chosen)


def _chosen_if_kept(noise: Tensor, mask: Tensor, chosen: Tensor) -> Prescribed:
    """The other way round: examples without a kept row are never chosen."""
    return Prescribed(noise, mask, chosen & mask.any(dim=0))


@pytest.mark.parametrize("outcome", [_kept_if_chosen, _chosen_if_kept])
def test_a_mask_and_a_choice_that_depend_on_each_other_are_biased(outcome) -> None:
    pair = resolve_pair("iwae", "dreg", K)
    found = expectation(*subject("vae"), pair, screening(Precision.BFLOAT16), outcome=outcome)
    off = found.off(dense("vae", pair))
    assert max(off.values()) > 1e-3
