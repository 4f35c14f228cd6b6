"""Promises of every pair on structured prediction: the executor's expected gradients by quadrature, no statistics."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine import OBJECTIVES
from dregcli.engine.execution.batch import Named
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.prior_rule import PriorRule
from dregcli.names import Promise
from tests.support.dense import GivenNoise
from tests.support.every_pair import checked_pairs
from tests.support.exact import (
    naive_log_joint,
    naive_parameters,
    naive_posterior,
    off_networks,
    relative_distance,
    small_structured,
)
from tests.support.naive_values import naive_targets
from tests.support.prior_rules import RULES
from tests.support.quadrature import grid, reparam
from tests.support.sweep import swept

K, NODES = 2, 72
TOLERANCE = 1e-6
"""Norm of the error over the norm of the gradient, network by network; that the quadrature is as good is checked."""


@cache
def model() -> StructuredVae:
    """One latent dimension, two pixels of context, three of target; a q near enough to the prior to converge fast."""
    return small_structured(pixels=5, context=2, hidden=(4,), latent_dim=1, seed=5)


def columns(nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """One image once for every point of the grid, (N, D), the noise (K, N, 1) and the points' probability (N,)."""
    noise, probability = grid(K, nodes)
    image = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    return image.expand(len(probability), -1), noise.unsqueeze(-1), probability


def _weigh(pair: Pair, rule: PriorRule | None = None) -> PairWeigh:
    return PairWeigh((pair,), learning=False, rules=(rule,))


@cache
def _rows(kind: type[DenseRows], nodes: int) -> tuple[DenseRows, GaussianBatch, Tensor]:
    """An executor of all columns, the batch, and the columns' probability."""
    pixels, noise, probability = columns(nodes)
    batch = GaussianBatch(model(), pixels, model().posterior(pixels), GivenNoise(noise))
    return kind(batch, _weigh(resolve_pair("iwae", "reparam", K)), k_chunk=None), batch, probability


def expected_gradient(
    pair: Pair, nodes: int = NODES, kind: type[DenseRows] = DenseRows, rule: PriorRule | None = None
) -> Named:
    """The executor's expected gradient, ascent: each column of its batch weighted by the column's probability."""
    rows, batch, probability = _rows(kind, nodes)
    weights = rows.also(_weigh(pair, rule)).weights
    value, *arrays = weights.arrays()
    # The executor descends on the mean over the batch: the columns' number is taken back, and the sign.
    share = -probability * len(probability)
    sums = rows.sums(weights.with_arrays((value, *(None if each is None else each * share for each in arrays))))
    (of_posterior,) = batch.through_posterior(sums.posterior)
    return sums.model[0] | of_posterior


def target_gradient(pair: Pair) -> Named:
    """Derivatives of the expected naive value, of a naive model; rws's own update for its phi."""
    return _target_gradient(pair if pair.estimator.name == "ovis-mc" else reparam(pair.objective))


@cache
def _target_gradient(pair: Pair) -> Named:
    pixels, noise, probability = columns(NODES)
    loc, scale = naive_posterior(model(), pixels)
    z = loc + scale * noise
    log_w = naive_log_joint(model(), pixels, z) - Normal(loc, scale).log_prob(z).sum(-1)
    of_model, of_posterior = naive_targets(pair)
    theta, phi = naive_parameters(model())
    by_theta = torch.autograd.grad((probability * of_model(log_w)).sum(), list(theta.values()), retain_graph=True)
    if of_posterior is None:
        density = Normal(loc, scale).log_prob(z.detach()).sum(-1)
        value = probability * torch.softmax(log_w.detach(), dim=0) * density
    else:
        value = probability * of_posterior(log_w)
    by_phi = torch.autograd.grad(value.sum(), list(phi.values()))
    return dict(zip(theta, by_theta, strict=True)) | dict(zip(phi, by_phi, strict=True))


