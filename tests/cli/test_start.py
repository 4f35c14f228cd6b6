"""What a command imports before it answers, and what a shell is given to complete: all of it in one new process."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dregcli.cli.lazy import CommandByName
from dregcli.cli.tree import COMMANDS
from dregcli.engine import ESTIMATORS, OBJECTIVES
from dregcli.names import DatasetName
from dregcli.specs.presets import PRESETS
from tests.support.cli import run
from tests.support.store_study import add_study

PROGRAM = """
import contextlib, io, json, os, sys
from dregcli.cli.main import main

found = []
for words, variables in json.loads(sys.stdin.read()):
    os.environ.update(variables)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    for variable in variables:
        del os.environ[variable]
    found.append([code, out.getvalue(), err.getvalue(), sorted(sys.modules)])
print(json.dumps(found))
"""
"""Runs commands one after the other, and lists all that is loaded after each: those come first that load least."""

HEAVY = {"torch", "torchvision", "numpy", "h5py", "scipy", "sklearn", "matplotlib", "PIL", "jinja2", "safetensors"}
NAME, OTHER = "digits-iwae-dreg-k64", "digits-iwae-stl-k64"

SHOWN = ("--version", "--help", "runs --help", "data --help")
COMPLETED = {
    "t": ["train"],
    "d": ["download", "data"],
    "runs re": ["rerun"],
    "--v": ["--version"],
    "runs show --runs-dir ELSEWHERE m": ["mine", "mine/v001"],
    "runs list --json m": [],
    "runs list --estimator vimco": ["vimco", "vimco-star"],
    "runs list --objective ": [*OBJECTIVES],
    "data show ": [*DatasetName, "faces"],
    "data rm ": ["faces"],
    "data verify --data-dir ELSEWHERE ": [*DatasetName],
}
"""What is typed, and the words that bash is given for the last one."""
OF_SETTINGS = {
    "eval --checkp": ["--checkpoint"],
    "eval digits-iwae-d": [NAME, f"{NAME}/v001", f"{NAME}/v002"],
    "eval digits": [NAME, OTHER],
    f"eval {NAME}/v001 {OTHER}/": [f"{OTHER}/v001", f"{OTHER}/v002"],
    "eval x --split ": ["train", "valid", "test"],
    "train --lat": ["--latent-dim"],
    "train --objective iwae,rw": ["iwae,rws"],
    "train --model vae,co": ["vae,conv"],
    "train --objective=v": ["vr-iwae"],
    "train --estimator stl --estimator dreg-": [each for each in ESTIMATORS if each.startswith("dreg-")],
    "train --track-estimators stl,ovi": ["stl,ovis", "stl,ovis-mc"],
    "train --dataset fa": ["fashion-mnist", "faces"],
    "train --preset ": [*PRESETS],
    f"train --resume {NAME}": [NAME, f"{NAME}/v001", f"{NAME}/v002"],
}
"""The same for commands whose options are generated from pydantic fields."""
READS = (
    *(
        "data list",
        "data verify",
        f"runs show {NAME}",
        f"runs diff {NAME}/v001 {OTHER}/v001",
        f"runs tag {NAME} --add t",
    ),
    *(f"runs note {NAME} x", "runs list --estimator dreg", "runs verify", "runs doctor", "runs gc --yes"),
    *(f"runs export {NAME}/v001 x.zip", "runs import x.zip --name y", "runs rm y --yes", "report --time-to -91"),
    "runs export --tensorboard logs",
    "report --csv runs.csv --latex table.tex --cite",
)
DRAWS = "report --figures figures"


@dataclass(frozen=True)
class Answer:
    """Of one command: its exit code, its output, and what was loaded after it."""

    code: int
    out: str
    err: str
    loaded: frozenset[str]

    @property
    def packages(self) -> set[str]:
        return {name.partition(".")[0] for name in self.loaded}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What every command line of above gave."""
    here = tmp_path_factory.mktemp("start")
    add_study(here / "runs", estimators={"dreg": -88.0, "stl": -88.5}, seeds=range(2))
    (here / "elsewhere/mine/v001").mkdir(parents=True)
    (here / "data").mkdir()
    (here / "data/faces.h5").touch()
    completed = {
        line: line.replace("ELSEWHERE", str(here / "elsewhere")).split(" ") for line in COMPLETED | OF_SETTINGS
    }
    bash = {
        line: {
            "COMP_WORDS": " ".join(("dreg", *words)),
            "COMP_CWORD": str(len(words)),
            "_DREG_COMPLETE": "complete_bash",
        }
        for line, words in completed.items()
    }
    zsh = {"_DREG_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "dreg runs "}
    helps = [f"{typed} --help" for typed in COMMANDS]
    asked: dict[str, tuple[list[str], dict[str, str]]] = {
        **{line: (line.split(), {}) for line in SHOWN},
        **{line: ([], bash[line]) for line in COMPLETED},
        "zsh": ([], zsh),
        **{line: ([], bash[line]) for line in OF_SETTINGS},
        **{line: (line.split(), {}) for line in (*helps, *READS, DRAWS)},
    }
    folders = {"DREG_RUNS_DIR": str(here / "runs"), "DREG_DATA_DIR": str(here / "data"), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(asked.values())),
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env=os.environ | folders,
    )
    return {
        line: Answer(code, out, err, frozenset(loaded))
        for line, (code, out, err, loaded) in zip(asked, json.loads(done.stdout), strict=True)
    }


