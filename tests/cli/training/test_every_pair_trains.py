"""Every pair trains from the command line, logs the IWAE bound whatever it optimises, and keeps one spelling."""

import json
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from dregcli.app.loading.build import build_trainer
from dregcli.app.planning.plan import resolve_plan
from dregcli.engine.pairs import Pair, all_pairs
from dregcli.engine.words import word_of
from dregcli.names import Promise, RunStatus
from dregcli.specs.resolve import merge_options
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import Outcome, run
from tests.support.data_few import few_digits

TINY = ("--k", 8, "--steps", 3, "--batch-size", 16, "--hidden", "8", "--latent-dim", 2, "--log-every", 1)
PAIRS = [pytest.param(pair, id=f"{pair.objective.name}/{pair.estimator.name}") for pair in all_pairs()]


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


@cache
def _first_bound() -> float:
    """IWAE's, of the first step: parameters, pixels and noise are the same for every pair, so must the bound be."""
    settings = {"k": 8, "steps": 3, "batch_size": 16, "hidden": (8,), "latent_dim": 2}
    options, _ = merge_options({**settings, "device": "cpu", "estimator": "reparam"}, {}, None)
    planned = resolve_plan(options, Path("unused"))
    trainer = build_trainer(planned.spec, planned.data)
    trainer.advance()
    trainer.collect()
    return trainer.window.means()["bound"]


def _train(capsys, pair: Pair | tuple[str, str], *extra: object) -> Outcome:
    words = (word_of(pair.objective), word_of(pair.estimator)) if isinstance(pair, Pair) else pair
    return run(capsys, "train", *TINY, "--objective", words[0], "--estimator", words[1], *extra)


def _only(tmp_path: Path, reference: str) -> Run:
    (found,) = RunStore(tmp_path / "runs").resolve(reference)
    return found


@pytest.mark.parametrize("pair", PAIRS)
def test_every_pair_trains(capsys, tmp_path, pair: Pair) -> None:
    outcome = _train(capsys, pair, "--name", "run")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("warning:") == (pair.promise(8) is Promise.BIASED)
    found = _only(tmp_path, "run")
    assert found.status() is RunStatus.COMPLETED
    rows = found.metrics("train")
    assert rows["step"].tolist() == [1, 2, 3]
    assert np.isfinite(rows["bound"]).all()
    assert np.isfinite(rows["value"]).all()
    assert all(np.isfinite(found.info().summary["bound"][split]) for split in ("train", "valid", "test"))
    assert rows["bound"][0] == pytest.approx(_first_bound(), rel=1e-6), "the bound is not IWAE's"
    # rws and piwae have the IWAE bound as theta's objective.
    same = pair.objective.name in ("iwae", "rws", "piwae")
    assert np.allclose(rows["value"], rows["bound"], rtol=0, atol=1e-9) == same


def _numbers(content: object, word: str = "") -> list[float]:
    """The numbers in a document, at any depth, under keys that hold a word."""
    if isinstance(content, dict):
        return [n for key, item in content.items() for n in _numbers(item, "" if word in key else word)]
    if isinstance(content, list):
        return [n for item in content for n in _numbers(item, word)]
    return [content] if isinstance(content, float) and not word else []


def test_the_value_of_jvi_is_nowhere_called_a_bound(capsys, tmp_path) -> None:
    """Printed and stored, what stands beside the word is the IWAE bound, which ``dreg eval`` finds again."""
    printed = _train(capsys, ("jvi", "dreg"), "--name", "j", "--json")
    found = _only(tmp_path, "j")
    rows = found.metrics("train")
    bounds, values = set(rows["bound"]), set(rows["value"])
    assert len(bounds) == len(values) == 3
    assert not bounds & values
    with h5py.File(found.path / "metrics.h5") as file:
        columns = {column for split in file.values() for column in split}
    assert {column for column in columns if "bound" in column} == {"bound"}
    documents = [json.loads(path.read_text()) for path in found.path.rglob("*.json")]
    assert sum(len(_numbers(document, "bound")) for document in documents) >= 6
    assert not any(values & set(_numbers(document, "bound")) for document in documents)
    told = _train(capsys, ("jvi", "dreg"))
    for text in (told.out, told.err, (found.path / "log.txt").read_text()):
        assert not any(f"{value:.2f}" in text for value in values)
    for split in ("train", "valid", "test"):
        again = run(capsys, "eval", "j", "--split", split, "--k", 8, "--json").json["results"][0]["bound"]["value"]
        assert printed.json["bound"][split] == pytest.approx(again, rel=1e-9)


