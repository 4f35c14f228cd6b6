"""``dreg paper`` as a user has it."""

from pathlib import Path

import pytest

from dregcli.specs.papers.named import paper_names
from tests.support.cli import run
from tests.support.data_few import few_digits
from tests.support.no_figures import no_ink
from tests.support.papers import TOY, TRAINING
from tests.support.quick_training import quick_training


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick_training(monkeypatch)
    few_digits(monkeypatch)
    no_ink(monkeypatch)
    monkeypatch.chdir(tmp_path)


def test_an_experiment_of_ones_own(capsys, real_figures) -> None:
    Path("my.toml").write_text(f'shorter = "10 of 40 steps"\n{TRAINING}')
    first = run(capsys, "paper", "run", "my.toml", "--dry-run")
    assert (first.code, "4 new" in first.out, "this takes about" in first.out) == (0, True, True)
    short = run(capsys, "paper", "run", "my.toml", "--scale", 0.25, "--json")
    assert short.code == 0, short.err
    assert "scale 0.25: steps: 10 -> 2" in short.err
    found = short.json
    assert (found["missing"], found["scale"], found["exit_code"]) == ("", 0.25, 0)
    assert found["compared"][0]["shorter"] == "10 of 40 steps; steps 2 of 10; samples of the evaluation 2 of 6"
    left_out = "steps 2 in place of 10; seeds 1 in place of 2; samples of the evaluation 2 in place of 6"
    assert found["left_out"].startswith(
        f"Our runs are shorter than the paper's: 10 of 40 steps. At scale 0.25 ({left_out})"
    )
    shown = run(capsys, "paper", "run", "my.toml", "--scale", 0.25)
    for text in (
        "published numbers beside ours",
        "differences over shared seeds",
        "by eye in a picture",
        "2 runs: 2 done before",
        "figure: papers/my",
    ):
        assert text in shown.out
    assert "shorter than the paper: 10 of 40 steps" in run(capsys, "paper", "show", "my.toml").out
    exported = run(capsys, "paper", "export", "my.toml", "--scale", 0.25, "--to", "results", "--json")
    assert all(Path(each).exists() for each in exported.json["files"])
    refused = run(capsys, "paper", "run", "my.toml", "--scale", 2, "--jobs", 0)
    assert (refused.code, "scale: must be more than 0" in refused.err) == (2, True)


def test_a_faulty_file_is_refused_with_lines_and_no_traceback(capsys) -> None:
    Path("my.toml").write_text(TOY.replace('kind = "toy-gradients"', 'kind = "toys"'))
    refused = run(capsys, "paper", "run", "my.toml")
    assert refused.code == 2
    assert "line 6: experiment: kind must be one of training, toy-gradients, got 'toys'." in refused.err
    assert "next:  a file that works" in refused.err


def test_what_there_is(capsys) -> None:
    listed = run(capsys, "paper", "list")
    assert listed.code == 0
    assert all(name in listed.out for name in paper_names())
    assert "dreg download binarized-mnist" in listed.out
    shown = run(capsys, "paper", "show", "burda2015-1layer")
    assert all(text in shown.out for text in ("-84.78", "table 1", "nbip/IWAE, README", "5,000 samples"))
    assert "no published number to compare with" in run(capsys, "paper", "show", "tucker2018-mnist").out
    Path("copy.toml").write_text(run(capsys, "paper", "show", "ovis2020-sbn", "--toml").out)
    copied, own = (run(capsys, "paper", "show", word, "--json").json for word in ("copy.toml", "ovis2020-sbn"))
    assert copied["published"] == own["published"]
    Path("ovis2020-sbn.toml").write_text(Path("copy.toml").read_text() + "\n")
    taken = run(capsys, "paper", "show", "ovis2020-sbn.toml")
    assert (taken.code, "rename your file, for example to my-ovis2020-sbn.toml" in taken.err) == (2, True)
    unknown = run(capsys, "paper", "show", "tucker2018")
    assert (unknown.code, "dreg paper list" in unknown.err) == (2, True)
