"""Structured prediction: the reference's shapes and start, what sees which part of an image, where work is done."""

import math

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.diagnostics.own_model import OwnModelSource
from dregcli.engine.diagnostics.references import comparison_of
from dregcli.engine.diagnostics.source import ModelSource
from dregcli.engine.likelihoods.gaussian import Gaussian
from dregcli.engine.models.amortised import AmortisedModel
from dregcli.engine.models.structured import StructuredVae, image_parts
from dregcli.engine.models.vae import Vae
from dregcli.engine.optimisation import Adam
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import log_mean_exp
from tests.support.dense import dense_gradients
from tests.support.every_pair import checked_pairs
from tests.support.exact import (
    MODELS,
    naive_gradients,
    naive_parameters,
    off_networks,
    small_batch,
    small_structured,
)
from tests.support.given_noise import Own, diagnostic_noise


def _generator() -> torch.Generator:
    return Randomness(0).generator(Stream.INITIALISATION)


def _reference(*, crossed: bool = False, seed: int = 0) -> StructuredVae:
    generator = Randomness(seed).generator(Stream.INITIALISATION)
    mean = torch.linspace(0, 1, 784)
    return StructuredVae(mean, context=392, hidden=(200, 200), latent_dim=50, generator=generator, crossed=crossed)


@pytest.mark.parametrize("crossed", [False, True])
def test_the_shapes_are_the_references(crossed: bool) -> None:
    model = _reference(crossed=crossed)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "encoder.0.weight": (200, 784),
        "encoder.1.weight": (200, 200),
        "encoder.2.weight": (100, 200),
        "prior.0.weight": (200, 392),
        "prior.1.weight": (200, 200),
        "prior.2.weight": (100, 200),
        "decoder.0.weight": (200, 50),
        "decoder.1.weight": (200, 200),
        "decoder.2.weight": (392, 200),
        "context_layer.weight": (200, 392),
    }
    assert {name for name in model.state_dict() if name not in dict(model.named_parameters())} == {"mean"}
    theta, phi = naive_parameters(model)
    assert list(model.model_parameters()) == list(theta)
    assert list(model.posterior_parameters()) == list(phi)
    assert model.latent_width == 50


@pytest.mark.parametrize("crossed", [False, True])
def test_it_starts_as_the_reference_does(crossed: bool) -> None:
    """The layer on [z, c] is Xavier-uniform as one matrix: both parts reach its limit, not their own."""
    model = _reference(crossed=crossed)
    limit = math.sqrt(6 / (50 + 392 + 200))
    for part in (model.decoder[0].weight, model.context_layer.weight):
        assert 0.99 * limit < part.detach().abs().max().item() <= limit
        assert part.detach().square().mean().sqrt().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    biases = [
        p.detach() for name, p in model.named_parameters() if name.endswith("bias") and name != "decoder.2.bias"
    ]
    assert len(biases) == 8
    assert all(torch.count_nonzero(bias) == 0 for bias in biases)
    # Crossed or not, the second half's mean: of crossed parts the target is the first half.
    second = torch.linspace(0, 1, 784)[392:].clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(model.decoder[2].bias.detach(), torch.logit(second))


