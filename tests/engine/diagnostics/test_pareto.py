"""k-hat against the published implementation, and at the edges."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dregcli.engine.diagnostics import pareto
from dregcli.engine.diagnostics.pareto import pareto_shape, tail_size

# arviz 0.19.0, psislw(x)[1] for each row of x as `drawn` makes it.
ARVIZ = {
    25: [0.50553042, 0.43057179, 0.33556704, 0.62380172],
    100: [0.28302339, 0.52253468, 1.38471112, 1.38098],
    1000: [0.13748074, 0.19601394, 0.89545366, 0.97860063],
    5000: [-0.03021441, 0.24862238, 1.06146523, 1.52638568],
}


def drawn() -> dict[int, Tensor]:
    """Log-weights (K, 4): log-normal weights of three widths, and Pareto ones of shape 1.3."""
    state = np.random.RandomState(7)
    found = {}
    for k in ARVIZ:
        x = state.standard_normal((4, k)) * np.array([0.3, 1.0, 3.0, 1.0])[:, None]
        x[3] = state.standard_exponential(k) * 1.3 - 50
        found[k] = torch.from_numpy(x.T.copy())
    return found


def shapes(log_w: Tensor) -> Tensor:
    found = pareto_shape(log_w)
    assert found is not None
    return found


def test_it_is_what_arviz_computes() -> None:
    for k, log_w in drawn().items():
        assert shapes(log_w).tolist() == pytest.approx(ARVIZ[k], abs=1e-7), k


def test_the_unit_of_the_weights_does_not_matter() -> None:
    for log_w in drawn().values():
        for shift in (-1e4, 300.0, 1e4):
            torch.testing.assert_close(shapes(log_w + shift), shapes(log_w), rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [0.3, 0.9, 1.6])
def test_pareto_weights_have_their_own_shape(shape: float) -> None:
    k, examples = 20_000, 64
    uniform = torch.rand(k, examples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = shapes(-shape * uniform.log()).mean()
    # The estimate's s.d. is about (1 + shape) / sqrt(M), M = 425 weights in the tail; the prior's pull is 10 / 435.
    error = (1.0 + shape) / math.sqrt(tail_size(k) * examples)
    assert abs(found - shape) < 6.0 * error + 10.0 / 435.0 * abs(shape - 0.5) + 0.01


def test_equal_weights_have_no_tail_at_all() -> None:
    log_w = torch.full((100, 3), -80.0, dtype=torch.float64)
    log_w[:, 1] = drawn()[100][:, 1]
    found = shapes(log_w)
    assert found[0] == found[2] == -math.inf
    assert found[1].item() == pytest.approx(ARVIZ[100][1], abs=1e-7)


def test_one_weight_that_dominates_everything() -> None:
    log_w = torch.zeros(1000, 2, dtype=torch.float64)
    log_w[:, 1] = drawn()[1000][:, 0]
    log_w[7] += 1e4
    assert shapes(log_w).tolist() == [math.inf, math.inf]
    log_w[7] -= 1e4 - 100.0
    assert (shapes(log_w) > 0.7).all()


def test_weights_of_zero_are_no_part_of_a_tail() -> None:
    """The tail of 1,000 weights has 95. If 50 are above 0, these are the tail; four are too few for a fit."""
    log_w = torch.full((1000, 8), -math.inf, dtype=torch.float64)
    some = drawn()[1000]
    for example, (count, of) in enumerate([(50, 1), (50, 3), (95, 1), (96, 1)]):
        log_w[10 : 10 + count, example] = some[:count, of]
    log_w[:50, 4] = -80.0
    log_w[:4, 5] = -80.0
    log_w[:, 7] = some[:, 0]
    log_w[3, 7] = math.nan
    found = shapes(log_w).tolist()
    tails = [some[:count, of].exp().sort().values.numpy() for count, of in ((50, 1), (50, 3), (95, 1), (96, 1))]
    tails[3] = (tails[3] - tails[3][0])[1:]
    assert found[:4] == pytest.approx([_fitted(tail) for tail in tails], abs=1e-9)
    assert found[4] < 0.0, "equal weights are no heavy tail"
    assert found[5:] == [math.inf] * 3, "four others, none, and one that is no number"


def _fitted(excess: np.ndarray) -> float:
    """Zhang and Stephens' fit of ascending excesses, written out, with the prior of arXiv 1507.02646."""
    n, points = len(excess), 30 + math.isqrt(len(excess))
    theta = 1.0 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    theta = theta / (3.0 * excess[int(n / 4 + 0.5) - 1]) + 1.0 / excess[-1]
    shape = np.array([np.log1p(-each * excess).mean() for each in theta])
    likelihood = n * (np.log(-theta / shape) - shape - 1.0)
    weights = np.exp(likelihood - likelihood.max())
    best = (weights * theta).sum() / weights.sum()
    return (n * np.log1p(-best * excess).mean() + 10.0 * 0.5) / (n + 10.0)


def test_too_few_samples_have_no_tail() -> None:
    assert tail_size(20) == 4
    assert pareto_shape(torch.zeros(20, 2, dtype=torch.float64)) is None
    assert pareto_shape(torch.zeros(25, 2, dtype=torch.float64)) is not None


def test_examples_that_are_fitted_together_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    log_w = drawn()[1000]
    together = shapes(log_w)
    monkeypatch.setattr(pareto, "_AT_ONCE", 1)
    assert torch.equal(shapes(log_w), together)
