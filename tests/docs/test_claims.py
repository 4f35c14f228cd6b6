"""What README and the pages say is what the program does."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from dregcli import errors
from dregcli.cli.main import main
from dregcli.data.catalogue import DATASETS
from dregcli.data.entries import Embedded
from dregcli.engine import ESTIMATORS, OBJECTIVES, pairs, promise
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.optimisation import parse_optimizer, parse_schedule
from dregcli.names import DatasetName, OptimizerName, Promise, ScheduleName, Split
from tests.docs.blocks import PAGES, PYTHON, ROOT, blocks, name

README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(path: str) -> str:
    return (ROOT / "docs" / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generated() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generated.py"))


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the one Markdown table under a header, without their code marks."""
    lines = text.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line == header]
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


# README


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_example_of_ones_own_model_is_short() -> None:
    (block,) = [each for each in blocks(README) if each.language == PYTHON]
    assert len(block.text.splitlines()) <= 30


def test_readme_and_contributing_link_to_files_and_headings_that_exist() -> None:
    for path in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / path).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, heading = target.partition("#")
            if target.startswith("https://"):
                continue
            assert not file or (ROOT / file).is_file(), target
            if heading:
                headings = re.findall(r"^#+ (.*)$", (ROOT / file).read_text() if file else text, re.MULTILINE)
                assert heading in {each.lower().replace(" ", "-") for each in headings}, target


def test_readme_leads_to_every_page() -> None:
    linked = {ROOT / target for target in re.findall(r"\]\((docs/[^)#]+)\)", README)}
    assert {path for path in PAGES if path.parent != ROOT} - {ROOT / "docs/index.md"} <= linked


# Pairs


def stated(pair: pairs.Pair, k: int) -> str:
    if k < pair.smallest_k:
        return f"needs K >= {pair.smallest_k}"
    promised = promise(*pair.word.split("/"), k)
    expectation = pair.estimator.expectation(pair.objective) if promised == "biased" else None
    if promised == "unbiased" and pair.estimator.own_target:
        return f"unbiased: {pair.estimator.own_target}"
    if not expectation:
        return str(promised)
    shares = (f"{share:g} {each}".removeprefix("1 ") for each, share in expectation.items() if share)
    return f"biased: {' + '.join(shares)}"


def test_the_table_of_pairs_has_every_pair_and_its_promise(generated: dict[str, Any]) -> None:
    header = "| objective | estimator | K = 1 | K = 64 | path | score |"
    assert rows(generated["pairs"](), header) == [
        [p.objective.name, p.estimator.name, stated(p, 1), stated(p, 64), p.formula.path, p.formula.score]
        for p in pairs.all_pairs()
    ]


def test_the_table_of_objectives_has_their_estimators_by_promise(generated: dict[str, Any]) -> None:
    expected = []
    for objective in (entry() for entry in OBJECTIVES.values()):
        by = {each: "none" for each in Promise}
        for pair in (pair for pair in pairs.all_pairs() if pair.objective == objective):
            promised = pair.promise(64)
            by[promised] = f"{by[promised]}, {pair.estimator.name}".removeprefix("none, ")
        expected.append([objective.name, objective.formula.model, by[Promise.UNBIASED], by[Promise.BIASED]])
    header = "| objective | what is maximised | θ's weight | unbiased at K = 64 | biased at K = 64 |"
    assert [[cells[0], *cells[2:]] for cells in rows(generated["objectives"](), header)] == expected
    assert rows(generated["symbols"](), "| symbol | meaning |") == [list(item) for item in SYMBOLS.items()]


WORD = re.compile(r"`([a-z-]+:[a-z]+=[^`/ ]+)`")


def word_faults(text: str) -> list[str]:
    """Words with parameters that the program does not take."""
    found = []
    for word in sorted(set(WORD.findall(text))):
        parse = {**dict.fromkeys(OptimizerName, parse_optimizer), **dict.fromkeys(ScheduleName, parse_schedule)}
        if own := parse.get(word.partition(":")[0]):
            own(word)
            continue
        pair = (word, "reparam") if word.partition(":")[0] in OBJECTIVES else ("iwae", word)
        if pairs.training_faults(*pair, k=None):
            found.append(word)
    return found


