"""The pages build without a warning, and what is made from the program is in them."""

import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dregcli import errors
from dregcli.engine import pairs
from tests.docs.blocks import ROOT


def build(source: Path, target: Path) -> int:
    """What ``sphinx-build -W -n --keep-going`` exits with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Sphinx's own dependencies
        from sphinx.cmd.build import main

        return main(["-W", "-n", "--keep-going", "-q", "-E", "-d", f"{target}-trees", str(source), str(target)])


class _Text(HTMLParser):
    """What a page shows, without tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs") / "site"
    assert build(ROOT / "docs", target) == 0
    return target


def shown(site: Path, page: str) -> str:
    return re.sub(r"\s+", " ", "".join(_Text((site / page).read_text(encoding="utf-8")).parts))


def test_the_pages_build_without_a_warning(site: Path) -> None:
    assert (site / "index.html").exists()
    assert not [path for path in site.rglob("*.html") if "<!-- generated" in path.read_text(encoding="utf-8")]


def test_what_is_made_from_the_program_is_shown(site: Path) -> None:
    commands = shown(site, "reference/commands.html")
    assert "dreg train [OPTIONS]" in commands
    assert "dreg runs export [OPTIONS]" in commands
    assert "Samples per example" in commands
    codes = shown(site, "reference/exit-codes.html")
    assert f"{errors.DatasetMissing.exit_code} DatasetMissing" in codes
    assert "iwae stl unbiased biased: iwae + rws v 0" in shown(site, "theory/pairs.html")
    assert "dregcli.engine.multi_sample_loss(" in shown(site, "reference/python.html")
    python = shown(site, "reference/python.html")
    assert all(name in python for name in ("check_bias", "gradient_report", "coefficients", pairs.promise.__name__))


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n')
    (tmp_path / "index.md").write_text("# Title\n\n[gone](gone.md)\n")
    assert build(tmp_path, tmp_path / "site") != 0
