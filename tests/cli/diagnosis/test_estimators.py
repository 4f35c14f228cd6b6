"""``dreg estimators`` says of every pair what the engine says, and nothing else."""

import re

import pytest

from dregcli.app.diagnosis.computed import KS, computed_rows, table_text
from dregcli.app.diagnosis.estimators import list_pairs
from dregcli.app.planning.plan import in_words
from dregcli.cli.main import main
from dregcli.engine import ESTIMATORS, OBJECTIVES, promise
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.optimisation import parse_optimizer, parse_schedule
from dregcli.engine.pairs import all_pairs, resolve_pair, word_faults
from dregcli.engine.words import parse_estimator, parse_objective, word_of
from dregcli.names import OptimizerName, ScheduleName
from dregcli.parts import FILE, parts
from tests.support.cli import run


@pytest.mark.parametrize("k", [1, 2, 8, 12, 64])
def test_every_pair_is_listed_with_the_promise_of_the_one_source(capsys, k: int) -> None:
    outcome = run(capsys, "estimators", "--k", k, "--json")
    assert outcome.code == 0, outcome.err
    listed = outcome.json
    assert listed["k"] == k
    assert len(listed["results"]) == len(list(all_pairs()))
    for result, pair in zip(listed["results"], all_pairs(), strict=True):
        words = word_of(pair.objective), word_of(pair.estimator)
        assert (result["objective"], result["estimator"]) == words
        faults = word_faults(*words, k)
        assert result["faults"] == [str(fault) for fault in faults]
        assert result["promise"] == (None if faults else promise(*words, k))
        assert result["smallest_k"] == pair.smallest_k
        assert result["formula"] == vars(pair.formula)
        assert result["reference"] == {
            "objective": pair.objective.reference,
            "estimator": pair.estimator.reference,
        }
        expectation = pair.estimator.expectation(pair.objective)
        stated = {"biased": in_words(expectation) if expectation else None, "unbiased": pair.estimator.own_target}
        assert result["expectation"] == stated.get(result["promise"])
    assert listed["symbols"] == SYMBOLS


def test_the_table_in_the_package_is_what_the_engine_says() -> None:
    again = "run: python -m dregcli.app.diagnosis.computed"
    assert FILE.read_text(encoding="utf-8") == table_text(), again


ASKED = [
    *((None, ()), ("iwae", ()), ("rws", ()), (None, ("dreg",)), (None, ("dreg", "iwae/stl", "rws/dreg", "dreg"))),
    *(("miwae", ("stl",)), ("iwae", ("iwae/stl", "dreg"))),
]


def test_the_table_answers_as_the_engine_does() -> None:
    """At every number of samples that it holds; where it does not answer, it says so."""
    for objective, estimators in ASKED:
        for k in KS:
            assert parts().rows(k, objective, estimators) == computed_rows(k, objective, estimators)
    cannot = [("iwae:", ()), ("iwea", ()), ("rws", ("stl",)), ("iwae", ("rws/dreg",)), (None, ("ovis:gamma=0.0",))]
    assert all(parts().rows(64, objective, estimators) is None for objective, estimators in cannot)
    assert parts().rows(0, None, ()) is parts().rows(17, None, ()) is None


def test_the_table_shows_each_pair_once_with_promise_and_formula(capsys) -> None:
    outcome = run(capsys, "estimators")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    for row in list_pairs(64).rows:
        (line,) = [line for line in lines if line.startswith(f"{row.label} ")]
        assert re.split(r"\s{2,}", line.strip()) == [
            row.label,
            row.says,
            str(row.smallest_k),
            row.path,
            row.score,
        ]
    for entry in (*OBJECTIVES.values(), *ESTIMATORS.values()):
        (line,) = [line for line in lines if line.startswith(f"{entry.name} ")]
        assert line.rstrip().endswith(entry.reference)
    for symbol, meaning in SYMBOLS.items():
        assert any(re.fullmatch(rf"{re.escape(symbol)} +{re.escape(meaning)} *", line) for line in lines)


def test_the_models_weight_is_the_objectives_as_the_table_has_it() -> None:
    """It is shown once an objective: no estimator may have another."""
    assert all(pair.formula.model == pair.objective.formula.model for pair in all_pairs())
    assert {p.name: p.model for p in list_pairs(64).objectives} == {
        name: entry.formula.model for name, entry in OBJECTIVES.items()
    }


def test_what_needs_more_samples_says_how_many(capsys) -> None:
    table = run(capsys, "estimators", "--k", 1).out
    assert re.search(r"^iwae/vimco +needs K >= 2 +2 ", table, flags=re.MULTILINE)
    assert re.search(r"^miwae/dreg +needs K >= 8 +8 ", table, flags=re.MULTILINE)
    assert re.search(r"^iwae/stl +unbiased +1 ", table, flags=re.MULTILINE)