def test_words_with_parameters_are_words_of_the_program(generated: dict[str, Any]) -> None:
    placeholders = {"miwae:groups=M", "piwae:groups=M", "ciwae:beta=b", "vr-iwae:alpha=a", "rws:sleep=s"}
    placeholders |= {"ovis-mc:samples=S"}
    for path in PAGES:
        assert set(word_faults(path.read_text(encoding="utf-8"))) <= placeholders, name(path)
    assert word_faults("`ciwae:alpha=0.4`") == ["ciwae:alpha=0.4"]
    text = page("theory/pairs.md")
    words = set(WORD.findall(text))
    defaults = generated["parameters"]()
    learned = {entry.name for entry in ESTIMATORS.values() if entry.learned}
    for default in {word for pair in pairs.all_pairs() for word in pair.word.split("/")}:
        entry, _, parameter = default.partition(":")
        if parameter and entry not in learned:
            assert [word for word in words if word.startswith(f"{entry}:")] not in ([], [default]), entry
            for each in parameter.split(","):
                key, _, value = each.partition("=")
                assert re.search(rf"\| `{entry}` \|.*`{key}` \([^)]*default `{value}`\)", defaults), entry


def decision_faults(text: str) -> list[str]:
    """Rows of the decision table whose promise is another than the program's."""
    header = "| your situation | start with | promise (K = 64) | why | check |"
    return [cells[1] for cells in rows(text, header) if promise(*cells[1].split("/"), k=64) != cells[2]]


def test_the_decision_table_has_the_programs_promises() -> None:
    text = page("choose.md")
    assert decision_faults(text) == []
    right = "more than the exact direction | `iwae/stl` | biased |"
    assert text.count(right) == 1
    assert decision_faults(text.replace(right, right.replace("biased", "unbiased"))) == ["iwae/stl"]


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


def test_the_names_of_the_reference_are_pairs() -> None:
    assert rows(page("from/tensorflow1.md"), "| in the reference | here | command |") == [
        [each, pair, "dreg train --objective {} --estimator {}".format(*pair.split("/"))]
        for each, pair in REFERENCE_NAMES.items()
    ]
    assert set(REFERENCE_NAMES.values()) <= {f"{p.objective.name}/{p.estimator.name}" for p in pairs.all_pairs()}


# Exit codes, data sets, commands


def classes(root: type) -> list[type]:
    return [root, *(each for child in root.__subclasses__() for each in classes(child))]


def test_every_exit_code_is_listed_with_its_errors(generated: dict[str, Any]) -> None:
    table = {cells[0]: cells[1:] for cells in rows(generated["exit_codes"](), "| exit code | error | meaning |")}
    for each in classes(errors.DregError):
        assert each.__name__ in table[str(each.exit_code)][0].split(", ")
        assert table[str(each.exit_code)][1]
    assert set(table) - {str(each.exit_code) for each in classes(errors.DregError)} == {"0", "1", "5", "141"}


def test_every_data_set_is_listed_with_its_splits(generated: dict[str, Any]) -> None:
    expected = []
    for each, entry in DATASETS.items():
        if isinstance(entry, Embedded):
            splits = entry.load().splits
            cuts = {entry.convention: {split: len(splits[split]) for split in Split}}
        else:
            cuts = {cut: found.sizes for files in entry.file_sets for cut, found in files.conventions.items()}
        expected += [[each, cut, *(f"{sizes[split]:,}" for split in Split)] for cut, sizes in cuts.items()]
    header = "| `--dataset` | `--split-convention` | train | valid | test |"
    assert rows(generated["data_sets"](), header) == expected
    assert {cells[0] for cells in rows(page("reference/data-sets.md"), "| `--dataset` | images |")} == set(DATASETS)
    assert set(DATASETS) == set(DatasetName)


def test_every_option_that_help_shows_is_on_the_page_of_commands(
    generated: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = generated["commands"]()
    sections = {part.partition("\n")[0]: part for part in text.split("## ")[1:]}
    assert len(sections) >= 25
    for command, section in sections.items():
        capsys.readouterr()
        main([*command.split()[1:], "--help"])
        missing = set(re.findall(r"^│\s+\*?\s*(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - set(
            re.findall(r"--[a-z-]+", section)
        )
        assert missing <= {"--help"}, command


def test_a_mark_that_names_nothing_is_refused(generated: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        generated["fill"]("<!-- generated: nothing -->")
    for path in PAGES:
        generated["MARK"].sub("", path.read_text(encoding="utf-8"))


def test_every_generated_part_is_used() -> None:
    used = {part for path in PAGES for part in re.findall(r"^<!-- generated: ([a-z-]+) -->$", path.read_text(), re.M)}
    assert used == set(runpy.run_path(str(ROOT / "docs" / "generated.py"))["PARTS"])


def test_no_page_names_a_path_of_one_machine() -> None:
    for path in (*PAGES, *Path(ROOT / "docs").glob("*.py")):
        assert not re.search(r"/(work|root|home)/", path.read_text(encoding="utf-8")), path
