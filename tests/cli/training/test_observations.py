"""Kinds of data, likelihoods, binarisations and split conventions through ``dreg train`` and after."""

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import write_cache
from dregcli.data.catalogue import load_dataset
from dregcli.data.dataset import Dataset, Draft
from dregcli.names import DataKind, Split
from tests.support.cli import SMALL, run


@pytest.fixture
def real(tmp_path) -> Dataset:
    """Real values of very different units, as a data set of one's own."""
    random = np.random.RandomState(0)
    latent = random.standard_normal((200, 2))
    weights = np.array([[1.0, 0.5, 0.0, 1.0, -1.0, 0.3], [0.0, 1.0, 1.0, -1.0, 0.2, 0.7]])
    values = 1e3 + (latent @ weights + 0.1 * random.standard_normal((200, 6))) * [1e-2, 1, 10, 1, 1, 100]
    rows = values.astype(np.float32)
    write_cache(
        Draft(
            name="mine",
            kind=DataKind.REAL,
            height=2,
            width=3,
            levels=1,
            splits={Split.TRAIN: rows[:160], Split.VALID: rows[160:180], Split.TEST: rows[180:]},
            split_convention="given",
            source="here",
        ),
        tmp_path / "data",
    )
    return read_cache("mine", tmp_path / "data")


def _train(capsys, *options: object) -> dict:
    outcome = run(capsys, "train", *SMALL, "--json", *options)
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.mark.parametrize(
    ("options", "binarisation", "likelihood"),
    [
        ((), "dynamic", "bernoulli"),
        (("--binarisation", "static-seed 7"), "static-seed:7", "bernoulli"),
        (("--binarisation", "threshold:0.5"), "threshold:0.5", "bernoulli"),
        (("--binarisation", "none"), "none", "discretised-logistic"),
        (("--likelihood", "discretised-logistic"), "none", "discretised-logistic"),
        (("--likelihood", "gaussian"), "none", "gaussian"),
    ],
)
def test_what_was_modelled_is_in_every_result(capsys, options, binarisation, likelihood) -> None:
    trained = _train(capsys, "--name", "r", *options)
    evaluated = run(capsys, "eval", "r", "--k", 8, "--json")
    assert evaluated.code == 0, evaluated.err
    (result,) = evaluated.json["results"]
    for found in (trained, result):
        assert (found["binarisation"], found["likelihood"]) == (binarisation, likelihood)
        assert found["split_convention"] == "dreg"
    assert result["split_hash"] == trained["split_hashes"]["test"]
    assert len(set(trained["split_hashes"].values())) == 3
    (group,) = run(capsys, "report", "r", "--json").json["groups"]
    assert group["spec"].get("likelihood", "bernoulli") == likelihood
    assert group["runs"][0]["split_hashes"] == trained["split_hashes"]


def test_a_density_of_grey_levels_is_warned_of(capsys) -> None:
    outcome = run(capsys, "train", *SMALL, "--likelihood", "gaussian")
    assert outcome.code == 0
    assert "only the smallest allowed scale limits" in outcome.err


def test_fixed_pixels_do_not_depend_on_the_evaluations_seed(capsys) -> None:
    for name, options in {"fixed": ("--binarisation", "static-seed:1"), "drawn": ()}.items():
        _train(capsys, "--name", name, *options)
        hard = [
            run(capsys, "eval", name, "--k", 512, "--eval-seed", seed, "--json").json["results"][0]["bound"]["value"]
            for seed in (0, 1)
        ]
        # At K = 512 the noise of the samples is far below that of the pixels.
        assert (abs(hard[0] - hard[1]) < 0.02) is (name == "fixed"), (name, hard)


def test_real_values_train_in_their_own_units(capsys, real) -> None:
    trained = _train(capsys, "--dataset", "mine", "--steps", 300, "--lr", "1e-2", "--name", "r")
    assert (trained["binarisation"], trained["likelihood"]) == ("none", "gaussian")
    # The entropy of a Gaussian fitted pixel by pixel is what a model without latents reaches.
    deviation = real.splits[Split.TRAIN].std(0)
    alone = -(np.log(deviation) + 0.5 * np.log(2 * np.pi * np.e)).sum()
    assert trained["bound"]["train"] > alone + 1.0
    structured = _train(capsys, "--dataset", "mine", "--task", "structured")
    assert np.isfinite(structured["bound"]["test"])
    checked = run(capsys, "bias-check", "r", "--max-batches", 48, "--json")
    assert checked.code in (0, 5), checked.err


