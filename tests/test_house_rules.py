"""Ruff and pyright, error codes, and that documents say what the program does."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dregcli import errors
from dregcli.app.planning.plan import in_words
from dregcli.cli.main import main
from dregcli.data.catalogue import DATASETS
from dregcli.data.entries import Embedded
from dregcli.engine import ESTIMATORS, OBJECTIVES, loss, pairs, promise
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.words import parse_estimator, parse_objective, word_of
from dregcli.errors import SpecError
from dregcli.names import DatasetName, Promise, Split

ROOT = Path(__file__).parents[1]


def _check(*command: str) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_check() -> None:
    _check("ruff", "check", ".")


def test_ruff_format() -> None:
    _check("ruff", "format", "--check", ".")


def test_pyright_strict() -> None:
    _check("pyright", "--pythonpath", sys.executable)


def _classes(root: type) -> list[type]:
    return [root, *(c for child in root.__subclasses__() for c in _classes(child))]


def test_every_error_class_has_its_own_exit_code() -> None:
    codes: dict[int, type] = {}
    for cls in _classes(errors.DregError):
        if cls is errors.SpecError:  # a usage error with its faults listed
            continue
        assert cls.exit_code not in codes, f"{cls} and {codes.get(cls.exit_code)}"
        codes[cls.exit_code] = cls
        assert cls.exit_code in (2, 3, 130, 143) or cls.exit_code >= 10


def test_readme_lists_every_exit_code() -> None:
    for cls in _classes(errors.DregError):
        assert re.search(rf"\| (\d+, )?{cls.exit_code}[ ,]", README), cls


README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""


REFERENCE_NAMES = {
    "iwae": "iwae/reparam",
    "rws": "rws/reparam",
    "stl": "iwae/stl",
    "dreg": "iwae/dreg",
    "dreg-cv": "iwae/dreg-cv",
    "rws-dreg": "rws/dreg",
    "rws-dreg-norm": "rws/dreg-norm",
    "dreg-norm": "iwae/dreg-norm",
    "jk": "jvi/reparam",
    "jk-dreg": "jvi/dreg",
    "dreg-alpha": "iwae/dreg-alpha",
}
"""The eleven estimators of the reference implementation, typed in, and the pairs that they are."""


def _rows(text: str, header: str) -> list[list[str]]:
    """The cells of the one Markdown table under a header, without their code marks."""
    lines = text.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line == header]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def _stated(pair: pairs.Pair, k: int) -> str:
    if k < pair.smallest_k:
        return f"needs K >= {pair.smallest_k}"
    promised = promise(word_of(pair.objective), word_of(pair.estimator), k)
    expectation = pair.estimator.expectation(pair.objective)
    return f"biased: {in_words(expectation)}" if promised == "biased" and expectation else str(promised)


def readme_faults(readme: str) -> list[str]:
    """Every way in which the README's section on pairs is not what the promise function and the dicts say."""
    section = readme.split("## Objectives and estimators\n")[1].split("\n## ")[0]
    every = list(pairs.all_pairs())
    faults = []

    expected = [
        [p.objective.name, p.estimator.name, _stated(p, 1), _stated(p, 64), p.formula.path, p.formula.score]
        for p in every
    ]
    if _rows(section, "| objective | estimator | K = 1 | K = 64 | path | score |") != expected:
        faults.append("pairs")
    if f"<summary>All {len(every)} pairs: " not in section:
        faults.append("number of pairs")

    expected = []
    for objective in (entry() for entry in OBJECTIVES.values()):
        told = {said: "none" for said in Promise}
        for p in (p for p in every if p.objective == objective):
            said = p.promise(64)
            told[said] = f"{told[said]}, {p.estimator.name}".removeprefix("none, ")
        expected.append([word_of(objective), objective.formula.model, told[Promise.UNBIASED], told[Promise.BIASED]])
    header = "| objective | what is maximised | θ's weight | unbiased at K = 64 | biased at K = 64 |"
    if [[cells[0], *cells[2:]] for cells in _rows(section, header)] != expected:
        faults.append("objectives")

    if _rows(section, "| symbol | meaning |") != [list(item) for item in SYMBOLS.items()]:
        faults.append("symbols")

    expected = [
        [name, pair, "dreg train --objective {} --estimator {}".format(*pair.split("/"))]
        for name, pair in REFERENCE_NAMES.items()
    ]
    if _rows(section, "| in the reference | here | command |") != expected:
        faults.append("reference names")

    words = set(re.findall(r"`([a-z-]+:[a-z]+=[^`/]+)`", section))
    for word in words:
        name = word.partition(":")[0]
        try:
            parse_objective(word) if name in OBJECTIVES else parse_estimator(word)
        except SpecError:
            faults.append(f"word {word}")
    for entry in (*OBJECTIVES.values(), *ESTIMATORS.values()):
        default = word_of(entry())
        if ":" in default and not getattr(entry, "learned", ()):
            faults += [] if default in words else [f"no default {default}"]
            others = {word for word in words if word.startswith(f"{entry.name}:")} - {default}
            faults += [] if others else [f"no example {entry.name}"]
    return faults


