"""Screening of any model has dense's expectation, exactly: every mask is enumerated, nothing is estimated."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from dregcli.engine import execution
from dregcli.engine.execution import Execution
from dregcli.engine.execution.screened import ScreenedRows
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import Backward
from tests.support.every_pair import checked_pairs
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.screening import Prescribed, chance, every, expectation

K = 3
LARGE = 3.0
"""Inflation with which even equal weights, the ELBO's, are kept with a probability below 1."""
SCREENED = Execution(Backward.SCREENED, LARGE)
PATHFUL = ("small conv", "flow", "shared matrix")


@cache
def subject(name: str, b: int = 1) -> tuple[ProgramModel, Tensor, Tensor]:
    """A model, pixels and noise, whose log-weights differ."""
    model = {**PATHS, **SCORES}[name]()
    noise = torch.linspace(0.0, 40.0, K * b * model.latent_width, dtype=torch.float64).sin() * 1.7
    return model, pixels_of(model, b), noise.reshape(K, b, -1)


def off(name: str, pair: Pair, screening: Execution = SCREENED, b: int = 1) -> dict[str, float]:
    """What is not the dense gradient, and how far it is."""
    model, x, noise = subject(name, b)
    dense = Step(model, x, Prescribed(noise, _nothing, _nothing[0]), Execution()).gradients(pair)
    found = expectation(model, x, noise, pair, screening)
    assert found.uncertain >= 2
    return found.off(dense, 1e-10)


_nothing = torch.zeros(1, 1, dtype=torch.bool)


@pytest.mark.parametrize("name", PATHFUL)
@pytest.mark.parametrize("word", ["iwae/dreg", "rws/dreg-norm", "jvi:order=1/vimco"])
def test_a_pair_has_denses_expectation(name: str, word: str) -> None:
    assert off(name, resolve_pair(*word.split("/"), K)) == {}


@pytest.mark.parametrize("name", [*PATHFUL, "categorical", "discrete and continuous"])
def test_every_pair_on_the_same_kept_rows(name: str) -> None:
    """All pairs that a model takes, each with its own weights, at rows that are kept for all of them together."""
    assert off_each(*subject(name), every_nth=1 if name in PATHFUL else 3) == {}


def off_each(model: ProgramModel, x: Tensor, noise: Tensor, *, every_nth: int = 1) -> dict[str, list[int]]:
    """Parameters whose expected gradients by some pairs are not the dense ones."""
    pairs = tuple(pair for pair in checked_pairs(K) if not model.faults(pair))[::every_nth]
    assert len(pairs) > 10
    none = torch.zeros(1, dtype=torch.bool)
    dense = Step(model, x, Prescribed(noise, _nothing, none), Execution()).each(pairs, train_model=True)
    total = [{name: torch.zeros_like(each) for name, each in part.items()} for part in dense]
    for mask in every(K, 1):
        draws = Prescribed(noise, mask, none)
        found = Step(model, x, draws, Execution(Backward.SCREENED, 40.0)).each(pairs, train_model=True)
        (probability,) = draws.probability
        for mean, one in zip(total, found, strict=True):
            for name, each in one.items():
                mean[name] += chance(mask, probability) * each
    assert int((probability < 1.0).sum()) >= 2
    faults: dict[str, list[int]] = {}
    for mean, expected in zip(total, dense, strict=True):
        for name, each in expected.items():
            size = each.flatten(1).norm(dim=1).clamp(min=1e-3 * float(each.norm()))
            far = (mean[name] - each).flatten(1).norm(dim=1) > 1e-10 * size
            if far.any():
                faults[name] = far.nonzero()[:, 0].tolist()
    return faults


def test_two_examples() -> None:
    model, x, noise = subject("two layers, Laplace above", 2)
    noise, pair = noise[:2], resolve_pair("iwae", "dreg", 2)
    dense = Step(model, x, Prescribed(noise, _nothing, torch.zeros(2, dtype=torch.bool)), Execution()).gradients(pair)
    assert expectation(model, x, noise, pair, SCREENED).off(dense) == {}


class _NoProbability(ScreenedRows):
    """Weight 1 for each kept row."""

    def _keep(self, weigh):
        super()._keep(weigh)
        self._kept = replace(self._kept, inverse=torch.ones_like(self._kept.inverse))


@pytest.mark.parametrize("name", PATHFUL)
def test_without_dividing_by_the_probability_it_is_biased(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "ScreenedRows", _NoProbability)
    found = off(name, resolve_pair("iwae", "dreg", K))
    assert max(found.values()) > 1e-2
