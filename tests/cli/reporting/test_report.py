"""``dreg report`` as a user sees it, on stores as trainings leave them."""

import math

import numpy as np
import pytest
from scipy import stats

from dregcli.app.reporting.report import make_report
from dregcli.names import RunStatus
from tests.support.cli import run
from tests.support.store_study import add_eval, add_run, add_study


@pytest.fixture
def study(tmp_path):
    return add_study(tmp_path / "runs", estimators={"dreg": -88.0, "stl": -88.05, "reparam": -89.0}, seeds=range(5))


@pytest.mark.usefixtures("study")
def test_groups_are_compared_in_pairs_over_their_seeds(capsys) -> None:
    outcome = run(capsys, "report")
    assert outcome.code == 0, outcome.err
    found = run(capsys, "report", "--json").json
    assert [(group["label"], group["seeds"]) for group in found["groups"]] == [
        ("iwae/dreg", 5),
        ("iwae/reparam", 5),
        ("iwae/stl", 5),
    ]
    by_label = {group["label"]: {r["seed"]: r["bound"]["test"] for r in group["runs"]} for group in found["groups"]}
    keys = {group["group"]: group["label"] for group in found["groups"]}
    (comparison,) = [each for each in found["comparisons"] if each["measure"]["split"] == "test"]
    for pair in comparison["pairs"]:
        a, b = (by_label[keys[pair[side]]] for side in "ab")
        expected = stats.ttest_rel([a[s] for s in range(5)], [b[s] for s in range(5)])
        assert pair["p"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert pair["interval"] == pytest.approx(list(expected.confidence_interval()), rel=1e-9)
    verdicts = {(keys[p["a"]], keys[p["b"]]): p["verdict"] for p in comparison["pairs"]}
    assert verdicts[("iwae/dreg", "iwae/reparam")] == "higher"
    assert verdicts[("iwae/dreg", "iwae/stl")] == "undecided"
    assert {keys[key] for key in comparison["not_told_from_best"]} == {"iwae/dreg", "iwae/stl"}
    assert "paired over seeds: test final bound at K=64" in outcome.out
    assert "iwae/dreg minus iwae/reparam" in outcome.out
    assert "iwae/dreg is higher" in outcome.out
    assert "seeds to decide" in outcome.out


@pytest.mark.usefixtures("study")
def test_means_best_and_the_time_to_a_bound(capsys) -> None:
    found = run(capsys, "report", "digits-iwae-dreg-k64", "--time-to", "-91", "--json").json
    (group,) = found["groups"]
    values = [each["bound"]["test"] for each in group["runs"]]
    assert group["bound"]["test"] == {
        "mean": pytest.approx(np.mean(values)),
        "stderr": pytest.approx(stats.sem(values)),
        "best": max(values),
        "n": 5,
    }
    assert group["time_to"]["of"] == 5
    assert 0.0 < group["time_to"]["seconds"]["mean"] < 20.0
    text = run(capsys, "report", "digits-iwae-dreg-k64", "--time-to", "-91").out
    assert "time to -91" in text
    assert f"(best {max(values):.2f})" in text
    never = run(capsys, "report", "digits-iwae-dreg-k64", "--time-to", "-1")
    assert "never" in never.out
    assert run(capsys, "report", "--time-to", "-1", "--json").json["groups"][0]["time_to"]["seconds"] is None


def test_evaluations_are_told_with_what_they_can_be_trusted_by(capsys, tmp_path) -> None:
    for each in add_study(tmp_path / "runs", estimators={"dreg": -88.0, "stl": -89.0}, seeds=range(3)):
        add_eval(each, each.info().summary["bound"]["test"] + 1.0)
    outcome = run(capsys, "report")
    assert "ESS 8.5; median k-hat 0.60; k-hat above 0.7: 25 %; active units 20" in outcome.out
    assert "paired over seeds: test bound by dreg eval at K=5,000, 100 examples" in outcome.out
    assert "k-hat is above 0.7 for up to 25 % of the examples" in outcome.err
    (first, *_) = run(capsys, "report", "--json").json["groups"]
    (evaluated,) = first["evals"]
    assert [point["k"] for point in evaluated["curve"]] == [1, 10, 100, 1000, 5000]
    assert evaluated["active_units"]["mean"] == 20


@pytest.mark.parametrize(
    "changes", [{"k": 8}, {"data_checksum": "d" * 64, "dataset": "mnist"}, {"binarisation": "none"}]
)
def test_what_does_not_compare_is_never_compared_in_silence(capsys, tmp_path, changes) -> None:
    add_run(tmp_path / "runs", level=-88.0)
    add_run(tmp_path / "runs", level=-80.0, **changes)
    outcome = run(capsys, "report")
    sections = make_report([], runs_dir=tmp_path / "runs").sections
    assert len(sections) == (1 if "k" in changes else 2)
    assert ("nothing is compared" in outcome.err) == ("k" in changes)
    assert "paired over seeds" not in outcome.out
    assert run(capsys, "report", "--json").json["comparisons"] == []


def test_runs_that_did_not_end_well_are_told_and_left_out(capsys, tmp_path) -> None:
    root = tmp_path / "runs"
    add_run(root, level=-88.0, seed=0)
    add_run(root, level=-10.0, seed=1, status=RunStatus.FAILED)
    add_run(root, level=-10.0, seed=2, status=RunStatus.INTERRUPTED)
    outcome = run(capsys, "report")
    assert outcome.code == 0
    assert "not in its means: failed digits-iwae-dreg-k64/v002; interrupted digits-iwae-dreg-k64/v003" in outcome.err
    assert "one seed only" in outcome.err
    assert run(capsys, "report", "--json").json["groups"][0]["bound"]["test"]["n"] == 1


def test_numbers_that_are_none_and_columns_that_are_missing(capsys, tmp_path) -> None:
    root = tmp_path / "runs"
    nan = [math.nan] * 20
    add_run(root, seed=0, extra={"bound": [math.nan, *[-90.0] * 19], "stl.posterior_variance": nan})
    add_run(root, seed=1, summary={"bound": {"test": None, "train": "high"}, "steps_per_second": None})
    add_run(root, seed=2, rows=1)
    outcome = run(capsys, "report", "--time-to", "-91")
    assert outcome.code == 0, outcome.err
    assert "the bound is not finite in 1 of 20 rows of train metrics" in outcome.err
    assert outcome.err.count("Traceback") == 0
    found = run(capsys, "report", "--json").json["groups"][0]
    assert found["bound"]["test"]["n"] == 2


def test_an_empty_store_and_names_that_match_nothing(capsys, tmp_path) -> None:
    empty = run(capsys, "report")
    assert empty.code == 13
    assert "dreg train" in empty.err
    add_run(tmp_path / "runs", name="alpha")
    missing = run(capsys, "report", "alhpa")
    assert missing.code == 13
    assert "alpha" in missing.err


def test_a_damaged_run_hides_no_other(capsys, tmp_path) -> None:
    root = tmp_path / "runs"
    add_run(root, seed=0)
    damaged = add_run(root, seed=1)
    (damaged.path / "metrics.h5").write_bytes(b"nothing")
    gone = add_run(root, seed=2)
    (gone.path / "spec.json").unlink()
    outcome = run(capsys, "report")
    assert outcome.code == 0
    assert "metrics of" in outcome.err
    assert "v003" in outcome.err
    assert run(capsys, "report", "--json").json["groups"][0]["seeds"] == 2


def test_an_evaluation_that_is_no_number_decides_nothing(capsys, tmp_path) -> None:
    """Let through, a NaN would have p = 0 and rank first."""
    for each in add_study(tmp_path / "runs", estimators={"dreg": -88.0, "stl": -89.0}, seeds=range(4)):
        broken = each.spec()["estimator"] == "dreg" and each.spec()["seed"] == 1
        add_eval(each, math.nan if broken else each.info().summary["bound"]["test"])
    outcome = run(capsys, "report")
    assert "nan" not in outcome.out
    assert "an evaluated bound is not a finite number" in outcome.err
    found = run(capsys, "report", "--json").json["comparisons"][0]
    assert [len(pair["seeds"]) for pair in found["pairs"]] == [3]
    assert "3 of 4" in outcome.out, "how many seeds the mean is over"


def test_of_repeats_the_newest_counts_however_they_are_named(capsys, tmp_path) -> None:
    root = tmp_path / "runs"
    add_run(root, name="z", level=-80.0)
    add_run(root, name="a", level=-90.0)
    for order in (("a", "z"), ("z", "a"), ()):
        outcome = run(capsys, "report", *order, "--json")
        assert outcome.json["groups"][0]["bound"]["test"]["mean"] == -90.0
    text = "only one counts, the newest of those with the most bounds; these do not count: z/v001"
    assert text in run(capsys, "report").err


def test_results_that_lack_what_a_report_needs_are_left_out(capsys, tmp_path) -> None:
    each = add_run(tmp_path / "runs")
    for kind in ("evals", "bias", "variance"):
        each.add_result(kind, "other", arrays={"x": np.zeros(1)}, attrs={"split": "test"})
    outcome = run(capsys, "report", "--html", tmp_path / "page.html", "--csv", tmp_path / "a.csv")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("the result lacks values that a report needs") == 3


def test_a_moved_store_is_told_where_it_is(capsys, tmp_path) -> None:
    add_run(tmp_path / "runs", summary={"run": "/elsewhere/v001", "status": "crashed"})
    (found,) = run(capsys, "report", "--json").json["groups"][0]["runs"]
    assert (found["run"], found["status"]) == (str(tmp_path / "runs/digits-iwae-dreg-k64/v001"), "completed")


@pytest.mark.parametrize("words", [("--time-to", "nan"), ("--watch", "--every", "inf"), ("--html", "-")])
def test_numbers_that_cannot_be(capsys, tmp_path, words) -> None:
    add_run(tmp_path / "runs")
    assert run(capsys, "report", *words).code == 2


def test_without_validation_nobody_knows_when_a_bound_was_reached(capsys, tmp_path) -> None:
    add_run(tmp_path / "runs", rows=1)
    (tmp_path / "runs/digits-iwae-dreg-k64/v001/metrics.h5").unlink()
    outcome = run(capsys, "report", "--time-to", "-91")
    assert outcome.code == 0
    assert "never" not in outcome.out


def test_the_headline_covers_most_examples_and_every_number_says_how_many(capsys, tmp_path) -> None:
    root = tmp_path / "counts"
    counted = {"bounds": {split: {"n": n} for split, n in (("train", 900), ("valid", 50), ("test", 1000))}}
    for estimator in ("dreg", "stl"):
        for seed in range(4):
            done = add_run(root, estimator=estimator, seed=seed, level=-90.0 - 0.1 * seed, summary=counted)
            add_eval(done, -80.0, k=5000, n=30)
            add_eval(done, -88.0, k=500, n=1000)
    outcome = run(capsys, "report", "--runs-dir", root)
    assert "groups by their test bound by dreg eval at K=500, 1,000 examples, nats per example" in outcome.out
    assert "paired over seeds: test bound by dreg eval at K=500, 1,000 examples" in outcome.out
    assert "test -90.15 ± 0.06 (1,000 examples, best -90.00)" in outcome.out
    assert "train -89.65 ± 0.06 (900 examples, best -89.50)" in outcome.out
    assert "test bound at K=5000, 30 examples" in outcome.out
    found = run(capsys, "report", "--runs-dir", root, "--json").json
    measures = [(each["measure"]["k"], each["measure"]["examples"]) for each in found["comparisons"]]
    assert measures == [(500, 1000), (64, 1000), (64, 50), (64, 900), (5000, 30)]


def test_every_output_explains_its_labels(capsys, tmp_path) -> None:
    for k in (8, 64):
        add_run(tmp_path / "runs", k=k)
    page = tmp_path / "page.html"
    assert run(capsys, "report", "--html", page).code == 0
    shown = run(capsys, "report").out, run(capsys, "report", "--latex", "-").out, page.read_text(encoding="utf-8")
    for text in shown:
        assert text.count("K is the number of samples per example") == 1
