"""Other weights of the same rows: what was made of them before stays, and all pairs are each as it were alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dregcli.engine.execution import Execution
from dregcli.engine.execution.batch import Sums
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.row_pass import GaussianRowPass
from dregcli.engine.execution.screened import _Kept
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.engine.tape import RowTape
from dregcli.names import Backward, Precision
from tests.support import screened_batch
from tests.support.dense import dense_gradients
from tests.support.exact import off_networks
from tests.support.screened_batch import EXECUTIONS, K, batch_of, drawn, subject
from tests.support.screening import off_gradients, off_sums, off_values

executions = pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS)


@executions
@pytest.mark.parametrize("name", ["vae", "structured"])
def test_other_weights_of_the_same_rows(name: str, execution: Execution) -> None:
    weigh = [PairWeigh((resolve_pair(*word.split("/"), K),)) for word in ("iwae/dreg", "elbo/reparam", "rws/dreg")]
    rows = execution.rows(batch_of(name), weigh[0])
    before, weights = rows.sums(rows.weights), rows.weights
    # Screened rows that are known already come first, so that sums have another order.
    tolerance = 1e-13 if execution.backward is Backward.SCREENED else 0.0
    for other in weigh[1:]:
        also, fresh = rows.also(other), execution.rows(batch_of(name), other)
        assert off_sums(also.sums(also.weights), fresh.sums(fresh.weights), tolerance) == {}
        assert off_values(also, fresh, tolerance) == {}
        torch.testing.assert_close(also.log_w, fresh.log_w, rtol=tolerance, atol=0.0)
        again = also.also(weigh[0])
        assert off_sums(again.sums(again.weights), before, tolerance) == {}
    assert rows.weights is weights
    assert off_sums(rows.sums(rows.weights), before, 0.0) == {}


@pytest.mark.parametrize("precision", Precision)
def test_rows_that_are_known_are_not_evaluated_again(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin counts known rows that are not kept."""
    evaluated: list[int] = []

    class Counted(GaussianBatch):
        def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> GaussianRowPass:
            evaluated.extend((k * self.examples + b).tolist())
            return super().rows(k, b, k_chunk=k_chunk)

    monkeypatch.setattr(screened_batch, "GaussianBatch", Counted)
    execution = Execution(Backward.SCREENED, precision=precision)
    elbo, dreg = (PairWeigh((resolve_pair(*words, K),)) for words in (("elbo", "stl"), ("iwae", "dreg")))

    def also(first: PairWeigh, then: PairWeigh) -> tuple[Sums, int]:
        rows = execution.rows(batch_of("vae"), first)
        rows.sums(rows.weights)
        before = len(evaluated)
        other = rows.also(then)
        return other.sums(other.weights), len(evaluated) - before

    fresh = execution.rows(batch_of("vae"), dreg)
    right, kept = fresh.sums(fresh.weights), len(evaluated)
    evaluated.clear()
    found, more = also(elbo, dreg)
    assert off_sums(found, right, 1e-13) == {}
    assert more == 0, "the ELBO keeps every row"
    evaluated.clear()
    _, more = also(dreg, elbo)
    assert more == K * batch_of("vae").examples - kept
    assert len(set(evaluated)) == len(evaluated)

    with_known = _Kept.with_known

    def all_count(self: _Kept, keep: Tensor, probability: Tensor) -> _Kept:
        found = with_known(self, keep, probability)
        return replace(found, inverse=probability[found.k, found.b].reciprocal())

    monkeypatch.setattr(_Kept, "with_known", all_count)
    assert off_sums(also(elbo, dreg)[0], right, 1e-13)


@executions
def test_a_steps_gradients_stay_what_they_are(execution: Execution) -> None:
    model, pixels, noise = subject("structured")
    pair, tracked = resolve_pair("iwae", "dreg", K), tuple(all_pairs())[::4]
    alone = Step(model, pixels, drawn(noise), execution).gradients(pair)
    step = Step(model, pixels, drawn(noise), execution)
    found = step.gradients(pair)
    step.each(tracked, train_model=True)
    assert off_gradients(found, alone, 0.0) == {}
    assert off_gradients(step.gradients(pair), alone, 0.0) == {}


def test_objectives_with_the_same_weights_of_theta_share_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order; the ELBO has other weights."""
    model, pixels, noise = subject("vae")
    contracted: list[int] = []
    contract = RowTape.contract

    def counted(self: RowTape, *given, **named) -> list[Tensor]:
        contracted.append(1)
        return contract(self, *given, **named)

    monkeypatch.setattr(RowTape, "contract", counted)
    words = (("iwae", "dreg"), ("rws", "dreg"), ("piwae", "stl"), ("elbo", "stl"))
    iwae, rws, piwae, elbo = (resolve_pair(*each, K) for each in words)
    for first in (iwae, rws):
        step = Step(model, pixels, drawn(noise), Execution())
        alone = step.gradients(first)
        contracted.clear()
        theta, _ = step.each((rws, piwae, iwae), train_model=True)
        assert not contracted
        assert all(torch.equal(each, alone.model[name].expand(3, *each.shape[1:])) for name, each in theta.items())
        step.each((rws, elbo), train_model=True)
        assert len(contracted) == 1


@executions
@pytest.mark.parametrize(
    "tracked",
    [
        tuple(all_pairs()),
        (resolve_pair("rws", "reparam", K), resolve_pair("iwae", "dreg", K)),
        (resolve_pair("iwae", "dreg", K), resolve_pair("rws", "reparam", K)),
        (resolve_pair("iwae", "dreg-cv", K), resolve_pair("iwae", "dreg", K)),
    ],
    ids=["all", "a score, then a path", "a path, then a score", "one that learns first"],
)
def test_many_pairs_in_one_pass_are_each_one_alone(tracked: tuple[Pair, ...], execution: Execution) -> None:
    """Screened with so small an inflation that every row with weight is kept for certain."""
    model, pixels, noise = subject("structured")
    every = Execution(execution.backward, 1e-250, execution.precision, execution.k_chunk)
    theta, phi = Step(model, pixels, drawn(noise), every).each(tracked, train_model=True)
    objectives = list(dict.fromkeys(pair.objective for pair in tracked))
    tolerance = 1e-12 if execution.precision is Precision.FLOAT32 else 1e-10
    assert {len(each) for each in phi.values()} == {len(tracked)}
    for p, pair in enumerate(tracked):
        one = dense_gradients(model, pixels, noise, pair)
        assert off_networks({n: t[p] for n, t in phi.items()}, one.posterior, tolerance) == {}
        assert (
            off_networks({n: t[objectives.index(pair.objective)] for n, t in theta.items()}, one.model, tolerance)
            == {}
        )


@executions
def test_weights_made_linearly_of_the_rows_own(execution: Execution) -> None:
    pair = resolve_pair("iwae", "reparam", K)
    rows = execution.rows(batch_of("structured"), PairWeigh((pair,)))
    once, own = rows.sums(rows.weights), rows.weights
    assert own.path is not None
    assert own.score is not None
    twice = rows.sums(type(own)(own.value, torch.cat([own.model, -2.0 * own.model]), 3.0 * own.path, 3.0 * own.score))
    assert off_networks(twice.model[0], once.model[0]) == {}
    assert off_networks(twice.model[1], {n: -2.0 * t for n, t in once.model[0].items()}) == {}
    assert off_networks(twice.posterior, {n: 3.0 * t for n, t in once.posterior.items()}) == {}
