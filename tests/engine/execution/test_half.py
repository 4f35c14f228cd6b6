"""Products of inputs that are rounded to bfloat16: what they are, and that nothing else in the process changes."""

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine import half
from dregcli.engine.device import using_threads
from dregcli.engine.half import HalfRows, RoundedRows, half_rows
from dregcli.engine.models.networks import layer_of
from dregcli.engine.rows import PLAIN_ROWS, Rows
from dregcli.engine.value_rows import ValueRows
from dregcli.names import Precision
from tests.support.dense import GivenNoise
from tests.support.exact import MODELS, small_batch, small_structured, small_vae

K, B, INPUTS, OUTPUTS = 64, 32, 200, 784
SETTINGS = torch.backends.mkldnn.matmul


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(*, bias: bool = True) -> nn.Linear:
    return layer_of(normal(OUTPUTS, INPUTS, seed=1), normal(OUTPUTS, seed=2) if bias else None)


def rounded(tensor: Tensor) -> Tensor:
    return tensor.detach().bfloat16().double()


def exact(applied: nn.Linear, inputs: Tensor) -> Tensor:
    """The product of the rounded inputs, float64."""
    return rounded(inputs) @ rounded(applied.weight).mT


def off(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.fixture(params=["of the processor", "emulated"])
def _products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "emulated":
        monkeypatch.setattr(half, "has_bfloat16_products", lambda _: False)
    elif not half.has_bfloat16_products("cpu"):
        pytest.skip("this processor multiplies no bfloat16 matrices")


@torch.no_grad()
@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_that_of_rounded_inputs_summed_in_float32(*, bias: bool) -> None:
    inputs, applied = normal(K, B, INPUTS), layer(bias=bias)
    expected = exact(applied, inputs)
    product, added = HalfRows().product(applied, inputs)
    assert product.dtype == torch.float32
    assert off(product, expected) < 1e-6
    assert added is applied.bias
    whole = HalfRows().linear(applied, inputs)
    assert off(whole, expected + applied.bias.double() if bias else expected) < 1e-6
    # The rounding is there, and it is one of the inputs and not of what comes out.
    assert 1e-3 < off(inputs.double() @ applied.weight.double().mT, expected) < 1e-2


@torch.no_grad()
@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 2)])
def test_small_products_may_be_exact(shape: tuple[int, int]) -> None:
    """torch hands products of less than a few thousand operations to no library that would round them."""
    inputs = normal(*shape, 7)
    applied = layer_of(normal(5, 7, seed=1), normal(5, seed=2))
    found = HalfRows().product(applied, inputs)[0]
    assert min(off(found, exact(applied, inputs)), off(found, inputs.double() @ applied.weight.double().mT)) < 1e-6


@torch.no_grad()
@pytest.mark.usefixtures("_products")
def test_of_float64_it_is_exactly_the_rounded_product() -> None:
    inputs, applied = normal(K, B, INPUTS).double(), layer().double()
    product, added = HalfRows().product(applied, inputs)
    assert torch.equal(product, nn.functional.linear(rounded(inputs), rounded(applied.weight)))
    assert added is applied.bias
    assert torch.equal(HalfRows().linear(applied, inputs), product + applied.bias)


@torch.no_grad()
@pytest.mark.usefixtures("_products")
def test_inputs_and_parameters_are_left_as_they_are() -> None:
    inputs, applied = normal(K, B, INPUTS), layer()
    before = [each.clone() for each in (inputs, applied.weight, applied.bias)]
    HalfRows().linear(applied, inputs)
    assert all(torch.equal(a, b) for a, b in zip((inputs, applied.weight, applied.bias), before, strict=True))


LARGE = {
    "large": lambda: small_vae(pixels=64, hidden=(40, 40), latent_dim=8),
    "large, structured": lambda: small_structured(pixels=64, context=32, hidden=(40, 40), latent_dim=8),
}
SUBJECTS = {name: case.build for name, case in MODELS.items()} | LARGE


