"""Pages as notebooks: the text as Markdown cells, and every block that runs as a cell of code.

    python docs/notebooks.py

writes the notebooks again.
"""

import json
import re
from pathlib import Path
from typing import Any

PAGES = ("tutorials/notebook",)
"""Pages that are notebooks too, below this folder."""

_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"^<!-- output -->\n```.*?^```$\n?", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> dict[str, Any]:
    """Return the content of a notebook (nbformat 4.5) for the text of a page."""
    text = _OUTPUT.sub("", page).replace("This page is also a notebook: {download}`notebook.ipynb`. ", "")
    cells: list[dict[str, Any]] = []
    end = 0
    for found in _BLOCK.finditer(text):
        cells += _markdown(text[end : found.start()])
        code = found[2] if found[1] == "python" else re.sub("^", "!", found[2].rstrip(), flags=re.MULTILINE)
        cells.append(
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": code.rstrip()}
        )
        end = found.end()
    cells += _markdown(text[end:])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _markdown(text: str) -> list[dict[str, Any]]:
    return [{"cell_type": "markdown", "metadata": {}, "source": text.strip()}] if text.strip() else []


def written(page: str) -> str:
    """Return a notebook as the text of its file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in PAGES:
        path = Path(__file__).parent / f"{each}.md"
        path.with_suffix(".ipynb").write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
