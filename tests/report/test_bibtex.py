"""What to cite: every name has its works, and what is printed is BibTeX."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import dregcli
from dregcli.data.catalogue import DATASETS
from dregcli.engine import ESTIMATORS, OBJECTIVES
from dregcli.names import DatasetName, EvalMethod, LikelihoodName, ModelName, RunStatus, Task
from dregcli.report.bibtex import Citation, Work, bibtex, citations, cited, works
from dregcli.report.comparison import compare
from dregcli.report.groups import RunRow, group_rows
from dregcli.report.used import data_sets_of_ones_own, used
from tests.support.bibtex_parser import NotBibtex, parse

NAMES = {
    "objective": OBJECTIVES,
    "estimator": ESTIMATORS,
    "data set": DatasetName,
    "model": (*ModelName, "hierarchical", "sbn"),
    "task": Task,
    "likelihood": LikelihoodName,
    "evaluation": EvalMethod,
}
NEEDED = {
    "article": {"author", "title", "journal", "volume", "pages", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "misc": {"author", "title", "year"},
    "software": {"author", "title", "version"},
}


WORKS = works()
CITED = cited({name: entry.cites for name, entry in DATASETS.items()})


def everything() -> list[Citation]:
    return citations({(kind, name): 2 for kind, names in CITED.items() for name in names}, CITED)


def test_the_file_is_bibtex_and_read_whole() -> None:
    text = (Path(dregcli.__file__).parent / "report" / "references.bib").read_text(encoding="utf-8")
    head, *entries = text.removesuffix("\n").split("\n\n")
    assert all(line.startswith("%") for line in head.splitlines())
    parsed = parse("\n\n".join(f"% an entry\n{entry}" for entry in entries) + "\n")
    assert list(parsed) == list(WORKS)
    for key, entry in parsed.items():
        assert (entry.kind, entry.fields) == (
            WORKS[key].kind,
            {name: value for name, value in WORKS[key].fields.items() if name != "version"},
        )


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_has_its_entry(kind: str) -> None:
    assert CITED[kind].keys() == set(NAMES[kind])
    assert all(works for name, works in CITED[kind].items() if name != Task.GENERATIVE)


def test_every_work_is_cited_for_something_and_there() -> None:
    cited = {key for names in CITED.values() for keys in names.values() for key in keys}
    assert cited == WORKS.keys()


def lacking(work: Work) -> set[str]:
    return NEEDED[work.kind] - work.fields.keys()


def test_works_are_complete() -> None:
    for key, work in WORKS.items():
        assert not lacking(work), key
        assert re.fullmatch(r"[a-z]+(\d{4}[a-z]+)?", key), key
        if (year := work.fields.get("year")) and key != "dreg":
            assert year in key
            first = work.fields["author"].split(",")[0]
            letters = re.sub(r"[^a-z]", "", re.sub(r"\\.", "", first).lower())
            assert key.startswith(letters), f"{key} is not by {first}"
    assert lacking(Work("article", {"author": "a", "title": "t", "journal": "j", "year": "2000"})) == {
        "volume",
        "pages",
    }


_ARXIV = re.compile(r"\b(\d{4}\.\d{5}|\d{4}\.\d{4})\b")


def of_the_engine(reference: str) -> set[str]:
    return set(_ARXIV.findall(reference))


def arxiv(keys: Sequence[str]) -> set[str]:
    return {number for key in keys if (number := WORKS[key].fields.get("eprint"))}


@pytest.mark.parametrize(("kind", "parts"), [("objective", OBJECTIVES), ("estimator", ESTIMATORS)])
def test_arxiv_numbers_are_those_of_the_engine(kind: str, parts) -> None:
    for name, part in parts.items():
        assert arxiv(CITED[kind][name]) == of_the_engine(part.reference), name
        for author, year in re.findall(r"([A-Z][a-z]+)(?:, ICLR)? (\d{4})\b(?!\.)", part.reference):
            works = [WORKS[key].fields for key in CITED[kind][name]]
            assert any(author in work["author"] and work["year"] == year for work in works), part.reference


def test_a_wrong_number_would_be_found() -> None:
    assert of_the_engine("arXiv 1312.6114, 1509.00519 eq. 13") == {"1312.6114", "1509.00519"}
    assert arxiv(("kingma2014vae",)) != of_the_engine(OBJECTIVES["iwae"].reference)


def test_all_of_it_is_bibtex_each_entry_once_and_sorted() -> None:
    parsed = parse(bibtex(everything()))
    assert list(parsed) == sorted(WORKS)
    for key, entry in parsed.items():
        assert (entry.kind, entry.fields) == (WORKS[key].kind, dict(WORKS[key].fields))
    assert parsed["dreg"].fields["version"] == dregcli.__version__
    assert parsed["tucker2019dreg"].fields["eprint"] == "1810.04152"
    assert "estimator dreg (2 runs)" in parsed["tucker2019dreg"].comment
    assert parsed["dreg"].comment == "program dreg"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1312.6114}", "1312.6114}}"),
        ("{Bayes}", "{Bayes"),
        ("Max},", "Max}"),
        ("@inproceedings{kingma2014vae,", "@inproceedings{dreg,"),
        ("% program dreg", "program dreg"),
        ("Max", "Max & Co"),
        ("% program dreg", "% program @dreg"),
    ],
)
def test_the_parser_is_strict(old: str, new: str) -> None:
    text = bibtex(everything())
    assert old in text
    with pytest.raises(NotBibtex):
        parse(text.replace(old, new, 1))


SPEC = {"dataset": "digits", "task": "generative", "binarisation": "dynamic", "objective": "iwae", "k": 64}
SPEC |= {"data_checksum": "c", "eval_seed": 0, "likelihood": "bernoulli", "model": "vae", "track_estimators": []}
SPEC |= {"optimizer": "adam"}


def run(estimator: str = "dreg", seed: int = 0, **changes) -> RunRow:
    spec = SPEC | {"estimator": estimator, "seed": seed}
    summary = {"step": 10, "bound": {"test": -90.0 - seed}}
    row = RunRow(f"{estimator}/{seed}", "n", "v001", estimator, spec, spec, RunStatus.COMPLETED, summary)
    return replace(row, **changes)


def uses_of(*rows: RunRow) -> set[str]:
    groups = group_rows(rows)
    return {f"{kind} {name}" for kind, name in used(groups, compare(groups))}


def test_what_runs_used() -> None:
    plain = {
        "program dreg", "objective iwae", "estimator dreg", "data set digits", "model vae", "task generative",
        "likelihood bernoulli", "optimiser adam",
    }  # fmt: skip
    assert uses_of(run()) == plain
    assert uses_of(run(spec={**run().spec, "optimizer": "sgd:momentum=0.9"})) ^ plain == {
        "optimiser adam",
        "optimiser sgd",
    }
    other = {**run().spec, "likelihood": "gaussian", "model": "linear-gaussian", "objective": "vr-iwae:alpha=0.3"}
    assert uses_of(run(spec=other)) - plain == {
        "likelihood gaussian",
        "model linear-gaussian",
        "objective vr-iwae",
    }
    deep = {**run().spec, "model": "hierarchical", "posterior": "flow:maf,layers=2", "prior_gradient": "blend"}
    deep |= {"objective": "tvo:partitions=3,beta=0.02,rule=left,schedule=moments"}
    assert uses_of(run(spec=deep)) - plain == {
        "model hierarchical",
        "objective tvo",
        "posterior flow:maf",
        "prior gradient blend",
        "tvo schedule moments",
    }
    usual = {**run().spec, "posterior": "diagonal", "prior_gradient": "score"}
    assert uses_of(run(spec=usual)) == plain
    tracking = {**run().spec, "track_estimators": ["dreg-alpha:alpha=0.9", "rws/dreg-norm"]}
    assert uses_of(run(spec=tracking)) - plain == {
        "estimator dreg-alpha",
        "estimator dreg-norm",
        "objective rws",
        "diagnostic gradient SNR",
    }
    checked = [{"results": [{"objective": "iwae", "estimator": "stl"}]}]
    assert uses_of(run(bias=checked)) - plain == {"estimator stl"}
    measured = [
        {"results": [{"objective": "elbo", "estimator": None}, {"objective": "iwae", "estimator": "ovis:gamma=0.0"}]}
    ]
    assert uses_of(run(variance=measured)) - plain == {
        "objective elbo",
        "estimator ovis",
        "diagnostic gradient SNR",
    }


EVAL = {"checkpoint": 10, "split": "test", "k": 5000, "seed": 0, "n": 9, "value": -90.0}


@pytest.mark.parametrize(
    ("attrs", "more"),
    [
        ({}, set()),
        ({"khat": None, "active_units": None, "curve": [{"k": 1, "value": 0.0, "jackknife": None}]}, set()),
        ({"khat": {"median": 0.5, "share_above_0.7": 0.0}}, {"diagnostic k-hat"}),
        ({"active_units": 0}, {"diagnostic active units"}),
        ({"curve": [{"k": 8, "value": 0.0, "jackknife": {"value": 0.0}}]}, {"diagnostic jackknife"}),
        ({"method": "ais", "ais": {"value": -89.0}}, {"evaluation ais"}),
    ],
)
def test_diagnostics_that_evaluations_used(attrs, more) -> None:
    assert uses_of(run(evals=[EVAL | attrs])) - uses_of(run()) == {"evaluation importance"} | more


def test_the_paired_test_is_cited_where_it_was_made() -> None:
    four = [run(word, seed) for word in ("dreg", "stl") for seed in range(4)]
    assert "diagnostic paired tests" in uses_of(*four)
    assert "diagnostic paired tests" not in uses_of(*four[1:7]), "they share two seeds, and are not tested"
    counts = used(group_rows(four), compare(group_rows(four)))
    assert [
        counts[use] for use in (("estimator", "dreg"), ("objective", "iwae"), ("diagnostic", "paired tests"))
    ] == [
        4,
        8,
        8,
    ]


def test_data_of_ones_own_has_nothing_to_cite() -> None:
    groups = group_rows([run(), run("stl", spec={**run().spec, "dataset": "mine"})])
    assert data_sets_of_ones_own(groups, DATASETS) == ["mine"]
    assert not any("mine" in use for each in citations(used(groups, []), CITED) for use in each.uses)