def faults(pair: Pair, kind: type[DenseRows] = DenseRows, rule: PriorRule | None = None) -> list[str]:
    """Networks whose expected gradient is not as promised."""
    off = off_networks(expected_gradient(pair, kind=kind, rule=rule), target_gradient(pair), TOLERANCE)
    found = [network for network in off if network != "encoder"]
    bias = off.get("encoder", 0.0)
    if pair.promise(K) is Promise.UNBIASED and bias > 0.0:
        found.append(f"encoder: promised unbiased, relative bias {bias:.2g}")
    if pair.promise(K) is Promise.BIASED and bias < 1e-3:
        found.append(f"encoder: promised biased, relative bias {bias:.2g}")
    return found


@swept("pair", checked_pairs(K), named=lambda pair: pair.word)
def test_the_promise_holds_for_prior_decoder_and_encoder(pair: Pair) -> None:
    fine, coarse = expected_gradient(pair), expected_gradient(pair, NODES * 3 // 4)
    assert {name.partition(".")[0] for name in fine} == {"prior", "decoder", "context_layer", "encoder"}
    assert off_networks(coarse, fine, TOLERANCE) == {}, "the quadrature itself has not converged"
    assert faults(pair) == []


FIRST = {pair.objective: pair for pair in reversed(list(checked_pairs(K)))}


@swept("rule, pair", [(rule, pair) for rule in ("joint", "blend") for pair in FIRST.values()])
def test_the_prior_along_its_samples_has_the_same_expected_gradient(rule: str, pair: Pair) -> None:
    assert faults(pair, rule=RULES[rule]) == []
    along, score = expected_gradient(pair, rule=RULES[rule]), expected_gradient(pair)
    assert relative_distance(along, score) > 0.0, "it is the same estimate"


class _NoSquare(DenseRows):
    """The prior moves, but its samples' weights do not move with them."""

    def sums(self, weights):
        return super().sums(replace(weights, square=torch.zeros_like(weights.square)))


@pytest.mark.parametrize("rule", ["joint", "blend"])
def test_a_prior_without_its_square_breaks_the_promise(rule: str) -> None:
    assert faults(resolve_pair("iwae", "dreg", K), _NoSquare, RULES[rule]) == ["prior"]


def test_the_bias_of_stl_is_the_rws_update_and_large() -> None:
    stl, iwae, rws = (
        {name: each for name, each in expected_gradient(resolve_pair(*words, K)).items() if "encoder" in name}
        for words in (("iwae", "stl"), ("iwae", "reparam"), ("rws", "reparam"))
    )
    bias = {name: stl[name] - iwae[name] for name in stl}
    assert relative_distance(bias, rws) < 1e-12
    assert relative_distance(stl, iwae) > 0.1


class _PriorByPath(DenseRows):
    """theta's prior with dreg's path weights, as if it were part of q."""

    def sums(self, weights):
        by_path = super().sums(replace(weights, model=weights.model * torch.softmax(self.log_w, dim=0))).model[0]
        found = super().sums(weights)
        right = found.model[0]
        return replace(found, model=[{n: (by_path if n.startswith("prior") else right)[n] for n in right}])


class _LivePrior(DenseRows):
    """The prior's score in phi too: what a q that shares the prior's network would get, and this one must not."""

    def sums(self, weights):
        score = weights.model if weights.score is None else weights.score + weights.model
        return super().sums(replace(weights, score=score))


@pytest.mark.parametrize(("twin", "network"), [(_PriorByPath, "prior"), (_LivePrior, "encoder")])
def test_wrong_twins_break_the_promise(twin: type[DenseRows], network: str) -> None:
    (fault,) = faults(resolve_pair("iwae", "dreg", K), twin)
    assert fault.partition(":")[0] == network


def test_every_objective_is_among_them() -> None:
    assert {pair.objective.name for pair in checked_pairs(K)} == set(OBJECTIVES)
