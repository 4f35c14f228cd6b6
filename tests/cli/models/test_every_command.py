"""Every command once with a model of a user's own: one small run is trained, and all commands use it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dregcli.app.diagnosis import new_model
from dregcli.store.run import Run
from tests.support.cli import run, usual
from tests.support.no_figures import no_ink
from tests.support.own_models import write_model

MODEL = """
import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
)

import dregcli
from dregcli import gaussian, standard_normal


class Base(dregcli.LatentModel):
    def __init__(self, data, latent_dim: int = 3):
        super().__init__()
        self.shape, self.latent_dim = data.shape, latent_dim
        count = data.mean.numel()
        self.encoder = nn.Linear(count, 2 * latent_dim)
        self.decoder = nn.Linear(latent_dim, count)
        self.decoder.bias.data = torch.logit(data.mean.flatten().clamp(0.02, 0.98))

    def posterior(self, x, draw):
        draw("z", gaussian(self.encoder(x.flatten(1))))

    def likelihood(self, z):
        return Independent(Bernoulli(logits=self.decoder(z).unflatten(-1, self.shape)), 3)


class Own(Base):
    def model(self, z, given):
        given("z", standard_normal(self.latent_dim))
        return self.likelihood(z["z"])


class Shared(Base):
    def __init__(self, data):
        super().__init__(data)
        self.scale = nn.Parameter(torch.ones(1))

    def posterior(self, x, draw):
        draw("z", gaussian(self.scale * self.encoder(x.flatten(1))))

    def model(self, z, given):
        given("z", standard_normal(self.latent_dim))
        return self.likelihood(self.scale * z["z"])


class Frozen(Base):
    \"\"\"One of the two networks is not trained.\"\"\"

    def __init__(self, data, part: str = "decoder"):
        super().__init__(data)
        getattr(self, part).requires_grad_(False)

    def model(self, z, given):
        given("z", standard_normal(self.latent_dim))
        return self.likelihood(z["z"])


class Mixture(Base):
    \"\"\"A Laplace posterior and a mixture as its prior.\"\"\"

    def __init__(self, data):
        super().__init__(data)
        self.centres = nn.Parameter(torch.randn(4, 3))

    def posterior(self, x, draw):
        loc, raw = self.encoder(x.flatten(1)).chunk(2, -1)
        draw("z", Independent(Laplace(loc, raw.exp()), 1))

    def model(self, z, given):
        parts = Independent(Normal(self.centres, 0.5), 1)
        given("z", MixtureSameFamily(Categorical(logits=torch.zeros(4)), parts))
        return self.likelihood(z["z"])


class Two(Base):
    \"\"\"Two layers; the upper one is never used, so that it has collapsed.\"\"\"

    def __init__(self, data):
        super().__init__(data)
        self.upper = nn.Linear(3, 3)

    def posterior(self, x, draw):
        upper = draw("upper", Independent(Normal(torch.zeros(len(x), 2), 1.0), 1))
        loc, raw = self.encoder(x.flatten(1)).expand(len(upper), -1, -1).chunk(2, -1)
        draw("lower", Independent(Normal(loc, raw.exp()), 1))

    def model(self, z, given):
        given("upper", standard_normal(2))
        loc = self.upper(torch.cat([0.0 * z["upper"], 1.0 + 0.0 * z["upper"][..., :1]], -1))
        given("lower", Independent(Normal(loc, 1.0), 1))
        return self.likelihood(z["lower"])


class Bits(Base):
    \"\"\"Discrete latents.\"\"\"

    def posterior(self, x, draw):
        draw("z", Independent(Bernoulli(logits=self.encoder(x.flatten(1))[:, :3]), 1))

    def model(self, z, given):
        given("z", Independent(Bernoulli(logits=torch.zeros(3)), 1))
        return self.likelihood(z["z"])


