"""No test touches the user's runs or data, nor leaves global state behind; and no process does needless work.

Torch is imported in fixtures, because the process that distributes the tests reads this file and does not need torch.
"""

import gc
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from dregcli import app, cli

# Tests run in as many processes as there are cores. With more than one thread of torch in each, they would wait for
# each other. The variables are set before torch is imported, and processes that tests start inherit them.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
# Compilation happens in the process itself: a pool of helpers would import torch in each of them.
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
# Torch takes the processor's word for its vector instructions. Else it compiles, loads and throws away a program for
# each set of them, for nine seconds.
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"
# Python keeps what it compiles of this checkout, which git ignores, even where the environment says otherwise, as in
# many images. Else every process that is started, also by a test, compiles 600 files again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

LONG = {
    "test_pyright_strict",
    "test_nothing_is_lost_and_no_byte_differs",
    "test_what_is_compiled_is_the_formula",
    "test_batches_of_many_shapes_end_in_few_compilations",
}
_NUMBERS = count()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import the tests without a search for garbage, which took a quarter of the time and found next to nothing.

    Rewritten asserts are made of millions of nodes, which count as new objects and are freed at once.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no process is left working on one of them alone at the end."""
    items.sort(key=lambda item: item.name.partition("[")[0] not in LONG)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case of bytes by its argument: an archive's bytes hold the time, and names must not."""
    return argname if isinstance(val, bytes) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device: torch.cuda.is_available() is false on this machine")


@pytest.fixture(scope="session", autouse=True)
def _quick_process() -> Iterator[None]:
    """Skip work that a user's process does once, and that a process of tests would repeat a thousand times.

    No test depends on the skipped work. At its start, a training searches all objects for garbage, a million of them
    from imported modules, and reads the source tree, the installed packages and the file of digits, which do not
    change meanwhile. Every write waits until its bytes are on the disk. What was imported stays out of every search
    for garbage, of those at the end of the process too.
    """
    import torch

    from dregcli.app.training import train
    from dregcli.cli import lazy, main
    from dregcli.data.sets import digits
    from dregcli.store import capture

    torch.set_num_threads(1)
    _import_use_cases()
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(digits, "_values", cache(digits._values))
        patch.setattr(train, "capture_environment", _with_one_look(capture))
        patch.setattr(main, "program", cache(main.program))
        patch.setattr(lazy.CommandByName, "load", _loaded_once(lazy.CommandByName.load))
        yield


def _import_use_cases() -> None:
    """Import what commands import when they are run.

    A module that is first imported while a test has patched a function would keep the patched one.
    """
    for package in (app, cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _with_one_look(capture: Any) -> Callable[..., dict[str, Any]]:
    looks = {name: getattr(capture, name) for name in ("source_state", "package_versions")}
    once = {name: cache(look) for name, look in looks.items()}

    def looked(**settings: Any) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            for name, look in looks.items():
                if getattr(capture, name) is look:  # no test put another in its place
                    patch.setattr(capture, name, once[name])
            return capture.capture_environment(**settings)

    return looked


def _loaded_once(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Load a command once, and once more if a test put another function in its place."""

    @cache
    def of(typed: str, place: Any, function: Callable[..., None]) -> Any:
        return load(SimpleNamespace(name=typed.split()[-1], typed=typed, place=place))

    def loaded(command: Any) -> Any:
        place = command.place
        return of(
            command.typed, place, getattr(importlib.import_module(f"dregcli.cli.{place.module}"), place.function)
        )

    return loaded


@pytest.fixture(autouse=True)
def _own_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep runs and data in the test's own folder. Half of the tests write no file, and need none made for them."""
    import torch

    asked = "tmp_path" in request.fixturenames
    folder = (
        request.getfixturevalue("tmp_path") if asked else tmp_path_factory.getbasetemp() / f"own-{next(_NUMBERS)}"
    )
    monkeypatch.setenv("DREG_RUNS_DIR", str(folder / "runs"))
    monkeypatch.setenv("DREG_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    yield
    # Commands set the process up for themselves, denormals flushed; other tests want every float there is.
    torch.set_flush_denormal(False)
