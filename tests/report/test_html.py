"""The page as it is written: its words, its structure, and that nothing in it is markup but its own."""

import math
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from dregcli.report.comparison import compare
from dregcli.report.drawn import Drawn
from dregcli.report.groups import RunRow, group_rows
from dregcli.report.groups_table import groups_table
from dregcli.report.html import images as drawing
from dregcli.report.html.origins import Origin, environment_in_words, environments, specs
from dregcli.report.html.page import render
from dregcli.report.html.results import comparison, conclusion, summary
from dregcli.report.html.view import Page, Section
from dregcli.report.labels import labels
from dregcli.report.tables import Cell, Column, Table, pairs_table
from tests.report.test_comparison import rows
from tests.support.report_page import figures, hostile_store, page_bytes


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "source"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are closed in order"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("store") / "runs"
    hostile_store(root)
    return page_bytes(root).decode("utf-8")


def faults(text: str) -> list[str]:
    """What a page may not have, or lacks."""
    page = Parsed(text)
    found: list[str] = []
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    if levels[0] != 1 or levels.count(1) != 1 or any(b > a + 1 for a, b in pairwise(levels)):
        found.append("headings")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    if len(set(ids)) != len(ids):
        found.append("ids")
    targets = [attrs.get("href") or "" for attrs in page.of("a")]
    found += [f"link {each}" for each in targets if not each.startswith("#") or each[1:] not in ids]
    addresses = [
        str(v) for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "action")
    ]
    found += [f"address {each[:40]}" for each in addresses if not each.startswith(("#", "data:"))]
    found += [
        f"{tag} {name}" for tag, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"
    ]
    found += [f"img without {name}" for a in page.of("img") for name in ("alt", "width", "height") if not a.get(name)]
    if len(page.of("script")) != 1 or len(page.of("style")) != 1:
        found.append("scripts")
    (policy,) = [a["content"] or "" for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    for tag in ("script", "style"):
        digest = b64encode(sha256(page.texts[tag][0].encode()).digest()).decode()
        if f"{tag}-src 'sha256-{digest}'" not in policy:
            found.append(f"policy of {tag}")
    if not policy.startswith("default-src 'none'; img-src data:;") or "unsafe" in policy or "http" in policy:
        found.append("policy")
    if page.of("html") != [{"lang": "en"}] or not page.texts["title"][0]:
        found.append("language or title")
    if {"name": "viewport", "content": "width=device-width, initial-scale=1"} not in page.of("meta"):
        found.append("viewport")
    return found


def test_the_page_is_whole_safe_and_in_order(text: str) -> None:
    assert faults(text) == []
    assert len(Parsed(text).of("img")) == 2
    assert len(Parsed(text).of("source")) == 2, "each figure has a form for a dark page"


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("<h2 ", "<h4 ", "headings"),
        ('id="runs"', 'id="groups"', "ids"),
        ('href="#runs"', 'href="#run"', "link #run"),
        ('<img src="data:', '<img src="https:', "address https:"),
        ('alt="a diagonal line"', 'alt=""', "img without alt"),
        ('width="672" height="384" alt', 'width="" height="384" alt', "img without width"),
        ("<main ", "<script></script><main ", "scripts"),
        ("<main ", '<main onclick="x" ', "main onclick"),
        ("<main ", '<main style="x" ', "main style"),
        ("body {", "body  {", "policy of style"),
        ("use strict", "use  strict", "policy of script"),
        ("default-src", "font-src", "policy"),
        ('lang="en"', 'lang=""', "language or title"),
        ("initial-scale=1", "initial-scale=2", "viewport"),
    ],
)
def test_a_page_that_is_not_is_caught(text: str, right: str, wrong: str, fault: str) -> None:
    assert right in text
    changed = text.replace(right, wrong, 1).replace("</h2>", "</h4>" if wrong == "<h4 " else "</h2>", 1)
    assert any(each.startswith(fault) for each in faults(changed))


