"""What tests of commands have in common.

Runs that many tests begin with are trained once a process and copied for each, who may do to it what it likes.
Diagnoses draw no figures, and bias checks test after few batches.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dregcli.cli.main import main
from dregcli.engine.diagnostics import bias_check
from dregcli.engine.diagnostics.bias_statistics import FEWEST_MEANS
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import typed
from tests.support.no_figures import no_figures


@pytest.fixture
def real_figures() -> None:
    """Diagnoses draw their figures, in a test that asks for this."""


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_figures" not in request.fixturenames:
        no_figures(monkeypatch)


@pytest.fixture(autouse=True)
def _early_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias_check, "FIRST_LOOK", FEWEST_MEANS)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """The folder that something was made in when it was first asked for; to be read only."""
    made: dict[str, Path] = {}

    def folder(key: str, make: Callable[[Path], None]) -> Path:
        if key not in made:
            new = tmp_path_factory.mktemp("once")
            make(new)
            made[key] = new
        return made[key]

    return folder


@pytest.fixture
def ready(tmp_path: Path, once) -> Callable[..., Run]:
    """``ready(*arguments, name=...)``: what ``dreg train`` makes of these arguments, in the test's own store."""

    def copied(*arguments: object, name: str) -> Run:
        words = typed(*arguments)

        def train(store: Path) -> None:
            assert main(["train", *words, "--name", name, "--runs-dir", str(store), "--quiet"]) == 0

        kept = once(repr((words, name)), train)
        shutil.copytree(kept, tmp_path / "runs", dirs_exist_ok=True)
        (found,) = RunStore(tmp_path / "runs").resolve(f"{name}/v001")
        return found

    return copied