def test_linear_gaussian_is_there(capsys) -> None:
    trained = _train(capsys, "--dataset", "linear-gaussian")
    assert trained["likelihood"] == "gaussian"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--dataset", "mine", "--likelihood", "bernoulli"),
            "likelihood: bernoulli needs binary pixels, but mine has real values: use gaussian",
        ),
        (("--likelihood", "bernoulli", "--binarisation", "none"), "likelihood: bernoulli needs binary pixels"),
        (("--binarisation", "threshold"), "binarisation: threshold needs an intensity"),
        (
            ("--likelihood", "gauss"),
            "likelihood: must be one of 'bernoulli', 'gaussian' or 'discretised-logistic', got 'gauss'. "
            "Did you mean 'gaussian'?",
        ),
        (
            ("--task", "structure"),
            "task: must be one of 'generative', 'structured' or 'structured-reference', got 'structure'. "
            "Did you mean 'structured'?",
        ),
        (("--split-convention", "burda"), "split-convention: digits has only the split dreg, got 'burda'."),
        (
            ("--dataset", "mine", "--split-convention", "dreg"),
            "split-convention: mine has only the split given, got 'dreg'.",
        ),
        (("--dataset", "minee"), "dataset: no data set is called 'minee'. Did you mean 'mine'?"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(capsys, tmp_path, real, options, said) -> None:
    outcome = run(capsys, "train", *SMALL, "--k", 0, *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert "k: must be at least 1" in outcome.err, "all faults at once"
    assert outcome.err.count(said.split(":")[0] + ":") == 1, "each fault once"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("binarisation", ["dynamic", "static-seed:3", "threshold:0.4"])
def test_a_mapped_set_trains_as_a_resident_one(capsys, tmp_path, monkeypatch, binarisation) -> None:
    digits = load_dataset("digits", tmp_path)
    kept = {name: getattr(digits, name) for name in Draft.__dataclass_fields__}
    write_cache(Draft(**{**kept, "name": "mine"}), tmp_path / "data")
    found = []
    for resident_bytes in (1 << 30, 0):
        monkeypatch.setattr("dregcli.data.cache.RESIDENT_BYTES", resident_bytes)
        name = f"r{resident_bytes}"
        trained = _train(capsys, "--dataset", "mine", "--binarisation", binarisation, "--name", name)
        evaluated = run(capsys, "eval", name, "--k", 8, "--json").json["results"][0]
        found.append((trained["bound"], evaluated["bound"], evaluated["split_hash"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("binarisation = 0.5", "binarisation: must be dynamic, static-seed:N, threshold:T or none, got 0.5"),
        ("binarisation = true", "got True"),
        ('binarisation = ["threshold", 0.5]', "binarisation: must be dynamic"),
        ("likelihood = 3", "likelihood: must be one of 'bernoulli', 'gaussian' or 'discretised-logistic', got 3."),
        ("task = 1", "task: must be one of 'generative', 'structured' or 'structured-reference', got 1."),
        (
            'dataset = "nonesuch"\ntask = "foo"\nlikelihood = "bar"',
            "task: must be one of 'generative', 'structured' or 'structured-reference', got 'foo'.",
        ),
    ],
)
def test_a_config_that_means_something_else_trains_nothing(capsys, tmp_path, text, said) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    outcome = run(capsys, "train", *SMALL, "--config", config)
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "runs").exists()


def test_one_setting_resumes_in_any_spelling(capsys) -> None:
    _train(capsys, "--binarisation", "static-seed:7", "--name", "r")
    again = run(capsys, "train", "--resume", "r", "--steps", 25, "--binarisation", "static-seed 07", "--json")
    assert again.code == 0, again.err
    other = run(capsys, "train", "--resume", "r", "--steps", 30, "--binarisation", "static-seed:8")
    assert other.code == 2
    assert "binarisation: the run was made with static-seed:7" in other.err


def test_a_run_whose_imported_data_are_gone(capsys, tmp_path, real) -> None:
    _train(capsys, "--dataset", "mine", "--name", "r")
    (tmp_path / "data/mine.h5").unlink()
    outcome = run(capsys, "eval", "r")
    assert outcome.code == 10
    assert "data set 'mine' was imported, but is no longer there" in outcome.err
    assert "dreg data import FILE --name mine" in outcome.err


def test_results_of_other_data_are_not_compared_in_silence(capsys) -> None:
    _train(capsys, "--name", "a")
    _train(capsys, "--name", "b", "--binarisation", "threshold:0.5")
    outcome = run(capsys, "eval", "a", "b", "--k", 4)
    assert outcome.code == 0
    assert "their bounds cannot be compared" in outcome.err
    assert "cannot be compared" not in run(capsys, "eval", "a", "--k", 4).err
    report = run(capsys, "report", "a", "b")
    assert "digits, dynamic binarisation: 1 run in 1 group" in report.out
    assert "digits, threshold:0.5 binarisation: 1 run in 1 group" in report.out
    assert "minus" not in report.out