def test_it_tells_everything_that_the_terminal_tells(text: str) -> None:
    page = Parsed(text)
    told = [section for section in page.texts["h2"]]
    assert told == [
        "Warnings",
        "Groups",
        "Paired comparisons",
        "Figures",
        "Evaluations",
        "Bias and variance of gradients",
        "Along one setting",
        "Settings",
        "Runs",
        "Environment",
        "Commands to repeat each run",
    ]
    assert "left out" not in text
    for each in ("failed digits-iwae-dreg-k64/v004", "one seed only", "k-hat is above 0.7", "its bounds differ in"):
        assert each in text
    heads = page.texts["th"]
    for each in (
        "time to -100",
        "steps/s",
        "p (Holm)",
        "k-hat, median",
        "k-hat above 0.7",
        "verdict",
        "what was found",
        "K=5,000",
        "notes",
        "tags",
    ):
        assert each in heads


def test_a_page_without_anything_has_no_empty_sections() -> None:
    page = Page("Nothing", "0 runs", (), (Section("a", "Only this", ("text",)),), "made", "dreg report")
    text = render(page).decode()
    assert faults(text) == []
    assert Parsed(text).texts["h2"] == ["Only this"]
    assert Section("b", "Empty").empty


def test_what_is_no_number_has_no_place_in_an_order() -> None:
    keys = [Cell("x", value).key for value in (1.5, 0.0, math.nan, math.inf, -math.inf, None)]
    assert keys == [1.5, 0.0, None, None, None, None]
    cells = tuple((Cell("a"), Cell("nan", value)) for value in (math.nan, math.inf, 2.0))
    table = Table("t", (Column("a", numeric=False), Column("b")), cells)
    text = render(Page("T", "l", (), (Section("a", "A", tables=(table,)),), "made", "dreg")).decode()
    assert [attrs.get("data-value") for attrs in Parsed(text).of("td")] == [None, None, "2.0"]


def test_places_of_a_machine_are_not_handed_on(text: str) -> None:
    assert "private" not in text


def test_what_the_best_group_is() -> None:
    values: list[tuple[list[float], dict[str, Any]]] = [
        ([-90.0, -91.0, -92.0, -93.0], {}),
        ([-90.05, -91.2, -91.9, -93.1], {"estimator": "stl"}),
        ([-95.0, -96.1, -97.0, -97.9], {"estimator": "reparam"}),
    ]
    groups = group_rows([row for of, changes in values for row in rows(of, **changes)])
    (found,) = compare(groups)
    told = conclusion(found, labels(groups).by_key)
    assert told == (
        "iwae/dreg has the highest test final bound at K=64: -91.50 ± 0.65 nats; "
        "the paired test has not found these lower: iwae/stl. "
        "Tested over 4 shared seeds: iwae/dreg, iwae/stl, iwae/reparam (3 pairs)."
    )
    (two,) = compare([groups[0], groups[2]])
    assert conclusion(two, labels(groups).by_key).endswith(
        "; the paired test has found all other groups lower. "
        "Tested over 4 shared seeds: iwae/dreg, iwae/reparam (1 pair)."
    )
    lucky = group_rows(
        [*rows([-90.0, -91.0, -92.0, -93.0]), *rows([-91.0, -92.1, -93.0, -94.0, -1.0], estimator="stl")]
    )
    (found,) = compare(lucky)
    assert conclusion(found, labels(lucky).by_key).startswith(
        "iwae/dreg is the best by the paired test, with a test final bound"
    )
    for seeds in (1, 2, 3):
        few = group_rows([*rows([-90.0] * seeds), *rows([-91.0, -99.0, -91.5][:seeds], estimator="stl")])
        (found,) = compare(few)
        assert conclusion(found, labels(few).by_key).endswith(
            "Nothing is tested: no two of these groups share 4 seeds."
        )
        table = groups_table(few, labels(few).by_key, [found], {}, time_to=None)
        assert {cell.tone for row in table.rows for cell in row} == {""}
        assert table.notes == ("no test of which group is best: a test needs two groups that share 4 seeds",)
        words = pairs_table(found, labels(few).by_key, found.pairs).rows[0][2].text
        assert words == "not tested: fewer than 4 shared seeds"


