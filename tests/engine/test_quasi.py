"""Shifted Sobol points as the noise of an evaluation."""

import pytest
import torch

from dregcli.engine.quasi import SobolNoise
from dregcli.engine.randomness import Randomness, Stream


def _noise(*, k: int = 16, step: int = 3, examples: int = 500) -> SobolNoise:
    where = (Randomness(0), Stream.EVALUATION_NOISE, step)
    return SobolNoise(*where, k=k, batch=500, width=2, examples=examples)


def test_the_points_of_an_example_are_even_and_each_one_is_normal() -> None:
    found = _noise().noise(0, 16).double()
    uniform = torch.special.ndtr(found).sort(dim=0).values
    assert (uniform.diff(dim=0) - 1.0 / 16.0).abs().max() < 1e-5, "in each dimension, 16 points have equal distances"
    # Over the shifts of 500 examples: the mean and the variance of each sample, within 5 standard errors.
    assert found.mean(dim=1).abs().max() < 5.0 / 500**0.5
    assert (found.square().mean(dim=1) - 1.0).abs().max() < 5.0 * (2.0 / 500) ** 0.5
    corner = (found[0] > 0.0).double()
    assert abs(float((corner[:, 0] * corner[:, 1]).mean()) - 0.25) < 5.0 * (0.1875 / 500) ** 0.5, "shifts are apart"


def test_the_noise_is_by_address() -> None:
    whole = _noise().noise(0, 16)
    assert torch.equal(torch.cat([_noise().noise(0, 10), _noise().noise(10, 6)]), whole)
    assert torch.equal(_noise(k=8).noise(0, 8), whole[:8])
    assert torch.equal(_noise(examples=7).noise(0, 16), whole[:, :7])
    assert not torch.equal(_noise(step=4).noise(0, 16), whole)


@pytest.mark.parametrize("shift", [0.0, 1.0 - 2.0**-53])
def test_the_ends_of_the_unit_interval_are_finite(monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    def ends(*_: object) -> torch.Tensor:
        return torch.full((500, 2), shift, dtype=torch.float64)

    monkeypatch.setattr(Randomness, "uniform64", ends)
    assert torch.isfinite(_noise().noise(0, 16)).all()
