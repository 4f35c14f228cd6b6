"""Every pair trains from the command line, logs the IWAE bound whatever it optimises, and keeps one spelling."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dregcli.app.loading.bounds import split_bounds
from dregcli.app.loading.build import build_trainer
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import warnings_of
from dregcli.app.planning.run_data import RunData
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from dregcli.engine.words import word_of
from dregcli.names import Promise, RunStatus, Split
from dregcli.specs.run import RunSpec, spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import Outcome, run, usual
from tests.support.data_few import few_digits
from tests.support.listener import Recorder

TINY = usual("--k", 8, "--steps", 3, "--batch-size", 16, "--hidden", "8", "--latent-dim", 2, "--log-every", 1)


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def _train(capsys, pair: Pair | tuple[str, str], *extra: object) -> Outcome:
    words = (word_of(pair.objective), word_of(pair.estimator)) if isinstance(pair, Pair) else pair
    return run(capsys, "train", *TINY, "--objective", words[0], "--estimator", words[1], *extra)


def _only(tmp_path: Path, reference: str) -> Run:
    (found,) = RunStore(tmp_path / "runs").resolve(reference)
    return found


@dataclass(frozen=True)
class Trained:
    """What training a pair for three steps came to.

    Attributes:
        warnings: number of warnings.
        bound: mean bound of each step, nats per example.
        value: mean of the objective of each step.
        evaluated: bound of each split at the end.
    """

    warnings: int
    bound: list[float]
    value: list[float]
    evaluated: list[float]

    def faults(self, pair: Pair, first_bound: float) -> list[str]:
        """Everything that is not as it should be.

        Args:
            pair: what was trained.
            first_bound: IWAE's bound of the first step. Parameters, pixels and noise are the same for every pair, and
                so must the bound be.
        """
        # rws and piwae have the IWAE bound as theta's objective.
        same = pair.objective.name in ("iwae", "rws", "piwae")
        claims = {
            "one warning where it is biased": self.warnings == (pair.promise(8) is Promise.BIASED),
            "three rows of finite numbers": len(self.bound) == len(self.value) == 3
            and bool(np.isfinite([*self.bound, *self.value]).all()),
            "finite bounds of all splits": len(self.evaluated) == 3 and bool(np.isfinite(self.evaluated).all()),
            "the bound is IWAE's": self.bound[0] == pytest.approx(first_bound, rel=1e-6),
            "the value is the objective's": np.allclose(self.value, self.bound, rtol=0, atol=1e-9) == same,
        }
        return [claim for claim, holds in claims.items() if not holds]


def _by_the_command(capsys, tmp_path: Path, pair: Pair, name: str) -> Trained:
    outcome = _train(capsys, pair, "--name", name)
    assert outcome.code == 0, outcome.err
    found = _only(tmp_path, name)
    assert found.status() is RunStatus.COMPLETED
    rows = found.metrics("train")
    assert rows["step"].tolist() == [1, 2, 3]
    bounds = found.info().summary["bound"]
    return Trained(
        outcome.err.count("warning:"),
        rows["bound"].tolist(),
        rows["value"].tolist(),
        [bounds[split] for split in ("train", "valid", "test")],
    )


def _by_the_trainer(spec: RunSpec, data: RunData) -> Trained:
    trainer = build_trainer(spec, data)
    rows: list[dict[str, float]] = []
    for _ in range(3):
        trainer.advance()
        rows.append(trainer.row())
    evaluated = [
        split_bounds(
            trainer.model, data, split, k=spec.k, seed=spec.eval_seed, listener=Recorder(), k_chunk=None
        ).value
        for split in Split
    ]
    warnings = len(warnings_of(spec, data.dataset))
    return Trained(warnings, [row["bound"] for row in rows], [row["value"] for row in rows], evaluated)


WHOLE = ("iwae/dreg", "iwae/stl", "iwae/dreg-cv", "rws/dreg-norm", "jvi/vimco")
"""Pairs that are trained by the whole command: a function of all samples, one that is none, one that learns, with a
path, with a score, biased and not."""


def _word(pair: Pair) -> str:
    return f"{pair.objective.name}/{pair.estimator.name}"


def test_every_pair_trains(capsys, tmp_path) -> None:
    """Five by the command; the others by the trainer that it builds, of a spec that differs in the pair alone."""
    pairs = {_word(pair): pair for pair in all_pairs()}
    trained = {word: _by_the_command(capsys, tmp_path, pairs[word], word.replace("/", "-")) for word in WHOLE}
    spec = _only(tmp_path, "iwae-dreg").spec()
    data = data_of(RunSpec.model_validate(spec), tmp_path)
    for word, pair in pairs.items():
        words = {"objective": word_of(pair.objective), "estimator": word_of(pair.estimator)}
        mine = _by_the_trainer(RunSpec.model_validate(spec | words), data)
        assert trained.setdefault(word, mine) == mine, f"{word}: the command trains otherwise"
    first_bound = trained["iwae/reparam"].bound[0]
    faults = {word: found for word, pair in pairs.items() if (found := trained[word].faults(pair, first_bound))}
    assert faults == {}


def test_what_a_pair_does_wrong_is_named() -> None:
    """The wrong twin of the sweep: a value that is the bound where it should not be, and a warning too few."""
    pair = resolve_pair("jvi", "stl", 8)
    right = Trained(1, [-1.0, -2.0, -3.0], [-1.5, -2.5, -3.5], [-1.0, -1.0, -1.0])
    assert right.faults(pair, -1.0) == []
    wrong = replace(right, warnings=0, value=right.bound)
    assert wrong.faults(pair, -1.0) == ["one warning where it is biased", "the value is the objective's"]
    assert replace(right, evaluated=[math.nan] * 3).faults(pair, -1.0) == ["finite bounds of all splits"]
    assert replace(right, bound=[math.inf, -2.0, -3.0]).faults(pair, -1.0) == [
        "three rows of finite numbers",
        "the bound is IWAE's",
    ]


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
    spec = spelt_out(_only(tmp_path, name).spec())
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
            "vimco-star, ovis, ovis-mc.",
        ),
        (
            "iwae",
            "ovis:gamma=1",
            8,
            "estimator 'ovis:gamma=1.0' is biased for objective 'iwae' with k=8: its expected gradient in phi is "
            "the gradient of iwae + rws (arXiv 2008.01998); unbiased: reinforce, vimco, vimco-star, ovis:gamma=0.0, "
            "ovis-mc; and if samples have a gradient: reparam, dreg, dreg-cv.",
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
