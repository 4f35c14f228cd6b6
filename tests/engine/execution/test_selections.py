"""Which rows are worked on: all of them, or any few, laid out as one sample of as many examples."""

import pytest
import torch
from torch import Tensor

from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.execution.row_pass import GaussianRowPass, score_sums
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.rows import EveryRow, PlainRows, SomeRows
from tests.support.exact import MODELS, off_networks, small_batch
from tests.support.screening import Prescribed

K, B, D = 6, 4, 3
NONE = torch.zeros(B, dtype=torch.bool)
EXAMPLES = torch.tensor([2, 0, 2, 2, 3])
"""Of five rows: none of example 1, three of example 2, and not in order."""
SAMPLES = torch.tensor([1, 0, 5, 1, 4])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("trailing", [(), (D,), (D, 2)])
def test_what_belongs_to_examples_is_taken_to_rows(trailing: tuple[int, ...]) -> None:
    tensor = normal(B, *trailing)
    some, every = SomeRows(EXAMPLES, B), EveryRow(K)
    assert torch.equal(some.take(tensor), torch.stack([tensor[b] for b in EXAMPLES]))
    assert torch.equal(some.each(tensor), some.take(tensor)[None])
    assert every.take(tensor) is tensor
    assert torch.equal(every.each(tensor), torch.stack([tensor] * K))
    assert every.each(tensor).stride(0) == 0
    assert PlainRows().shared(tensor) is tensor
    assert torch.equal(PlainRows(some).shared(tensor), some.take(tensor))


@pytest.mark.parametrize("trailing", [(), (D,), (D, 2)])
def test_sums_are_by_example(trailing: tuple[int, ...]) -> None:
    weights, values = normal(2, 1, 5), normal(1, 5, *trailing, seed=1)
    expected = torch.zeros(2, B, *trailing, dtype=torch.float64)
    for p in range(2):
        for r, b in enumerate(EXAMPLES):
            expected[p, b] += weights[p, 0, r] * values[0, r]
    found = SomeRows(EXAMPLES, B).sum(weights, values)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert not found[:, 1].any()
    weights, values = normal(2, K, B), normal(K, B, *trailing, seed=1)
    expected = torch.stack(
        [sum(weights[p, k].reshape(B, *(1 for _ in trailing)) * values[k] for k in range(K)) for p in range(2)]
    )
    torch.testing.assert_close(EveryRow(K).sum(weights, values), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", MODELS)
def test_a_pass_over_some_rows_is_the_weighted_part_of_one_over_all(name: str) -> None:
    """Value, d log w / d z, theta's gradient and the path's: of a few rows, and of all with the others' weights 0."""
    model = MODELS[name].build()
    pixels, noise = small_batch(model, k=K, batch=B)
    batch = GaussianBatch(model, pixels, model.posterior(pixels).stopped(), Prescribed(noise, NONE, NONE))
    few = GaussianRowPass(batch.fixed, noise[SAMPLES, EXAMPLES][None], SomeRows(EXAMPLES, B))
    every = GaussianRowPass(batch.fixed, noise)
    torch.testing.assert_close(few.log_w[0], every.log_w[SAMPLES, EXAMPLES], rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(few.dz, every.dz, strict=True):
        torch.testing.assert_close(mine[0], theirs[SAMPLES, EXAMPLES], rtol=1e-11, atol=1e-12)

    some = normal(3, 1, len(EXAMPLES), seed=3)
    # Row 3 is row 0 again: both count.
    whole = torch.zeros(3, K, B, dtype=torch.float64)
    for r, (k, b) in enumerate(zip(SAMPLES, EXAMPLES, strict=True)):
        whole[:, k, b] += some[:, 0, r]
    value = torch.zeros(3, B, dtype=torch.float64)
    found = few.sums(RowWeights(value, some[:2], some[1:], None))
    expected = every.sums(RowWeights(value, whole[:2], whole[1:], None))
    for mine, theirs in zip(found.model, expected.model, strict=True):
        assert off_networks(mine, theirs) == {}
    assert off_networks(found.posterior, expected.posterior) == {}
    assert all(each.shape == (2, B, model.latent_width) for each in found.posterior.values())


@pytest.mark.parametrize("name", ["vae", "structured"])
def test_a_scores_sums_are_autograds(name: str) -> None:
    model = MODELS[name].build()
    pixels, noise = small_batch(model, k=K, batch=B)
    q = model.posterior(pixels).stopped()
    batch, weights = GaussianBatch(model, pixels, q, Prescribed(noise, NONE, NONE)), normal(2, K, B)
    (z,) = q.rsample(noise)
    loc, scale = q.loc.clone().requires_grad_(), q.scale.clone().requires_grad_()
    log_q = torch.distributions.Normal(loc, scale).log_prob(z).sum(-1)
    found = score_sums(batch.fixed, noise, weights)
    for p in range(2):
        loss = -(weights[p] * log_q).sum() / B
        by_loc, by_scale = torch.autograd.grad(loss, [loc, scale], retain_graph=True)
        assert off_networks({n: t[p] for n, t in found.items()}, {"loc": by_loc, "scale": by_scale}) == {}