def test_weights_are_drawn_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    a, b, other = _reference().state_dict(), _reference().state_dict(), _reference(seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    weights = [name for name in a if name.endswith("weight")]
    assert len(weights) == 10
    assert not any(torch.equal(a[name], other[name]) for name in weights)


def test_the_vae_keeps_its_tensors_and_its_first_weights() -> None:
    """By its definition, draw by draw: checkpoints of earlier versions are loaded into it."""
    mean = torch.linspace(0, 1, 30)
    state = Vae(mean, hidden=(8, 6), latent_dim=3, generator=_generator()).state_dict()
    generator = _generator()
    expected: dict[str, Tensor] = {}
    for network, sizes in (("encoder", (30, 8, 6, 6)), ("decoder", (3, 6, 8, 30))):
        for i in range(3):
            weight = nn.init.xavier_uniform_(torch.empty(sizes[i + 1], sizes[i]), generator=generator)
            expected |= {f"{network}.{i}.weight": weight, f"{network}.{i}.bias": torch.zeros(sizes[i + 1])}
    expected |= {"decoder.2.bias": torch.logit(mean.clamp(1e-3, 1 - 1e-3)), "mean": mean}
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


# Parts.


@pytest.mark.parametrize("context", [-1, 0, 12, 13])
def test_parts_that_are_empty_are_refused(context: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 11 of 12 pixels, got {context}"):
        small_structured(context=context)


@pytest.mark.parametrize(("pixels", "context"), [(12, 5), (11, 5), (12, 7)])
def test_crossed_parts_must_be_halves(pixels: int, context: int) -> None:
    with pytest.raises(ValueError, match=f"equal size, got {context} of {pixels}"):
        small_structured(pixels=pixels, context=context, crossed=True)


def test_parts_are_the_first_and_the_rest_and_crossed_the_other_way_round() -> None:
    image = list(range(6))
    assert [image[part] for part in image_parts(6, context=2)] == [[0, 1], [2, 3, 4, 5]]
    assert [image[part] for part in image_parts(6, context=3)] == [[0, 1, 2], [3, 4, 5]]
    assert [image[part] for part in image_parts(6, context=3, crossed=True)] == [[3, 4, 5], [0, 1, 2]]


def test_parts_of_several_channels_are_rows_of_each() -> None:
    # 3 channels of 4 rows of 1 pixel: value 10 c + r is row r of channel c.
    image = torch.tensor([10 * c + r for c in range(3) for r in range(4)])
    top, bottom = [0, 1, 10, 11, 20, 21], [2, 3, 12, 13, 22, 23]
    assert [image[part].tolist() for part in image_parts(12, context=6, channels=3)] == [top, bottom]
    assert [image[part].tolist() for part in image_parts(12, context=6, channels=3, crossed=True)] == [bottom, top]
    assert image[image_parts(12, context=6).context].tolist() != top, "the first half of all values is no top"
    with pytest.raises(ValueError, match="3 channels cannot share"):
        image_parts(12, context=5, channels=3)


def test_a_model_of_several_channels_is_that_of_the_same_values_in_another_order() -> None:
    """Rows first, as a grey model of all values has them, or channel after channel: one model, to the last bit."""
    rows_first = torch.arange(12).reshape(4, 3).T.flatten()  # where each value of the channels lies in the rows
    pixels, mean = torch.rand(5, 12), torch.rand(12)
    kept = {"context": 6, "hidden": (7,), "latent_dim": 2}
    grey = StructuredVae(mean[rows_first.argsort()], generator=_generator(), **kept)
    colour = StructuredVae(mean, generator=_generator(), channels=3, **kept)
    # The networks take channel after channel within each part.
    order = torch.arange(6).reshape(2, 3).T.flatten()
    state = grey.state_dict() | {"mean": mean}
    for name in ("prior.0.weight", "context_layer.weight"):
        state[name] = state[name][:, order]
    state["decoder.1.weight"], state["decoder.1.bias"] = (
        state[f"decoder.1.{each}"][order] for each in ("weight", "bias")
    )
    state["encoder.0.weight"] = state["encoder.0.weight"][:, rows_first]
    colour.load_state_dict(state)
    z = (torch.randn(4, 5, 2),)
    torch.testing.assert_close(colour.log_joint(pixels, z), grey.log_joint(pixels[:, rows_first.argsort()], z))
    shown = colour.mean_pixels(pixels, z)
    torch.testing.assert_close(shown[..., rows_first.argsort()], grey.mean_pixels(pixels[:, rows_first.argsort()], z))
    whole = shown.reshape(4, 5, 3, 4)
    torch.testing.assert_close(whole[..., :2], pixels.reshape(5, 3, 4)[..., :2].expand(4, 5, 3, 2))


@pytest.mark.parametrize("crossed", [False, True])
def test_the_prior_sees_the_context_alone_and_the_posterior_everything(crossed: bool) -> None:
    model = small_structured(context=6, crossed=crossed)
    pixels, _ = small_batch(model, k=1)
    other_target, other_context = pixels.clone(), pixels.clone()
    other_target[:, model.parts.target] = 1 - pixels[:, model.parts.target]
    other_context[:, model.parts.context] = 1 - pixels[:, model.parts.context]
    prior, q = model.latent_prior(pixels), model.posterior(pixels)
    for name in ("loc", "scale"):
        assert torch.equal(getattr(prior, name), getattr(model.latent_prior(other_target), name))
        moved = (getattr(prior, name) - getattr(model.latent_prior(other_context), name)).abs()
        assert moved.amax(dim=1).min() > 1e-3
        for other in (other_target, other_context):
            assert (getattr(q, name) - getattr(model.posterior(other), name)).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("crossed", [False, True])
def test_the_priors_input_is_centred_by_the_first_halfs_mean(crossed: bool) -> None:
    model = small_structured(context=6, crossed=crossed)
    pixels = torch.zeros(1, 12, dtype=torch.float64)
    pixels[:, model.parts.context] = model.mean[:6]
    h = torch.zeros(1, 6, dtype=torch.float64)
    for i, layer in enumerate(model.prior):
        h = layer(torch.tanh(h) if i else h)
    torch.testing.assert_close(model.latent_prior(pixels).loc, h[:, :3])
    torch.testing.assert_close(model.latent_prior(pixels).scale, nn.functional.softplus(h[:, 3:] + 0.25))


@pytest.mark.parametrize("taped", [False, True])
def test_the_contexts_work_is_done_once_an_example(taped: bool, monkeypatch) -> None:
    """Never K x B rows of it: 3 z + 7 + 5 wide inputs on rows, everything of the context on B."""
    model = small_structured(context=9)
    pixels, noise = small_batch(model, k=6)
    shapes: list[tuple[int, ...]] = []
    plain = nn.functional.linear

    def linear(inputs: Tensor, *rest) -> Tensor:
        shapes.append(tuple(inputs.shape))
        return plain(inputs, *rest)

    monkeypatch.setattr(nn.functional, "linear", linear)
    if taped:
        dense_gradients(model, pixels, noise, resolve_pair("iwae", "dreg", 6))
    else:
        model.log_joint(pixels, (noise,))
    assert [shape for shape in shapes if len(shape) == 3] == [(6, 4, 3), (6, 4, 5), (6, 4, 7)]
    of_prior, of_decoder = [(4, 9), (4, 7), (4, 5)], [(4, 9)]
    of_encoder = [(4, 12), (4, 7), (4, 5)] if taped else []
    assert [shape for shape in shapes if len(shape) == 2] == of_encoder + of_prior + of_decoder


@pytest.mark.parametrize("kind", ["vae", "structured"])
def test_a_model_of_real_data_does_not_depend_on_their_units(kind: str) -> None:
    """With a spread: the same weights on data moved and rescaled differ by the units of the target alone."""
    spread, unit, shift = torch.linspace(0.4, 1.5, 12, dtype=torch.float64), 37.0, -400.0
    mean = torch.linspace(-0.5, 2.0, 12, dtype=torch.float64)
    target = slice(5, None) if kind == "structured" else slice(None)

    def build(mean: Tensor, spread: Tensor) -> AmortisedModel:
        arguments = {"hidden": (7, 5), "latent_dim": 3, "generator": _generator(), "spread": spread}
        arguments["likelihood"] = Gaussian(spread[target])
        model = StructuredVae(mean, context=5, **arguments) if kind == "structured" else Vae(mean, **arguments)
        return model.double()

    one, other = build(mean, spread), build(unit * mean + shift, unit * spread)
    with torch.no_grad():
        # The output's bias is in units of the spread, and the shift is what it starts from.
        other.decoder[-1].bias.copy_(one.decoder[-1].bias)
        other.decoder[-1].bias[: len(mean[target])] += shift / (unit * spread[target])
    pixels, noise = small_batch(one, k=4)
    moved = unit * pixels + shift
    torch.testing.assert_close(one.posterior(pixels).loc, other.posterior(moved).loc, rtol=1e-10, atol=1e-10)
    found = other.log_joint(moved, (noise,)) - one.log_joint(pixels, (noise,))
    expected = torch.full_like(found, -len(mean[target]) * math.log(unit))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_state_is_loaded_and_gives_the_same_numbers() -> None:
    for case in MODELS.values():
        model, other = case.build(), case.build()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(model.state_dict())
        pixels, noise = small_batch(model, k=3)
        assert torch.equal(model.log_joint(pixels, (noise,)), other.log_joint(pixels, (noise,)))


# Estimation.

K, SEED, STEP = 4, 3, 5


@pytest.mark.parametrize("own", [False, True])
def test_a_bias_checks_differences_are_those_of_dense_gradients(own: bool) -> None:
    model = small_structured()
    pixels, _ = small_batch(model, k=K)
    source: ModelSource | OwnModelSource = ModelSource(model, pixels, k=K, randomness=Randomness(SEED))
    if own:
        make = Own(model, pixels, k=K, seed=SEED)
        make.step = STEP
        source = OwnModelSource(make, make.parameters(), k=K)
    noise = diagnostic_noise(model, pixels, k=K, seed=SEED, step=STEP)
    comparisons = [comparison_of(pair, K) for pair in checked_pairs(K)]
    draw = source.draw(STEP, comparisons, references=True)
    theta, phi = naive_parameters(model)
    assert source.blocks == (*phi, *theta)
    for comparison, parts in zip(comparisons, draw.differences, strict=True):
        ours, theirs = (
            {name: part.flatten() for name, part in {**found.model, **found.posterior}.items()}
            for found in (naive_gradients(model, pixels, noise, p) for p in (comparison.pair, comparison.reference))
        )
        expanded = source.expand({name: part.unsqueeze(0) for name, part in parts.items()}) if parts else {}
        for name, reference in theirs.items():
            found = expanded[name][0] if name in expanded else torch.zeros_like(reference)
            scale = max(reference.norm(), ours[name].norm())
            assert (found - (ours[name] - reference)).norm() <= 1e-10 * scale, f"{comparison.pair.word} {name}"
        whole = draw.references[comparison.reference]
        assert off_networks({name: whole[name] for name in theirs}, theirs, 1e-10) == {}


def _trained(pixels: Tensor, *, crossed: bool) -> float:
    """The bound after 250 steps on whole images of two halves of 6 pixels, nats per example."""
    model = StructuredVae(
        pixels.mean(0), context=6, hidden=(24,), latent_dim=2, generator=_generator(), crossed=crossed
    )
    parameters = {**model.model_parameters(), **model.posterior_parameters()}
    adam, randomness, pair = Adam(parameters, lr=2e-2), Randomness(0), resolve_pair("iwae", "dreg", 4)
    bounds: list[float] = []
    for step in range(250):
        noise = randomness.normal(Stream.NOISE, step, k=4, batch=len(pixels), width=2)
        found = dense_gradients(model, pixels, noise, pair)
        adam.step({**found.model, **found.posterior})
        bounds.append(float(log_mean_exp(found.log_w).mean()))
    return sum(bounds[-20:]) / 20


@pytest.mark.parametrize("crossed", [False, True])
def test_it_learns_to_predict_from_the_context(crossed: bool) -> None:
    """64 patterns: log 64 = 4.16 nats are lost where the context says nothing, next to none where it does."""
    patterns = torch.tensor([[(i >> bit) & 1 for bit in range(6)] for i in range(64)], dtype=torch.float32)
    assert _trained(torch.cat([patterns, patterns], dim=1), crossed=crossed) > -0.2
    silent = [torch.zeros_like(patterns), patterns]
    assert _trained(torch.cat(silent[::-1] if crossed else silent, dim=1), crossed=crossed) < -4.0
