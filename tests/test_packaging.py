"""What those who install the program rely on: bounds that were tried, files that come along, and true hints."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

_BOUND = re.compile(r"([A-Za-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9][0-9a-z.]*)")
_PIN = re.compile(r"([A-Za-z0-9-]+)==([0-9][0-9a-z.]*)")


def bounds(project: dict[str, Any]) -> dict[str, str]:
    """The lowest version of each package that the program or one of its extras needs."""
    extras = project["project"]["optional-dependencies"].values()
    needed = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    found = {text: _BOUND.fullmatch(text) for text in needed if not text.startswith("dreg[")}
    assert all(found.values()), f"not a package and its lowest version: {[text for text in found if not found[text]]}"
    return {bound[1]: bound[2] for bound in found.values() if bound}


def pins(text: str) -> dict[str, str]:
    """The versions that a constraints file names."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return {pin[1]: pin[2] for line in lines if line and (pin := _PIN.fullmatch(line))}


def test_the_lowest_versions_are_those_that_are_tried() -> None:
    tried = pins((ROOT / "constraints/lowest.txt").read_text())
    needed = bounds(PROJECT)
    assert needed == {name: tried.get(name) for name in needed}
    assert tried.keys() - needed.keys() == {"pyparsing"}, "pins of what is not needed, but for matplotlib's parser"
    assert pins("# a\nx==1.0\n\ny==2  # why\n") == {"x": "1.0", "y": "2"}


def _listed(path: str, manifest: str) -> bool:
    """Whether a file goes into the source distribution."""
    for line in manifest.splitlines():
        what, *words = line.split()
        if what == "include" and any(fnmatch(path, word) and "/" not in path for word in words):
            return True
        if what == "recursive-include" and path.startswith(f"{words[0]}/"):
            return any(fnmatch(path.rpartition("/")[2], word) for word in words[1:])
    return False


def test_changelog_docs_tests_and_what_they_read_are_in_the_source_distribution() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return  # this is one, or a copy without its history
    manifest = (ROOT / "MANIFEST.in").read_text()
    folders = ("docs/", "tests/", "constraints/", ".ci/")
    wanted = [path for path in done.stdout.splitlines() if path.startswith(folders) or path.endswith(".md")]
    assert {"CHANGELOG.md", "constraints/lowest.txt"} <= set(wanted)
    assert [path for path in wanted if not _listed(path, manifest)] == []
    assert not _listed("docs/x.csv", manifest)
    assert not _listed("x.py", manifest)


def undeclared(patterns: list[str]) -> list[str]:
    """Files of the package that a wheel would not have."""
    files = [path for path in (ROOT / "dregcli").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert all((path.parent / "__init__.py").exists() for path in files), "files of no package stay behind"
    return sorted(path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns))


def test_every_file_of_the_package_is_in_the_wheel() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    assert undeclared(patterns) == []
    assert "page.js" in undeclared([pattern for pattern in patterns if pattern != "*.js"])
    assert "py.typed" in undeclared([])


def test_nothing_says_that_the_package_can_be_had_from_a_registry() -> None:
    texts = [*(ROOT / "dregcli").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    for path in texts:
        assert not re.search(r"pip install (?:-\S+ )*'?dreg\b", path.read_text()), path
