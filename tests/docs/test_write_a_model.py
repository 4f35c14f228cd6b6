"""The models of the page on models are right: their gradients are the oracle's, and the first one is short."""

import importlib.util
import runpy
from pathlib import Path
from typing import Any

import pytest

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import LatentModel
from tests.docs.blocks import ROOT, blocks
from tests.support.plain_models import small_data
from tests.support.program_oracle import drawn, far, naive
from tests.support.program_zoo import made, pixels_of

FILES = {
    block.value: block.text
    for block in blocks((ROOT / "docs" / "how-to" / "write-a-model.md").read_text(encoding="utf-8"))
    if block.mark == "file"
}
CLASSES = {
    "my_model.py": ["ConvVae"],
    "two_layers.py": ["TwoLayers"],
    "flow.py": ["FlowVae"],
    "priors.py": ["MixturePrior", "VampPrior"],
    "discrete.py": ["BinaryVae"],
}


@pytest.mark.parametrize("file", FILES)
def test_gradients_of_the_models(file: str, tmp_path: Path) -> None:
    if "zuko" in FILES[file] and not importlib.util.find_spec("zuko"):
        pytest.skip("needs zuko, of the extra dreg[flows]")
    path = tmp_path / file
    path.write_text(FILES[file])
    scope: dict[str, Any] = runpy.run_path(str(path))
    found = [each for each in scope.values() if isinstance(each, type) and issubclass(each, LatentModel)]
    assert [each.__name__ for each in found] == CLASSES[file]
    for kind in found:
        model = made(kind, small_data(1, 4, 4))
        assert model.unreached == []
        x = pixels_of(model)
        draws = drawn(model, k=4, batch=len(x))
        pair = resolve_pair("iwae", "vimco" if model.discrete else "dreg", 4)
        assert far(Step(model, x, draws, Execution()).gradients(pair), naive(model, x, draws, pair)) < 1e-10


def test_the_convolutional_example_is_short() -> None:
    assert len(FILES["my_model.py"].splitlines()) <= 30
