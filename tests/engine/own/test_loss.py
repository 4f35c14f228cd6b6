"""The drop-in loss against the executor, against naive losses and against exact enumeration; and its misuse."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Distribution,
    Gamma,
    Independent,
    LogNormal,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform, TanhTransform
from torch.utils.checkpoint import checkpoint

from dregcli.engine import multi_sample_loss
from dregcli.engine.estimators.base import Coefficients
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.weights import log_mean_exp
from dregcli.errors import NotFinite, SpecError, UsageError
from dregcli.names import Promise
from tests.support.dense import dense_gradients
from tests.support.every_pair import checked_pairs, pairs_of_different_weights
from tests.support.exact import relative_distance, small_batch, small_vae
from tests.support.given_noise import GivenNoise
from tests.support.naive_values import naive_targets
from tests.support.straight_through import StraightThrough
from tests.support.sweep import swept

Gradients = dict[str, Tensor]


@dataclass
class Setup:
    """A small VAE, pixels (B, D) and noise (K, B, Z)."""

    model: Vae
    pixels: Tensor
    noise: Tensor

    @property
    def k(self) -> int:
        return self.noise.shape[0]

    def posterior(self, kind: type[GivenNoise] = GivenNoise) -> GivenNoise:
        q = self.model.posterior(self.pixels)
        return kind(q.loc, q.scale, self.noise)

    def log_joint(self, z: Tensor) -> Tensor:
        return self.model.log_joint(self.pixels, (z,))

    def loss(self, objective="iwae", estimator="dreg", *, check: bool | None = None) -> tuple[Tensor, Tensor]:
        return multi_sample_loss(self.log_joint, self.posterior(), self.k, objective, estimator, check=check)

    def part(self, start: int, stop: int) -> "Setup":
        return Setup(self.model, self.pixels[start:stop], self.noise[:, start:stop])

    def parameters(self) -> dict[str, nn.Parameter]:
        return {**self.model.model_parameters(), **self.model.posterior_parameters()}

    def expected(self, pair: Pair | None = None) -> Gradients:
        found = dense_gradients(self.model, self.pixels, self.noise, pair or resolve_pair("iwae", "dreg", self.k))
        return {**found.model, **found.posterior}

    def collected(self) -> Gradients:
        """The parameters' gradients, 0 where there is none."""
        return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self.parameters().items()}


def setup(k: int = 4, batch: int = 4) -> Setup:
    model = small_vae()
    return Setup(model, *small_batch(model, k=k, batch=batch))


def only(gradients: Gradients, start: str) -> Gradients:
    return {name: each for name, each in gradients.items() if name.startswith(start)}


def plus(*several: Gradients) -> Gradients:
    return {name: torch.stack([each[name] for each in several]).sum(0) for name in several[0]}


# --- every pair, exactly ---


