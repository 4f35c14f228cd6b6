"""``dreg report --columns``, ``--sort``, ``--width`` and ``--curves`` as a user has them."""

import csv
import io
import math
from pathlib import Path

import pytest

from dregcli.store.runs import RunStore
from tests.support.cli import run
from tests.support.mixed_store import make_mixed_store


@pytest.fixture(autouse=True)
def mixed(once, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mixed store, which no test changes."""
    root: Path = once("a mixed store", make_mixed_store)
    monkeypatch.setenv("DREG_RUNS_DIR", str(root))
    return root


STUDY = ("mnist-iwae-dreg-k64", "mnist-iwae-stl-k64", "mnist-structured-iwae-dreg-k64")


def groups(out: str) -> list[list[list[str]]]:
    """The tables of groups of each section, as cells; columns are two spaces apart."""
    found: list[list[list[str]]] = []
    lines = out.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("groups by their "):
            table = [[cell for cell in row.split("  ") if cell] for row in lines[i + 1 :]]
            width = len(table[0])
            rows = [[cell.strip() for cell in row] for row in table]
            found.append(rows[: next((j for j, row in enumerate(rows) if len(row) != width), len(rows))])
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_columns_are_those_asked_for_in_their_order(capsys) -> None:
    outcome = run(capsys, "report", *STUDY, "--columns", "group,k-hat, lr,mean,hidden,train")
    assert outcome.code == 0, outcome.err
    first, second = groups(outcome.out)
    assert first[0] == ["group", "k-hat above 0.7", "lr", "mean ± s.e.", "hidden", "final train bound ± s.e."]
    assert [row[1:4] for row in first[1:]] == [["25 %", "0.001", "-86.73 ± 0.16"], ["25 %", "0.001", "-87.21 ± 0.11"]]
    assert [row[4] for row in (*first[1:], *second[1:])] == ["200,200"] * 3
    assert second[1][1] == "-", "a final bound has no k-hat"
    assert outcome.out.count("\nk-hat: only evaluations have them, and the groups are listed by") == 1


def test_what_decides_comes_first(capsys) -> None:
    (first, *_) = groups(run(capsys, "report", *STUDY).out)
    assert first[0][:6] == ["group", "seeds", "mean ± s.e.", "minus best", "verdict", "best seed"]
    assert [row[3:5] for row in first[1:]] == [["-", "-"], ["-0.4788 ± 0.0580", "not tested"]]


def test_the_order_is_the_one_asked_for(capsys) -> None:
    words = ("report", *STUDY[:2], "--columns", "group,mean", "--sort")
    assert [row[1] for row in groups(run(capsys, *words, "mean").out)[0][1:]] == ["-87.21 ± 0.11", "-86.73 ± 0.16"]
    turned = run(capsys, *words, "mean", "--reverse").out
    assert [row[1] for row in groups(turned)[0][1:]] == ["-86.73 ± 0.16", "-87.21 ± 0.11"]
    by_name = run(capsys, *words, "estimator", "--reverse").out
    assert [row[0].split()[0] for row in groups(by_name)[0][1:]] == ["iwae/stl", "iwae/dreg"]


def test_the_table_of_runs_takes_them_too(capsys, tmp_path: Path) -> None:
    words = ("--columns", "run,seed,bound_nats.test", "--sort", "bound_nats.test")
    outcome = run(capsys, "report", "--csv", "-", *words)
    assert outcome.code == 0, outcome.err
    found = rows(outcome.out)
    assert list(found[0]) == ["run", "seed", "bound_nats.test"]
    bounds = [float(row["bound_nats.test"]) for row in found if row["bound_nats.test"]]
    assert bounds == sorted(bounds)
    assert [row["bound_nats.test"] for row in found[len(bounds) :]] == [""] * 3, "runs without a bound come last"
    largest = rows(run(capsys, "report", "--csv", "-", *words, "--reverse").out)
    assert float(largest[0]["bound_nats.test"]) == bounds[-1]
    assert largest[-1]["bound_nats.test"] == ""
    both = run(capsys, "report", *STUDY, "--csv", tmp_path / "a.csv", "--columns", "run,mean,seed")
    assert both.code == 0, both.err
    assert list(rows((tmp_path / "a.csv").read_text())[0]) == ["run", "seed"]
    assert groups(both.out)[0][0] == ["mean ± s.e."]


def test_the_table_of_runs_says_in_which_section_a_run_is(capsys) -> None:
    found = rows(run(capsys, "report", "--csv", "-").out)
    assert {row["section"] for row in found} >= {"digits", "mnist", "mnist, structured"}
    assert {row["label"].split()[0] for row in found if row["section"] == "mnist"} >= {"iwae/dreg", "iwae/stl"}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("--columns", "group,men"),
            ["columns: no column is called 'men'. Did you mean 'mean'? Known: group, seeds"],
        ),
        (("--sort", "lrr"), ["sort: no column is called 'lrr'. Did you mean 'lr'?", "batch-size"]),
        (("--columns", "a,b", "--sort", "c"), ["'a'", "'b'", "sort: no column is called 'c'"]),
        (("--columns", "mean", "--csv", "-"), ["Known: run, section, group, label"]),
        (("--columns", ","), ["columns: needs names"]),
        (("--reverse",), ["reverse: needs --sort COLUMN"]),
        (
            ("--curves", "-", "--columns", "mean"),
            ["columns: changes the tables and --csv, and this command prints neither"],
        ),
        (("--latex", "-", "--sort", "mean"), ["sort: changes the tables and --csv"]),
        (("--cite", "--sort", "mean"), ["sort: changes the tables and --csv"]),
        (("--curves", "-", "--csv", "-"), ["only one of --csv - and --curves - can use it"]),
        (("--curves", "."), ["curves: . is a folder"]),
        (("--width", "3"), ["'--width'"]),
    ],
)
def test_what_cannot_be_is_refused_with_the_names_that_can(capsys, tmp_path, monkeypatch, words, named) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(capsys, "report", *words)
    assert outcome.code == 2
    assert [text for text in named if text not in outcome.err] == []
    assert outcome.out == ""


def test_a_width_for_a_pipe(capsys) -> None:
    wide = run(capsys, "report", *STUDY).out
    narrow = run(capsys, "report", *STUDY, "--width", 60).out
    table = narrow[narrow.index("groups by") : narrow.index("no test of which")].splitlines()[1:]
    assert max(map(len, table)) <= 60
    assert max(map(len, wide.splitlines())) > 60


def test_curves_have_a_row_for_each_logged_step_of_each_run_and_split(capsys, mixed: Path, tmp_path: Path) -> None:
    outcome = run(capsys, "report", "--curves", tmp_path / "curves.csv")
    assert outcome.code == 0, outcome.err
    found = rows((tmp_path / "curves.csv").read_text())
    assert list(found[0])[:10] == [
        *("run", "section", "group", "label", "seed", "status", "split"),
        *("step", "seconds", "bound"),
    ]
    assert "dreg.posterior_variance_window" in found[0]
    (stored,) = RunStore(mixed).resolve("mnist-iwae-stl-k64/v002")
    for split, metrics in stored.all_metrics().items():
        of_run = [row for row in found if row["run"] == stored.label and row["split"] == split]
        assert {(row["section"], row["seed"], row["status"]) for row in of_run} == {("mnist", "1", "completed")}
        for name, values in metrics.items():
            assert [float(row[name]) for row in of_run] == pytest.approx(values.tolist(), rel=1e-15)
        assert [float(row["seconds"]) for row in of_run] == pytest.approx([float(row["step"]) / 41 for row in of_run])
        assert {row["dreg.posterior_variance_window"] for row in of_run} == {""}, "what was not logged is empty"
    assert {row["status"] for row in found} == {"completed", "failed", "interrupted", "running"}
    assert all(float(row["step"]) == int(row["step"]) for row in found), "steps are whole numbers"
    assert rows(run(capsys, "report", "--curves", "-").out) == found


def test_curves_in_json_are_the_same(capsys) -> None:
    text = rows(run(capsys, "report", *STUDY, "--curves", "-").out)
    outcome = run(capsys, "report", *STUDY, "--curves", "-", "--json")
    assert outcome.code == 0, outcome.err
    flat = [
        {**{name: str(value) for name, value in each.items() if name != "columns"}, "step": step, "bound": bound}
        for each in outcome.json["curves"]
        for step, bound in zip(each["columns"]["step"], each["columns"]["bound"], strict=True)
    ]
    assert [{**row, "step": float(row["step"]), "bound": float(row["bound"])} for row in flat] == [
        {**{name: row[name] for name in flat[0]}, "step": float(row["step"]), "bound": float(row["bound"])}
        for row in text
    ]
    assert "curves" not in run(capsys, "report", *STUDY, "--json").json
    assert all(math.isfinite(row["bound"]) for row in flat)


def test_json_names_the_section_of_every_group_and_comparison(capsys) -> None:
    found = run(capsys, "report", "--json").json
    sections = {group["group"]: group["section"] for group in found["groups"]}
    assert {"digits", "mnist", "mnist, structured"} <= set(sections.values())
    for comparison in found["comparisons"]:
        assert {sections[each["group"]] for each in comparison["groups"]} == {comparison["section"]}
