"""Layers and shared tensors on a tape, against autograd of a weighted sum; what the tape cannot weight is refused."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods.base import samples_at_once
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.rows import PLAIN_ROWS, EveryRow, PlainRows, Rows, Selection, SomeRows
from dregcli.engine.tape import RowTape
from tests.support.dense import dense_gradients
from tests.support.exact import MODELS, small_batch, small_structured, small_vae

K, B, WIDTH = 4, 3, 5


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _with_bias(product: Tensor, bias: Tensor | None) -> Tensor:
    return product if bias is None else product + bias


class _Toy:
    """Parameters that reach rows in every way: by layers, by products whose bias is added by hand, by shared tensors
    of one and two dimensions, by both."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.again, self.last, self.example = (nn.Linear(WIDTH, WIDTH).double() for _ in range(4))
        self.data = _normal(B, WIDTH, seed=4)
        self.gain = nn.Parameter(_normal(B, seed=5))

    def parameters(self) -> dict[str, nn.Parameter]:
        layers = {"first": self.first, "again": self.again, "last": self.last, "example": self.example}
        named = {f"{name}.{n}": p for name, layer in layers.items() for n, p in layer.named_parameters()}
        return {**named, "gain": self.gain}

    def value(self, z: Tensor, rows: Rows) -> Tensor:
        """(K, B); ``first`` twice on rows and once on examples, ``example`` on examples alone, twice shared."""
        of_examples = torch.tanh(self.example(self.data)) * self.gain.unsqueeze(-1)
        h = rows.linear(self.first, z) + rows.shared(of_examples)
        h = rows.linear(self.first, torch.tanh(h)) * rows.shared(self.first(self.data).square())
        h = rows.linear(self.again, torch.tanh(h)) - rows.shared(self.data)
        h = _with_bias(*rows.product(self.last, torch.tanh(h))) * _with_bias(*rows.product(self.first, z))
        pixels = torch.sigmoid(self.data)
        scaled = rows.log_likelihood(Bernoulli(), self.last, torch.tanh(z), pixels) * rows.shared(self.gain)
        return (
            scaled + h.square().sum(-1) * rows.shared(self.gain.exp()) + torch.tanh(rows.shared(of_examples)).sum(-1)
        )


def _taped(toy: _Toy) -> tuple[RowTape, Tensor, list[Tensor]]:
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(EveryRow(K))
    value = toy.value(z, tape)
    return tape, value, tape.backward(value, [z])


EVERY = EveryRow(K)
TAKEN = torch.tensor([2, 0, 0, 1, 3, 0]), torch.tensor([0, 2, 0, 0, 2, 2])
"""Samples and examples of some rows, in no order; none is of example 1, and one is there twice."""


def some_rows(kind: type[SomeRows] = SomeRows) -> SomeRows:
    return kind(TAKEN[1], B)


def faults(tape_kind: type[RowTape] = RowTape, selection: Selection = EVERY) -> list[str]:
    """Parameters whose gradient is not that of the weighted sum, for three weight arrays from one pass."""
    toy, every = _Toy(), _normal(K, B, WIDTH)
    z = (every if isinstance(selection, EveryRow) else every[TAKEN].unsqueeze(0)).requires_grad_()
    tape = tape_kind(selection)
    tape.backward(toy.value(z, tape), [z])
    named, wrong = toy.parameters(), []
    for seed in range(3):
        weights = _normal(*z.shape[:2], seed=10 + seed)
        with torch.no_grad():
            found = tape.contract(weights, named.values())
        # Of rows not taken the oracle's weight is 0, and of one taken twice it is the sum.
        of_all = weights
        if not isinstance(selection, EveryRow):
            of_all = torch.zeros(K, B, dtype=weights.dtype).index_put(TAKEN, weights[0], accumulate=True)
        expected = torch.autograd.grad((of_all * toy.value(every, PLAIN_ROWS)).sum(), list(named.values()))
        for name, a, b in zip(named, found, expected, strict=True):
            if (a - b).norm() > 1e-12 * b.norm():
                wrong.append(f"{name} by weights {seed}")
    return wrong


def test_what_is_contracted_is_the_gradient_of_the_weighted_sum() -> None:
    assert faults() == []


def test_only_a_cpu_computes_in_blocks() -> None:
    """On a GPU each operation of each block would be a launch."""
    assert samples_at_once(torch.empty(0, dtype=torch.float32), 1024, 32 * 784) == 20
    assert samples_at_once(torch.empty(0, dtype=torch.float32), 4, 10**9) == 1
    assert samples_at_once(torch.empty(0, device="meta"), 1024, 32 * 784) == 1024


def test_of_some_rows_it_is_that_of_all_with_weight_0_for_the_rest() -> None:
    assert faults(selection=some_rows()) == []


class _NotPerRow(RowTape):
    """The weights' mean for all rows of an example."""

    def _by_shared(self, row_weights, wanted, prior):
        return super()._by_shared(row_weights.mean(0, keepdim=True).expand_as(row_weights), wanted, prior)


