"""Differences of gradients from one pass, against whole naive gradients of each pair at the same noise."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from dregcli.engine import multi_sample_loss
from dregcli.engine.diagnostics import source as source_module
from dregcli.engine.diagnostics.own_model import OwnModelSource
from dregcli.engine.diagnostics.references import Comparison, comparison_of
from dregcli.engine.diagnostics.source import ModelSource
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.ovis_mc import FirstSamples, OvisMc
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.execution import Execution, gaussian_batch, row_pass
from dregcli.engine.execution.row_pass import GaussianRowPass, score_sums
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.engine.randomness import Randomness
from dregcli.errors import NotFinite
from dregcli.names import Backward, Precision
from tests.support.every_pair import checked_pairs
from tests.support.exact import naive_gradients, small_batch, small_vae
from tests.support.given_noise import Own, diagnostic_noise

K, SEED, STEP = 4, 3, 5
COMPARISONS = [comparison_of(pair, K) for pair in checked_pairs(K)]
TOLERANCE = 1e-10
"""Norm of the error over the norm of the reference's gradient; float64."""


def _setup() -> tuple[Vae, Tensor]:
    model = small_vae()
    pixels, _ = small_batch(model, k=K)
    return model, pixels


def _source(k: int = K, execution: Execution | None = None) -> ModelSource:
    return ModelSource(*_setup(), k=k, randomness=Randomness(SEED), execution=execution)


@cache
def _naive(pair: Pair, *, k: int = K) -> dict[str, Tensor]:
    """What every source must give, the right ones and the wrong ones; made of no part that a twin replaces."""
    model, pixels = _setup()
    noise = diagnostic_noise(model, pixels, k=k, seed=SEED, step=STEP)
    found = naive_gradients(model, pixels, noise, pair)
    return {name: part.flatten() for name, part in {**found.posterior, **found.model}.items()}


def _norm(parts: dict[str, Tensor]) -> float:
    return float(torch.cat(list(parts.values())).norm())


def faults(source: ModelSource | OwnModelSource, comparisons: list[Comparison]) -> list[str]:
    """Every comparison whose differences, expanded, are not those of naive gradients."""
    draw = source.draw(STEP, comparisons, references=True)
    wrong = []
    for comparison, parts in zip(comparisons, draw.differences, strict=True):
        reference, pair = _naive(comparison.reference, k=source.k), _naive(comparison.pair, k=source.k)
        found = source.expand({name: part.unsqueeze(0) for name, part in parts.items()}) if parts else {}
        off = {
            name: (found[name][0] if name in found else 0.0) - (pair[name] - reference[name]) for name in reference
        }
        if not set(found) <= set(reference) or _norm(off) > TOLERANCE * _norm(reference):
            wrong.append(comparison.pair.word)
        elif not all(torch.equal(pair[name], reference[name]) for name in set(reference) - set(found)):
            wrong.append(f"{comparison.pair.word}: left out and not identical")
    for pair, parts in draw.references.items():
        expected = _naive(pair, k=source.k)
        if set(parts) != set(expected):
            wrong.append(f"reference {pair.word}: parameters")
        elif _norm({name: parts[name] - expected[name] for name in parts}) > TOLERANCE * _norm(expected):
            wrong.append(f"reference {pair.word}")
    return wrong


def test_differences_and_references_are_those_of_naive_gradients() -> None:
    assert faults(_source(), COMPARISONS) == []
    source = _source()
    assert source.blocks == tuple(_naive(COMPARISONS[0].pair))
    wanted = list(dict.fromkeys(each.reference for each in COMPARISONS))
    assert list(source.draw(0, COMPARISONS, references=True).references) == wanted
    assert source.draw(0, COMPARISONS, references=False).references == {}


EXECUTIONS = {
    "dense in chunks": Execution(k_chunk=16),
    "every row screened": Execution(Backward.SCREENED, 1e-12),
    "every row screened, in chunks": Execution(Backward.SCREENED, 1e-12, k_chunk=32),
    "every row screened, in bfloat16": Execution(Backward.SCREENED, 1e-12, Precision.BFLOAT16),
}
"""With next to no inflation allowed, every row that has a weight is kept, with probability 1."""


@pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS)
def test_other_executors_give_the_same_differences_and_references(execution: Execution) -> None:
    comparisons = [comparison_of(pair, K) for pair in all_pairs()]
    source = _source(40, execution)
    assert faults(source, comparisons) == []
    wanted = list(dict.fromkeys(each.reference for each in comparisons))
    assert list(source.draw(0, comparisons, references=True).references) == wanted
    assert source.draw(0, comparisons, references=False).references == {}


def test_what_screening_drops_is_in_the_differences_and_not_in_the_references() -> None:
    """A pair may be compared with itself: then the executors are."""
    pair = resolve_pair("iwae", "dreg", 40)
    source = _source(40, Execution(Backward.SCREENED, 0.5))
    draw = source.draw(STEP, [Comparison(pair, pair)], references=True)
    assert set(draw.differences[0]) == {"loc", "scale", *_setup()[0].model_parameters()}
    assert all(part.abs().max() > 1e-6 for part in draw.differences[0].values())
    expected = _naive(pair, k=40)
    assert _norm({n: part - expected[n] for n, part in draw.references[pair].items()}) < TOLERANCE * _norm(expected)
    again = source.draw(STEP, [Comparison(pair, pair)], references=False)
    assert all(torch.equal(part, again.differences[0][n]) for n, part in draw.differences[0].items())


class _TwinModel(Stl):
    """theta too gets dreg's weights."""

    def coefficients(self, objective, terms):
        found = super().coefficients(objective, terms)
        return replace(found, model=found.model.square())


def test_parts_are_left_out_where_the_weights_are_the_same() -> None:
    iwae, elbo = resolve_pair("iwae", "dreg", K), resolve_pair("elbo", "stl", K)
    comparisons = [
        comparison_of(iwae, K),
        Comparison(iwae, iwae),
        Comparison(elbo, Pair(elbo.objective, Dreg())),
        comparison_of(Pair(iwae.objective, _TwinModel()), K),
        Comparison(Pair(iwae.objective, _TwinModel()), Pair(iwae.objective, Stl())),
    ]
    parts = [set(each) for each in _source().draw(0, comparisons, references=False).differences]
    posterior, model = {"loc", "scale"}, set(_setup()[0].model_parameters())
    assert parts == [posterior, set(), set(), posterior | model, model]
    assert faults(_source(), comparisons) == []


def test_each_is_compared_with_reparam_and_reparam_with_dreg() -> None:
    for comparison in COMPARISONS:
        estimator = comparison.pair.estimator
        expected = Dreg() if isinstance(estimator, Reparam) else Reparam()
        if isinstance(estimator, OvisMc):  # its phi has a target of its own
            expected = FirstSamples(expected, estimator.samples, estimator.exclusive)
        assert comparison.reference == Pair(comparison.pair.objective, expected)


def _without_score(batch, noise, weights):
    return score_sums(batch, noise, torch.zeros_like(weights))


class _WithoutPath(GaussianRowPass):
    def path_sums(self, weights, scale=None):
        return super().path_sums(torch.zeros_like(weights))


def _the_other_way_round(weights, pairs, comparisons):
    turned = [Comparison(each.reference, each.pair) for each in comparisons]
    return source_module.StackedWeights.__sub__(
        weights[[pairs.index(each.pair) for each in turned]],
        weights[[pairs.index(each.reference) for each in turned]],
    )


class _LocAlone(ModelSource):
    def expand(self, means):
        return super().expand(
            {name: torch.zeros_like(rows) if name == "scale" else rows for name, rows in means.items()}
        )


class _OtherNoise(ModelSource):
    def draw(self, step, comparisons, *, references):
        return super().draw(step + 1, comparisons, references=references)


@pytest.mark.parametrize(
    ("module", "name", "twin"),
    [
        (row_pass, "score_sums", _without_score),
        (gaussian_batch, "GaussianRowPass", _WithoutPath),
        (source_module, "differences", _the_other_way_round),
    ],
    ids=["score", "path", "sign"],
)
def test_a_wrong_sum_is_caught(module, name: str, twin, monkeypatch) -> None:
    monkeypatch.setattr(module, name, twin)
    assert faults(_source(), COMPARISONS)


@pytest.mark.parametrize("twin", [_LocAlone, _OtherNoise])
def test_a_wrong_source_is_caught(twin: type[ModelSource]) -> None:
    assert faults(twin(*_setup(), k=K, randomness=Randomness(SEED)), COMPARISONS)


