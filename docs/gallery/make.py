"""Make the pictures of README's gallery again, by the very commands that stand there.

By hand: ``python docs/gallery/make.py``. It wants ``dreg`` beside the Python that runs it. Runs and files go to a
temporary folder; what README shows is copied.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
FOLDER = "gallery"
"""Where the commands write to, below the folder that they are run in."""

COLOURS = 96
"""Of a picture: lines and bands have few, and the files are a third as large."""


def commands(text: str) -> list[str]:
    """The lines of the gallery's block."""
    found = re.search(r"<!-- gallery:[^>]*-->\n```sh\n(.*?)```", text, re.DOTALL)
    if found is None:
        what = f"{README} has no block of commands after <!-- gallery: ... -->"
        raise SystemExit(what)
    return found[1].splitlines()


def pictures(text: str) -> list[str]:
    """The names of the files that README shows."""
    return re.findall(r"!\[[^]]+\]\(docs/gallery/([a-z0-9-]+\.png)\)", text)


def main() -> None:
    """Run the commands, copy the pictures."""
    text = README.read_text(encoding="utf-8")
    beside = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DREG_")}
    environment["PATH"] = f"{beside}{os.pathsep}{environment.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as folder:
        for line in commands(text):
            print(f"$ {line}", flush=True)
            subprocess.run(line, shell=True, check=True, cwd=folder, env=environment)
        for name in pictures(text):
            with Image.open(Path(folder) / FOLDER / name) as image:
                image.convert("RGB").quantize(COLOURS).save(HERE / name, optimize=True)
            print(f"{HERE / name}: {(HERE / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
