"""Layers and shared tensors on a tape, against autograd of a weighted sum; what the tape cannot weight is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.gradients import dense_gradients
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.rows import PLAIN_ROWS, Rows, RowTape
from tests.support.exact import MODELS, small_batch, small_structured, small_vae

K, B, WIDTH = 4, 3, 5


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class _Toy:
    """Parameters that reach rows in every way: by layers, by shared tensors of one and two dimensions, by both."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.again, self.example = (nn.Linear(WIDTH, WIDTH).double() for _ in range(3))
        self.data = _normal(B, WIDTH, seed=4)
        self.gain = nn.Parameter(_normal(B, seed=5))

    def parameters(self) -> dict[str, nn.Parameter]:
        layers = {"first": self.first, "again": self.again, "example": self.example}
        named = {f"{name}.{n}": p for name, layer in layers.items() for n, p in layer.named_parameters()}
        return {**named, "gain": self.gain}

    def value(self, z: Tensor, rows: Rows) -> Tensor:
        """(K, B); ``first`` twice on rows and once on examples, ``example`` on examples alone, twice shared."""
        of_examples = torch.tanh(self.example(self.data)) * self.gain.unsqueeze(-1)
        h = rows.linear(self.first, z) + rows.shared(of_examples)
        h = rows.linear(self.first, torch.tanh(h)) * rows.shared(self.first(self.data).square())
        h = rows.linear(self.again, torch.tanh(h)) - rows.shared(self.data)
        return h.square().sum(-1) * rows.shared(self.gain.exp()) + torch.tanh(rows.shared(of_examples)).sum(-1)


def _taped(toy: _Toy) -> tuple[RowTape, Tensor, list[Tensor]]:
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(K)
    value = toy.value(z, tape)
    return tape, value, tape.backward(value, [z])


def faults(tape_kind: type[RowTape] = RowTape) -> list[str]:
    """Parameters whose gradient is not that of the weighted sum, for three weight arrays from one pass."""
    toy = _Toy()
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = tape_kind(K)
    tape.backward(toy.value(z, tape), [z])
    named, wrong = toy.parameters(), []
    for seed in range(3):
        weights = _normal(K, B, seed=10 + seed)
        with torch.no_grad():
            found = tape.contract(weights, named.values())
        expected = torch.autograd.grad((weights * toy.value(z, PLAIN_ROWS)).sum(), list(named.values()))
        for name, a, b in zip(named, found, expected, strict=True):
            if (a - b).norm() > 1e-12 * b.norm():
                wrong.append(f"{name} by weights {seed}")
    return wrong


def test_what_is_contracted_is_the_gradient_of_the_weighted_sum() -> None:
    assert faults() == []


class _NotPerRow(RowTape):
    """The weights' mean for all rows of an example."""

    def _by_shared(self, row_weights, wanted):
        return super()._by_shared(row_weights.mean(0, keepdim=True).expand_as(row_weights), wanted)


class _OneOverK(RowTape):
    def _by_shared(self, row_weights, wanted):
        return ((p, g / K) for p, g in super()._by_shared(row_weights, wanted))


class _FirstSharedAlone(RowTape):
    def _by_shared(self, row_weights, wanted):
        self._shared = self._shared[:1]
        return super()._by_shared(row_weights, wanted)


@pytest.mark.parametrize("twin", [_NotPerRow, _OneOverK, _FirstSharedAlone])
def test_wrong_tapes_are_caught(twin: type[RowTape]) -> None:
    off = {fault.partition(" ")[0] for fault in faults(twin)}
    assert "gain" in off
    assert off <= {"first.weight", "first.bias", "example.weight", "example.bias", "gain"}


def test_the_latents_gradient_and_the_value_are_those_without_a_tape() -> None:
    toy = _Toy()
    _, value, (dz,) = _taped(toy)
    z = _normal(K, B, WIDTH).requires_grad_()
    plain = toy.value(z, PLAIN_ROWS)
    assert torch.equal(value, plain)
    torch.testing.assert_close(dz, torch.autograd.grad(plain.sum(), z)[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_a_models_value_is_the_same_to_the_bit_with_a_tape(name: str, dtype: torch.dtype) -> None:
    model = MODELS[name].build().to(dtype)
    pixels, noise = (each.to(dtype) for each in small_batch(model, k=7))
    taped = model.log_joint(pixels, (noise.clone().requires_grad_(),), RowTape(7))
    assert taped.dtype == dtype
    assert torch.equal(taped.detach(), model.log_joint(pixels, (noise,)).detach())
    with torch.inference_mode():
        assert torch.equal(taped.detach(), model.log_joint(pixels, (noise,)))


def test_data_are_shared_as_they_are_and_nothing_is_copied() -> None:
    tape, data = RowTape(K), torch.zeros(B, 2)
    assert tape.shared(data) is data
    assert PLAIN_ROWS.shared(data) is data
    leaf = tape.shared(nn.Parameter(data))
    assert leaf.shape == (K, B, 2)
    assert leaf.stride(0) == 0


def test_a_layer_used_twice_adds_up() -> None:
    layer = nn.Linear(3, 3).double()
    inputs, weights = _normal(4, 2, 3, seed=1).requires_grad_(), _normal(4, 2, seed=2)
    tape = RowTape(4)
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
    tape = RowTape(K)
    value = toy.value(z, tape)
    tape.linear(toy.again, z)
    tape.backward(value, [z])
    with pytest.raises(RuntimeError, match=r"output of Linear.*does not reach log w"):
        tape.contract(weights, [toy.again.weight])


def test_a_shared_tensor_the_backward_does_not_reach_is_refused() -> None:
    toy, weights = _Toy(), torch.ones(K, B, dtype=torch.float64)
    z = _normal(K, B, WIDTH).requires_grad_()
    tape = RowTape(K)
    value = toy.value(z, tape)
    tape.shared(toy.example(toy.data))
    tape.backward(value, [z])
    with pytest.raises(RuntimeError, match=r"shared tensor of shape \(3, 5\) does not reach log w"):
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
    tape = RowTape(K)
    with pytest.raises(RuntimeError, match=r"outside Rows\.linear and Rows\.shared, of shape .*5"):
        tape.backward(value(_Toy(), z, tape), [z])


def test_a_latent_that_does_not_matter_is_refused() -> None:
    toy, tape = _Toy(), RowTape(K)
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
