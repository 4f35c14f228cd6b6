"""README's gallery: what it shows is there, small, told in words, and made by commands that the program has."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def make() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "gallery" / "make.py"))


def test_three_small_pictures_that_are_told_in_words(make: dict[str, Any]) -> None:
    names = make["pictures"](README)
    assert len(names) == 3
    assert {path.name for path in (ROOT / "docs" / "gallery").glob("*.png")} == set(names), "none that nobody shows"
    for name in names:
        path = ROOT / "docs" / "gallery" / name
        assert path.stat().st_size < 120_000
        with Image.open(path) as image:
            assert min(image.size) > 300
    assert all(len(words) > 60 for words in re.findall(r"!\[([^]]+)\]\(docs/gallery/", README))


def test_its_commands_are_found(make: dict[str, Any]) -> None:
    """That the program has such options is tested of all commands of README."""
    assert [line.split()[:2] for line in make["commands"](README)] == [
        ["dreg", word] for word in ("train", "report", "variance")
    ]


def test_a_readme_without_the_block_is_told(make: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="no block of commands"):
        make["commands"]("# dreg")
