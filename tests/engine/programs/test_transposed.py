"""Transposed convolutions to few channels: the values that torch's own function returns, where they are replaced."""

from itertools import product

import pytest
import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.programs import transposed
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.conv import ConvVae
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.transposed import FewChannels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.reach import Reach
from dregcli.names import DataKind


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call was replaced."""
    found: list[bool] = []
    values = transposed._values

    def watched(*args, **options):
        result = values(*args, **options)
        found.append(result is not None)
        return result

    monkeypatch.setattr(transposed, "_values", watched)
    return found


@torch.no_grad()
def _both(*args, **options) -> tuple[Tensor, Tensor]:
    with FewChannels():
        found = torch.conv_transpose2d(*args, **options)
    return found, torch.conv_transpose2d(*args, **options)


def test_values_are_those_of_torch(replaced: list[bool]) -> None:
    sizes = product((1, 3), (2, 3, (3, 2)), (1, 2, (2, 1)), (0, 1, (1, 0)), (1, 2, (1, 2)))
    for channels, kernel, stride, padding, dilation in sizes:
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        inputs, weight = _normal(3, 16, 6, 5), _normal(16, channels, height, width)
        bias = _normal(channels) if channels == 3 else None
        found, right = _both(inputs, weight, bias, stride, padding, 0, 1, dilation)
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
    more, right = _both(_normal(2, 16, 4, 4), weight=_normal(16, 1, 3, 3), stride=2, padding=1, output_padding=(1, 0))
    torch.testing.assert_close(more, right, rtol=1e-4, atol=1e-4)
    assert all(replaced)


def test_a_kernel_the_other_way_round_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    values = transposed._values
    monkeypatch.setattr(transposed, "_values", lambda x, weight, **options: values(x, weight.flip(-1), **options))
    found, right = _both(_normal(2, 16, 4, 4), _normal(16, 1, 3, 3), stride=2, padding=1)
    assert found.shape == right.shape
    assert float((found - right).abs().max()) > 1.0


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((16, 8, 3, 3), {}),  # as fast as torch's own
        ((4, 1, 3, 3), {}),  # the products would be larger than the inputs
        ((16, 1, 3, 3), {"groups": 2}),
        ((16, 1, 3, 3), {"stride": 1, "output_padding": 1, "dilation": 2}),
    ],
)
def test_the_others_are_left_to_torch(shape: tuple[int, ...], options: dict[str, int], replaced: list[bool]) -> None:
    inputs, weight = _normal(2, shape[0], 4, 4), _normal(*shape)
    assert torch.equal(*_both(inputs, weight, **options))
    assert torch.equal(*_both(inputs.double(), _normal(16, 1, 3, 3)[: shape[0]].double()))
    assert torch.equal(*_both(inputs[0], weight, **options))
    assert not any(replaced)
    with FewChannels():
        torch.conv_transpose2d(inputs, weight.requires_grad_(), **options)
    assert len(replaced) == 3, "a graph was not even asked for"


def _log_weights() -> Tensor:
    torch.manual_seed(0)
    data = ModelData((1, 8, 8), DataKind.BINARY, 1, torch.full((1, 8, 8), 0.5), torch.ones(1, 8, 8))
    model = ProgramModel(ConvVae(data, latent_dim=3, channels=8), data)
    noise = AddressedNoise(Randomness(0), Stream.NOISE, 0, k=16, batch=2, width=model.latent_width)
    return model.batch(torch.ones(2, 64), noise).log_weights(k_chunk=None)


def test_a_model_has_them_where_no_gradient_is_needed(replaced: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled one has none, whose code would be compiled once more."""
    found = _log_weights()
    assert replaced == [False, True]
    monkeypatch.setattr(Reach, "is_compiled", True)
    torch.testing.assert_close(_log_weights(), found, rtol=1e-5, atol=1e-4)
    assert len(replaced) == 2
