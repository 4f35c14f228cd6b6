"""``dreg report --csv``, ``--latex`` and ``--cite`` as a user has them."""

import csv
import io
from pathlib import Path

import pytest

from tests.support.bibtex_parser import parse
from tests.support.cli import run
from tests.support.latex_check import cells_of, faults
from tests.support.store_study import add_eval, add_run, add_study


def _study(root: Path) -> None:
    for each in add_study(root, estimators={"dreg": -90.0, "reparam": -93.0}, seeds=range(4)):
        add_eval(each, each.info().summary["bound"]["test"] + 1.0)


@pytest.fixture
def study(once, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that reports only read."""
    root = once("eight evaluated runs", _study)
    monkeypatch.setenv("DREG_RUNS_DIR", str(root))
    return root


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.usefixtures("study")
def test_files_beside_the_tables(capsys, tmp_path: Path) -> None:
    table, paper = tmp_path / "new" / "runs.csv", tmp_path / "table.tex"
    paper.write_text("old")
    plain = run(capsys, "report")
    shown = run(capsys, "report", "--csv", table, "--latex", paper)
    assert shown.code == 0, shown.err
    assert shown.out == plain.out
    assert f"wrote {table} (" in shown.err
    assert f"wrote {paper} (" in shown.err
    assert len(_rows(table.read_bytes().decode())) == 8
    assert faults(paper.read_text()) == []
    assert f"dreg report --latex {paper}" in paper.read_text().split("\n")[0]
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".tmp")] == []


@pytest.mark.usefixtures("study")
def test_one_of_them_on_stdout(capsys, tmp_path: Path) -> None:
    table = run(capsys, "report", "--csv", "-", "--latex", tmp_path / "t.tex", "--time-to", "-100")
    assert table.code == 0
    assert [row["seed"] for row in _rows(table.out)] == ["0", "1", "2", "3"] * 2
    assert "time_to_-100_seconds" in table.out
    named = run(capsys, "report", "digits-iwae-dreg-k64", "--latex", "-")
    assert faults(named.out) == []
    assert len(cells_of(named.out)) == 2
    assert named.out.startswith("% by dreg ")


@pytest.mark.usefixtures("study")
def test_as_json_says_what_was_written(capsys, tmp_path: Path) -> None:
    outcome = run(capsys, "report", "--json", "--csv", tmp_path / "a.csv", "--latex", tmp_path / "a.tex")
    assert outcome.code == 0
    assert outcome.json["files"] == {"csv": str(tmp_path / "a.csv"), "latex": str(tmp_path / "a.tex")}
    assert len(outcome.json["groups"]) == 2
    assert run(capsys, "report", "--json").json["files"] == {}


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--csv", "-", "--latex", "-"), ["--csv - and --latex -"]),
        (("--csv", "-", "--json"), ["--csv - and --json"]),
        (("--latex", "-", "--cite"), ["--latex - and --cite"]),
        (("--latex", "-", "--cite", "--json"), ["--latex - and --json"]),
        (("--curves", "-", "--cite", "--json"), ["--curves - and --json"]),
        (
            ("--json", "--csv", "same", "--columns", "mean,verdict"),
            ["called 'mean'. Known: run, ", "called 'verdict'"],
        ),
        (("--csv", ".", "--latex", "/dev/null"), ["csv: . is a folder", "latex: /dev/null is not a regular file"]),
        (("--csv", "same", "--latex", "./same"), ["latex: same is also the file of csv"]),
        (("--csv", "-", "--json", "--latex", "."), ["--csv - and --json", "latex: . is a folder"]),
    ],
)
def test_what_cannot_be_is_refused_all_at_once(capsys, tmp_path: Path, monkeypatch, words, named) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(capsys, "report", *words)
    assert outcome.code == 2
    for words_of_a_fault in named:
        assert words_of_a_fault in outcome.err
    assert not (tmp_path / "same").exists()


@pytest.mark.usefixtures("study")
def test_a_file_that_cannot_be_written(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    outcome = run(capsys, "report", "--csv", tmp_path / "file" / "x.csv")
    assert outcome.code == 2
    assert f"is below {tmp_path / 'file'}, which is not a folder" in outcome.err
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.usefixtures("study")
def test_a_link_stays_a_link(capsys, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert run(capsys, "report", "--csv", tmp_path / "link.csv").code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert len(_rows((tmp_path / "real.csv").read_bytes().decode())) == 8


@pytest.mark.usefixtures("study")
def test_cite(capsys, tmp_path: Path) -> None:
    everything = run(capsys, "report", "--cite")
    assert everything.code == 0
    parsed = parse(everything.out)
    assert {
        "dreg",
        "burda2016iwae",
        "tucker2019dreg",
        "kingma2014vae",
        "vehtari2024psis",
        "holm1979multiple",
    } <= parsed.keys()
    assert "objective iwae (8 runs)" in parsed["burda2016iwae"].comment
    assert "estimator reparam (4 runs)" in parsed["kingma2014vae"].comment
    some = run(capsys, "report", "digits-iwae-reparam-k64/v002", "--cite", "--csv", tmp_path / "x.csv")
    assert "tucker2019dreg" not in parse(some.out)
    assert "holm1979multiple" not in parse(some.out)
    assert "(1 run)" in parse(some.out)["burda2016iwae"].comment
    assert len(_rows((tmp_path / "x.csv").read_bytes().decode())) == 1


@pytest.mark.usefixtures("study")
def test_cite_as_json(capsys) -> None:
    found = run(capsys, "report", "--cite", "--json").json
    parsed = parse("\n\n".join(found["bibtex"]) + "\n")
    assert parsed.keys() == found["entries"].keys()
    assert found["entries"]["tucker2019dreg"]["fields"]["eprint"] == "1810.04152"
    assert found["entries"]["tucker2019dreg"]["for"] == ["estimator dreg (4 runs)"]
    assert (found["files"], found["figures"]) == ({}, [])


def test_data_of_ones_own(capsys, tmp_path: Path) -> None:
    add_run(tmp_path / "runs", name="x", dataset="mine")
    outcome = run(capsys, "report", "--cite")
    assert "mine" not in outcome.out
    assert "no citation is known for the data set mine" in outcome.err


def test_no_runs_and_an_unknown_name(capsys, tmp_path: Path) -> None:
    for words in (("--cite",), ("--csv", "x.csv"), ("nothing", "--latex", "-")):
        outcome = run(capsys, "report", *words)
        assert outcome.code == 13
        assert outcome.out == ""
    assert not (tmp_path / "x.csv").exists()