def test_a_run_that_stands_apart_does_not_hide_what_was_tested() -> None:
    """Three groups are tested; one group shares no seed with them, and another one has no such bound."""
    study = [
        *rows([-90.0, -91.0, -92.0, -93.0]),
        *rows([-91.0, -92.1, -93.0, -94.1], estimator="stl"),
        *rows([-95.0, -96.1, -97.0, -97.9], estimator="reparam"),
    ]
    alone = [replace(row, spec=row.spec | {"seed": 9}) for row in rows([-80.0], estimator="dreg-norm")]
    groups = group_rows([*study, *alone, *rows([-70.0], k=8)])
    (found,) = compare(groups)
    assert conclusion(found, labels(groups).by_key) == (
        "iwae/dreg K=64 is the best by the paired test, with a test final bound at K=64: -91.50 ± 0.65 nats; the "
        "paired test has found all other tested groups lower. Tested over 4 shared seeds: iwae/dreg K=64, "
        "iwae/stl K=64, iwae/reparam K=64 (3 pairs). Not tested, because they share fewer than 4 seeds with "
        "iwae/dreg K=64: iwae/dreg-norm K=64. Not compared: iwae/dreg K=8, because its bounds differ in K."
    )


def test_a_comparison_in_which_nothing_is_tested_does_not_hide_one_in_which_pairs_are() -> None:
    """One seed of each group is evaluated at a large K; the final bounds of the other seeds can be tested."""
    found: list[RunRow] = []
    for level, changes in ((-90.0, {}), (-95.0, {"estimator": "stl"})):
        first, *others = rows([level, level - 1.1, level - 2.0, level - 3.1], evals=[level] * 4, **changes)
        found += [first, *(replace(row, evals=()) for row in others)]
    groups = group_rows(found)
    names, comparisons = labels(groups).by_key, compare(groups)
    assert [each.tests for each in comparisons] == [0, 1]
    untested, tested = summary(groups, names, comparisons, {}, time_to=None).lead
    assert "test bound by dreg eval at K=5,000, 9 examples" in untested
    assert untested.endswith("Nothing is tested: no two of these groups share 4 seeds.")
    assert tested.endswith("Tested over 4 shared seeds: iwae/dreg, iwae/stl (1 pair).")
    shown = comparison(comparisons, names)
    assert [len(shown.tables), len(shown.folded)] == [2, 0], "the tested pair is not folded away"


@pytest.mark.parametrize(("k", "time_to", "warned"), [(8, -92.0, True), (8, None, False), (64, -92.0, False)])
def test_times_that_cannot_be_compared_have_a_warning(k: int, time_to: float | None, warned: bool) -> None:
    groups = group_rows([*rows([-90.0]), *rows([-91.0], estimator="stl", k=k)])
    named, found = labels(groups).by_key, compare(groups)
    (table, *_) = summary(groups, named, found, {}, time_to=time_to).tables
    for notes in (table.notes, groups_table(groups, named, found, {}, time_to=time_to).notes):
        assert ("It cannot be compared between groups with different data or K." in " ".join(notes)) is warned


@pytest.mark.parametrize(("level", "verdict"), [(-90.1, "undecided"), (-95.0, "higher")])
def test_seeds_to_decide_are_explained_only_where_they_are_shown(level: float, verdict: str) -> None:
    other = [level, level - 1.3, level - 1.9, level - 3.2]
    groups = group_rows([*rows([-90.0, -91.0, -92.0, -93.0]), *rows(other, estimator="stl")])
    (found,) = compare(groups)
    assert [pair.verdict for pair in found.pairs] == [verdict]
    table = pairs_table(found, labels(groups).by_key, found.pairs)
    assert ("Seeds to decide" in " ".join(table.notes)) == (verdict == "undecided")


def test_p_follows_from_the_statistic_beside_it() -> None:
    """In the table as it is shown: p by Student's t of the shown t, and t of the shown difference and error."""
    groups = group_rows([*rows([-90.0, -91.0, -92.0, -93.0]), *rows([-90.4, -91.2, -92.1, -94.1], estimator="stl")])
    (found,) = compare(groups)
    table = pairs_table(found, labels(groups).by_key, found.pairs)
    shown = dict(zip([column.name for column in table.columns], [cell.text for cell in table.rows[0]], strict=True))
    difference, error = map(float, shown["nats ± s.e."].split(" ± "))
    assert float(shown["t"]) == pytest.approx(difference / error, abs=0.01)
    freedom = int(shown["shared seeds"]) - 1
    assert float(shown["p"]) == pytest.approx(2.0 * stats.t.sf(abs(float(shown["t"])), freedom), rel=0.06)
    assert shown["p (Holm)"] == shown["p"], "one test needs no adjustment"
    few = group_rows([*rows([-90.0, -91.0]), *rows([-90.4, -91.2], estimator="stl")])
    (cells,) = pairs_table(compare(few)[0], labels(few).by_key, compare(few)[0].pairs).rows
    assert [cell.text for cell in cells[3:6]] == ["-", "-", "-"], "what is not tested has neither"


