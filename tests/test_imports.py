"""Imports run one way, and the light commands stay light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.sweep import swept

PACKAGE = Path(__file__).parents[1] / "dregcli"

LAYERS = {
    "names": set(),
    "errors": set(),
    "columns": set(),
    "defaults": set(),
    "describe": {"names", "parts"},
    "words": {"names", "errors"},
    "devices": {"names"},
    "posteriors": {"names", "words"},
    "parts": {"names", "words"},
    "wording": set(),
    "commands": {"wording"},
    "redaction": set(),
    "synonyms": set(),
    "filesystem": {"errors", "commands"},
    "engine": {"names", "errors", "defaults", "devices", "columns", "words", "posteriors"},
    "specs": {"names", "errors", "defaults", "devices", "parts", "words", "wording", "commands"}
    | {"posteriors", "synonyms"},
    "data": {"names", "errors", "redaction", "commands", "filesystem"},
    "store": {"names", "errors", "redaction", "commands", "filesystem"},
    "report": {"names", "errors", "columns", "describe", "parts", "words", "wording", "commands"},
    "app": {
        *("names", "errors", "columns", "defaults", "describe", "devices", "parts", "words", "posteriors"),
        *("wording", "redaction", "commands", "filesystem"),
        *("engine", "specs", "data", "store", "report"),
    },
    "api": {"names", "errors", "describe", "wording", "commands", "specs", "store", "report", "engine", "app"},
    "cli": {
        *(
            "names",
            "errors",
            "defaults",
            "describe",
            "devices",
            "parts",
            "words",
            "wording",
            "commands",
            "redaction",
            "synonyms",
        ),
        # Of these two only what loads no torch: the options of a run, and the tables of a report.
        *("specs", "report", "app"),
    },
}
ROOMS = {
    "common": set(),
    "models": {"common"},
    "planning": {"common", "models"},
    "loading": {"common", "models", "planning"},
    "training": {"common", "models", "planning", "loading"},
    "evaluation": {"common", "models", "planning", "loading"},
    "diagnosis": {"common", "models", "planning", "loading", "training"},
    "sampling": {"common", "models", "planning", "loading"},
    "reporting": {"common", "loading"},
    "studies": {"common", "models", "planning", "loading", "training", "reporting"},
    "runs": {"common", "models", "planning", "loading", "training"},
    "datasets": {"common", "planning"},
    "papers": {
        *("common", "models", "planning", "loading", "training", "evaluation", "diagnosis", "reporting", "studies"),
    },
}
"""The rooms of app/, and those that each may import: no two of them import each other, not even by way of a third."""
FORBIDDEN = {
    "names": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "errors": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "describe": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "columns": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "defaults": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "devices": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "words": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "posteriors": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "parts": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "wording": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "commands": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "synonyms": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "redaction": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "filesystem": {"torch", "typer", "pydantic", "h5py", "numpy"},
    "engine": {"typer", "pydantic", "h5py", "pathlib", "rich", "os", "safetensors"},
    "specs": {"torch", "typer", "h5py", "rich"},
    "data": {"torch", "torchvision", "typer", "pydantic", "rich"},
    "store": {"typer", "pydantic", "rich"},
    "report": {"torch", "typer", "pydantic", "rich"},
    "app": {"typer", "rich", "h5py"},
    "api": {"torch", "typer", "rich", "h5py"},
    "cli": {"torch", "h5py", "click"},
}


@cache
def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def violations(layer: str, imports: set[str]) -> list[str]:
    """What a file of a layer may not import."""
    wrong = []
    for name in imports:
        root, *rest = name.split(".")
        if root == "dregcli" and rest and rest[0] not in LAYERS[layer] | {layer}:
            wrong.append(name)
        if root in FORBIDDEN[layer]:
            wrong.append(name)
    return wrong


def wrong_rooms(room: str, imports: set[str]) -> list[str]:
    """What a file of a room of app/ may not import of the others."""
    rooms = [(name, name.split(".")[2]) for name in imports if name.startswith("dregcli.app.")]
    return [name for name, other in rooms if other not in ROOMS[room] | {room}]


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in LAYERS)


@swept("path", FILES, named=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert violations(layer, _imports(path)) == []


def test_a_wrong_arrow_would_be_caught() -> None:
    assert sorted(violations("engine", {"dregcli.store.runs", "pathlib", "torch"})) == [
        "dregcli.store.runs",
        "pathlib",
    ]


IN_ROOMS = sorted(path for path in (PACKAGE / "app").rglob("*.py") if path.parent != PACKAGE / "app")


@swept("path", IN_ROOMS, named=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_between_rooms(path: Path) -> None:
    assert wrong_rooms(path.relative_to(PACKAGE).parts[1], _imports(path)) == []


def test_a_wrong_arrow_between_rooms_would_be_caught() -> None:
    imports = {"dregcli.app.common.places", "dregcli.app.reporting.report", "dregcli.store.run"}
    assert wrong_rooms("planning", imports) == ["dregcli.app.reporting.report"]


def test_rooms_form_no_circle() -> None:
    left = dict(ROOMS)
    while free := [room for room, others in left.items() if not others & set(left)]:
        left = {room: others for room, others in left.items() if room not in free}
    assert left == {}


def test_every_room_is_there_and_no_file_lies_outside_of_one() -> None:
    assert {path.relative_to(PACKAGE).parts[1] for path in IN_ROOMS} == set(ROOMS)
    assert [path.name for path in (PACKAGE / "app").glob("*.py")] == ["__init__.py"]


USES_OWN = {"engine/__init__.py", "engine/diagnostics/own_model.py"}
"""The files of the engine that lie outside own/, which serves people's own training loops, and yet import it."""


def uses_own(file: str, imports: set[str]) -> bool:
    """Whether a file of the engine that must not depend on people's own loops does."""
    is_free = file in USES_OWN or file.startswith("engine/own/")
    return not is_free and any(name.startswith("dregcli.engine.own") for name in imports)


def test_the_engine_does_not_depend_on_own_training_loops() -> None:
    files = [(str(path.relative_to(PACKAGE)), _imports(path)) for path in (PACKAGE / "engine").rglob("*.py")]
    assert [file for file, imports in files if uses_own(file, imports)] == []
    assert uses_own("engine/checks/check.py", {"dregcli.engine.own.samples"})
    assert all(any(name.startswith("dregcli.engine.own") for name in dict(files)[file]) for file in USES_OWN)


def test_every_layer_has_files() -> None:
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == set(LAYERS)


def test_the_table_of_estimators_an_experiment_and_words_to_complete_need_no_torch() -> None:
    code = (
        "import sys; from dregcli.cli.main import main; from dregcli.parts import known_words\n"
        "for words in ([], ['--k', '16'], ['--objective', 'rws'], ['--estimator', 'iwae/dreg'], ['--json']):\n"
        "    assert main(['estimators', *words]) == 0\n"
        "for words in ([], ['--toml'], ['--json']):\n"
        "    assert main(['paper', 'show', 'tucker2018-mnist', *words]) == 0\n"
        "assert all(known_words())\n"
        "assert not {'torch', 'h5py', 'numpy', 'dregcli.engine'} & set(sys.modules)\n"
        "assert main(['estimators', '--k', '17']) == 0 and 'torch' in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_nothing_unpickles() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert not {"pickle", "dill", "shelve"} & {name.split(".")[0] for name in _imports(path)}, path
        assert "torch.load(" not in text, path


def test_only_render_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert not any(call.func.id == "print" for call in calls), path