# --- words in specs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "estimator", "stored", "name"),
    [
        ("iwae", "dreg", ("iwae", "dreg"), "digits-iwae-dreg-k8"),
        ("vr-iwae:alpha=.3", "dreg", ("vr-iwae:alpha=0.3", "dreg"), "digits-vr-iwae-alpha-0.3-dreg-k8"),
        ("iwae", "dreg-alpha", ("iwae", "dreg-alpha:alpha=0.9"), "digits-iwae-dreg-alpha-k8"),
        ("jvi:", "reparam", ("jvi:order=1", "reparam"), "digits-jvi-reparam-k8"),
        (
            "iwae",
            "vimco:baseline=geometric",
            ("iwae", "vimco:baseline=geometric"),
            "digits-iwae-vimco-baseline-geometric-k8",
        ),
    ],
)
def test_a_spec_has_the_canonical_words_and_its_name_is_legal(
    capsys, tmp_path, objective, estimator, stored, name
) -> None:
    assert _train(capsys, (objective, estimator)).code == 0
    spec = _only(tmp_path, name).spec()
    assert (spec["objective"], spec["estimator"]) == stored


def test_two_spellings_of_one_setting_are_one_group(capsys, tmp_path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('estimator = "dreg-alpha:alpha=9e-1"\n')
    assert _train(capsys, ("iwae", "dreg-alpha"), "--name", "a").code == 0
    assert _train(capsys, ("iwae", "dreg-alpha:alpha=0.90"), "--name", "a", "--seed", 1).code == 0
    assert run(capsys, "train", *TINY, "--config", config, "--name", "a", "--seed", 2).code == 0
    assert _train(capsys, ("iwae", "dreg-alpha:alpha=0.8"), "--name", "a").code == 0
    groups = run(capsys, "report", "a", "--json").json["groups"]
    assert sorted(group["seeds"] for group in groups) == [1, 3]


def test_resume_takes_any_spelling_of_the_runs_words_and_no_other(capsys, tmp_path) -> None:
    assert _train(capsys, ("iwae", "dreg-alpha"), "--name", "r").code == 0
    for steps, word in ((5, "dreg-alpha"), (6, "dreg-alpha:alpha=.9"), (7, "dreg-alpha:alpha=0.9")):
        outcome = run(capsys, "train", "--resume", "r", "--estimator", word, "--steps", steps)
        assert outcome.code == 0, outcome.err
    assert _only(tmp_path, "r").spec()["estimator"] == "dreg-alpha:alpha=0.9"
    for word in ("dreg-alpha:alpha=0.8", "dreg", "dreg-alfa"):
        outcome = run(capsys, "train", "--resume", "r", "--estimator", word, "--steps", 9)
        assert outcome.code == 2
        assert "estimator: the run was made with dreg-alpha:alpha=0.9; a resumed run keeps its spec." in outcome.err


@pytest.mark.parametrize(
    ("objective", "estimator", "k", "said"),
    [
        (
            "iwae",
            "stl",
            8,
            "estimator 'stl' is biased for objective 'iwae' with k=8: its expected gradient in phi is the "
            "gradient of iwae + rws (arXiv 1703.09194); unbiased: reparam, dreg, dreg-cv, reinforce, vimco, "
            "vimco-star, ovis.",
        ),
        (
            "iwae",
            "ovis:gamma=1",
            8,
            "estimator 'ovis:gamma=1.0' is biased for objective 'iwae' with k=8: its expected gradient in phi is "
            "the gradient of iwae + rws (arXiv 2008.01998); unbiased: reparam, dreg, dreg-cv, reinforce, vimco, "
            "vimco-star, ovis:gamma=0.0.",
        ),
        (
            "jvi",
            "stl",
            8,
            "estimator 'stl' is biased for objective 'jvi:order=1' with k=8 (arXiv 1703.09194); unbiased: reparam, "
            "dreg, reinforce, vimco.",
        ),
        (
            "iwae",
            "dreg-alpha",
            1,
            "estimator 'dreg-alpha:alpha=0.9' is biased for objective 'iwae' with k=1: its expected gradient in phi "
            "is the gradient of 0.1 iwae + 0.9 rws (code of arXiv 1810.04152); unbiased: reparam, stl, dreg, "
            "dreg-norm, reinforce.",
        ),
        ("iwae", "stl", 1, None),
        ("miwae:groups=8", "stl", 8, None),
    ],
)
def test_the_one_warning_says_what_is_expected_and_what_is_unbiased(capsys, objective, estimator, k, said) -> None:
    err = _train(capsys, (objective, estimator), "--k", k).err
    assert [line for line in err.splitlines() if line.startswith("warning:")] == (
        [f"warning: {said}"] if said else []
    )
