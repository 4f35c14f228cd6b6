"""Exact expected gradients of a sigmoid belief network: executors run on every tuple of samples."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from dregcli.engine.execution import Execution
from dregcli.engine.objectives import base
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs import batch
from dregcli.engine.programs.latents import Latents
from dregcli.names import Backward, Promise
from tests.support.enumerated import expected, found, network, off, written_out
from tests.support.every_pair import checked_pairs

WAYS = {
    "dense": Execution(),
    "in chunks": Execution(k_chunk=1),
    "screened": Execution(Backward.SCREENED, 3.0),
    "screened in chunks": Execution(Backward.SCREENED, 3.0, k_chunk=1),
}
CASES = [("dense", 2), ("in chunks", 2), ("screened", 2), ("screened in chunks", 2), ("dense", 3)]
SHARP = 25.0


def taken(k: int) -> list[Pair]:
    return [pair for pair in checked_pairs(k) if not network().faults(pair)]


def faults(pairs: list[Pair], way: str, k: int, sharp: float = 1.0) -> dict[str, str]:
    """What pairs do not keep of their promises, by their words."""
    wrong: dict[str, str] = {}
    for pair, (theta, phi) in zip(pairs, found(pairs, k, WAYS[way], sharp), strict=True):
        of_theta, of_phi = expected(pair, k, sharp)
        bias = off(phi, of_phi)
        if not off(theta, of_theta) < 1e-12:
            wrong[pair.word] = f"theta is off by {off(theta, of_theta):.2g}"
        elif pair.promise(k) is Promise.UNBIASED and not bias < 1e-12:
            wrong[pair.word] = f"promised unbiased, relative bias {bias:.2g}"
        elif pair.promise(k) is Promise.BIASED and not bias > 1e-3:
            wrong[pair.word] = f"promised biased, relative bias {bias:.2g}"
    return wrong


@pytest.mark.parametrize(("way", "k"), CASES)
def test_every_pair_keeps_its_promise(way: str, k: int) -> None:
    pairs = taken(k)
    assert len(pairs) > 20
    assert {pair.promise(k) for pair in pairs} == set(Promise)
    assert faults(pairs, way, k) == {}


SCORES = [resolve_pair("iwae", word, 2) for word in ("reinforce", "vimco", "vimco-star", "ovis")]


def test_they_are_exact_where_one_weight_is_nearly_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """There 1 - v is 0 in floats, and its logarithm must not be computed from it."""
    log_w = written_out(2, SHARP)[0]
    assert (1.0 - log_w.softmax(0)).min() < 1e-16
    assert faults(SCORES, "dense", 2, SHARP) == {}
    monkeypatch.setattr(base, "log_one_minus_normalised", lambda log_w: torch.log(1.0 - log_w.softmax(0)))
    assert list(faults(SCORES, "dense", 2, SHARP)) == ["iwae/vimco-star", "iwae/ovis:gamma=0.0"]


def first_layer_alone(drawn: Latents) -> Latents:
    """The score of the first layer alone: the upper layers' phi silently gets nothing."""
    first, *others = (each.log_q for each in drawn.located.values())
    return replace(drawn, log_q=first + sum(each.detach() for each in others))


def without_logits(drawn: Latents) -> Latents:
    """Densities that are cut off from the logits."""
    return replace(drawn, log_q=drawn.log_q.detach())


@pytest.mark.parametrize("wrong", [first_layer_alone, without_logits])
def test_a_wrong_score_is_caught(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = batch.draw_latents
    monkeypatch.setattr(batch, "draw_latents", lambda *args, **settings: wrong(right(*args, **settings)))
    assert len(faults(SCORES, "dense", 2)) == len(SCORES)
    ((_, phi),) = found(SCORES[1:2], 2, Execution())
    missing = {name for name, each in phi.items() if not each.any()}
    assert "encoders.1.0.weight" in missing
    assert ("encoders.0.0.weight" in missing) is (wrong is without_logits)


def test_bits_of_another_probability_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The enumeration weighs tuples by log q: an executor whose log q is another one is off."""

    def shifted(drawn: Latents) -> Latents:
        return replace(drawn, log_q=drawn.log_q * (1.0 + 1e-9))

    right: Any = batch.draw_latents
    monkeypatch.setattr(batch, "draw_latents", lambda *args, **settings: shifted(right(*args, **settings)))
    assert faults(SCORES, "dense", 2)