class _OneOverK(RowTape):
    def _by_shared(self, row_weights, wanted, prior):
        return ((p, g / K) for p, g in super()._by_shared(row_weights, wanted, prior))


class _FirstSharedAlone(RowTape):
    def _by_shared(self, row_weights, wanted, prior):
        self._shared = self._shared[:1]
        return super()._by_shared(row_weights, wanted, prior)


@pytest.mark.parametrize("twin", [_NotPerRow, _OneOverK, _FirstSharedAlone])
def test_wrong_tapes_are_caught(twin: type[RowTape]) -> None:
    off = {fault.partition(" ")[0] for fault in faults(twin)}
    assert "gain" in off
    assert off <= {"first.weight", "first.bias", "example.weight", "example.bias", "gain"}


class _BiasOfProductsLost(RowTape):
    def _by_layers(self, row_weights):
        added_by_hand = {record.layer.bias for record in self._layers if not record.with_bias}
        return ((p, 0.0 * g if p in added_by_hand else g) for p, g in super()._by_layers(row_weights))


def test_a_lost_bias_is_caught() -> None:
    assert {fault.partition(" ")[0] for fault in faults(_BiasOfProductsLost)} == {"first.bias", "last.bias"}


class _OfTheNextExample(SomeRows):
    def take(self, tensor):
        return tensor.index_select(0, (self.examples + 1) % self.batch)


class _AddedToTheNext(SomeRows):
    def sum(self, weights, values):
        return super().sum(weights, values).roll(1, dims=1)


class _LastOneWins(SomeRows):
    """Assigned where it should be added."""

    def sum(self, weights, values):
        found = values.new_zeros(len(weights), self.batch, *values.shape[2:])
        rows = weights.reshape(*weights.flatten(1).shape, *(1,) * (values.ndim - 2)) * values[0]
        return found.index_copy(1, self.examples, rows)


@pytest.mark.parametrize("twin", [_OfTheNextExample, _AddedToTheNext, _LastOneWins])
def test_wrong_selections_are_caught(twin: type[SomeRows]) -> None:
    assert {"gain", "example.weight"} <= {fault.partition(" ")[0] for fault in faults(selection=some_rows(twin))}


def test_sums_of_some_rows_have_the_layout_of_sums_of_all() -> None:
    """Products round by the layout of their inputs: a transposed sum changed the last bits of whole runs."""
    weights, values = _normal(3, 1, len(TAKEN[1])), _normal(1, len(TAKEN[1]), WIDTH)
    found = some_rows().sum(weights, values)
    in_order = values.new_zeros(3, B, WIDTH).index_add_(1, TAKEN[1], weights.transpose(1, 2) * values)
    assert torch.equal(found, in_order)
    assert found.stride() == in_order.stride()


def test_some_rows_have_the_values_and_slopes_they_have_among_all() -> None:
    toy, selection = _Toy(), some_rows()
    every = _normal(K, B, WIDTH)
    z = every[TAKEN].unsqueeze(0).requires_grad_()
    tape = RowTape(selection)
    value = toy.value(z, tape)
    (dz,) = tape.backward(value, [z])
    of_all = every.requires_grad_()
    expected = toy.value(of_all, PLAIN_ROWS)
    (by_all,) = torch.autograd.grad(expected.sum(), of_all)
    for found in (value, toy.value(z, PlainRows(selection))):
        torch.testing.assert_close(found[0], expected[TAKEN], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(dz[0], by_all[TAKEN], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (WIDTH,), (2, 3)])
def test_sums_by_example(shape: tuple[int, ...]) -> None:
    """Every (p, b) by a loop over the rows; of several weight arrays at once."""
    values, weights = _normal(K, B, *shape, seed=1), _normal(2, K, B, seed=2)
    every, some = torch.zeros(2, 2, B, *shape, dtype=torch.float64)
    for p in range(2):
        for k, b in itertools.product(range(K), range(B)):
            every[p, b] += weights[p, k, b] * values[k, b]
        for k, b in zip(*(each.tolist() for each in TAKEN), strict=True):
            some[p, b] += weights[p, k, b] * values[k, b]
    torch.testing.assert_close(EVERY.sum(weights, values), every, rtol=1e-13, atol=1e-13)
    found = some_rows().sum(weights[:, *TAKEN].unsqueeze(1), values[TAKEN].unsqueeze(0))
    torch.testing.assert_close(found, some, rtol=1e-13, atol=1e-13)