def test_help_and_version_import_no_command_and_nothing_heavy(answers: dict[str, Answer]) -> None:
    for line in SHOWN:
        assert answers[line].code == 0, answers[line].err
        assert not answers[line].packages & {*HEAVY, "pydantic"}, line
        commands = {f"dregcli.cli.{place.module}" for place in COMMANDS.values()}
        assert not answers[line].loaded & commands, line
    assert "rich" not in answers["--version"].packages


def test_a_shell_is_given_what_there_is_and_loads_little_for_it(answers: dict[str, Answer]) -> None:
    for line, words in (COMPLETED | OF_SETTINGS).items():
        assert (answers[line].code, answers[line].out.split()) == (0, words), (line, answers[line].err)
        assert not answers[line].packages & (HEAVY if line in OF_SETTINGS else {*HEAVY, "pydantic"}), line
    assert '"list":"List the runs of a store' in answers["zsh"].out


def test_no_help_of_a_command_imports_what_computes(answers: dict[str, Answer]) -> None:
    for line, answer in answers.items():
        if line.endswith("--help"):
            assert answer.code == 0, answer.err
            assert not answer.packages & HEAVY, line


def test_what_reads_runs_and_data_sets_loads_no_torch(answers: dict[str, Answer]) -> None:
    for line in READS:
        assert answers[line].code in (0, 1), (line, answers[line].err)
        assert not answers[line].err.startswith("error"), line
        assert not answers[line].packages & {"torch", "torchvision", "tensorflow", "matplotlib", "jinja2", "PIL"}, (
            line
        )
        assert "dregcli.engine" not in answers[line].loaded, line
    assert answers[DRAWS].code == 0, answers[DRAWS].err
    assert not answers[DRAWS].loaded & {"torch", "matplotlib.pyplot", "dregcli.engine"}


def test_the_summary_of_a_command_is_the_first_paragraph_of_its_help(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = {within: run(capsys, *within.split(), "--help").out for within in ("", "data", "paper", "runs", "spec")}
    for typed, place in COMMANDS.items():
        command = CommandByName(typed, place).load()
        assert place.summary() == " ".join((command.help or "").partition("\n\n")[0].split()) != "", typed
        within, _, name = typed.rpartition(" ")
        lines = [line for line in shown[within].splitlines() if line.startswith(f"│ {name} ")]
        assert len(lines) == 1, typed
        assert place.summary() in lines[0], typed
        assert command.name == name


def test_every_parameter_with_words_is_completed() -> None:
    """Runs, data sets and words have the same names in all commands; one that is new must be known to completion."""
    expected = {"run", "runs", "objective", "estimator", "dataset", "device", "threads", "checkpoint", "task"}
    expected |= {"split", "split_convention"}
    for typed, place in COMMANDS.items():
        for parameter in CommandByName(typed, place).load().params:
            given = parameter._custom_shell_complete is not None
            is_run = "RUN" in (parameter.metavar or "")
            assert given or not (parameter.name in expected or is_run), f"{typed}: {parameter.name}"


def test_bash_completes_what_is_typed(tmp_path: Path) -> None:
    """With the script that the program shows for it."""
    program_ = tmp_path / "dreg"
    program_.write_text(f'#!/bin/sh\nexec {sys.executable} -m dregcli "$@"\n')
    program_.chmod(0o755)
    script = (
        'eval "$(dreg --show-completion)"; COMP_WORDS=(dreg train --estimator vimco-); COMP_CWORD=3\n'
        '_dreg_completion dreg; echo "${COMPREPLY[*]}"; complete -p dreg'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PATH": path}
    )
    assert done.stdout.split("\n")[:2] == ["vimco-star", "complete -o default -F _dreg_completion dreg"], done.stderr


def test_a_shell_that_is_not_known_is_a_usage_error(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for known in ("nushell", None):
        monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda known=known: known)
        monkeypatch.setattr("typer.completion._get_shell_name", lambda known=known: known)
        for option in ("--show-completion", "--install-completion"):
            outcome = run(capsys, option)
            assert (outcome.code, "your shell was not recognised" in outcome.err) == (2, True), option
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    assert run(capsys, "--install-completion").code == 0
    assert "dreg" in (tmp_path / ".bashrc").read_text()