def test_expanding_is_linear() -> None:
    """So the expanded mean of differences is the mean of their expansions."""
    source = _source()
    drawn = [source.draw(step, COMPARISONS[:1], references=False).differences[0] for step in range(6)]
    stacked = {name: torch.stack([parts[name] for parts in drawn]) for name in drawn[0]}
    each = source.expand(stacked)
    of_mean = source.expand({name: rows.mean(dim=0, keepdim=True) for name, rows in stacked.items()})
    of_twice = source.expand({name: 2.0 * rows for name, rows in stacked.items()})
    assert set(each) == set(_setup()[0].posterior_parameters())
    for name, rows in each.items():
        torch.testing.assert_close(of_mean[name][0], rows.mean(dim=0), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(of_twice[name], 2.0 * rows, rtol=1e-12, atol=1e-14)


def test_a_step_has_its_own_noise_always() -> None:
    source = _source()
    (first,), (other,), (again,) = (
        source.draw(step, COMPARISONS[:1], references=False).differences for step in (0, 1, 0)
    )
    assert torch.equal(first["loc"], again["loc"])
    assert not torch.equal(first["loc"], other["loc"])


def test_all_comparisons_share_one_pass(monkeypatch) -> None:
    calls = []
    right = Vae.log_joint
    monkeypatch.setattr(Vae, "log_joint", lambda *args: calls.append(1) or right(*args))
    _source().draw(0, COMPARISONS, references=True)
    assert len(calls) == 1


class _Infinite(Stl):
    def coefficients(self, objective, terms):
        found = super().coefficients(objective, terms)
        path = found.path.clone()
        path[0, 2] = float("inf")
        return replace(found, path=path)


@pytest.mark.parametrize("kind", ["program", "own"])
def test_weights_that_are_not_finite_are_refused_by_name(kind: str) -> None:
    model, pixels = _setup()
    own = Own(model, pixels, k=K, seed=SEED)
    source = _source() if kind == "program" else OwnModelSource(own, own.parameters(), k=K)
    iwae = resolve_pair("iwae", "dreg", K)
    comparisons = [comparison_of(iwae, K), comparison_of(Pair(iwae.objective, _Infinite()), K)]
    with pytest.raises(NotFinite, match="'iwae/stl' has no finite gradient weights") as raised:
        source.draw(0, comparisons, references=False)
    assert raised.value.where == "examples 2 of the batch"


# One's own model.


def _own() -> OwnModelSource:
    own = Own(*_setup(), k=K, seed=SEED)
    own.step = STEP
    return OwnModelSource(own, own.parameters(), k=K)


def test_ones_own_model_gives_the_same_numbers() -> None:
    own = Own(*_setup(), k=K, seed=SEED)
    assert OwnModelSource(own, own.parameters(), k=K).blocks == _source().blocks
    assert faults(_own(), COMPARISONS) == []


def _mlp_and_parameters() -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(3, 4).double(), nn.Linear(2, 3).double()
    named = {f"{side}.{n}": p for side, net in (("q", encoder), ("p", decoder)) for n, p in net.named_parameters()}
    return encoder, decoder, named


@pytest.mark.parametrize("word", ["iwae/reparam", "iwae/dreg", "rws/reparam", "rws/dreg", "iwae/vimco", "jvi/dreg"])
def test_its_gradients_are_those_of_the_loss(word: str) -> None:
    encoder, decoder, named = _mlp_and_parameters()
    pixels = torch.rand(5, 3, dtype=torch.float64)
    pair = resolve_pair(*word.split("/"), K)

    def make():
        loc, raw = encoder(pixels).chunk(2, dim=-1)

        def log_joint(z: Tensor) -> Tensor:
            likelihood = Independent(Normal(decoder(z), 0.5), 1).log_prob(pixels)
            return likelihood + Independent(Normal(torch.zeros(2).double(), 1.0), 1).log_prob(z)

        return log_joint, Independent(Normal(loc, raw.exp()), 1)

    source = OwnModelSource(make, named, k=K)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        found = source.draw(0, [Comparison(pair, pair)], references=True).references[pair]
        torch.manual_seed(7)
        multi_sample_loss(*make(), K, pair.objective, pair.estimator)[0].backward()
    assert list(found) == list(named)
    for name, part in found.items():
        torch.testing.assert_close(part, named[name].grad.flatten(), rtol=1e-10, atol=1e-12)