def test_the_latents_gradient_and_the_value_are_those_without_a_tape() -> None:
    toy = _Toy()
    _, value, (dz,) = _taped(toy)
    z = _normal(K, B, WIDTH).requires_grad_()
    plain = toy.value(z, PLAIN_ROWS)
    # The tape's likelihood sums in another order.
    torch.testing.assert_close(value, plain, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(dz, torch.autograd.grad(plain.sum(), z)[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_a_models_value_is_the_same_with_a_tape(name: str, dtype: torch.dtype) -> None:
    model = MODELS[name].build().to(dtype)
    pixels, noise = (each.to(dtype) for each in small_batch(model, k=7))
    taped = model.log_joint(pixels, (noise.clone().requires_grad_(),), RowTape(EveryRow(7)))
    assert taped.dtype == dtype
    # A product whose sum starts from the bias is rounded otherwise than one it is added to, on some processors.
    close = {"rtol": 64 * torch.finfo(dtype).eps, "atol": 0.0}
    torch.testing.assert_close(taped.detach(), model.log_joint(pixels, (noise,)).detach(), **close)
    with torch.inference_mode():
        torch.testing.assert_close(taped.detach(), model.log_joint(pixels, (noise,)), **close)


def test_data_are_shared_as_they_are_and_nothing_is_copied() -> None:
    tape, data = RowTape(EveryRow(K)), torch.zeros(B, 2)
    assert tape.shared(data) is data
    assert PLAIN_ROWS.shared(data) is data
    leaf = tape.shared(nn.Parameter(data))
    assert leaf.shape == (K, B, 2)
    assert leaf.stride(0) == 0
    some, examples = _normal(B, 2), TAKEN[1]
    assert torch.equal(RowTape(some_rows()).shared(some), some[examples])
    assert torch.equal(PlainRows(some_rows()).shared(some), some[examples])
    assert torch.equal(RowTape(some_rows()).shared(nn.Parameter(some)), some[examples].unsqueeze(0))


def test_a_layer_used_twice_adds_up() -> None:
    layer = nn.Linear(3, 3).double()
    inputs, weights = _normal(4, 2, 3, seed=1).requires_grad_(), _normal(4, 2, seed=2)
    tape = RowTape(EveryRow(4))
    taped = tape.linear(layer, torch.tanh(tape.linear(layer, inputs))).square().sum(-1)
    tape.backward(taped, [inputs])
    plain = layer(torch.tanh(layer(inputs))).square().sum(-1)
    expected = torch.autograd.grad((weights * plain).sum(), [layer.weight, layer.bias])
    found = tape.contract(weights, [layer.weight, layer.bias])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# Refusals.


def test_a_parameter_that_nothing_reaches_is_refused() -> None:
    for model in (small_vae(), small_structured()):
        pixels, noise = small_batch(model, k=2)
        model.model_parameters = lambda: {"stray": nn.Parameter(torch.zeros(1))}
        with pytest.raises(RuntimeError, match=r"outside Rows\.linear and Rows\.shared"):
            dense_gradients(model, pixels, noise, resolve_pair("iwae", "dreg", 2))


def test_a_layer_the_backward_does_not_reach_is_refused() -> None:
    toy, weights = _Toy(), torch.ones(K, B, dtype=torch.float64)
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(EveryRow(K))
    value = toy.value(z, tape)
    tape.linear(toy.again, z)
    tape.backward(value, [z])
    with pytest.raises(RuntimeError, match=r"output of Linear.*does not reach log p"):
        tape.contract(weights, [toy.again.weight])


def test_a_shared_tensor_the_backward_does_not_reach_is_refused() -> None:
    toy, weights = _Toy(), torch.ones(K, B, dtype=torch.float64)
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(EveryRow(K))
    value = toy.value(z, tape)
    tape.shared(toy.example(toy.data))
    tape.backward(value, [z])
    with pytest.raises(RuntimeError, match=r"shared tensor of shape \(3, 5\) does not reach log p"):
        tape.contract(weights, [toy.gain])


def _both(toy: _Toy, z: Tensor, rows: Rows) -> Tensor:
    """``example`` through a shared tensor, and past it."""
    h = rows.shared(torch.tanh(toy.example(toy.data)))
    return rows.linear(toy.first, z + h).sum(-1) + toy.example(toy.data).sum(-1)


def _past_linear(toy: _Toy, z: Tensor, rows: Rows) -> Tensor:
    return rows.linear(toy.first, toy.first(z)).sum(-1)


@pytest.mark.parametrize("value", [_both, _past_linear])
def test_a_parameter_that_reaches_rows_past_the_tape_too_is_refused(
    value: Callable[[_Toy, Tensor, Rows], Tensor],
) -> None:
    """Part of its gradient would be missing, and nothing would tell."""
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(EveryRow(K))
    with pytest.raises(RuntimeError, match=r"outside Rows\.linear and Rows\.shared, of shape .*5"):
        tape.backward(value(_Toy(), z, tape), [z])


def test_a_latent_that_does_not_matter_is_refused() -> None:
    toy, tape = _Toy(), RowTape(EveryRow(K))
    z = _normal(K, B, WIDTH).requires_grad_()
    with pytest.raises(RuntimeError, match="does not depend on a latent"):
        tape.backward(toy.value(z, tape), [z, _normal(K, B, 1).requires_grad_()])


def test_a_models_tensor_past_the_tape_is_refused(monkeypatch) -> None:
    """The mistake that is easy to make: a prior that is not shared."""
    model = small_structured()
    pixels, noise = small_batch(model, k=2)
    monkeypatch.setattr(RowTape, "shared", lambda _, tensor: tensor)
    with pytest.raises(RuntimeError, match="outside"):
        dense_gradients(model, pixels, noise, resolve_pair("iwae", "dreg", 2))
