"""``dreg report --html`` as a user has it."""

import subprocess
import sys
from pathlib import Path

import pytest
from markupsafe import escape

from dregcli.app.reporting import figures
from tests.support.cli import run
from tests.support.no_figures import no_ink
from tests.support.store_study import add_study

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_study(tmp_path / "runs", estimators={"dreg": -88.0, "stl": -90.0}, seeds=range(2))
    monkeypatch.chdir(tmp_path)


def test_the_page_is_written_beside_the_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_ink(monkeypatch)
    outcome = run(capsys, "report", "--html", "page.html", "--time-to", -95)
    assert outcome.code == 0, outcome.err
    assert "paired over seeds" in outcome.out
    assert "wrote page.html (" in outcome.err
    text = (tmp_path / "page.html").read_text()
    assert "time to -95" in text
    assert "digits-iwae-stl-k64/v002" in text
    one = run(capsys, "report", "digits-iwae-dreg-k64", "--html", "page.html", "--json")
    assert one.json["files"] == {"html": "page.html"}
    assert [group["seeds"] for group in one.json["groups"]] == [2]
    assert "digits-iwae-stl-k64" not in (tmp_path / "page.html").read_text()


def test_the_figures_are_on_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(figures, "SUFFIXES", (".svg",))
    outcome = run(capsys, "report", "--html", "new/page.html", "--figures", "pictures", "--json")
    assert outcome.code == 0, outcome.err
    text = (tmp_path / "new/page.html").read_text()
    assert len(outcome.json["figures"]) > 2
    assert all(escape(each["alt"]) in text for each in outcome.json["figures"])


@pytest.mark.parametrize("path", ["runs", "."])
def test_where_no_page_can_be(capsys: pytest.CaptureFixture[str], tmp_path: Path, path: str) -> None:
    outcome = run(capsys, "report", "--html", path)
    assert outcome.code == 2
    assert f"html: {path} is a folder: name a file in it." in outcome.err
    assert "next:" in outcome.err
    assert outcome.out == "", "before any work"


def test_a_report_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    code = (
        "import sys; from dregcli.cli.main import main\n"
        "assert main(['report', '--quiet']) == 0\n"
        "assert not {'torch', 'jinja2', 'matplotlib'} & set(sys.modules)\n"
        "from dregcli.report.drawn import Drawn; Drawn.render = lambda *_, **__: b''\n"
        f"assert main(['report', '--quiet', '--html', {str(tmp_path / 'page.html')!r}]) == 0\n"
        "assert 'jinja2' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