@torch.no_grad()
def test_products_of_bfloat16_matrices_are_rounded_but_for_the_bias() -> None:
    """On other processors they are slow, and the same numbers."""
    inputs, applied = normal(K, B, INPUTS), layer()
    product, added = RoundedRows().product(applied, inputs)
    assert added is applied.bias
    assert product.dtype == torch.float32
    assert torch.equal(product, product.bfloat16().float())
    # One unit of the last place at most: oneDNN may sum in another order.
    expected = exact(applied, inputs)
    assert ((product - expected).abs() <= 2.0**-7 * expected.abs() + 1e-5).all()
    assert 1e-3 < off(product, expected) < 2.0**-8
    assert torch.equal(RoundedRows().linear(applied, inputs), product + applied.bias)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_first_pass_takes_them_block_by_block_with_any_number_of_threads(threads: int, monkeypatch) -> None:
    """Its numbers are those of one pass over all rows. The twin rounds nothing."""
    monkeypatch.setattr(half, "rounds_in_blocks", lambda _: True)
    model = LARGE["large"]().float()
    pixels, noise = (each.float() for each in small_batch(model, k=64))
    batch = model.batch(pixels, GivenNoise(noise))
    with using_threads(threads):
        found = batch.log_weights(k_chunk=16, precision=Precision.BFLOAT16)
    exactly = batch.log_weights(k_chunk=None)
    assert isinstance(half_rows(pixels.device), RoundedRows)
    assert 1e-6 < off(found, exactly.double()) < 5e-3
    with torch.no_grad():
        whole = model.log_joint(pixels, batch.fixed.posterior.rsample(noise), RoundedRows())
    assert off(found, (whole - batch.fixed.posterior.log_prob_at(noise)).double()) < 1e-6
    assert off(exactly, (whole - batch.fixed.posterior.log_prob_at(noise)).double()) > 1e-6


@torch.no_grad()
def test_rounded_outputs_of_certain_pixels_cost_nothing(monkeypatch) -> None:
    """The errors are those of rounded inputs. The twin sums pixel times logit exactly, apart from the rest."""
    model = LARGE["large"]().float()
    model.decoder[-1].weight.mul_(30.0)
    noise = torch.randn(64, 4, 8, generator=torch.Generator().manual_seed(1))
    z = noise[:1].expand(64, -1, -1) + 0.02 * noise.roll(1, 0)
    pixels = (model.mean_pixels(torch.zeros(4, 64), (z[:1],))[0] > 0.5).float()

    def error(rows: Rows) -> float:
        found = model.log_joint(pixels, (z,), rows) - model.log_joint(pixels, (z,), PLAIN_ROWS)
        return float((found - found.mean(dim=0)).std())

    monkeypatch.setattr(half, "has_bfloat16_products", lambda _: False)
    inputs_alone = error(HalfRows())
    assert error(RoundedRows()) < 2.0 * inputs_alone
    monkeypatch.setattr(RoundedRows, "_value", ValueRows._value)
    assert error(RoundedRows()) > 2.0 * inputs_alone


@torch.no_grad()
@pytest.mark.usefixtures("_products")
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_models_log_joint_is_off_by_rounding_alone(name: str) -> None:
    model = SUBJECTS[name]().float()
    pixels, noise = (each.float() for each in small_batch(model, k=64))
    latents = model.posterior(pixels).rsample(noise)
    plain = model.log_joint(pixels, latents, PLAIN_ROWS)
    halves = model.log_joint(pixels, latents, HalfRows())
    assert halves.dtype == torch.float32
    assert off(halves, plain.double()) < 0.05
    if name in LARGE:
        assert off(halves, plain.double()) > 1e-5


# torch's settings, which are the whole process's.


@pytest.fixture
def _own_setting():
    before = SETTINGS.fp32_precision
    yield
    SETTINGS.fp32_precision = before


@torch.no_grad()
@pytest.mark.usefixtures("_own_setting")
@pytest.mark.parametrize("setting", ["none", "ieee", "bf16"])
def test_torchs_setting_stays(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half, "has_bfloat16_products", lambda _: True)
    SETTINGS.fp32_precision = setting
    HalfRows().linear(layer(), normal(2, 3, INPUTS))
    assert SETTINGS.fp32_precision == setting
    with pytest.raises(RuntimeError):
        HalfRows().linear(layer(), normal(2, 3, INPUTS + 1))
    assert SETTINGS.fp32_precision == setting


@torch.no_grad()
def test_products_beside_it_are_as_exact_as_before() -> None:
    inputs, applied = normal(K, B, INPUTS), layer()
    before = PLAIN_ROWS.linear(applied, inputs)
    HalfRows().linear(applied, inputs)
    half.has_bfloat16_products("cpu")
    assert torch.equal(PLAIN_ROWS.linear(applied, inputs), before)
