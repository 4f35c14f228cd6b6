"""Gradients of hierarchies by every executor, with every treatment of the prior, against three backward passes."""

from typing import Any

import pytest

from dregcli.engine import execution
from dregcli.engine.execution import Execution
from dregcli.engine.execution.screened import Screening
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.prior_rule import PriorRule
from dregcli.names import Backward
from tests.engine.programs.test_executors import EXECUTIONS, KeepsAll
from tests.support.exact import relative_distance
from tests.support.hierarchies import HIERARCHIES
from tests.support.hierarchy_oracle import MODES, three_backward_passes
from tests.support.program_oracle import drawn
from tests.support.program_zoo import pixels_of
from tests.support.sweep import swept

K = 20
RULES = {
    "score": None,
    "joint": PriorRule(joint=True, blended=False),
    "layer": PriorRule(joint=False, blended=False),
    "blend": PriorRule(joint=False, blended=True),
}
WORDS = ("iwae/dreg", "iwae/reparam", "jvi:order=1/dreg", "rws/dreg", "piwae:groups=4/stl", "vr-iwae:alpha=0.3/dreg")
WAYS = {"dense": Execution(), **EXECUTIONS}


def off(name: str, mode: str, words: tuple[str, ...], ways: dict[str, Execution]) -> dict[tuple[str, str], float]:
    """Pairs and executions whose gradients are not the oracle's."""
    model = HIERARCHIES[name]()
    x = pixels_of(model)
    draws = drawn(model, k=K, batch=len(x))
    found: dict[tuple[str, str], float] = {}
    for word in words:
        pair = resolve_pair(*word.split("/"), K)
        expected = three_backward_passes(model, x, draws, pair, mode)
        for way, each in ways.items():
            gradients = Step(model, x, KeepsAll(draws), each, rule=RULES[mode]).gradients(pair).whole()
            found[word, way] = relative_distance({n: gradients[n] for n in expected}, expected)
    return {what: each for what, each in found.items() if not each < 1e-10}


@swept("name, mode", [(name, mode) for name in HIERARCHIES for mode in MODES])
def test_the_oracles_gradient(name: str, mode: str) -> None:
    dense = {"dense": Execution()}
    assert off(name, mode, WORDS, dense) == {}
    assert off(name, mode, ("iwae/dreg",), EXECUTIONS) == {}
