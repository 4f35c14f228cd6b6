"""The helpers of a model's author."""

import pytest
import torch
from torch.distributions import AffineTransform, Independent, MultivariateNormal, Normal, TransformedDistribution

from dregcli.engine.programs.contract import standard_normal
from dregcli.errors import SpecError
from tests.support import planted_models as planted
from tests.support.program_zoo import made


def test_standard_normal_is_torchs_normal_in_all_that_a_distribution_gives() -> None:
    """Its parameters have no axes, but what a model or a picture reads of it has them."""
    found, expected = standard_normal(3, 2), Independent(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 2)
    for name in ("mean", "mode", "variance", "stddev"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(found.entropy(), expected.entropy())
    z = torch.linspace(-2.0, 2.0, 24).reshape(4, 3, 2)
    torch.testing.assert_close(found.log_prob(z), expected.log_prob(z))
    assert found.sample(torch.Size((4,))).shape == z.shape


def test_standard_normal_is_the_base_of_a_flow_of_each_example() -> None:
    """torch expands the base to the batch_shape of the transforms."""
    loc = torch.linspace(-1.0, 1.0, 8).reshape(4, 2)
    flow = TransformedDistribution(standard_normal(2), [AffineTransform(loc, 1.5, event_dim=1)])
    assert flow.batch_shape == (4,)
    z = torch.linspace(-2.0, 2.0, 24).reshape(3, 4, 2)
    expected = MultivariateNormal(loc, 2.25 * torch.eye(2)).log_prob(z)
    torch.testing.assert_close(flow.log_prob(z), expected)


@pytest.mark.parametrize("make", [planted.ModelInPlace, planted.PosteriorInPlace])
def test_samples_that_a_program_changes_in_place_are_refused(make: planted.Planted) -> None:
    with pytest.raises(SpecError, match="changes the samples of 'z' in place"):
        made(make)
