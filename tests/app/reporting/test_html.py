"""Writing the page: where it may go, what is replaced, and what of a run cannot be read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dregcli.app.reporting.html import page, page_of
from dregcli.app.reporting.report import make_report
from dregcli.report.drawn import Drawn
from dregcli.report.html.page import render
from tests.report.test_html import faults
from tests.support.report_page import ENVIRONMENT
from tests.support.store_study import add_eval, add_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_run(tmp_path / "runs", environment=ENVIRONMENT)
    return tmp_path / "runs"


def shown(store: Path) -> str:
    return page(make_report([], runs_dir=store), (), time_to=None, argv=["dreg", "report"]).decode()


def test_what_cannot_be_read_is_left_out_and_told(store: Path) -> None:
    run = add_run(store, seed=1, environment=ENVIRONMENT)
    run.add_label(note="gone")
    (run.path / "environment.json").write_text("{}")
    for label in (run.path / "labels").iterdir():
        label.write_text("{}")
    text = shown(store)
    assert "left out: environment of " in text
    assert "left out: labels of " in text
    assert "dreg runs rerun digits-iwae-dreg-k64/v002 --runs-dir" in text, "its settings are known"


def drawing(name: str, section: str) -> Drawn:
    figure = Figure(figsize=(2.0, 1.0))
    FigureCanvasAgg(figure)
    return Drawn(name, f"{section}: Figure {name}", "words", figure, section=section)


def test_each_section_of_the_report_is_a_part_of_the_page(store: Path) -> None:
    """Its tables and figures have anchors that begin with its name; what is about all runs comes once, below."""
    add_eval(add_run(store, seed=0, environment=ENVIRONMENT, task="structured"), -80.0)
    add_run(store, seed=0, environment=ENVIRONMENT, dataset="mnist", data_checksum="d" * 64)
    figures = [drawing("a", "mnist"), drawing("b", "digits, structured")]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    report = make_report([], runs_dir=store)
    found = page_of(report, figures, time_to=None, argv=["dreg"], now=now)
    parts = {section.title: section for section in found.sections}
    assert list(parts) == [
        "digits", "digits, structured", "mnist", "Settings", "Runs", "Environment", "Commands to repeat each run",
    ]  # fmt: skip
    assert [section.anchor for section in found.sections][:3] == [
        "results-digits", "results-digits-structured", "results-mnist",
    ]  # fmt: skip
    inside = {section.anchor: section for section in parts["digits, structured"].sections}
    assert list(inside) == ["digits-structured-groups", "digits-structured-figures", "digits-structured-evaluations"]
    assert [image.title for image in inside["digits-structured-figures"].images] == ["Figure b"]
    (of_mnist,) = [section for section in parts["mnist"].sections if section.anchor == "mnist-figures"]
    assert [image.title for image in of_mnist.images] == ["Figure a"]
    for title in ("digits", "digits, structured", "mnist"):
        assert [table.title.startswith(f"{title}: ") for table in parts["Runs"].tables].count(True) == 1
        assert any(each.title.startswith(f"{title}: ") for each in parts["Commands to repeat each run"].commands)
    assert [len(table.rows) for table in parts["Runs"].tables] == [1, 1, 1]
    text = render(found).decode()
    assert 'href="#digits-structured-evaluations"' in text
    assert 'id="digits-structured-evaluations"' in text
    assert faults(text) == []


def test_a_report_of_one_section_has_no_parts(store: Path) -> None:
    figures = [drawing("a", "")]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    found = page_of(make_report([], runs_dir=store), figures, time_to=None, argv=["dreg"], now=now)
    assert [section.anchor for section in found.sections][:2] == ["groups", "figures"]
    assert not any(section.sections for section in found.sections)


def test_a_resumed_run_tells_both_commands(store: Path) -> None:
    from dregcli.names import RunStatus
    from dregcli.store.runs import RunStore

    first = add_run(store, seed=2, status=RunStatus.INTERRUPTED, environment=ENVIRONMENT)
    again = {**ENVIRONMENT, "argv": ["dreg", "train", "--resume", "it's"], "threads": 16}
    writer = RunStore(store).reopen(first, environment=again)
    writer.finish(RunStatus.COMPLETED, {"step": 1000, "bound": {"test": -90.0}})
    text = shown(store)
    assert "typed to resume it" in text
    assert "dreg train --resume &#39;it&#39;&#34;&#39;&#34;&#39;s&#39;" in text
    assert "digits-iwae-dreg-k64/v002 (resumed)" in text
