"""The notebook is its page: ``test_examples.py`` runs the page's blocks, which are the notebook's cells."""

import importlib.util
import json

from tests.docs.blocks import ROOT, blocks

SPEC = importlib.util.spec_from_file_location("notebooks", ROOT / "docs/notebooks.py")
assert SPEC
assert SPEC.loader
notebooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebooks)


def test_notebooks_are_their_pages() -> None:
    for name in notebooks.PAGES:
        page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
        file = (ROOT / f"docs/{name}.ipynb").read_text(encoding="utf-8")
        assert file == notebooks.written(page), "write it again: python docs/notebooks.py"
        cells = [cell["source"] for cell in json.loads(file)["cells"] if cell["cell_type"] == "code"]
        run = [block for block in blocks(page) if block.language in ("python", "sh")]
        assert [cell.removeprefix("!") for cell in cells] == [block.text.rstrip() for block in run]
