"""The pictures of the pages are there, small, described in words, and made by commands that a page shows."""

import runpy
from typing import Any

import pytest
from PIL import Image

from tests.docs.blocks import ROOT


@pytest.fixture(scope="module")
def make() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "gallery" / "make.py"))


def test_three_small_pictures_that_are_described_in_words(make: dict[str, Any]) -> None:
    shown = make["pictures"]()
    assert len(shown) == 3
    assert {path.name for path in (ROOT / "docs" / "gallery").glob("*.png")} == set(shown), "none that no page shows"
    for name, descriptions in shown.items():
        path = ROOT / "docs" / "gallery" / name
        assert path.stat().st_size < 120_000
        with Image.open(path) as image:
            assert min(image.size) > 300
        assert all(len(words) > 60 for words in descriptions)


def test_its_commands_are_found(make: dict[str, Any]) -> None:
    """That the program has such options is tested with the commands of all pages."""
    assert [line.split()[:2] for line in make["commands"](make["PAGE"].read_text())] == [
        ["dreg", word] for word in ("train", "report", "variance")
    ]


def test_a_page_without_the_block_is_reported(make: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="no block of commands"):
        make["commands"]("# dreg")