def test_settings_that_differ_and_those_that_are_shared() -> None:
    of = {"split_convention": "dreg"}
    groups = group_rows([*rows([-90.0, -90.1], **of), *rows([-91.0], k=8, **of)])
    section = specs(groups, labels(groups).by_key)
    different, data = section.tables
    assert [column.name for column in different.columns] == ["group", "k", "seeds"]
    assert [[cell.text for cell in row[1:]] for row in different.rows] == [["64", "0, 1"], ["8", "0"]]
    assert [row[0].text for row in data.rows] == ["digits (dreg split, dynamic binarisation)"]
    assert data.rows[0][-1].text == "all"
    (shared,) = section.folded
    told = {row[0].text: row[1].text for row in shared.rows}
    assert told.keys() == {name.replace("_", "-") for name in groups[0].experiment if name != "k"}
    assert told["estimator"] == "dreg"
    other = group_rows([*rows([-90.0], **of), *rows([-91.0], data_checksum="d", **of)])
    assert [row[-1].text for row in specs(other, labels(other).by_key).tables[1].rows] == [
        *labels(other).by_key.values()
    ]


def test_environments_are_told_once_and_where_they_differ() -> None:
    (group,) = group_rows(rows([-90.0, -90.1, -90.2]))
    base = {"threads": 2, "packages.torch": "2.9.0", "hostname": "x", "cwd": "/x"}
    values = [base, base | {"threads": 8}, base | {"packages.torch": "2.9.0"}]
    origins = {row.path: Origin((), (each,), (), ()) for row, each in zip(group.rows, values, strict=True)}
    origins[group.rows[2].path] = Origin((), (base, base | {"packages.torch": "3.0"}), (), ())
    (different,) = environments([group], origins).tables
    a, b, c = (row.label for row in group.rows)
    assert [[cell.text for cell in row] for row in different.rows] == [
        ["threads", "2", f"{a}, v2, v2 (resumed)"],
        ["threads", "8", b],
        ["torch", "2.9.0", f"{a}, v1, v2"],
        ["torch", "3.0", f"{c} (resumed)"],
    ]
    few, many = Origin((), (base,), (), ()), group_rows(rows([-90.0] * 12))[0]
    usual = dict.fromkeys((row.path for row in many.rows), few) | {many.rows[3].path: origins[group.rows[1].path]}
    (two, eight), same = (table.rows for table in environments([many], usual).tables)
    assert [cell.text for row in same for cell in row] == ["torch", "2.9.0"]
    assert [two[2].text, eight[2].text] == ["the other 11 runs", many.rows[3].label]
    (alone,) = environments([group], {row.path: Origin((), (base,), (), ()) for row in group.rows}).tables
    assert [[cell.text for cell in row] for row in alone.rows] == [["threads", "2"], ["torch", "2.9.0"]]
    assert environments([group], {row.path: Origin((), (), (), ()) for row in group.rows}).empty


def test_what_a_working_tree_was() -> None:
    clean = environment_in_words({"git.commit": "c0", "git.clean": True})
    assert clean == {"git commit": "c0", "changes to the commit": "none"}
    dirty = {"git.commit": "c0", "git.clean": False, "git.diff": "9 characters, SHA-256 ab"}
    files = {"git.untracked_files.x.py.bytes": 5, "git.untracked_files.x.py.sha256": "cd" * 32}
    assert environment_in_words(dirty | files)["changes to the commit"] == (
        "uncommitted: diff of 9 characters, SHA-256 ab; new file x.py of SHA-256 cdcdcdcdcdcd"
    )
    assert environment_in_words({"git": None, "gpu": None, "threads": None}) == {}


def test_a_drawing_that_is_too_large_becomes_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [each.light[:15] for each in drawing.images(figures())]
    assert kinds == ["data:image/svg+", "data:image/png;"]
    monkeypatch.setattr(drawing, "LARGEST_SVG", 1000)
    assert [each.light[:15] for each in drawing.images(figures())] == ["data:image/png;"] * 2
    figure = Figure(figsize=(2.0, 1.0))
    FigureCanvasAgg(figure)
    (image,) = drawing.images([Drawn("a", "A", "words", figure)])
    assert (image.width, image.height, image.title, image.alt) == (192, 96, "A", "words")
