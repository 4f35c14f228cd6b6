"""The schedule ``moments`` of the thermodynamic objective: the points themselves, and their fits during training."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine import check_bias, coefficients, multi_sample_loss
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.fitting import FITTED
from dregcli.engine.gradients import Step
from dregcli.engine.learning import learned_pair
from dregcli.engine.objectives.tvo import Tvo
from dregcli.engine.objectives.tvo_moments import equal_rises
from dregcli.engine.optimisation import Optimisation
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.training import Trainer
from dregcli.engine.words import parse_objective, word_of
from dregcli.errors import SpecError
from dregcli.names import TvoRule, TvoSchedule
from tests.engine.test_captured import call_again
from tests.support.small_training import K, small_trainer, take
from tests.support.sweep import swept

MOMENTS = TvoSchedule.MOMENTS
WORD = "tvo:partitions=4,beta=0.02,rule=left,schedule=moments"
EVERY = 24
"""Steps of 6 epochs of the small training."""


def log_weights(spread: float, k: int = 8, examples: int = 32) -> Tensor:
    """Skewed log-weights, (K, N), as those of a posterior are."""
    normal = torch.randn(k, examples, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return spread * (normal - 0.3 * normal.square()) - 100.0


def means(log_w: Tensor, powers: Tensor) -> Tensor:
    """m_b at each power: the derivative of log sum exp(b log w) by b, as the mean over the examples; nats."""
    powers = powers.clone().requires_grad_()
    total = torch.logsumexp(powers[:, None, None] * (log_w + 100.0), dim=1).mean(dim=1).sum()
    (slope,) = torch.autograd.grad(total, powers)
    return slope - 100.0


def rises(log_w: Tensor, points: list[float]) -> list[float]:
    """The rise of m_b in each part; nats."""
    found = means(log_w, torch.tensor([0.0, *points, 1.0], dtype=torch.float64)).tolist()
    return [after - before for before, after in pairwise(found)]


@swept("spread", [0.01, 1.0, 30.0, 1e3])
def test_the_points_are_those_of_a_dense_grid_and_the_mean_rises_equally(spread: float) -> None:
    log_w, grid = log_weights(spread), torch.linspace(0.0, 1.0, 4_001, dtype=torch.float64)
    on_grid = means(log_w, grid)
    for parts in (2, 5, 12):
        found = equal_rises(log_w, parts)
        wanted = on_grid[0] + (on_grid[-1] - on_grid[0]) * torch.arange(1, parts).double() / parts
        nearest = grid[(on_grid[:, None] - wanted).abs().argmin(dim=0)]
        assert torch.tensor(found).double() == pytest.approx(nearest, abs=1e-3)
        assert all(before < after for before, after in pairwise([0.0, *found, 1.0]))
        each = rises(log_w, found)
        assert max(each) - min(each) < min(0.05, 1e-4 * sum(each))
        if spread > 1.0:  # the wrong twin: points that are equally spaced in b
            each = rises(log_w, [j / parts for j in range(1, parts)])
            assert max(each) - min(each) > 0.05


def test_without_a_rise_the_parts_are_equal_and_infinite_log_weights_are_left_out() -> None:
    even = [0.25, 0.5, 0.75]
    good = log_weights(3.0)
    for log_w in (
        torch.full((5, 3), -90.0),
        good[:1],
        torch.full((5, 3), -math.inf),
        torch.full((5, 3), math.nan),
        -90.0 + 1e-9 * good,
    ):
        assert equal_rises(log_w, 4) == even
    broken = good[:, :3].clone()
    broken[0] = torch.tensor([-math.inf, math.inf, math.nan])
    assert equal_rises(torch.cat([broken, good[:, 3:]], dim=1), 4) == equal_rises(good[:, 3:], 4)
    assert equal_rises(good, 1) == []


def test_one_part_needs_no_fit() -> None:
    tvo, log_w = Tvo(1, schedule=MOMENTS), log_weights(1.0)
    assert tvo.unfitted is None
    assert tvo.refitted_every(10) is None
    assert torch.equal(tvo.value(log_w), Tvo(1).value(log_w))
    assert not [name for name in take(small_trainer(start=tvo), 1).row() if "." in name]


def test_fitted_points_are_state_and_no_part_of_the_word() -> None:
    tvo = parse_objective("tvo:partitions=4,schedule=moments")
    assert isinstance(tvo, Tvo)
    fitted = tvo.fitted(log_weights(1.0))
    assert word_of(tvo) == word_of(fitted) == WORD
    assert parse_objective(WORD) == tvo != fitted
    assert fitted.powers() == [0.0, *fitted.inner, 1.0]
    assert tvo.with_fitted(fitted.fitted_values) == fitted
    assert [Tvo(4).refitted_every(10), tvo.refitted_every(10)] == [None, 60]
    with pytest.raises(SpecError, match="has no parameter 'inner'"):
        parse_objective("tvo:inner=0.5")
    assert tvo.faults(K) == []
    assert "leave it out" in Tvo(4, 0.3, schedule=MOMENTS).faults(K)[0]


def test_where_nothing_is_trained_it_is_refused_before_any_work_unless_fitted() -> None:
    loc = torch.zeros(3, requires_grad=True)

    def never(_: Any) -> Any:
        raise AssertionError

    def make() -> Any:
        raise AssertionError

    q = Normal(loc, 1.0)
    calls = (
        lambda: coefficients(WORD, "dreg", torch.zeros(K, 3)),
        lambda: multi_sample_loss(never, q, k=K, objective=WORD),
        lambda: check_bias(make, {"loc": loc}, K, WORD),
        Tvo(4, schedule=MOMENTS).powers,
    )
    for call in calls:
        with pytest.raises(SpecError, match="fitted during training: use schedule=log or schedule=linear"):
            call()
    fitted = Tvo(4, schedule=MOMENTS).fitted(log_weights(1.0))
    loss, _ = multi_sample_loss(Normal(1.0, 1.0).log_prob, q, k=K, objective=fitted)
    assert torch.isfinite(loss)


def trainer(estimator: str = "dreg", **changes: Any) -> Trainer:
    return small_trainer(start=WORD, word=estimator, **changes)


def continued(state: Any, estimator: str) -> Trainer:
    found = trainer(estimator)
    found.load(state.step, state.model, state.optimizer, state.window)
    return found


@swept("estimator", ["dreg", "covariance", "double"])
def test_a_run_that_is_cut_continues_bit_for_bit(estimator: str) -> None:
    """Cut before the first step, between two fits, and where a fit is due."""
    straight, states = trainer(estimator), {}
    for step in range(EVERY + 4):
        if step in (0, 10, EVERY):
            states[step] = straight.state()
        straight.advance()
    wanted = straight.state()

    def sha256(state: Any) -> str:
        return tensors_sha256({**state.model, **state.optimizer})

    for step, state in states.items():
        found = take(continued(state, estimator), EVERY + 4 - step)
        assert found.state().window == wanted.window
        assert sha256(found.state()) == sha256(wanted)
        assert found.trained.fitted.values == straight.trained.fitted.values
    # The wrong twin fits again where it continues.
    twin = continued(states[10], estimator)
    twin.trained.fitted.are_due = lambda step: step == 10 and twin.trained.fitted._last != 10
    assert sha256(take(twin, 1).state()) != sha256(take(continued(states[10], estimator), 1).state())


def test_the_points_are_those_of_the_weights_seed_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fitted before the first step and then every 6 epochs, and each step uses those that its row shows."""
    used: list[Any] = []
    computed = Step.gradients

    def gradients(step: Step, pair: Any, **settings: Any) -> Any:
        used.append(pair.objective.fitted_values)
        return computed(step, pair, **settings)

    monkeypatch.setattr(Step, "gradients", gradients)
    found = trainer()
    found.warm_up()
    used.clear()
    rows, expected = [], []
    for step in range(2 * EVERY + 1):
        if step % EVERY == 0:
            with torch.no_grad():
                batches = vars(found)["_batches"].of_fit(step)
                log_w = [found.model.batch(*each).log_weights(k_chunk=None) for each in batches]
            assert [each.shape for each in log_w] == [(K, 5)] * 4
            expected.append(parse_objective(WORD).fitted(torch.cat(log_w, dim=1)).fitted_values)
        found.advance()
        row = found.row()
        rows.append({name.removeprefix("tvo."): value for name, value in row.items() if "." in name})
    assert rows == used == [expected[step // EVERY] for step in range(2 * EVERY + 1)]
    assert expected[0] != expected[1] != expected[2]
    state = found.state()
    assert learned_pair(resolve_pair(WORD, "dreg", K), state.optimizer).objective.fitted_values == rows[-1]
    del state.optimizer[f"{FITTED}b2"]
    with pytest.raises(KeyError, match="objective/b2"):
        continued(state, "dreg")


def test_the_fit_sees_the_log_weights_of_a_kl_warm_up_and_is_not_recorded() -> None:
    cold, warm = (
        take(trainer(optimisation=Optimisation(kl_warmup=steps), seed=2), 1).trained.fitted.values for steps in (4, 0)
    )
    assert cold != warm
    assert small_trainer(record=call_again).records
    recorded = trainer(record=call_again)
    assert not recorded.records
    assert recorded.warm_up() is None


def test_every_rule_keeps_its_order_at_fitted_points() -> None:
    log_w = log_weights(5.0)
    left, middle, right = (
        Tvo(3, rule=rule, schedule=MOMENTS).fitted(log_w).value(log_w)
        for rule in (TvoRule.LEFT, TvoRule.TRAPEZOID, TvoRule.RIGHT)
    )
    bound = torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
    assert bool((log_w.mean(dim=0) < left).all())
    assert bool((left < bound).all())
    assert bool((bound < right).all())
    torch.testing.assert_close(middle, 0.5 * (left + right))
