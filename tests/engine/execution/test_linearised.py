"""A first pass with tangents in place of pixels: what it computes, and that gradients keep their expectation."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from dregcli.engine.execution import Execution
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.likelihoods import bernoulli
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.value_rows import LinearisedRows
from dregcli.names import Backward, Precision
from tests.support.dense import dense_gradients
from tests.support.exact import MODELS, small_batch
from tests.support.screened_batch import drawn
from tests.support.screening import expectation

K = 4


@pytest.fixture(autouse=True)
def _few_pixels_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the small models here, of a few pixels, have tangents at all, and their errors are large."""
    monkeypatch.setattr(bernoulli, "_MULTIPLE", 1)
    monkeypatch.setattr(bernoulli, "LINEARISED_ERROR", 10.0)


def values(model: Vae, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights with tangents, exact ones, and the last weights of the pixels without a tangent."""
    batch = model.batch(pixels, drawn(noise))
    rows = LinearisedRows()
    posterior = batch.fixed.posterior
    with torch.no_grad():
        model.log_joint(pixels, (rows.looked_at(posterior),), rows.preparation())
    (computed,) = rows._values.values()
    found = batch.log_weights(k_chunk=None, precision=Precision.LINEARISED)
    return found, batch.log_weights(k_chunk=None), computed.weight


@torch.no_grad()
def test_a_pixel_left_out_has_its_tangent_at_the_mean() -> None:
    model = MODELS["vae"].build()
    pixels, noise = small_batch(model, k=K, batch=3, seed=5)
    found, exact, weight = values(model, pixels, noise)
    last = model.decoder[-1]
    of_pixel = last.weight
    left_out = torch.tensor([not any(torch.equal(each, some) for some in weight) for each in of_pixel])
    assert 0 < int(left_out.sum()) < len(left_out)
    q = model.posterior(pixels)
    (z,) = q.rsample(noise)

    def hidden(latents: Tensor) -> Tensor:
        h = latents
        for layer in list(model.decoder)[:-1]:
            h = torch.tanh(layer(h))
        return h

    def log_p(h: Tensor) -> Tensor:
        logits = last(h)[..., left_out]
        return (pixels[:, left_out] * logits - softplus(logits)).sum(dim=-1)

    centre = hidden(q.loc).requires_grad_()
    with torch.enable_grad():
        at = log_p(centre)
        (slope,) = torch.autograd.grad(at.sum(), centre)
    along = ((hidden(z) - centre) * slope).sum(dim=-1)
    torch.testing.assert_close(found, exact - log_p(hidden(z)) + at + along, rtol=1e-12, atol=1e-11)
    assert (found - exact).abs().max() > 1e-3


def test_the_pixels_left_out_are_those_that_leave_their_tangent_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of 0 none is left out; as many are computed as bring the sum of the others below the error."""
    model = MODELS["vae"].build()
    pixels, noise = small_batch(model, k=K, batch=3, seed=5)
    sizes, far = [], []
    for error in (0.0, 0.05, 0.2, 1.0, 1e9):
        monkeypatch.setattr(bernoulli, "LINEARISED_ERROR", error)
        found, exact, weight = values(model, pixels, noise)
        sizes.append(len(weight))
        far.append(float((found - exact).abs().max()))
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (len(model.decoder[-1].weight), 1)
    assert far[0] < 1e-11
    assert far[1] < 1.0 < far[-1]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("vae", "iwae/dreg"),
        ("vae", "rws/dreg-norm"),
        ("vae", "jvi:order=1/vimco"),
        ("vae", "iwae/reparam"),
        ("structured", "iwae/dreg"),
    ],
)
def test_screening_keeps_denses_expectation(name: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mask and every choice is enumerated; without the correction it is another expectation."""
    model = MODELS[name].build()
    subject = (model, *small_batch(model, k=K, batch=1, seed=2))
    pair = resolve_pair(*word.split("/"), K)
    execution = Execution(Backward.SCREENED, 3.0, Precision.LINEARISED)
    exact = dense_gradients(*subject, pair)
    found = expectation(*subject, pair, execution)
    assert found.uncertain >= 2
    assert found.off(exact) == {}

    def not_corrected(self: RowWeights, examples: Tensor, times: Tensor, exact: RowWeights) -> RowWeights:
        return self

    monkeypatch.setattr(RowWeights, "corrected", not_corrected)
    assert expectation(*subject, pair, execution).off(exact) != {}


def test_likelihoods_without_tangents_are_exact() -> None:
    model = MODELS["discretised-logistic"].build()
    pixels, noise = small_batch(model, k=K, batch=3, seed=5)
    found, exact, _ = values(model, pixels, noise)
    assert torch.equal(found, exact)
