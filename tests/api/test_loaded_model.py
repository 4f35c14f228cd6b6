"""A trained model, loaded without its data set."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dregcli
from dregcli.api.runs import LoadedRun
from dregcli.app.planning.load_data import data_of
from dregcli.cli.main import main
from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import prior_images, seen_pixels
from dregcli.errors import DatasetMissing, RunNotFound, UsageError
from dregcli.names import Split
from dregcli.store import checkpoints
from tests.support.cli import SMALL, run, typed

MORE = {
    "generative": (),
    "structured": ("--task", "structured"),
    "levels": ("--binarisation", "none", "--likelihood", "discretised-logistic"),
    "linear": ("--model", "linear-gaussian", "--binarisation", "none", "--likelihood", "gaussian"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A run of each kind; to be read only."""
    folder = tmp_path_factory.mktemp("api") / "runs"
    for name, more in MORE.items():
        small = list(SMALL) if name != "linear" else [*SMALL[:6], *SMALL[8:]]
        words = ["train", *small, *more, "--name", name, "--final-eval", "none", "--runs-dir", folder, "--quiet"]
        assert main(typed(*words)) == 0
    return folder


def _loaded(store: Path, name: str, **options) -> LoadedRun:
    return dregcli.load_run(name, runs_dir=store, data_dir=store / "no-data", **options)


def _examples(store: Path, name: str, count: int | None = None) -> torch.Tensor:
    spec = _loaded(store, name).spec
    data = data_of(spec, store)
    return torch.cat(list(seen_pixels(data.examples(Split.TEST), data.pixels, split=Split.TEST, seed=0)))[:count]


@pytest.mark.parametrize("name", ["generative", "structured", "levels"])
def test_log_likelihoods_are_those_of_an_evaluation_of_the_test_split(store: Path, name: str, capsys) -> None:
    """To the last bit, by example, in more than one batch of examples and more than one chunk of samples."""
    evaluated = run(capsys, "eval", name, "--k", 40, "--n", 130, "--runs-dir", store, "--json")
    assert evaluated.code == 0, evaluated.err
    loaded = _loaded(store, name)
    (evaluation,) = loaded.evaluations()
    assert evaluation.bound == evaluated.json["results"][0]["bound"]["value"]
    arrays, x = evaluation.arrays(), _examples(store, name, 130)
    found = loaded.model.log_likelihood(x, k=40)
    np.testing.assert_array_equal(found.bound.numpy(), arrays["bound"])
    np.testing.assert_array_equal(found.ess.numpy(), arrays["ess"])
    np.testing.assert_array_equal(found.khat.numpy(), arrays["khat"][0])
    np.testing.assert_allclose(found.stderr.numpy(), np.sqrt(arrays["left_out_variance"][0]), rtol=1e-14)
    whole = loaded.model.log_weights(x.reshape(-1, 1, 8, 8).numpy(), k=40, k_chunk=32)
    assert (whole.shape, whole.dtype) == ((40, 130), torch.float64)
    torch.testing.assert_close(whole.logsumexp(0) - np.log(40), found.bound)
    assert not torch.equal(whole, loaded.model.log_weights(x, k=40, seed=1))
    assert "nats" in repr(found)
    assert "nats" in repr(evaluation)


def test_encode_decode_and_sample_are_the_model_itself(store: Path) -> None:
    model, x = _loaded(store, "generative").model, _examples(store, "generative", 5)
    assert isinstance(model, nn.Module)
    assert not any(module.training for module in model.modules())
    network = model.network
    q = model.encode(x)
    assert torch.equal(q.mean, network.posterior(x).loc)
    assert torch.equal(q.scale, network.posterior(x).scale)
    noise = Randomness(3).normal(Stream.SAMPLE_POSTERIOR, 0, k=20, batch=5, width=4)
    z = q.sample(20, seed=3)
    assert torch.equal(z, DiagonalGaussian(q.mean, q.scale).rsample(noise)[0])
    torch.testing.assert_close(model.decode(z), network.mean_pixels(x, (z,)).reshape(20, 5, 1, 8, 8))
    assert torch.equal(model.decode(z[0].detach().numpy()), model.decode(z[:1])[0])
    assert model.decode([0.0, 1.0, 2.0, 3.0]).shape == (1, 8, 8)
    assert torch.equal(model(x), model.decode(q.mean))
    images = model.sample(7, seed=2)
    assert images.shape == (7, 1, 8, 8)
    assert torch.equal(images.flatten(1), prior_images(network, x[:1], Randomness(2), k=7)[:, 0])
    assert torch.equal(images[:3], model.sample(3, seed=2))
    model.decode(q.mean).sum().backward()  # gradients reach the parameters of both networks
    assert all(each.grad is not None for each in network.parameters())


def test_many_latents_are_decoded_in_parts(store: Path, monkeypatch) -> None:
    model = _loaded(store, "generative").model
    z, sizes = torch.randn(5000, 4), []
    whole = model.decode(z)
    mean_pixels = type(model.network).mean_pixels

    def counted(self, pixels, latents) -> torch.Tensor:
        sizes.append(len(latents[0]) * latents[0].shape[1])
        return mean_pixels(self, pixels, latents)

    monkeypatch.setattr(type(model.network), "mean_pixels", counted)
    assert torch.equal(model.decode(z), whole)
    assert max(sizes) <= 2048
    assert sum(sizes) == 5000


