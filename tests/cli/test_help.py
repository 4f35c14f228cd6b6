"""``--help`` says what the program knows."""

import os
import subprocess
import sys

import pytest

from dregcli.data.catalogue import DATASETS
from dregcli.names import EstimatorName, ObjectiveName, Split
from dregcli.specs.execution import DEFAULT_INFLATION
from dregcli.specs.presets import DEFAULTS, PRESETS
from dregcli.specs.run import RunSpec
from tests.support.cli import run


def test_train_help_names_all_there_is_and_the_defaults_as_they_are(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = run(capsys, "train", "--help").out
    for name in (*DATASETS, *ObjectiveName, *EstimatorName, *PRESETS):
        assert name in shown
    lines = {line.split()[1]: line for line in shown.splitlines() if line.startswith("│ --")}
    fields = {name: field.default for name, field in RunSpec.model_fields.items()} | DEFAULTS
    by_kind = "by the data's kind"
    fields |= {"binarisation": by_kind, "likelihood": by_kind, "split_convention": "the data set's first"}
    fields |= {
        "screen_inflation": DEFAULT_INFLATION,
        "screen_precision": "bfloat16 where it is faster",
        "track_estimators": "none",
    }
    checked = 0
    for name, value in fields.items():
        if (line := lines.get("--" + name.replace("_", "-"))) and "[default:" in line:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert f"[default: ({text})]" in line, name
            checked += 1
    assert checked >= 24


@pytest.mark.parametrize("command", ["download", "train", "finetune-encoder", "eval", "sample", "report"])
def test_every_help_has_an_example(capsys, command) -> None:
    assert f"dreg {command} " in run(capsys, command, "--help").out


def test_eval_help_names_the_splits(capsys) -> None:
    shown = run(capsys, "eval", "--help").out
    assert all(split in shown for split in Split)


def test_a_reader_that_leaves_is_no_verdict() -> None:
    """As in `dreg estimators | head -1`: exit 1 would mean that a check found something."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dregcli", "estimators"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""