class Categories(Base):
    \"\"\"A category, and bits that depend on it.\"\"\"

    def __init__(self, data):
        super().__init__(data)
        self.up, self.down = nn.Linear(3, 2), nn.Linear(2, 3)

    def posterior(self, x, draw):
        c = draw("category", OneHotCategorical(logits=self.encoder(x.flatten(1))[:, :3]))
        draw("bits", Independent(Bernoulli(logits=self.up(c)), 1))

    def model(self, z, given):
        given("bits", Independent(Bernoulli(logits=torch.zeros(2)), 1))
        given("category", OneHotCategorical(logits=self.down(z["bits"])))
        return self.likelihood(z["category"])
"""

TRAIN = usual(
    "--dataset", "digits", "--k", 4, "--steps", 20, "--batch-size", 32, "--eval-every", 0, "--log-every", 10
)
QUICK = (*TRAIN, "--final-eval", "none", "--quiet", "--json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with the model's file; trained runs are put into its store the first time that a test asks."""
    folder = tmp_path_factory.mktemp("own")
    write_model(folder, MODEL, "my_model.py")
    return folder


@pytest.fixture
def store(trained, monkeypatch) -> Path:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("DREG_RUNS_DIR", str(trained / "runs"))
    return trained / "runs"


@pytest.fixture
def own(capsys, store) -> Run:
    return _run(capsys, "Own", "--model-option", "latent_dim=2", "--track-estimators", "dreg,stl")


def _run(capsys, kind: str, *options: object) -> Run:
    """The run of a class, trained once."""
    path = Path("runs", kind, "v001")
    if not path.exists():
        outcome = run(capsys, "train", "--model", f"my_model.py:{kind}", *QUICK, "--name", kind, *options)
        assert outcome.code == 0, outcome.err
    return Run(path)


