"""Groups as a table of a paper: it compiles, its digits are honest, and bold is by the test."""

import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from dregcli.app.reporting.exports import report_latex
from dregcli.app.reporting.report import make_report
from dregcli.names import RunStatus
from dregcli.report.aggregate import Aggregate
from dregcli.report.comparison import compare
from dregcli.report.labels import labels
from dregcli.report.latex_table import latex_table
from dregcli.report.latex_text import decimals, escaped, mean, plain, rate
from tests.support.latex_check import cells_of, faults
from tests.support.store_study import add_eval, add_run, add_study


def made(root: Path, *references: str) -> str:
    text = report_latex(make_report(references, runs_dir=root), command="dreg report --latex -")
    assert faults(text) == []
    return text


def body(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith("%"))


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (-88.1234, 0.0512, r"$-88.12 \pm 0.05$"),
        (-88.1234, 0.0123, r"$-88.123 \pm 0.012$"),
        (-88.1234, 0.0996, r"$-88.12 \pm 0.10$"),
        (-88.1234, 0.0194, r"$-88.123 \pm 0.019$"),
        (-88.1234, 0.0196, r"$-88.12 \pm 0.02$"),
        (-88.1234, 0.2, r"$-88.1 \pm 0.2$"),
        (-88.1234, 1.26, r"$-88.1 \pm 1.3$"),
        (-88.1234, 23.4, r"$-88 \pm 23$"),
        (-88.1234, 0.0, r"$-88.12 \pm 0.00$"),
        (-88.1234, None, r"$-88.12$"),
        (math.nan, None, "--"),
        (-math.inf, 0.1, "--"),
    ],
)
def test_as_many_digits_as_the_standard_error_justifies(value: float, stderr: float | None, text: str) -> None:
    assert mean(Aggregate(value, stderr, value, 5)) == text


def test_digits_for_errors_of_every_size() -> None:
    for exponent in range(-8, 3):
        for leading in range(100, 1000, 7):
            stderr = leading * 10.0 ** (exponent - 2)
            shown = f"{stderr:.{decimals(stderr)}f}"
            assert abs(float(shown) - stderr) <= 0.06 * stderr + 0.5 * 10.0 ** -decimals(stderr)
            digits = shown.replace(".", "").lstrip("0")
            assert len(digits) <= 2 or decimals(stderr) == 0, shown
    assert mean(None) == "--"


def test_rates_and_text() -> None:
    assert [rate(value) for value in (1234.6, 123.4, 12.34, 0.12345, 0.0, math.nan)] == [
        "$1{,}235$", "$123$", "$12.3$", "$0.123$", "$0$", "--",
    ]  # fmt: skip
    assert escaped(r"a_b & 50% {x} #1 $ ~ ^ \ <") == (
        r"a\_b \& 50\% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{} \textless{}"
    )
    assert [escaped(text) for text in ("[ours]", " *", "a [b]*")] == ["{}[ours]", "{} *", "a [b]*"]
    assert plain("one\ntwo é") == r"one\ntwo \xe9"
    assert faults(_table(escaped("".join(map(chr, range(1, 0x250)))))) == []


def _table(cell: str) -> str:
    rows = f"    \\toprule\n    a & {cell} \\\\"
    return f"\\begin{{tabular}}{{lr}}\n{rows}\n\\end{{tabular}}\n"


@pytest.mark.parametrize(
    "cell", ["50%", "a_b", "$x", "{", "}", "a & b", r"\unknown", "#", r"\pm", "é", r"\end{table}", "$a_1"]
)
def test_the_checker_finds_what_does_not_compile(cell: str) -> None:
    assert faults(_table("right")) == []
    assert faults(_table(cell)) != []


def _study(root: Path, estimators: dict[str, float], seeds: Sequence[int] = range(5), **more) -> None:
    for run in add_study(root, estimators=estimators, seeds=seeds, **more):
        bound = run.info().summary["bound"]["test"]
        add_eval(run, bound + 1.0, k=5000)