def data_faults(readme: str) -> list[str]:
    """Every way in which the README's table of data sets is not what the catalogue says."""
    expected: dict[str, str] = {}
    for name, entry in DATASETS.items():
        if isinstance(entry, Embedded):
            splits = entry.load().splits
            cuts = {entry.convention: {split: len(splits[split]) for split in Split}}
        else:
            cuts = {cut: found.sizes for each in entry.file_sets for cut, found in each.conventions.items()}
        expected[name] = ", ".join(
            f"{cut} {' / '.join(f'{sizes[split]:,}' for split in Split)}" for cut, sizes in cuts.items()
        )
    header = "| `--dataset` | images | splits by name, the first is the default: train / valid / test |"
    stated = {name: cuts for name, _, cuts in _rows(readme, header)}
    stated = {name: cuts.replace("of the two small archives alone ", "") for name, cuts in stated.items()}
    return [name for name in expected | stated if expected.get(name) != stated.get(name)]


def test_readme_states_every_data_set_and_its_splits() -> None:
    assert set(DATASETS) == set(DatasetName)
    assert data_faults(README) == []
    for right, wrong, fault in [
        ("`burda` 59,600 / 400 / 10,000, `larochelle`", "`burda` 59,600 / 4,000 / 10,000, `larochelle`", "mnist"),
        ("| `linear-gaussian` |", "| `linear` |", "linear-gaussian"),
    ]:
        assert README.count(right) == 1
        assert fault in data_faults(README.replace(right, wrong))


def test_readme_states_every_pair_and_its_promise() -> None:
    assert readme_faults(README) == []
    known = {f"{pair.objective.name}/{pair.estimator.name}" for pair in pairs.all_pairs()}
    assert set(REFERENCE_NAMES.values()) <= known


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("| `iwae` | `stl` | unbiased | biased: iwae + rws |", "| `iwae` | `stl` | unbiased | unbiased |", "pairs"),
        ("| `iwae` | `stl` | unbiased | biased: iwae + rws |", "| `iwae` | `stl` | unbiased | biased |", "pairs"),
        ("| `rws` | `dreg-norm` | needs K >= 2 |", "| `rws` | `dreg-norm` | unbiased |", "pairs"),
        ("| `iwae` | `dreg` | unbiased | unbiased | `v^2` | `0` |\n", "", "pairs"),
        (
            "| `rws` | `reparam` |",
            "| `rws` | `stl` | unbiased | biased | `0` | `0` |\n| `rws` | `reparam` |",
            "pairs",
        ),
        (
            "| `iwae` | `dreg` | unbiased | unbiased | `v^2` |",
            "| `iwae` | `dreg` | unbiased | unbiased | `v` |",
            "pairs",
        ),
        ("<summary>All ", "<summary>All 1", "number of pairs"),
        ("an estimate of log p(x) and not a bound | `g` |", "an estimate | `v` |", "objectives"),
        ("| `reparam`, `dreg` | `dreg-norm` |", "| `reparam`, `dreg`, `dreg-norm` | none |", "objectives"),
        ("`jk-dreg` | `jvi/dreg`", "`jk-dreg` | `iwae/dreg`", "reference names"),
        ("--objective jvi --estimator reparam", "--objective iwae --estimator reparam", "reference names"),
        ("| `M` | groups |\n", "", "symbols"),
        ("`ciwae:beta=0.4`", "`ciwae:alpha=0.4`", "word ciwae:alpha=0.4"),
        ("`dreg-alpha:alpha=0.9`", "`dreg-alpha:alpha=0.8`", "no default dreg-alpha:alpha=0.9"),
    ],
)
def test_a_readme_that_says_something_else_is_caught(right: str, wrong: str, fault: str) -> None:
    assert README.count(right) == 1
    assert fault in readme_faults(README.replace(right, wrong))


def test_readme_commands_exist(capsys) -> None:
    """Every `dreg ...` line in a code block names a command and options that its help knows."""
    commands = re.findall(r"^\s*(?:\$ )?(?:.*&& )?(?:\.venv/bin/)?dreg ([a-z].*)$", README, flags=re.MULTILINE)
    assert len(commands) >= 5
    for text in commands:
        words = shlex.split(text, comments=True)
        capsys.readouterr()
        command = words[:2] if words[0] in ("data", "runs") else words[:1]
        assert main([*command, "--help"]) == 0
        shown = capsys.readouterr().out
        for word in words:
            if word.startswith("--"):
                assert word in shown, f"{word} is not an option of dreg {' '.join(command)}"


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^(\.venv/bin/pip install .*pytest)$", README, flags=re.MULTILINE)
    assert command
    assert command.group(1) in (ROOT / ".ci/run").read_text()


def _python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_examples_in_python_run() -> None:
    """The README's blocks, each by itself, and the docstrings of the public functions, as written."""
    scopes: list[dict[str, Any]] = []
    for block in _python_blocks():
        scope: dict[str, Any] = {}
        with torch.random.fork_rng():
            exec(compile(block, "README.md", "exec"), scope)
        scopes.append(scope)
    (weights,) = [scope["c"] for scope in scopes if "coefficients" in scope]
    assert weights.path.shape == (64, 32)
    (bounds,) = [scope["bounds"] for scope in scopes if "bounds" in scope]
    # 8 patterns of 64 random pixels: a model that ignores its latents gets no further than the pixels' own entropies,
    # 39.5 nats, and one that tells the patterns apart to log 8.
    assert bounds[0] < -40.0
    assert bounds[-1] > -15.0
    (stl,) = [scope["found"] for scope in scopes if "check_bias" in scope]
    assert (stl.pair.estimator.name, stl.verdict) == ("stl", "biased")
    for module in (pairs, loss):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0


def test_the_example_of_ones_own_model_is_short() -> None:
    (block,) = [each for each in _python_blocks() if "bounds" in each]
    assert len(block.splitlines()) <= 30