def _json(capsys, *words: object) -> dict:
    outcome = run(capsys, *words, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_training_and_tracking(own) -> None:
    rows = own.metrics("train")
    assert np.isfinite(rows["bound"]).all()
    assert any("dreg" in name for name in rows), sorted(rows)


def test_evaluation_has_a_curve_and_khat_and_annealing_agrees_with_it(capsys, own) -> None:
    words = ("--n", 6, "--method", "ais", "--steps", 50, "--chains", 6)
    (found,) = _json(capsys, "eval", own.path, "--k", "1,64,1000", *words)["results"]
    values = [each["value"] for each in found["curve"]]
    assert values == sorted(values)
    assert found["khat"] is not None
    assert found["active_units"] in range(3)
    assert found["ais"]["opinion"] == "agrees", found["ais"]
    assert abs(found["ais"]["less_importance"]["value"]) < 0.2


def test_annealing_and_active_units_of_other_latents(capsys, store) -> None:
    mixture, bits = _run(capsys, "Mixture"), _run(capsys, "Bits", "--estimator", "vimco")
    words = ("--n", 2, "--k", 256, "--method", "ais", "--steps", 30, "--chains", 4)
    (found,) = _json(capsys, "eval", mixture.path, *words)["results"]
    assert found["kl_prior_sampled"]
    assert found["reconstruction"]["value"] == pytest.approx(found["elbo"]["value"] + found["kl_prior"]["value"])
    assert abs(found["ais"]["less_importance"]["value"]) < 0.5
    shown = run(capsys, "eval", mixture.path, "--n", 4, "--k", 8)
    assert "KL(q||prior) has no closed form" in shown.out
    refused = run(capsys, "eval", bits.path, *words)
    assert refused.code == 2
    assert "the latent 'z' (Bernoulli) is discrete, and chains move along gradients" in refused.err
    assert "use importance sampling with a large K: --k 5000" in refused.err
    assert _json(capsys, "eval", bits.path, "--n", 4, "--k", 8)["results"][0]["active_units"] in range(4)


def test_two_layers_are_evaluated_sampled_diagnosed_and_reported_one_by_one(capsys, store) -> None:
    two = _run(capsys, "Two", "--eval-every", 10, "--track-estimators", "dreg,stl")
    valid = two.metrics("valid")
    assert (valid["kl_prior.lower"] > 0.1).all()
    assert valid["kl_prior.upper"].tolist() == [0.0, 0.0]
    assert valid["active_units.lower"].tolist() == [3.0, 3.0]
    assert valid["active_units.upper"].tolist() == [0.0, 0.0]
    words = ("--n", 4, "--k", 8)
    (found,) = _json(capsys, "eval", two.path, *words)["results"]
    lower, upper = found["layers"]
    assert (lower["name"], lower["units"], lower["collapsed"], lower["is_kl"]) == ("lower", 3, False, True)
    assert upper["inactive"] == [0, 1]
    assert (upper["name"], upper["active_units"], upper["collapsed"]) == ("upper", 0, True)
    assert upper["kl_prior"]["value"] == 0.0
    assert lower["kl_prior"]["value"] + upper["kl_prior"]["value"] == pytest.approx(found["kl_prior"]["value"])
    shown = run(capsys, "eval", two.path, *words)
    assert "by layer, nearest to x first" in shown.out
    assert "layer upper has collapsed: its KL is 0 nats per example" in shown.out
    assert run(capsys, "eval", two.path, *words, "--method", "ais", "--steps", 4, "--chains", 2).code == 0
    images = _json(capsys, "sample", two.path, "--n", 4, "--scale", 1)
    kinds = ["samples", "reconstructions", "reconstructions-layers", "samples-layer-upper"]
    assert [each["kind"] for each in images["images"]] == [
        *kinds,
        "traversals-layer-lower",
        "traversals-layer-upper",
    ]
    assert [each["rows"] for each in images["images"][-2:]] == [3, 2]
    assert images["left_out"] == {}
    assert {each["name"] for each in images["latents"]} == {
        *(f"lower[{i}]" for i in range(3)),
        *(f"upper[{i}]" for i in range(2)),
    }
    assert "must be at most the model's 5, got 6" in run(capsys, "sample", two.path, "--latents", 6).err
    words = ("--k", 4, "--examples", 2, "--json", "--quiet")
    assert run(capsys, "bias-check", two.path, "--max-batches", 48, *words).code in (0, 5)
    few = ("--estimator", "dreg", "--k", "2", "--replicates", 20, "--reference-k", 64)
    measured = run(capsys, "variance", two.path, *words[2:], *few)
    assert measured.code == 0, measured.err
    child = _json(capsys, "finetune-encoder", two.path, "--steps", 2, "--eval-every", 0, "--name", "child-of-two")
    assert child["theta_sha256"]["before"] == child["theta_sha256"]["after"]
    assert "eval by layer, nearest to x first: lower part of the KL" in run(capsys, "report", two.path).out


def test_bias_check_and_variance(capsys, own) -> None:
    words = ("--k", 4, "--examples", 4, "--estimator", "dreg", "--estimator", "stl")
    found = run(capsys, "bias-check", own.path, *words, "--max-batches", 48, "--json", "--quiet")
    assert found.code in (0, 1, 5), found.err  # stl is biased
    assert [each["promise"] for each in found.json["results"]] == ["unbiased", "biased"]
    assert found.json["results"][0]["verdict"] != "biased"
    words = ("--k", "2", "--examples", 4, "--replicates", 20, "--estimator", "dreg", "--estimator", "vimco")
    variance = _json(capsys, "variance", own.path, *words, "--reference-k", 64)
    networks = {each["network"] for each in variance["results"]}
    assert networks == {"encoder", "decoder"}
    advice = _json(capsys, "advise", own.path, "--estimator", "dreg,stl", "--replicates", 20, "--budget", 0.1)
    assert advice["advice"]["estimator"] == "dreg"
    assert {each["estimator"]: each["biased"] for each in advice["pairs"]} == {"dreg": False, "stl": True}


def test_a_model_of_categories_and_bits(capsys, store) -> None:
    """Screened, with two tracked estimators; ``all`` means the estimators that it can be trained by."""
    words = ("--estimator", "ovis:gamma=0.5", "--backward", "screened", "--track-estimators", "vimco,reinforce")
    made = _run(capsys, "Categories", *words)
    assert _json(capsys, "eval", made.path, "--n", 4, "--k", 8)["results"][0]["k"] == 8
    left_out = _json(capsys, "sample", made.path, "--n", 4)["left_out"]
    assert left_out
    assert all(each.startswith("traversals") for each in left_out)
    assert run(capsys, "finetune-encoder", made.path, "--steps", 2, "--eval-every", 0).code == 0
    words = ("--k", 4, "--examples", 2, "--estimator", "all")
    found = run(capsys, "bias-check", made.path, *words, "--max-batches", 48, "--json")
    assert found.code in (1, 5), found.err
    assert (
        "left out, because not every latent has samples that can be differentiated: reparam, stl, dreg" in found.err
    )
    references = {
        each["estimator"].partition(":")[0]: each["reference"].partition(":")[0] for each in found.json["results"]
    }
    expected = {"reinforce": "vimco", "vimco": "reinforce", "vimco-star": "vimco", "ovis": "vimco"}
    assert references.items() >= expected.items()
    shown = run(capsys, "variance", made.path, *words, "--replicates", 20, "--reference-k", 16)
    assert shown.code == 0, shown.err
    assert "reference: vimco at K=16" in shown.out
    refused = run(capsys, "bias-check", made.path, *words, "--objective", "piwae:groups=2")
    assert refused.code == 2
    assert "those of 'category', 'bits' have none (no rsample). Use another objective" in refused.err


def test_a_variance_study_trains_by_an_estimator_that_the_model_takes(capsys, store, monkeypatch) -> None:
    monkeypatch.setattr(new_model, "TRAINING_STEPS", 2)
    words = ("--dataset", "digits", "--k", 2, "--examples", 2, "--replicates", 20, "--reference-k", 4)
    found = _json(capsys, "variance", "--model", "my_model.py:Bits", *words)
    assert Run(Path(found["run"])).spec()["estimator"] == "vimco:baseline=arithmetic"
    assert "vimco-star" in {each["estimator"] for each in found["results"]}


def test_samples_are_images_of_the_datas_shape(capsys, own) -> None:
    found = _json(capsys, "sample", own.path, "--n", 16, "--scale", 1)
    assert [each["kind"] for each in found["images"]] == ["samples", "reconstructions", "traversals"]
    assert [each["name"] for each in found["latents"]] in (["z0", "z1"], ["z1", "z0"])
    assert found["left_out"] == {}
    # Four rows and columns of 8 x 8 pixels with gaps of 2.
    with Image.open(found["images"][0]["file"]) as picture:
        assert picture.size == (4 * 10 + 2, 4 * 10 + 2)
    outcome = run(capsys, "sample", own.path, "--latents", 3)
    assert outcome.code == 2
    assert "must be at most the model's 2, got 3" in outcome.err


def test_pictures_have_the_datas_colours(capsys, store, tmp_path) -> None:
    colours = np.array([[[255, 0, 0]] * 3] * 2 + [[[0, 255, 0]] * 3] * 2, np.uint8)  # red above green, 4 x 3
    values = np.repeat(colours[None], 40, axis=0)
    values[::2, 0, 0, 2] = 255
    np.save(tmp_path / "a.npy", values)
    _json(capsys, "data", "import", tmp_path / "a.npy", "--name", "c", "--channels", "keep")
    words = ("--dataset", "c", "--name", "colours")
    path = _json(capsys, "train", "--model", "my_model.py:Own", *QUICK[:-2], *words)["run"]
    images = _json(capsys, "sample", path, "--n", 4, "--scale", 1)["images"]
    with Image.open(next(each["file"] for each in images if each["kind"] == "samples")) as picture:
        shown = np.asarray(picture.convert("RGB"))
    # Gaps of 2 around images of 4 rows and 3 columns.
    assert shown.shape == (2 * 6 + 2, 2 * 5 + 2, 3)
    first = shown[2:6, 2:5].astype(int)
    assert (first[1, :, 0] - first[1, :, 1]).min() > 50
    assert (first[3, :, 1] - first[3, :, 0]).min() > 50


def test_pictures_that_cannot_be_made_are_left_out_with_the_reason(capsys, store) -> None:
    bits, mixture = _run(capsys, "Bits", "--estimator", "vimco"), _run(capsys, "Mixture")
    outcome = run(capsys, "sample", bits.path, "--n", 4)
    assert outcome.code == 0, outcome.err
    assert "traversals: no picture, because the latent 'z' is discrete." in outcome.err
    assert len(_json(capsys, "sample", mixture.path, "--n", 4)["images"]) == 3


def test_only_q_is_trained_from_new_parameters_and_shared_parameters_are_refused(capsys, own) -> None:
    words = ("--reset-encoder", "--steps", 4, "--eval-every", 0, "--name", "child")
    found = _json(capsys, "finetune-encoder", own.path, *words)
    assert found["theta_sha256"]["before"] == found["theta_sha256"]["after"]
    mine, new = own.load_checkpoint("last").model, Run(Path(found["run"])).load_checkpoint("last").model
    assert np.array_equal(mine["decoder.weight"], new["decoder.weight"])
    assert not np.array_equal(mine["encoder.weight"], new["encoder.weight"])
    outcome = run(capsys, "finetune-encoder", _run(capsys, "Shared").path, "--steps", 4)
    assert outcome.code == 2
    assert "1 parameter of q may also belong to the model: scale." in outcome.err


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_frozen_network_is_not_trained_and_the_other_is(capsys, store, part: str) -> None:
    words = ("--name", f"frozen-{part}", "--model-option", f"part={part}", "--track-estimators", "dreg,stl")
    found = _json(capsys, "train", "--model", "my_model.py:Frozen", *QUICK[:-2], "--checkpoint-every", 10, *words)
    made = Run(Path(found["run"]))
    first, last = (made.load_checkpoint(step).model for step in (10, 20))
    other = {"encoder": "decoder", "decoder": "encoder"}[part]
    assert torch.equal(first[f"{part}.weight"], last[f"{part}.weight"])
    assert not torch.equal(first[f"{other}.weight"], last[f"{other}.weight"])
    tracked = "model" if part == "encoder" else "posterior"
    columns = [name for name in made.metrics("train") if "variance" in name]
    assert columns
    assert all(tracked in name for name in columns), columns
    check = run(capsys, "bias-check", made.path, "--k", 4, "--examples", 2, "--max-batches", 48, "--json", "--quiet")
    assert check.code in (0, 5), check.err
    refused = run(capsys, "variance", made.path, "--k", 2, "--examples", 2, "--replicates", 20)
    assert refused.code == 2
    assert "depends on no parameter that is trained: there is no gradient." in refused.err
    if part == "encoder":
        child = run(capsys, "finetune-encoder", made.path, "--steps", 2)
        assert child.code == 2
        assert "q of my_model.py:Frozen has no parameter that is trained." in child.err


def test_reports_repeats_and_archives(capsys, own, tmp_path, monkeypatch) -> None:
    no_ink(monkeypatch)
    assert run(capsys, "report", own.path, "--html", tmp_path / "report.html").code == 0
    assert "my_model.py:Own" in (tmp_path / "report.html").read_text()
    assert run(capsys, "runs", "verify", own.path, "--replay", 20).code == 0
    again = Run(Path(_json(capsys, "runs", "rerun", own.path, "--name", "again")["run"]))
    assert np.array_equal(
        again.load_checkpoint("last").model["encoder.weight"], own.load_checkpoint("last").model["encoder.weight"]
    )
    assert run(capsys, "train", "--resume", again.path, "--steps", 24, "--quiet").code == 0
    assert run(capsys, "runs", "export", own.path, tmp_path / "own.zip").code == 0
    assert run(capsys, "runs", "import", tmp_path / "own.zip", "--name", "imported").code == 0
    words = ("runs/imported/v001", "--k", 4, "--n", 4)
    assert run(capsys, "eval", *words).code == 23
    assert run(capsys, "eval", *words, "--trust-code").code == 0


def test_a_study(capsys, store) -> None:
    words = ("--estimator", "dreg", "--estimator", "stl", "--seeds", "0-1", "--steps", 4, "--name", "study")
    found = run(capsys, "train", "--model", "my_model.py:Own", *QUICK, *words)
    assert found.code == 0, found.err
    assert json.loads(found.out)
    shutil.rmtree(store / "study", ignore_errors=True)
