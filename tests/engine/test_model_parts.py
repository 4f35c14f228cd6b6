"""What evaluation and pictures need of a model: its prior, the mean image of latents, divergences of Gaussians."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.likelihoods.gaussian import Gaussian
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae

B, D, Z, K = 3, 8, 2, 4
GENERATOR = torch.Generator().manual_seed(5)
MEAN = torch.rand(D, generator=GENERATOR) * 0.6 + 0.2


def models():
    """Each kind, its biases other than 0."""
    structured = {"mean": MEAN, "context": 4, "hidden": [6, 5], "latent_dim": Z}
    made = [
        Vae(MEAN, hidden=[6, 5], latent_dim=Z, generator=torch.Generator().manual_seed(1)),
        StructuredVae(**structured, generator=torch.Generator().manual_seed(2)),
        StructuredVae(**structured, generator=torch.Generator().manual_seed(3), crossed=True),
        StructuredVae(
            **structured, likelihood=Gaussian(torch.full((4,), 0.7)), generator=torch.Generator().manual_seed(4)
        ),
    ]
    for model in made:
        for parameter in model.parameters():
            parameter.data.add_(0.3)
    return [model.double() for model in made]


@pytest.mark.parametrize("model", models(), ids=["vae", "structured", "crossed", "gaussian"])
def test_the_prior_is_that_of_the_joint(model):
    """log p(x, z) - log p(z) depends on the context and the target through the likelihood alone.

    So that with the target's pixels swapped it is the likelihood's own difference; and of Bernoulli pixels all
    possible targets sum to one.
    """
    pixels = torch.bernoulli(torch.full((1, D), 0.5, dtype=torch.float64), generator=GENERATOR)
    z = torch.randn(1, 1, Z, generator=GENERATOR, dtype=torch.float64)
    if isinstance(model.likelihood, Gaussian):
        pytest.skip("sums over all targets are of binary pixels")
    target = model.parts.target if isinstance(model, StructuredVae) else slice(0, D)
    width = len(range(*target.indices(D)))
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * width)
    images = pixels.expand(len(every), D).clone()
    images[:, target] = every
    joint = torch.logsumexp(model.log_joint(images, (z.expand(1, len(every), Z),))[0], dim=0)
    prior = model.latent_prior(pixels)
    torch.testing.assert_close(joint, Normal(prior.loc, prior.scale).log_prob(z).sum().to(joint))
    means = (joint.new_tensor(0.0), torch.softmax(model.log_joint(images, (z.expand(1, len(every), Z),))[0], dim=0))
    with torch.no_grad():
        found = model.mean_pixels(pixels, (z,))[0, 0]
    torch.testing.assert_close(found[target], (means[1][:, None] * every).sum(dim=0), rtol=1e-6, atol=1e-8)
    context = torch.ones(D, dtype=torch.bool)
    context[target] = False
    assert torch.equal(found[context], pixels[0][context])


def test_the_mean_image_is_where_a_gaussian_likelihood_is_largest():
    model = models()[3]
    pixels = torch.rand(B, D, generator=GENERATOR, dtype=torch.float64)
    z = torch.randn(1, B, Z, generator=GENERATOR, dtype=torch.float64)
    with torch.no_grad():
        mean = model.mean_pixels(pixels, (z,))[0]
    mean.requires_grad_()
    # The context is moved too, which the prior and the decoder see: only the target's slope is 0.
    fixed = pixels.clone()
    slope = torch.autograd.grad(model.log_joint(torch.cat([fixed[:, :4], mean[:, 4:]], dim=1), (z,)).sum(), mean)[0]
    assert slope[:, 4:].abs().max() < 1e-6


def test_divergence_of_gaussians_is_torch_s():
    p, q = (
        DiagonalGaussian(torch.randn(B, Z, generator=GENERATOR), torch.rand(B, Z, generator=GENERATOR) + 0.2)
        for _ in range(2)
    )
    theirs = kl_divergence(
        Independent(Normal(p.loc.double(), p.scale.double()), 1),
        Independent(Normal(q.loc.double(), q.scale.double()), 1),
    )
    torch.testing.assert_close(p.kl_from(q), theirs)
    assert not torch.allclose(p.kl_from(q), q.kl_from(p), atol=1e-3)
    assert torch.equal(p.kl_from(p), torch.zeros(B, dtype=torch.float64))
    standard = DiagonalGaussian.standard(B, Z, like=p.loc)
    assert torch.equal(standard.loc, torch.zeros(B, Z))
    assert torch.equal(standard.scale, torch.ones(B, Z))