@swept(
    "pair, k",
    [(pair, k) for k in (1, 2, 4) for pair in pairs_of_different_weights(k)],
    named=lambda pair, k: f"{pair.word}-k{k}",
)
def test_one_backward_gives_the_executors_gradients(pair: Pair, k: int) -> None:
    s = setup(k)
    loss, bound = s.loss(pair.objective, pair.estimator, check=False)
    loss.backward()
    expected = dense_gradients(s.model, s.pixels, s.noise, pair)
    assert relative_distance(only(s.collected(), "decoder"), expected.model) < 1e-12
    assert relative_distance(only(s.collected(), "encoder"), expected.posterior) < 1e-12
    torch.testing.assert_close(loss.detach(), -expected.value.mean(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bound, log_mean_exp(expected.log_w), rtol=1e-12, atol=1e-12)
    assert bound.shape == (4,)
    assert not bound.requires_grad


def test_words_and_objects_name_the_same_pair() -> None:
    s = setup(5)
    pair = resolve_pair("vr-iwae:alpha=0.3", "stl", 5)
    words, objects = s.loss("vr-iwae:alpha=0.3", "stl"), s.loss(pair.objective, pair.estimator)
    assert torch.equal(words[0], objects[0])


def test_float32_stays_float32_and_agrees() -> None:
    exact = setup(64)
    s = Setup(small_vae().float(), exact.pixels.float(), exact.noise.float())
    loss, bound = s.loss()
    loss.backward()
    assert loss.dtype == bound.dtype == torch.float32
    assert relative_distance(s.collected(), exact.expected()) < 1e-5


# --- any posterior, against two naive losses ---


def tanh_flow(a: Tensor, b: Tensor) -> Distribution:
    transforms = [TanhTransform(cache_size=1), AffineTransform(0.3, b.exp().mean(-1, keepdim=True), event_dim=1)]
    return TransformedDistribution(Independent(Normal(a, b.exp()), 1), transforms)


def multivariate(a: Tensor, b: Tensor) -> Distribution:
    return MultivariateNormal(a, scale_tril=torch.diag_embed(b.exp()) + 0.1 * a.unsqueeze(-1).tril(-1))


POSTERIORS: dict[str, Callable[[Tensor, Tensor], Distribution]] = {
    "normal": lambda a, b: Independent(Normal(a, b.exp()), 1),
    "scalar latent": lambda a, b: Normal(a[:, 0], b[:, 0].exp()),
    "lognormal": lambda a, b: Independent(LogNormal(a, b.exp()), 1),
    "gamma": lambda a, b: Independent(Gamma(2.0 + a.exp(), b.exp()), 1),
    "beta": lambda a, b: Independent(Beta(1.0 + a.exp(), 1.0 + b.exp()), 1),
    "dirichlet": lambda a, b: Dirichlet(1.0 + (a + b).exp()),
    "tanh flow": tanh_flow,
    "multivariate": multivariate,
    "matrix latent": lambda a, b: Independent(Normal(torch.stack([a, b], -1), 0.7), 2),
}


@pytest.mark.parametrize("word", ["reparam", "stl", "dreg", "dreg-cv:alpha=0.1,beta=0.8,gamma=0.2,delta=0.3"])
@pytest.mark.parametrize("name", list(POSTERIORS))
def test_any_posterior_against_two_naive_losses(name: str, word: str) -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(3, 2, dtype=torch.float64, generator=generator).requires_grad_()
    b = (0.3 * torch.randn(3, 2, dtype=torch.float64, generator=generator)).requires_grad_()
    theta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def log_joint(z: Tensor) -> Tensor:
        return -(z.reshape(*z.shape[:2], -1) - theta).square().sum(-1) * theta.exp() + 2.0 * theta

    build = POSTERIORS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        loss, _ = multi_sample_loss(log_joint, build(a, b), 5, estimator=word)
        found = torch.autograd.grad(loss, (theta, a, b), materialize_grads=True)
        torch.manual_seed(1)
        live = build(a, b)
        z = live.rsample(torch.Size((5,)))
    log_w = log_joint(z) - build(a.detach(), b.detach()).log_prob(z)
    _, c = resolve_pair("iwae", word, 5).at(log_w)
    model = -(c.model * log_joint(z.detach())).sum() / 3
    inference = -((c.path * log_w).sum() + (c.score * live.log_prob(z.detach())).sum()) / 3
    expected = (*torch.autograd.grad(model, theta), *torch.autograd.grad(inference, (a, b), materialize_grads=True))
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-12 * other.norm()
    assert torch.cat([each.flatten() for each in expected[1:]]).norm() > 1e-3


# --- discrete latents, against enumeration ---

SCORE_PAIRS = [
    pair
    for pair in checked_pairs(2)
    if not pair.uses_path and pair.objective.is_function and pair.promise(2) is Promise.UNBIASED
]


def straight_through(logits: Tensor) -> tuple[Distribution, list[Tensor]]:
    return Independent(StraightThrough(logits=logits[:, :2]), 1), bernoulli(logits)[1]


def bernoulli(logits: Tensor) -> tuple[Distribution, list[Tensor]]:
    states = [torch.tensor(bits, dtype=torch.float64) for bits in itertools.product((0.0, 1.0), repeat=2)]
    return Independent(Bernoulli(logits=logits[:, :2]), 1), states


def categorical(logits: Tensor) -> tuple[Distribution, list[Tensor]]:
    return Categorical(logits=logits), [torch.tensor(state) for state in range(3)]


@pytest.mark.parametrize("build", [categorical, straight_through])
@swept("pair", SCORE_PAIRS, named=lambda pair: pair.word)
def test_discrete_latents_against_all_their_values(pair: Pair, build) -> None:
    """The expected gradient, over every pair of samples there is, is that of each network's expected value."""
    logits = torch.tensor([[0.3, -0.8, 0.5]], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([0.7, -0.4, 0.2], dtype=torch.float64, requires_grad=True)

    def log_joint(z: Tensor) -> Tensor:
        energy = theta[z] if z.dtype == torch.int64 else (z * theta[:2]).sum(-1) + theta[2] * z.prod(-1)
        return energy * theta[0].exp() - theta.square().sum()

    of_model, of_posterior = naive_targets(pair)
    assert of_posterior is not None
    expected = torch.zeros(2, dtype=torch.float64)
    found = [torch.zeros_like(theta), torch.zeros_like(logits)]
    _, states = build(logits)
    total = 0.0
    for chosen in itertools.product(states, repeat=2):
        z = torch.stack(chosen).unsqueeze(1)  # (K, 1, ...)
        log_q = build(logits)[0].log_prob(z)
        probability = log_q.sum().exp()
        total += probability.item()
        log_w = log_joint(z) - log_q
        expected = expected - probability * torch.cat([of_model(log_w), of_posterior(log_w)])
        posterior, _ = build(logits)
        posterior.sample = lambda sample_shape=(), z=z: z
        loss, _ = multi_sample_loss(log_joint, posterior, 2, pair.objective, pair.estimator)
        for whole, part in zip(found, torch.autograd.grad(loss, (theta, logits)), strict=True):
            whole += probability.detach() * part
    assert total == pytest.approx(1.0, abs=1e-12)
    (by_theta,) = torch.autograd.grad(expected[0], theta, retain_graph=True)
    (by_logits,) = torch.autograd.grad(expected[1], logits)
    for one, other in zip(found, (by_theta, by_logits), strict=True):
        assert (one - other).norm() <= 1e-10 * other.norm()
        assert other.norm() > 1e-2


# --- the path weight really reaches dz ---


class Changed(Dreg):
    """dreg with its path weights changed."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change

    def coefficients(self, objective, terms):
        c = super().coefficients(objective, terms)
        return Coefficients(c.model, self.change(c.path), c.score)


def mmvae_gradients(s: Setup) -> Gradients:
    """The wrong twin of iffsid/mmvae: its hook sits on a fresh ``torch.cat`` that is not in the loss's graph."""
    q = s.posterior()
    z = q.rsample((s.k,))
    zs = torch.cat([z])
    log_w = s.log_joint(z) - GivenNoise(q.loc.detach(), q.scale.detach(), s.noise).log_prob(z)
    v = torch.softmax(log_w, 0).detach()
    zs.register_hook(lambda grad: v.unsqueeze(-1) * grad)
    parameters = s.parameters()
    loss = -(v * log_w).sum(0).mean()
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def test_a_dead_hook_is_caught() -> None:
    s = setup(5)
    s.loss()[0].backward()
    assert relative_distance(s.collected(), s.expected()) < 1e-12
    dead = mmvae_gradients(s)
    assert relative_distance(only(dead, "decoder"), only(s.expected(), "decoder")) < 1e-12
    assert relative_distance(only(dead, "encoder"), only(s.expected(), "encoder")) > 1e-2
    stl = s.expected(resolve_pair("iwae", "stl", 5))
    assert relative_distance(dead, stl) < 1e-12


def test_without_its_path_dreg_trains_no_posterior() -> None:
    s = setup(5)
    s.loss("iwae", Changed(torch.zeros_like))[0].backward()
    assert all(torch.count_nonzero(each) == 0 for each in only(s.collected(), "encoder").values())
    assert relative_distance(only(s.collected(), "decoder"), only(s.expected(), "decoder")) < 1e-12


def test_a_change_of_one_path_weight_changes_that_samples_dz_alone() -> None:
    s = setup(5)
    delta = torch.zeros(5, 4, dtype=torch.float64)
    delta[3, 1] = 0.7
    s.loss("iwae", Changed(lambda path: path + delta))[0].backward()
    changed = plus(s.collected(), {name: -each for name, each in s.expected().items()})
    q = s.posterior()
    z = q.rsample((5,))
    stopped = GivenNoise(q.loc.detach(), q.scale.detach(), s.noise)
    one = (s.log_joint(z) - stopped.log_prob(z))[3, 1]
    phi = s.model.posterior_parameters()
    by_hand = torch.autograd.grad(-0.7 * one / 4, list(phi.values()))
    assert relative_distance(only(changed, "encoder"), dict(zip(phi, by_hand, strict=True))) < 1e-12
    assert all(each.abs().max() < 1e-14 for each in only(changed, "decoder").values())


def test_a_hook_on_the_sample_sees_the_weighted_path_once() -> None:
    seen: list[Tensor] = []

    class Hooked(GivenNoise):
        def rsample(self, sample_shape=()):
            z = super().rsample(sample_shape)
            z.register_hook(seen.append)
            return z

    s = setup(5)
    loss, _ = multi_sample_loss(s.log_joint, s.posterior(Hooked), 5, check=False)
    assert seen == []
    loss.backward()
    (gradient,) = seen
    q = s.posterior()
    leaf = q.rsample((5,)).detach().requires_grad_()
    log_w = s.log_joint(leaf) - q.log_prob(leaf)
    (dz,) = torch.autograd.grad(log_w.sum(), leaf)
    expected = -torch.softmax(log_w, 0).square().unsqueeze(-1) * dz / 4
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-12, atol=1e-14)


# --- as any loss ---


def test_losses_summed_and_losses_in_turn_accumulate() -> None:
    s = setup(4)
    pairs = [("iwae", "dreg"), ("jvi", "reparam"), ("rws", "dreg"), ("iwae", "vimco")]
    expected = plus(*(s.expected(resolve_pair(*pair, 4)) for pair in pairs))
    sum(s.loss(*pair)[0] for pair in pairs).backward()
    assert relative_distance(s.collected(), expected) < 1e-12
    s.model.zero_grad()
    for pair in pairs:
        s.loss(*pair)[0].backward()
    assert relative_distance(s.collected(), expected) < 1e-12


def test_parts_of_a_batch_accumulate_to_the_batch() -> None:
    s = setup(4)
    for part in (s.part(0, 1), s.part(1, 4)):
        (part.loss()[0] * part.pixels.shape[0] / 4).backward()
    assert relative_distance(s.collected(), s.expected()) < 1e-12


def test_two_losses_share_one_posterior() -> None:
    s = setup(4)
    posterior = s.posterior()
    both = [multi_sample_loss(s.log_joint, posterior, 4, "iwae", each)[0] for each in ("dreg", "reparam")]
    sum(both).backward()
    expected = plus(*(s.expected(resolve_pair("iwae", each, 4)) for each in ("dreg", "reparam")))
    assert relative_distance(s.collected(), expected) < 1e-12


def test_scaled_and_inside_a_larger_loss() -> None:
    s = setup(4)
    penalty = sum(p.square().sum() for p in s.model.parameters())
    (-2.5 * s.loss()[0] + 0.1 * penalty).backward()
    expected = {name: -2.5 * each + 0.2 * s.parameters()[name].detach() for name, each in s.expected().items()}
    assert relative_distance(s.collected(), expected) < 1e-12


def test_autograd_grad_and_a_kept_graph() -> None:
    s = setup(4)
    loss, _ = s.loss("iwae", "reparam")
    expected = s.expected(resolve_pair("iwae", "reparam", 4))
    for _ in range(2):
        found = torch.autograd.grad(loss, list(s.parameters().values()), retain_graph=True)
        assert relative_distance(dict(zip(s.parameters(), found, strict=True)), expected) < 1e-12
    assert all(p.grad is None for p in s.model.parameters())


def test_gradients_of_tensors_inside_the_networks() -> None:
    """The graph is whole: what lies between the parameters and the loss has its gradient too."""
    s = setup(4)
    posterior = s.posterior()
    loss, _ = multi_sample_loss(s.log_joint, posterior, 4)
    by_loc, by_scale = torch.autograd.grad(loss, (posterior.loc, posterior.scale), retain_graph=True)
    phi = s.model.posterior_parameters()
    onward = torch.autograd.grad((posterior.loc, posterior.scale), list(phi.values()), (by_loc, by_scale))
    assert relative_distance(dict(zip(phi, onward, strict=True)), only(s.expected(), "encoder")) < 1e-12


def test_second_derivatives_are_refused() -> None:
    s = setup(2)
    with pytest.raises(UsageError, match=r"first derivatives only[\s\S]*create_graph"):
        torch.autograd.grad(s.loss()[0], list(s.parameters().values()), create_graph=True)


def test_log_joint_may_be_checkpointed() -> None:
    s = setup(4)

    def log_joint(z: Tensor) -> Tensor:
        return checkpoint(s.log_joint, z, use_reentrant=False)

    multi_sample_loss(log_joint, s.posterior(), 4)[0].backward()
    assert relative_distance(s.collected(), s.expected()) < 1e-12


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("estimator", ["dreg", "vimco"])
@pytest.mark.parametrize("k_chunk", [None, 2])
def test_a_reentrant_checkpoint_is_refused(estimator: str, k_chunk: int | None) -> None:
    """It allows no derivative by samples; and a sample without one has no gradient of the parameters inside."""
    s = setup(4)
    prior = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def log_joint(z: Tensor) -> Tensor:
        return cast("Tensor", checkpoint(s.log_joint, z, use_reentrant=True)) + prior

    check = None if k_chunk is None else False  # in chunks, every call looks
    with pytest.raises(SpecError, match="use_reentrant=True") as raised:
        multi_sample_loss(log_joint, s.posterior(), 4, estimator=estimator, k_chunk=k_chunk, check=check)
    assert raised.value.faults[0].field == "log_joint"
    assert raised.value.hint == "call torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"


def test_the_work_is_done_once() -> None:
    calls: list[str] = []

    class Counted(GivenNoise):
        def rsample(self, sample_shape=()):
            calls.append("rsample")
            return super().rsample(sample_shape)

        def log_prob(self, value):
            calls.append("log_prob")
            return super().log_prob(value)

    s = setup(4)

    def log_joint(z: Tensor) -> Tensor:
        calls.append("log_joint")
        return s.log_joint(z)

    multi_sample_loss(log_joint, s.posterior(Counted), 4, estimator="reparam", check=False)[0].backward()
    assert sorted(calls) == ["log_joint", "log_prob", "rsample"]


def test_the_samples_that_log_joint_got_keep_no_gradient() -> None:
    given: list[Tensor] = []
    s = setup(4)

    def log_joint(z: Tensor) -> Tensor:
        given.append(z)
        return s.log_joint(z)

    multi_sample_loss(log_joint, s.posterior(), 4)[0].backward()
    assert given[0].grad is None


def test_parameters_shared_by_encoder_and_decoder() -> None:
    """The total derivative of the bound is what reparam gives, and dreg's parts add up."""
    generator = torch.Generator().manual_seed(5)
    shared = torch.randn(3, 6, dtype=torch.float64, generator=generator).requires_grad_()
    x = (torch.rand(4, 6, dtype=torch.float64, generator=generator) < 0.5).double()
    noise = torch.randn(5, 4, 3, dtype=torch.float64, generator=generator)

    def log_joint(z: Tensor) -> Tensor:
        return -(x - z @ shared).square().sum(-1) - 0.5 * z.square().sum(-1)

    def posterior(weight: Tensor) -> GivenNoise:
        return GivenNoise(x @ weight.mT, torch.sigmoid(x @ weight.mT), noise)

    loss, _ = multi_sample_loss(log_joint, posterior(shared), 5, estimator="reparam")
    (found,) = torch.autograd.grad(loss, shared)
    q = posterior(shared)
    z = q.rsample((5,))
    (expected,) = torch.autograd.grad(-log_mean_exp(log_joint(z) - q.log_prob(z)).mean(), shared)
    assert (found - expected).norm() < 1e-12 * expected.norm()

    loss, _ = multi_sample_loss(log_joint, posterior(shared), 5)
    (found,) = torch.autograd.grad(loss, shared)
    leaf = z.detach().requires_grad_()
    log_w = log_joint(leaf) - q.log_prob(leaf)
    v = torch.softmax(log_w, 0).detach()
    (dz,) = torch.autograd.grad(log_w.sum(), leaf, retain_graph=True)
    (by_model,) = torch.autograd.grad(-(v * log_joint(z.detach())).sum() / 4, shared)
    (by_path,) = torch.autograd.grad(
        -(v.square().unsqueeze(-1) * dz * posterior(shared).rsample((5,))).sum() / 4, shared
    )
    assert (found - by_model - by_path).norm() < 1e-12 * found.norm()


# --- frozen parts ---


@pytest.mark.parametrize("estimator", ["reparam", "dreg", "vimco"])
@pytest.mark.parametrize("frozen", ["decoder", "encoder", "encoder.0", "decoder.1.weight", "encoder.2.bias"])
def test_frozen_parts_get_nothing_and_the_rest_is_unchanged(frozen: str, estimator: str) -> None:
    s = setup(4)
    expected = s.expected(resolve_pair("iwae", estimator, 4))
    for name, parameter in s.parameters().items():
        parameter.requires_grad_(not name.startswith(frozen))
    loss, bound = s.loss("iwae", estimator)
    loss.backward()
    for name, parameter in s.parameters().items():
        assert (parameter.grad is None) == name.startswith(frozen)
    live = {name: each for name, each in expected.items() if not name.startswith(frozen)}
    assert relative_distance({name: s.collected()[name] for name in live}, live) < 1e-12
    assert bound.shape == (4,)


@pytest.mark.parametrize(("frozen", "passes"), [("nothing", 2), ("decoder", 1), ("encoder", 1)])
def test_frozen_parts_cost_no_backward_pass(frozen: str, passes: int) -> None:
    """Of the decoder's two passes one is for z and one for its parameters."""
    s = setup(4)
    for name, parameter in s.parameters().items():
        parameter.requires_grad_(not name.startswith(frozen))
    seen: list[Tensor] = []

    def log_joint(z: Tensor) -> Tensor:
        log_p = s.log_joint(z)
        log_p.register_hook(seen.append)
        return log_p

    multi_sample_loss(log_joint, s.posterior(), 4, check=False)[0].backward()
    assert len(seen) == passes


def test_without_gradients_it_evaluates() -> None:
    s = setup(4)
    loss, bound = s.loss("jvi", "dreg")
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            other = s.loss("jvi", "dreg")
        assert not other[0].requires_grad
        # Up to rounding: with gradients a product's sum starts from the bias, without them it is added.
        torch.testing.assert_close(other[0], loss.detach(), rtol=1e-12, atol=0.0)
        torch.testing.assert_close(other[1], bound, rtol=1e-12, atol=0.0)


# --- samples outside the support ---


def masked(s: Setup, log_joint: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Two of the samples of example 1 are outside the support."""
    outside = torch.zeros(s.noise.shape[:2], dtype=torch.bool)
    outside[:2, 1] = True
    return lambda z: torch.where(outside, -math.inf, log_joint(z))


def test_a_sample_without_weight_contributes_nothing_although_its_dz_is_nan() -> None:
    """Two samples of example 1 weigh e^-2000, which is 0; d sqrt(0) / d z is infinite there, and 0 * inf is NaN."""
    s = setup(4)
    outside = torch.zeros(s.noise.shape[:2], dtype=torch.bool)
    outside[:2, 1] = True
    zero = torch.where(outside, 0.0, 1.0).double()

    def log_joint(z: Tensor) -> Tensor:
        return s.log_joint(z) + torch.sqrt(zero * z.square().sum(-1)) * 0.0 - 2000.0 * outside

    leaf = s.posterior().rsample((4,)).detach().requires_grad_()
    (dz,) = torch.autograd.grad(log_joint(leaf).sum(), leaf)
    assert dz[:2, 1].isnan().all()
    multi_sample_loss(log_joint, s.posterior(), 4, check=False)[0].backward()
    # What is left of example 1 are its other samples; the log of K is the same for the gradient.
    pair = resolve_pair("iwae", "dreg", 4)
    rest = [s.part(i, i + 1) for i in range(4)]
    rest[1] = Setup(s.model, rest[1].pixels, rest[1].noise[2:])
    expected = {name: each / 4 for name, each in plus(*(one.expected(pair) for one in rest)).items()}
    assert relative_distance(s.collected(), expected) < 1e-12


@pytest.mark.parametrize("frozen", [False, True])
def test_a_log_joint_that_makes_nan_of_weight_0_is_refused(frozen: bool) -> None:
    loc = torch.zeros(1, dtype=torch.float64, requires_grad=not frozen)
    theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    posterior = GivenNoise(loc.unsqueeze(-1), torch.ones(1, 1).double(), torch.tensor([[[1.0]], [[-1.0]]]).double())
    posterior.sample = posterior.rsample

    def log_joint(z: Tensor) -> Tensor:
        return torch.log(theta * (z > 0).squeeze(-1)) - z.squeeze(-1).square()

    with pytest.raises(NotFinite, match=r"NaN for samples whose weight is 0[\s\S]*torch\.where"):
        multi_sample_loss(log_joint, posterior, 2, estimator="dreg" if frozen else "reinforce")


def test_a_dz_of_nan_with_weight_is_refused() -> None:
    s = setup(4)

    def log_joint(z: Tensor) -> Tensor:
        return s.log_joint(z) + torch.sqrt(torch.where(torch.arange(4) == 2, 0.0 * z[..., 0], 1.0))

    with pytest.raises(NotFinite, match=r"d log w / d z is not finite[\s\S]*examples 2 of the batch"):
        multi_sample_loss(log_joint, s.posterior(), 4)


@pytest.mark.parametrize("objective", ["iwae", "elbo"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_log_weights_that_are_no_numbers_are_refused(bad: float, objective: str) -> None:
    s = setup(4)
    change = torch.zeros(4, 4)
    change[1, 3] = bad
    with pytest.raises(NotFinite, match=r"examples 3 of the batch"):
        multi_sample_loss(lambda z: s.log_joint(z) + change, s.posterior(), 4, objective)


def test_a_value_that_is_infinite_is_refused_although_its_weights_are_not() -> None:
    s = setup(4)
    with pytest.raises(NotFinite, match=r"'elbo/reparam' has no finite[\s\S]*examples 1 of the batch"):
        multi_sample_loss(masked(s, s.log_joint), s.posterior(), 4, "elbo", "reparam")


# --- misuse ---


def messages(call: Callable[[], object]) -> Iterator[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        call()
    for fault in caught.value.faults:
        yield fault.field, fault.message


def refuse(field: str, *said: str, log_joint=None, posterior=None, k=4, objective="iwae", estimator="dreg") -> None:
    s = setup(4)
    found = list(
        messages(
            lambda: multi_sample_loss(log_joint or s.log_joint, posterior or s.posterior(), k, objective, estimator)
        )
    )
    text = " ".join(message for name, message in found if name == field)
    assert all(each in text for each in said), found
    assert said


def test_log_joint_of_the_wrong_shape() -> None:
    s = setup(4)
    refuse(
        "log_joint", "(4, 4)", "(4, 4, 3)", "Sum it", log_joint=lambda z: s.log_joint(z).unsqueeze(-1).expand(4, 4, 3)
    )
    refuse("log_joint", "(4, 4)", "got (4,)", log_joint=lambda z: s.log_joint(z).sum(0))
    refuse("log_joint", "(4, 4)", "got ()", log_joint=lambda z: s.log_joint(z).sum())
    refuse("log_joint", "must return a tensor, got float", log_joint=lambda z: s.log_joint(z).sum().item())


def test_log_joint_that_is_no_function_of_samples() -> None:
    s = setup(4)
    refuse("log_joint", "got Tensor", log_joint=torch.ones(()))
    with pytest.raises(SpecError, match="got NoneType"):
        multi_sample_loss(None, s.posterior(), 4)  # type: ignore[arg-type]
    refuse("log_joint", "needs 3 arguments", log_joint=lambda z, x, mask: z)
    for wrong in (lambda z, x: z - x, lambda z, x: z * x.mean(), lambda z, x: torch.add(z, x)):
        refuse("log_joint", "second argument is the rows", "RowChoice", log_joint=wrong)

    def own_error(z: Tensor, rows: object) -> Tensor:
        return z + "no number"  # type: ignore[operator]

    with pytest.raises(TypeError):
        multi_sample_loss(own_error, s.posterior(), 4)


def test_a_posterior_that_cannot_be_drawn_from() -> None:
    class DensityAlone(Distribution):
        arg_constraints = {}  # noqa: RUF012 - as in torch
        has_rsample = True

        def log_prob(self, value: Tensor) -> Tensor:
            return -value.square()

    density = DensityAlone(torch.Size((4,)), validate_args=False)
    refuse("posterior", "DensityAlone cannot draw samples: it has no method rsample", posterior=density)
    refuse("posterior", "has no method sample(", posterior=density, estimator="vimco")


def normal(*shape: int) -> Normal:
    return Normal(torch.zeros(shape, requires_grad=True), 1.0)


def test_posterior_of_the_wrong_batch_shape() -> None:
    refuse("posterior", "(B,)", "got (4, 3)", "torch.distributions.Independent(posterior, 1)", posterior=normal(4, 3))
    refuse("posterior", "(4, 3, 2)", "Independent(posterior, 2)", posterior=normal(4, 3, 2))
    refuse("posterior", "got ()", "first axis", posterior=normal())
    refuse("posterior", "got (0,)", posterior=normal(0))
    refuse("posterior", "torch.distributions.Distribution, got tuple", posterior=(torch.zeros(4), torch.ones(4)))


def test_log_prob_and_samples_of_the_wrong_shape() -> None:
    s = setup(4)

    class Unsummed(GivenNoise):
        def log_prob(self, value):
            return Normal(self.loc, self.scale).log_prob(value)

    class Few(GivenNoise):
        def rsample(self, sample_shape=()):
            return super().rsample(sample_shape)[:, :2]

    refuse("posterior", "log_prob(z)", "(4, 4)", "got (4, 4, 3)", "Sum it", posterior=s.posterior(Unsummed))
    refuse("posterior", "(4, 4, ...)", "got (4, 2, 3)", posterior=s.posterior(Few))


def test_half_precision() -> None:
    s = setup(4)
    refuse("log_joint", "float32 or float64, got bfloat16", "autocast", log_joint=lambda z: s.log_joint(z).bfloat16())
    half = Normal(torch.zeros(4, dtype=torch.float16, requires_grad=True), torch.ones(4, dtype=torch.float16))
    refuse("posterior", "got float16", posterior=half, log_joint=lambda z: -z.float().square())


def test_a_posterior_without_rsample() -> None:
    discrete = Independent(Bernoulli(logits=torch.zeros(4, 3).requires_grad_()), 1)
    refuse("posterior", "has_rsample is False", "'iwae/dreg'", "vimco, vimco-star", posterior=discrete)
    refuse("posterior", "'iwae' has some", posterior=discrete, objective="piwae:groups=2")
    through = Independent(StraightThrough(logits=torch.zeros(4, 3).requires_grad_()), 1)
    for estimator in ("dreg", "reparam"):
        refuse("posterior", "is discrete", "straight-through", "vimco", posterior=through, estimator=estimator)
    both = Bernoulli(logits=torch.zeros(4, 3).requires_grad_())
    refuse("posterior", "has_rsample is False", "Independent(posterior, 1)", posterior=both)


class Detached(GivenNoise):
    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).detach()


class PartlyDetached(GivenNoise):
    def rsample(self, sample_shape=()):
        return self.loc + self.scale.detach() * self.noise


@pytest.mark.parametrize("kind", [Detached, PartlyDetached])
def test_a_detached_sample_is_a_dead_path(kind: type[GivenNoise]) -> None:
    s = setup(4)
    scale = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    posterior = kind(s.posterior().loc, scale, s.noise)
    refuse("posterior", "dead path", "(4, 3)", "detach() or no_grad()", posterior=posterior)


def test_a_detached_sample_is_what_score_pairs_need() -> None:
    s = setup(4)
    multi_sample_loss(s.log_joint, s.posterior(Detached), 4, "iwae", "vimco")[0].backward()
    assert relative_distance(s.collected(), s.expected(resolve_pair("iwae", "vimco", 4))) < 1e-12


class Stopped(GivenNoise):
    def log_prob(self, value):
        return GivenNoise(self.loc.detach(), self.scale.detach(), self.noise).log_prob(value)


def test_a_detached_density_is_a_dead_score() -> None:
    s = setup(4)
    refuse("posterior", "dead score", "(7, 12)", posterior=s.posterior(Stopped), estimator="reparam")
    # Sticking the landing by hand: where the score has no weight nothing is missing.
    multi_sample_loss(s.log_joint, s.posterior(Stopped), 4)[0].backward()
    assert relative_distance(s.collected(), s.expected()) < 1e-12


def test_a_density_of_a_remembered_sample() -> None:
    class Remembers(GivenNoise):
        def rsample(self, sample_shape=()):
            self.last = super().rsample(sample_shape)
            return self.last

        def log_prob(self, value):
            return super().log_prob(self.last)

    refuse("posterior", "log_prob(z) does not depend on z", "stored sample", posterior=setup(4).posterior(Remembers))


def test_a_log_joint_that_does_not_depend_on_z() -> None:
    s = setup(4)

    def detached(z: Tensor) -> Tensor:
        return s.log_joint(z).detach()

    @torch.no_grad()
    def without_graph(z: Tensor) -> Tensor:
        return s.log_joint(z)

    outer = s.posterior().rsample((4,))
    for wrong in (detached, without_graph, lambda z: s.log_joint(z.detach()), lambda z: s.log_joint(outer)):
        refuse("log_joint", "does not depend on z", "detach()", log_joint=wrong)


def test_nothing_to_train() -> None:
    s = setup(4)
    s.model.requires_grad_(False)
    for estimator in ("dreg", "vimco"):
        with pytest.raises(SpecError, match=r"nothing to train[\s\S]*no_grad"):
            s.loss("iwae", estimator)


def test_pairs_and_k_that_cannot_work() -> None:
    refuse("k", "at least 1", k=0)
    refuse("k", "at least 2", k=1, estimator="vimco")
    refuse("estimator", "rws", objective="rws", estimator="stl")
    refuse("objective", "ivae", objective="ivae")


class _UnderNoGrad(Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        with torch.no_grad():
            return super().log_prob(value)


@pytest.mark.parametrize("estimator", ["vimco", "vimco-star", "reinforce"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_dead_score_is_refused_without_a_path_too(estimator: str, wrapped: bool) -> None:
    """There no sample tells which parameters the posterior has: it is asked for them."""
    theta, loc = (torch.zeros(3, requires_grad=True) for _ in range(2))
    posterior = _UnderNoGrad(loc, 1.0)
    posterior = Independent(posterior, 0) if wrapped else posterior
    with pytest.raises(SpecError, match="a dead score"):
        multi_sample_loss(lambda z: Normal(theta, 1.0).log_prob(z), posterior, 4, estimator=estimator)
