"""``--help`` says what the program knows."""

import os
import subprocess
import sys

import pytest

from dregcli import synonyms
from dregcli.cli import tree
from dregcli.cli.lazy import CommandByName
from dregcli.data.catalogue import DATASETS
from dregcli.defaults import MOST_TRAINING_EVAL_K
from dregcli.engine import ESTIMATORS, OBJECTIVES
from dregcli.names import Split, split_word
from dregcli.specs.execution import DEFAULT_INFLATION
from dregcli.specs.options import RunOptions
from dregcli.specs.presets import PRESETS
from tests.support.cli import SMALL, run


def test_train_help_names_all_there_is_and_the_defaults_as_they_are(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = run(capsys, "train", "--help").out
    for name in (*DATASETS, *OBJECTIVES, *ESTIMATORS, *PRESETS):
        assert name in shown
    lines = {line.split()[1]: line for line in shown.splitlines() if line.startswith("│ --")}
    fields = {name: field.default for name, field in RunOptions.model_fields.items()}
    by_kind = "depends on the kind of data"
    fields |= {"hidden": "200,200; hierarchical: 200,200/100,100", "posterior": "diagonal"}
    fields |= {"latent_dim": "50; linear-gaussian: 5; hierarchical: 100,50; sbn: 200,200,200"}
    fields |= {"posterior_order": "bottom-up", "top_prior": "standard"}
    fields |= {"binarisation": by_kind, "likelihood": by_kind, "split_convention": "the data set's first"}
    fields |= {
        "screen_inflation": DEFAULT_INFLATION,
        "screen_precision": "the fastest one here",
        "eval_k": f"the K of training, at most {MOST_TRAINING_EVAL_K:,}",
        "track_estimators": "none",
        "lr_posterior": "--lr",
        **dict.fromkeys(("grad_clip", "ema", "patience"), "none"),
    }
    checked = 0
    for name, value in fields.items():
        if (line := lines.get("--" + name.replace("_", "-"))) and "[default:" in line:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert f"[default: ({text})]" in line, name
            checked += 1
    assert checked >= 27


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


COMMANDS = {(): [], ("runs",): [], ("data",): []} | {
    tuple(typed.split()): [name for each in CommandByName(typed, place).load().params for name in each.opts]
    for typed, place in tree.COMMANDS.items()
}
"""The options of every command, by what is typed for it; of groups, too."""


def test_h_is_help_everywhere(capsys) -> None:
    for words in COMMANDS:
        shown = run(capsys, *words, "-h")
        assert (shown.code, f"Usage: {' '.join(('dreg', *words))} " in shown.out) == (0, True), words


def test_words_of_the_field_get_the_option_of_the_command(capsys) -> None:
    """By option, what people type for it; by command where it is another there."""
    for command, option, typed in (
        ("train", "lr", "learning-rate learning_rate Learning-Rate step-size"),
        ("train", "optimizer", "optim optimiser weight-decay"),
        ("train", "lr-schedule", "scheduler lr_scheduler"),
        ("train", "grad-clip", "clip max-grad-norm"),
        ("train", "patience", "early-stopping"),
        ("train", "estimator", "est estim method"),
        ("train", "epochs", "n-epochs num_epochs"),
        ("train", "steps", "iterations num-steps max-iters"),
        ("train", "batch-size", "batch bs batch_size"),
        ("train", "k", "num-samples n-samples samples importance-samples num_particles"),
        ("train", "latent-dim", "latent z-dim dim-z latent-size"),
        ("train", "dataset", "data ds"),
        ("train", "runs-dir", "model-dir output out log-dir"),
        ("train", "device", "gpu cuda"),
        ("train", "objective", "loss alpha"),
        ("train", "checkpoint-every", "save-every ckpt-interval"),
        ("eval", "k", "num-samples importance-samples"),
        ("eval", "data-dir", "data data-root"),
        ("eval", "n", "num-examples"),
        ("sample", "n", "num-samples n-images"),
        ("bias-check", "max-batches", "iterations num-batches"),
        ("bias-check", "examples", "batch-size"),
        ("variance", "out", "output"),
        ("report", "html", "output"),
        ("runs list", "limit", "num-examples"),
        ("runs export", "tensorboard", "logdir"),
        ("data import", "valid", "val validation-size"),
    ):
        for word in typed.split():
            outcome = run(capsys, *command.split(), f"--{word}", "1")
            assert outcome.code == 2
            assert outcome.err.startswith(f"error: No such option: --{word}. Did you mean '--{option}'?"), outcome.err
            assert f"dreg {command} --help" in outcome.err
    assert "No such option: -lr. Did you mean '--lr'?" in run(capsys, "train", "-lr", "1").err
    assert "No such option: -k. Did you mean '--k'?" in run(capsys, "train", "-k=4").err
    assert "Did you mean" not in run(capsys, "report", "--batch", "1").err, "a word that has no place here"


def test_the_table_of_synonyms_names_what_there_is_and_nothing_that_is_an_option() -> None:
    known = {name.removeprefix("--") for names in COMMANDS.values() for name in names} | {"help"}
    for options, called in synonyms._OPTIONS:
        assert set(options.split()) <= known, options
        assert called.split(), options
    for group, commands in synonyms._COMMANDS.items():
        for command, called in commands:
            words = tuple(word for word in command.split() if not word.startswith("--"))
            assert words in COMMANDS, command
            for typed in called.split():
                assert (*group.split(), typed) not in COMMANDS


def test_a_misspelt_command_or_what_it_is_called_elsewhere(capsys) -> None:
    for typed, told in (
        ("trian", "Did you mean 'train'"),
        ("evl", "Did you mean 'eval'?"),
        ("evaluate x", "Did you mean 'dreg eval'?"),
        ("fit", "Did you mean 'dreg train'?"),
        ("resume x", "Did you mean 'dreg train --resume'?"),
        ("ls", "Did you mean 'dreg runs list'?"),
        ("runs lst", "Did you mean 'list'?"),
        ("runs delete x", "Did you mean 'dreg runs rm'?"),
        ("data download mnist", "Did you mean 'dreg download'?"),
    ):
        outcome = run(capsys, *typed.split())
        assert (outcome.code, told in outcome.err) == (2, True), outcome.err


def test_a_config_and_a_split_take_the_words_of_the_field(capsys, ready, tmp_path) -> None:
    (tmp_path / "c.toml").write_text("learning_rate = 1e-3\nbatch = 4\nzzzz = 1\n")
    outcome = run(capsys, "train", "--config", tmp_path / "c.toml")
    assert "learning-rate: there is no such option. Did you mean 'lr'?" in outcome.err
    assert "batch: there is no such option. Did you mean 'batch-size'?" in outcome.err
    assert "zzzz: there is no such option.\n" in outcome.err
    for word in ("valid", "val", "validation", "dev", "Validation"):
        assert split_word(word) == "valid"
    assert [split_word(word) for word in ("training", "testing", "x")] == ["train", "test", "x"]
    ready(*SMALL, name="t")
    evaluated = run(capsys, "eval", "t", "--split", "validation", "--k", 1, "--json")
    assert evaluated.json["results"][0]["split"] == "valid"
    wrong = run(capsys, "data", "show", "digits", "--split", "vallid")
    assert (wrong.code, "Did you mean 'valid'?" in wrong.err) == (2, True)
