"""Gradients that wait as outer products: their moments are those of the matrices, one step after the other."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from dregcli.columns import DECAY
from dregcli.engine.device import using_threads
from dregcli.engine.moments import RunningMoments
from dregcli.engine.network_moments import STEPS_AT_ONCE, NetworkMoments
from dregcli.engine.outer import OuterProducts, Stacked, dense, linear_nodes

P, N = 3, 5
CPU = torch.device("cpu")


def _steps(count: int, *, offset: float = 1.0) -> list[Stacked]:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape: int) -> Tensor:
        return offset + torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        # The first one has more coordinates than a block.
        {
            "wide": OuterProducts(normal(P, N, 70), normal(N, 1000)),
            "dead": OuterProducts(0.0 * normal(P, N, 2), normal(N, 3)),
            "bias": normal(P, 70),
        }
        for _ in range(count)
    ]


def _off(moments: NetworkMoments, plain: tuple[RunningMoments, RunningMoments]) -> float:
    """The largest relative difference of both kinds' statistics."""
    moments.settle()
    kinds = zip((moments.moving, moments.window), plain, strict=True)
    both = [(mine.variance_and_snr(), right.variance_and_snr()) for mine, right in kinds]
    return max(float(((mine - right) / right).abs().max()) for mine, right in both)


def _one_by_one(steps: list[Stacked], window: int) -> tuple[RunningMoments, RunningMoments]:
    moving, windowed = RunningMoments(DECAY), RunningMoments(1.0)
    for i, each in enumerate(steps):
        moving.add(dense(each))
        if i >= window:
            windowed.add(dense(each))
    return moving, windowed


@pytest.fixture(autouse=True, params=[1, 3])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocks of coordinates, whose order does not matter, are shared by threads."""
    with using_threads(request.param):
        yield


@pytest.mark.parametrize("count", [2, STEPS_AT_ONCE, 2 * STEPS_AT_ONCE + 3])
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_moments_of_several_steps_at_once_are_those_of_one_after_the_other(count: int, offset: float) -> None:
    """The twin has the weights of the steps the other way round, which only the moving averages notice."""
    steps = _steps(count, offset=offset)
    moments, twin = NetworkMoments(), NetworkMoments()
    for i, each in enumerate(steps):
        moments.add(each)
        before = i - i % STEPS_AT_ONCE
        group = range(before, min(before + STEPS_AT_ONCE, count))
        twin.add(steps[group[0] + group[-1] - i])
    assert _off(moments, _one_by_one(steps, 0)) < 1e-9
    assert _off(twin, _one_by_one(steps, 0)) > 1e-6


def test_a_window_begins_with_the_steps_that_come_after_it() -> None:
    steps = _steps(9)
    moments = NetworkMoments()
    for i, each in enumerate(steps):
        if i == 5:
            moments.begin_window()
        moments.add(each)
    assert _off(moments, _one_by_one(steps, 5)) < 1e-9
    assert _off(moments, _one_by_one(steps, 4)) > 1e-3
    assert not moments.window.means["dead"].any()


@pytest.mark.parametrize("done", [0, 3, STEPS_AT_ONCE, STEPS_AT_ONCE + 1])
def test_gradients_that_wait_are_part_of_the_state(done: int) -> None:
    """Bit for bit; the twin's state has lost them."""
    steps = _steps(STEPS_AT_ONCE + 4)
    straight, cut, again, twin = (NetworkMoments() for _ in range(4))
    for each in steps[:done]:
        cut.add(each)
    state = cut.tensors("x")
    again.load(state, "x", CPU)
    twin.load({name: each for name, each in state.items() if not name.startswith("x-waiting/")}, "x", CPU)
    for each in steps:
        straight.add(each)
    for each in steps[done:]:
        again.add(each)
        twin.add(each)
    found, expected = again.tensors("x"), straight.tensors("x")
    assert found.keys() == expected.keys()
    assert all(torch.equal(each, expected[name]) for name, each in found.items())
    lost = done % STEPS_AT_ONCE
    twin.settle()
    assert twin.window.count == len(steps) - lost


def test_gradients_of_other_kinds_do_not_wait_together() -> None:
    """As after a resume on another number of ranks, where gradients are added up as tensors."""
    steps = _steps(7)
    moments = NetworkMoments()
    for i, each in enumerate(steps):
        moments.add(dense(each) if i in (2, 3) else each)
    assert _off(moments, _one_by_one(steps, 0)) < 1e-9


class _Net(nn.Module):
    """Two plain layers, one without a bias, one whose bias is used twice, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.twice, self.seen = (nn.Linear(4, 4) for _ in range(4))
        self.bare = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.bare(torch.tanh(self.first(x))))
        x = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        return self.last(torch.tanh(self.seen(x))) + self.seen.bias


def _products(net: _Net, x: Tensor, seeds: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
    out = net(x)
    layers = linear_nodes([out[:, :2], out[:, 2:]])
    (deltas) = torch.autograd.grad(out, [each.outputs for each in layers], seeds, is_grads_batched=True)
    for layer, delta in zip(layers, deltas, strict=True):
        assert isinstance(layer.weight, nn.Parameter)
        yield layer.weight, OuterProducts(delta, layer.inputs).dense()


def test_only_layers_whose_parameters_are_used_once_have_outer_products() -> None:
    torch.manual_seed(0)
    net, x, seeds = _Net().double(), torch.randn(N, 4).double(), torch.randn(P, N, 4).double()
    found = dict(_products(net, x, seeds))
    assert found.keys() == {net.first.weight, net.last.weight}
    for weight, gradients in found.items():
        for each, seed in zip(gradients, seeds, strict=True):
            (expected,) = torch.autograd.grad(net(x), [weight], seed)
            torch.testing.assert_close(each, expected, rtol=1e-13, atol=1e-13)