def test_groups_that_do_not_divide_k_are_listed_with_the_reason(capsys) -> None:
    outcome = run(capsys, "estimators", "--objective", "miwae:groups=3", "--k", 8)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("not with K = 8") == 5
    assert outcome.out.count("groups must divide k=8, got 3; these do: 1, 2, 4, 8.") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--objective", "vr-iwae:alpha=1", "--estimator", "stl"), {"vr-iwae:alpha=1.0/stl": "unbiased"}),
        (("--objective", "vr-iwae:alpha=.3", "--estimator", "stl"), {"vr-iwae:alpha=0.3/stl": "biased"}),
        (("--objective", "miwae:groups=64", "--estimator", "stl"), {"miwae:groups=64/stl": "unbiased"}),
        (("--estimator", "ovis:gamma=0.25"), {"iwae/ovis:gamma=0.25": "biased: iwae + 0.25 rws"}),
        (("--estimator", "dreg-alpha:alpha=0"), {"iwae/dreg-alpha:alpha=0.0": "unbiased"}),
        (("--estimator", "dreg-alpha:alpha=1"), {"iwae/dreg-alpha:alpha=1.0": "biased: rws"}),
        (("--estimator", "vimco:baseline=geometric", "--objective", "elbo"),
         {"elbo/vimco:baseline=geometric": "unbiased"}),
        (("--estimator", "rws/dreg", "--estimator", "iwae/stl", "--estimator", "rws/dreg"),
         {"iwae/stl": "biased: iwae + rws", "rws/dreg": "unbiased"}),
        (("--estimator", "dreg-norm"), {"iwae/dreg-norm": "biased", "rws/dreg-norm": "biased"}),
        (("--objective", "rws"), {"rws/reparam": "unbiased", "rws/dreg": "unbiased", "rws/dreg-norm": "biased"}),
        (("--objective", "rws", "--estimator", "rws/dreg"), {"rws/dreg": "unbiased"}),
    ],
)  # fmt: skip
def test_words_choose_pairs_with_their_parameters(capsys, arguments, expected) -> None:
    shown = run(capsys, "estimators", *arguments, "--quiet").out.splitlines()[1:]
    found = dict(re.split(r"\s{2,}", line.strip())[:2] for line in shown if line.strip())
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("--objective", "iwea"), ["objective: ", "Did you mean 'iwae'?"]),
        (("--estimator", "drge"), ["estimator: ", "Did you mean 'dreg'?"]),
        (("--k", 0, "--objective", "iwea", "--estimator", "drge"), ["k: must be at least 1", "'iwea'", "'drge'"]),
        (("--k", "x"), ["valid integer"]),
        (("--objective", "vr-iwae:alpha=2"), ["alpha must be from 0 to 1, got 2."]),
        (("--estimator", "ovis:gamma=2"), ["gamma must be from 0 to 1, got 2."]),
        (("--objective", "jvi:order=-1"), ["order must be at least 0"]),
        (("--objective", "miwae:groups=0"), ["groups must be at least 1"]),
        (("--objective", "rws", "--estimator", "stl"), ["'rws' has no path", "there are: reparam, dreg, dreg-norm."]),
        (("--objective", "iwae", "--estimator", "rws/dreg"), ["'rws/dreg' contradicts --objective iwae"]),
        (("--estimator", "/dreg"), ["no objective is called ''"]),
        (("--estimator", "iwae/"), ["no estimator is called ''"]),
    ],
)
def test_what_there_is_not_is_refused(capsys, arguments, texts) -> None:
    outcome = run(capsys, "estimators", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    for text in (*texts, "next:"):
        assert text in outcome.err
    assert outcome.err.count("error:") == 1
    assert "alpha must" not in outcome.err or outcome.err.count("alpha must") == 1, "a fault is told once"


def test_an_order_that_no_sample_count_forbids_is_listed_with_its_fault(capsys) -> None:
    outcome = run(capsys, "estimators", "--objective", "jvi:order=8")
    assert outcome.code == 0
    assert "objective: order 8 with k=64 sums 10^14 terms" in outcome.out


def test_only_the_symbols_of_the_pairs_shown_are_explained() -> None:
    assert set(list_pairs(64, "vr-iwae", ["stl"]).symbols) == {"u"}
    assert set(list_pairs(64, "miwae", ["stl"]).symbols) == {"K", "M", "v", "v_m"}
    assert set(list_pairs(64, "iwae", ["dreg-cv"]).symbols) == {"K", "v", "L", "B"}
    assert set(list_pairs(64, "elbo", ["vimco"]).symbols) == {"K", "F", "F_r"}


def test_parameters_are_told_with_their_defaults(capsys) -> None:
    table = run(capsys, "estimators").out
    for text in ("order=1 (whole number)", "alpha=0.5 (number)", "groups=8 (whole number)", "alpha=0.9 (number)"):
        assert text in table
    assert "baseline=arithmetic|geometric" in table
    assert "alpha, beta, gamma, delta=0 (number, learned starting at this value)" in table
    told = run(capsys, "estimators", "--json").json["parameters"]
    for kind, parse in (("objective", parse_objective), ("estimator", parse_estimator)):
        for name, parameters in told[kind].items():
            word = f"{name}:" + ",".join(f"{p['name']}={p['default']}" for p in parameters)
            assert word_of(parse(word)) == word_of(parse(name))
    assert told["estimator"]["vimco"] == [
        {
            "name": "baseline",
            "kind": "choice",
            "choices": ["arithmetic", "geometric"],
            "default": "arithmetic",
            "learned": False,
        }
    ]


def test_quiet_leaves_the_table_alone(capsys) -> None:
    shown = run(capsys, "estimators", "--quiet").out
    assert "iwae/dreg" in shown
    assert "arXiv" not in shown


@pytest.mark.parametrize("width", [80, 100, 200])
def test_nothing_is_cut_on_a_terminal(monkeypatch, capsys, width: int) -> None:
    """Where a formula is too long for the width it goes on in the next line of its own column."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    coloured = run(capsys, "estimators", "--quiet").out
    assert "\x1b[32munbiased" in coloured
    assert "\x1b[33mbiased" in coloured
    header, *lines = re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()
    assert max(map(len, [header, *lines])) <= width
    starts = [header.index(column) for column in ("pair", "promise", "least", "path", "score")]
    found: list[list[str]] = []
    for line in (header, *filter(str.strip, lines)):
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], width], strict=True)]
        if cells[0]:
            found.append(cells)
        else:
            found[-1] = [" ".join(filter(None, both)) for both in zip(found[-1], cells, strict=True)]
    expected = [[r.label, r.says, str(r.smallest_k), r.path, r.score] for r in list_pairs(64).rows]
    expected.insert(0, ["pair", "promise at K=64", "least K", "path", "score"])
    if width == 80:  # the longest factors do not fit in one line
        found, expected = [[["".join(c.split()) for c in row] for row in rows] for rows in (found, expected)]
    assert found == expected


@pytest.mark.parametrize("width", [100, 200])
def test_the_legend_fits(monkeypatch, capsys, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run(capsys, "estimators").out)
    assert max(map(len, plain.splitlines())) <= width


def test_piped_there_are_no_colours(capsys) -> None:
    assert "\x1b" not in run(capsys, "estimators").out


def test_help_has_an_example_and_help_of_train_points_here(capsys) -> None:
    own = " ".join(run(capsys, "estimators", "--help").out.split())
    assert "dreg estimators --objective vr-iwae:alpha=1" in own
    shown = " ".join(run(capsys, "train", "--help").out.replace("│", " ").split())
    assert "dreg estimators" in shown
    assert "vr-iwae:alpha=0.3" in shown
    for name in (*OBJECTIVES, *ESTIMATORS):
        assert name in shown


def test_words_in_help_texts_are_words(capsys) -> None:
    known = {
        **dict.fromkeys(OBJECTIVES, parse_objective),
        **dict.fromkeys(ESTIMATORS, parse_estimator),
        **dict.fromkeys(OptimizerName, parse_optimizer),
        **dict.fromkeys(ScheduleName, parse_schedule),
    }
    for command in ("train", "estimators"):
        for word in re.findall(r"[a-z-]+:[a-z]+=[0-9.]*[0-9]", run(capsys, command, "--help").out):
            assert known[word.partition(":")[0]](word)


def test_a_listed_pair_is_a_pair_that_trains_or_says_why(capsys) -> None:
    """Whatever is listed with a promise resolves with the K it is listed at; the rest is refused with its faults."""
    for result in run(capsys, "estimators", "--k", 12, "--json").json["results"]:
        words = result["objective"], result["estimator"]
        if result["promise"]:
            assert resolve_pair(*words, 12).promise(12) == result["promise"]
        else:
            assert word_faults(*words, 12)


def test_main_returns_two_for_an_unknown_option() -> None:
    assert main(["estimators", "--objctive", "iwae"]) == 2