def test_the_best_are_bold_by_the_paired_test(tmp_path: Path) -> None:
    """Seeds move all groups by a nat, which the test does not mind; 0.02 nats are not told apart, 3 are."""
    _study(tmp_path, {"dreg": -90.0, "stl": -90.02, "reparam": -93.0})
    text = made(tmp_path)
    heading, *rows = cells_of(text)
    assert heading == [
        "", "seeds", "test, $K=5{,}000$, 100 examples", "final test, $K=64$", "final valid, $K=64$",
        "final train, $K=64$", "steps/s", "ESS", "active units",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["iwae/dreg", "iwae/reparam", "iwae/stl"]
    assert [row[1] for row in rows] == ["$5$"] * 3
    for column in (2, 3, 4, 5):
        assert ["mathbf" in row[column] for row in rows] == [True, False, True]
    report = make_report([], runs_dir=tmp_path)
    best = report.sections[0].comparisons[0]
    for group, row in zip(report.groups, rows, strict=True):
        bold = group.key in best.cannot_be_told_from_best
        assert row[2] == mean(best.of(group.key), bold=bold)
    assert [row[6:] for row in rows] == [["$50.0$", r"$8.5 \pm 0.0$", r"$20 \pm 0$"]] * 3
    caption = next(line for line in text.split("\n") if "caption" in line)
    for words in ("Bold, column by column", "two-sided paired $t$-test", "seeds 0, 1, 2, 3, 4", r"5\,\%", "Holm"):
        assert words in caption
    assert "nats per example" in caption


def _counted(test: int) -> dict[str, object]:
    """A summary with the number of examples of each final bound."""
    return {"bounds": {"test": {"n": test}, "valid": {"n": 50}, "train": {"n": 70}}}


def test_each_number_says_over_how_many_examples_it_is(tmp_path: Path) -> None:
    """In the heading where bounds of one split differ in it, else in the caption; more examples come first."""
    for seed in range(2):
        run = add_run(tmp_path, seed=seed, summary=_counted(1000) | {"bound": {"test": -89.0, "valid": -90.0}})
        add_eval(run, -80.0, k=5000, n=30)
        add_eval(run, -88.0, k=500, n=1000)
    text = made(tmp_path)
    heading, _ = cells_of(text)
    assert heading[2:6] == [
        "test, $K=500$, 1{,}000 examples", "final test, $K=64$, 1{,}000 examples",
        "final valid, $K=64$", "test, $K=5{,}000$, 30 examples",
    ]  # fmt: skip
    assert "Bounds are over 50 valid examples." in text
    add_study(tmp_path / "whole", estimators={"dreg": -90.0}, seeds=[0], summary=_counted(1000))
    text = made(tmp_path / "whole")
    assert cells_of(text)[0][2:5] == ["final test, $K=64$", "final valid, $K=64$", "final train, $K=64$"]
    assert "Bounds are over 1{,}000 test examples, 50 valid examples and 70 train examples." in text


def test_the_caption_promises_bold_only_where_something_is_bold(tmp_path: Path) -> None:
    _study(tmp_path, {"dreg": -90.0, "stl": -93.0})
    assert ("Bold, column by column" in made(tmp_path), "mathbf" in body(made(tmp_path))) == (True, True)
    for seeds in (range(1), range(3)):
        root = tmp_path / str(len(seeds))
        _study(root, {"dreg": -90.0, "stl": -93.0}, seeds=seeds)
        text = made(root)
        assert ("Bold" in text, "Nothing is in bold" in text, "mathbf" in body(text)) == (False, True, False)


def test_each_section_is_a_table_of_its_own(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0)
    add_run(tmp_path, seed=0, dataset="mnist", data_checksum="d" * 64)
    add_run(tmp_path, seed=0, dataset="mnist", data_checksum="e" * 64)
    text = made(tmp_path)
    labels_of = [line.strip() for line in text.split("\n") if "label{" in line]
    assert labels_of == [
        r"\label{tab:dreg-digits}",
        r"\label{tab:dreg-mnist-data-dddddddd}",
        r"\label{tab:dreg-mnist-data-eeeeeeee}",
    ]
    captions = [line.strip() for line in text.split("\n") if "caption{" in line]
    titles = ["digits", "mnist, data dddddddd", "mnist, data eeeeeeee"]
    assert [each.partition(".")[0] for each in captions] == [rf"\caption{{{title}" for title in titles]
    assert (text.count("% by dreg"), text.count(r"\usepackage{booktabs}")) == (1, 1)


def test_a_bound_that_some_groups_lack_is_named_as_left_out(tmp_path: Path) -> None:
    for estimator in ("dreg", "stl"):
        run = add_run(tmp_path, estimator=estimator, seed=0)
    assert "left out" not in made(tmp_path)
    add_eval(run, -88.0, k=500, n=1000)
    assert "% left out, because some groups do not have it: test bound by dreg eval at K=500, 1,000 examples" in made(
        tmp_path
    )


def test_bold_by_the_mean_alone_would_be_something_else(tmp_path: Path) -> None:
    """The wrong twin: of two that cannot be told apart the higher mean alone."""
    _study(tmp_path, {"dreg": -90.0, "stl": -90.02, "reparam": -93.0})
    report = make_report([], runs_dir=tmp_path)
    assert report.sections[0].comparisons[0].cannot_be_told_from_best != {report.sections[0].comparisons[0].best}


def test_of_one_seed_nothing_is_bold(tmp_path: Path) -> None:
    _study(tmp_path, {"dreg": -90.0, "stl": -99.0}, seeds=[3])
    text = made(tmp_path)
    assert "mathbf" not in body(text)
    assert "Nothing is in bold" in text
    assert r"\pm" not in "".join(cell for row in cells_of(text) for cell in row)
    assert "one seed only" in text


def test_seeds_that_are_not_shared_and_not_all_evaluated(tmp_path: Path) -> None:
    """What is not tested against the best is marked, and not in bold, however little three seeds can tell."""
    _study(tmp_path, {"dreg": -90.0}, seeds=range(5))
    add_run(tmp_path, estimator="dreg", seed=9, level=-90.0)
    _study(tmp_path, {"stl": -95.0}, seeds=range(4))
    _study(tmp_path, {"reparam": -89.9}, seeds=range(3))
    _study(tmp_path, {"dreg-norm": -96.0}, seeds=[7])
    text = made(tmp_path)
    rows = {row[0].removeprefix("iwae/"): row for row in cells_of(text)}
    names = ("dreg", "stl", "reparam", "dreg-norm")
    assert [rows[name][1] for name in names] == ["$6$", "$4$", "$3$", "$1$"]
    assert rows["dreg"][2].endswith("($n=5$)"), "one of six seeds has no evaluation"
    assert [("mathbf" in rows[name][2]) for name in names] == [True, False, False, False]
    assert [("$^{*}$" in rows[name][2]) for name in names] == [False, False, True, True]
    assert "$^{*}$~Not tested: shares fewer than 4 seeds with the best group." in text
    assert "over the seeds 0, 1, 2, 3 does" in text


def test_of_three_seeds_nothing_is_bold(tmp_path: Path) -> None:
    _study(tmp_path, {"dreg": -90.0, "stl": -99.0}, seeds=range(3))
    text = made(tmp_path)
    assert "mathbf" not in body(text)
    assert "$^{*}$" not in body(text), "nothing is tested: the caption says it of all"
    assert "a paired test needs two groups that share 4 seeds or more" in text


def test_one_group_alone(tmp_path: Path) -> None:
    _study(tmp_path, {"dreg": -90.0}, seeds=range(3))
    text = made(tmp_path)
    heading, row = cells_of(text)
    assert heading[2:4] == ["test, $K=5{,}000$, 100 examples", "final test, $K=64$"]
    assert "mathbf" not in text
    assert "bold" not in text
    assert r"\pm" in row[2]


def test_what_cannot_be_compared_is_not(tmp_path: Path) -> None:
    add_study(tmp_path, estimators={"dreg": -90.0}, seeds=range(2))
    add_study(tmp_path, estimators={"dreg": -80.0}, seeds=range(2), k=8)
    text = made(tmp_path)
    assert [row[0] for row in cells_of(text)] == ["", "iwae/dreg K=64", "iwae/dreg K=8"]
    assert "they are not compared, and nothing is in bold" in text
    assert "mathbf" not in text


def test_a_group_apart_has_dashes_and_a_reason(tmp_path: Path) -> None:
    _study(tmp_path, {"dreg": -90.0, "stl": -91.0}, seeds=range(2))
    add_run(tmp_path, seed=0, k=8)
    add_run(tmp_path, seed=1, status=RunStatus.FAILED, lr=0.5)
    text = made(tmp_path)
    rows = {row[0]: row for row in cells_of(text)}
    assert rows["iwae/dreg K=8 lr=0.001"][2:6] == ["--"] * 4
    assert rows["iwae/dreg K=64 lr=0.5"][1:7] == ["$0$", *["--"] * 5]
    assert "% warning: not compared by" in text


def test_what_it_was_made_of_is_said_and_no_date(tmp_path: Path) -> None:
    add_study(tmp_path, estimators={"dreg": -90.0, "stl": -91.0}, seeds=range(2))
    report = make_report([], runs_dir=tmp_path)
    text = report_latex(report, command="dreg report 'a\nb'")
    assert faults(text) == []
    first, preamble, second, *_ = text.split("\n")
    assert first.startswith("% by dreg ")
    assert first.endswith(r"dreg report 'a\nb'"), "a line's end in the command does not end the comment"
    assert preamble == r"% add to the preamble: \usepackage{booktabs}"
    runs = ", ".join(row.label for row in report.groups[0].rows)
    assert second == f"% iwae/dreg: group {report.groups[0].key}, {runs}"
    assert report_latex(make_report([], runs_dir=tmp_path), command="dreg report 'a\nb'") == text


def test_odd_labels_are_escaped(tmp_path: Path) -> None:
    add_study(tmp_path, estimators={"dreg": -90.0, "stl": -91.0}, seeds=range(2))
    groups = make_report([], runs_dir=tmp_path).groups
    odd = dict(zip(labels(groups).by_key, ["a_b & 50% \\x", "é{$#^~\n"], strict=True))
    text = latex_table(groups, odd, compare(groups), provenance=["a\nb"], warnings=["c%\\\n"])
    assert faults(text) == []
    assert [row[0] for row in cells_of(text)][1:] == [
        r"a\_b \& 50\% \textbackslash{}x",
        r"\textbackslash{}xe9\{\$\#\textasciicircum{}\textasciitilde{}\textbackslash{}n",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_it_compiles(tmp_path: Path) -> None:
    _study(tmp_path / "runs", {"dreg": -90.0, "stl": -90.02, "dreg-alpha:alpha=0.9": -93.0})
    (tmp_path / "table.tex").write_text(made(tmp_path / "runs"))
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
