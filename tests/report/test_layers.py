"""Reports by layer: text, JSON, CSV and HTML of evaluations of a model with several layers."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.reporting.exports import report_runs
from dregcli.app.reporting.plain import report_json
from dregcli.app.reporting.report import make_report
from dregcli.report.html.results import evaluations
from dregcli.report.layers import layers_of
from tests.support.cli import run
from tests.support.store_study import add_eval, add_study

KLS = {"z1": (4.0, 5.0, 6.0), "z2": (0.5, 0.01, 0.03)}
ACTIVE = {"z1": (10, 10, 10), "z2": (3, 0, 0)}


def layers(seed: int) -> list[dict[str, Any]]:
    """As ``dreg eval`` keeps them."""
    return [
        {
            "name": name,
            "units": 20 if name == "z1" else 5,
            "kl_prior": {"value": kls[seed], "stderr": 0.1},
            "active_units": ACTIVE[name][seed],
            "collapsed": kls[seed] < 0.1,
        }
        for name, kls in KLS.items()
    ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for seed, each in enumerate(add_study(tmp_path / "runs", estimators={"dreg": -88.0}, seeds=range(3))):
        add_eval(each, -87.0, layers=layers(seed))
    return tmp_path / "runs"


def test_the_text_and_the_json_have_the_mean_of_each_layer_over_seeds(capsys, store) -> None:
    text = run(capsys, "report").out
    assert (
        "eval by layer, nearest to x first: z1 part of the KL 5.00 ± 0.58, active units 10 of 20; "
        "z2 part of the KL 0.18 ± 0.16, active units 1 of 5, collapsed in 2 evaluations"
    ) in text
    (group,) = report_json(make_report([], runs_dir=store), time_to=None)["groups"]
    (found,) = group["evals"]
    assert [(each["name"], each["units"], each["collapsed"]) for each in found["layers"]] == [
        ("z1", 20, 0),
        ("z2", 5, 2),
    ]
    for each in found["layers"]:
        assert each["kl_prior"]["mean"] == pytest.approx(sum(KLS[each["name"]]) / 3)
        assert each["active_units"]["mean"] == pytest.approx(sum(ACTIVE[each["name"]]) / 3)


def test_the_csv_table_has_columns_of_each_layer(store) -> None:
    rows = list(csv.DictReader(io.StringIO(report_runs(make_report([], runs_dir=store), time_to=None).csv())))
    for name, kls in KLS.items():
        assert [float(row[f"eval.test.k5000.kl_nats.{name}"]) for row in rows] == list(kls)
        assert [float(row[f"eval.test.k5000.active_units.{name}"]) for row in rows] == list(ACTIVE[name])


def test_the_page_has_a_table_by_layer(store) -> None:
    (section,) = make_report([], runs_dir=store).sections
    table = evaluations(section.groups, section.labels).tables[-1]
    assert table.title.startswith("by layer")
    at = [column.name for column in table.columns].index("layer")
    shown = [[cell.text for cell in row[at:]] for row in table.rows]
    assert shown == [["z1", "5.00 ± 0.58", "10", "20", "0"], ["z2", "0.18 ± 0.16", "1", "5", "2"]]


def test_a_model_with_one_layer_has_none_of_this(capsys, tmp_path) -> None:
    (only,) = add_study(tmp_path / "runs", estimators={"dreg": -88.0}, seeds=[0])
    add_eval(only, -87.0)
    report = make_report([], runs_dir=tmp_path / "runs")
    assert "by layer" not in run(capsys, "report").out
    assert "layers" not in report_json(report, time_to=None)["groups"][0]["evals"][0]
    assert "kl_nats" not in report_runs(report, time_to=None).csv()
    (section,) = report.sections
    assert not any("layer" in each.title for each in evaluations(section.groups, section.labels).tables)


def test_values_that_another_program_wrote_do_no_harm() -> None:
    """Means leave out what is no number; the counts above two thresholds are not averaged."""
    strange: list[Any] = ["z1", {"units": 3}, {"name": "z1", "units": "x", "kl_prior": 3.0, "active_units": None}]
    found = layers_of([{"layers": strange}, {"layers": "z1"}, {"layers": layers(0)}])
    assert set(found) == {"z1", "z2"}
    assert found["z1"].kl is not None
    assert (found["z1"].kl.mean, found["z1"].kl.n, found["z1"].units) == (4.0, 1, None)
    assert layers_of([{"layers": layers(0)}], counts=False)["z1"].active_units is None
