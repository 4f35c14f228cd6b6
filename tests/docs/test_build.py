"""The pages build without a warning, and what is made from the program is in them."""

import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

from dregcli import errors
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


def test_the_pages_build_without_a_warning_and_show_what_is_made_from_the_program(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert build(ROOT / "docs", site) == 0
    written = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert not [path for path, text in written.items() if "<!-- generated" in text]
    assert not [path for path, text in written.items() if re.search(r'(src|stylesheet" href)="https?:', text)]

    def shown(page: str) -> str:
        return re.sub(r"\s+", " ", "".join(_Text(written[site / page]).parts))

    commands = shown("reference/commands.html")
    for usage in (
        "train [OPTIONS]",
        "download [OPTIONS] [DATASET]...",
        "report [OPTIONS] [RUN]...",
        "eval [OPTIONS] RUN...",
    ):
        assert f"dreg {usage}" in commands
    assert "dreg runs export [OPTIONS]" in commands
    assert "Samples per example" in commands
    assert f"{errors.DatasetMissing.exit_code} DatasetMissing" in shown("reference/exit-codes.html")
    assert "iwae stl unbiased biased: iwae + rws v 0" in shown("theory/pairs.html")
    assert "<math" in written[site / "theory/rule.html"]
    python = shown("reference/python.html")
    assert "dregcli.engine.multi_sample_loss(" in python
    assert all(name in python for name in ("check_bias", "gradient_report", "coefficients", "promise"))


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n')
    (tmp_path / "index.md").write_text("# Title\n\n[gone](gone.md)\n")
    assert build(tmp_path, tmp_path / "site") != 0
