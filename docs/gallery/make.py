"""Make the pictures of the pages again, with the commands of the tutorial on studies.

Run it by hand: ``python docs/gallery/make.py``. It needs ``dreg`` beside the Python that runs it. Runs and files go
to a temporary folder, and the pictures that pages show are copied from there.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "tutorials" / "study.md"
FOLDER = "gallery"
"""Folder that the commands write to, below the folder in which they run."""

COLOURS = 96
"""Colours of a picture: lines and bands need few, and the files become a third as large."""


def commands(text: str) -> list[str]:
    """Return the commands of the gallery's block; a line that ends in a backslash continues."""
    found = re.search(r"<!-- gallery:[^>]*-->\n```sh\n(.*?)```", text, re.DOTALL)
    if found is None:
        what = f"{PAGE} has no block of commands after <!-- gallery: ... -->"
        raise SystemExit(what)
    return re.sub(r"\\\n\s*", "", found[1]).splitlines()


def pictures() -> dict[str, list[str]]:
    """Return the names of the pictures that pages show, with the alternative texts of each."""
    found: dict[str, list[str]] = {}
    for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        text = page.read_text(encoding="utf-8")
        for words, name in re.findall(r"!\[([^]]+)\]\([./a-z]*gallery/([a-z0-9-]+\.png)\)", text):
            found.setdefault(name, []).append(words)
    return found


def main() -> None:
    """Run the commands and copy the pictures."""
    beside = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DREG_")}
    environment["PATH"] = f"{beside}{os.pathsep}{environment.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as folder:
        for line in commands(PAGE.read_text(encoding="utf-8")):
            print(f"$ {line}", flush=True)
            subprocess.run(line, shell=True, check=True, cwd=folder, env=environment)
        for name in pictures():
            with Image.open(Path(folder) / FOLDER / name) as image:
                image.convert("RGB").quantize(COLOURS).save(HERE / name, optimize=True)
            print(f"{HERE / name}: {(HERE / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