def test_a_model_of_half_an_image_takes_the_other_half(store: Path) -> None:
    model, x = _loaded(store, "structured").model, _examples(store, "structured", 3)
    q = model.encode(x)
    images = model.decode(q.sample(2), x)
    assert images.shape == (2, 3, 1, 8, 8)
    assert torch.equal(images[..., :4, :].flatten(2), x[:, :32].expand(2, 3, 32)), "the context stays"
    assert model.sample(6, x=x).shape == (6, 3, 1, 8, 8)
    assert model(x).shape == (3, 1, 8, 8)
    for call in (lambda: model.sample(2), lambda: model.decode(q.mean)):
        with pytest.raises(UsageError, match="no image is given"):
            call()
    with pytest.raises(UsageError, match="has 3 examples"):
        model.decode(q.mean[:2], x)


@pytest.mark.parametrize(
    ("name", "x", "what"),
    [
        ("generative", np.zeros((2, 63)), r"takes \(B, 1, 8, 8\) or \(B, 64\)"),
        ("generative", np.zeros((1, 8, 8)), None),
        ("generative", np.zeros((0, 64)), "at least one example"),
        ("generative", np.zeros(64), r"x\[None\]"),
        ("generative", np.full((1, 64), 0.5), "torch.bernoulli"),
        ("generative", np.full((1, 64), 255), "x / 255"),
        ("generative", np.full((1, 64), np.nan), "not finite"),
        ("generative", [["a"]], "cannot be made a tensor"),
        ("generative", np.zeros((1, 64), dtype=bool), None),
        ("levels", np.full((1, 64), 16), "x / 16"),
        ("levels", np.full((1, 64), -0.1), "from -0.1 to -0.1"),
        ("levels", np.full((1, 64), 0.5), None),
    ],
)
def test_inputs_are_checked_against_shape_and_kind(store: Path, name: str, x, what: str | None) -> None:
    model = _loaded(store, name).model
    if what is None:
        assert model.encode(x).mean.shape == (1, 4)
        return
    with pytest.raises(UsageError) as caught:
        model.encode(x)
    assert re.search(what, str(caught.value))


def test_counts_and_latents_are_checked(store: Path) -> None:
    model = _loaded(store, "generative").model
    x = torch.zeros(1, 64)
    for call, what in (
        (lambda: model.decode(torch.zeros(2, 5)), r"shape \(2, 5\), but the model has z of shape \(\.\.\., 4\)"),
        (lambda: model.decode(torch.zeros(0, 4)), r"shape \(0, 4\)"),
        (lambda: model.sample(0), "n must be at least 1"),
        (lambda: model.log_weights(x, k=0), "k must be at least 1"),
        (lambda: model.log_weights(x, k_chunk=20), "multiple of 16"),
    ):
        with pytest.raises(UsageError, match=what):
            call()


def test_a_linear_gaussian_model_needs_no_data_either(store: Path) -> None:
    """Its exact log p(x) stands above the bound, and the bound comes near it."""
    model = _loaded(store, "linear").model
    x = _examples(store, "linear", 4)
    exact = model.network.log_marginal(x)
    found = model.log_likelihood(x, k=2000)
    assert ((exact - found.bound).abs() < 5 * found.stderr + 0.5).all()


def test_a_checkpoint_is_named_as_in_the_commands(store: Path) -> None:
    loaded = _loaded(store, "generative", checkpoint=20)
    assert loaded.step == 20
    assert loaded.model is loaded.model
    with pytest.raises(UsageError, match="must be last, best or a step"):
        _loaded(store, "generative", checkpoint="newest")
    with pytest.raises(RunNotFound, match="no checkpoint of step 7"):
        _ = _loaded(store, "generative", checkpoint=7).model
    assert _loaded(store, "generative", checkpoint="best").step == 20
    with pytest.raises(RunNotFound):
        _loaded(store, "other")


def test_only_a_run_of_an_earlier_version_needs_its_data_set(store: Path, monkeypatch) -> None:
    read = checkpoints._load_step

    def earlier(*arguments) -> checkpoints.Checkpoint:
        found = read(*arguments)
        return checkpoints.Checkpoint(found.step, found.model, found.optimizer, found.state)

    def missing(*_arguments) -> None:
        raise DatasetMissing("The data set is not here.")

    with monkeypatch.context() as patch:
        patch.setattr("dregcli.app.loading.loaded.data_of", missing)
        now = _loaded(store, "generative").model.sample(2)
    monkeypatch.setattr(checkpoints, "_load_step", earlier)
    assert torch.equal(_loaded(store, "generative").model.sample(2), now)
    monkeypatch.setattr("dregcli.app.loading.loaded.data_of", missing)
    with pytest.raises(DatasetMissing):
        _ = _loaded(store, "generative").model
