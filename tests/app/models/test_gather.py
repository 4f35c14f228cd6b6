"""The source files of a model are gathered without running them, and what is imported is exactly these files."""

import sys
from pathlib import Path

import pytest

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.find import find_code
from dregcli.app.models.importing import class_of
from dregcli.errors import ModelFailed, SpecError
from tests.support.own_models import MODEL, write_model

BOOM = 'raise RuntimeError("this code was run")\n'


def _code(path: Path, name: str = "TinyVae") -> Code:
    return find_code(f"{path}:{name}")


def test_the_modules_beside_the_file_that_it_imports_are_gathered_and_no_others(tmp_path) -> None:
    imports = (
        "import helpers, os, torch, json\n"
        "def later():\n    from parts import blocks\n    import layers.dense\n"
        "    import statistics\n"
    )
    path = write_model(tmp_path, imports + MODEL)
    for name, text in {
        "helpers.py": "import deeper\n" + BOOM,
        "deeper.py": "import helpers\n",
        "parts/__init__.py": "",
        "parts/blocks.py": "from . import more",
        "parts/more.py": "",
        "layers/dense.py": "import deeper",
        "layers/unused.py": "",
        "statistics.py": BOOM,
        "unrelated.py": BOOM,
    }.items():
        write_model(tmp_path, text, name)
    code = _code(path)
    assert code.main == "tiny.py"
    beside = ["deeper.py", "helpers.py", "layers/dense.py", "parts/__init__.py", "parts/blocks.py", "parts/more.py"]
    assert sorted(code.files) == [*beside, "tiny.py"]
    assert (code.kind, code.word, code.place) == (CodeKind.FILE, "tiny.py:TinyVae", f"{path}:TinyVae")


def test_the_digest_is_that_of_names_and_contents(tmp_path) -> None:
    digests = {
        _code(write_model(tmp_path / "a")).digest,
        _code(write_model(tmp_path / "b")).digest,
        _code(write_model(tmp_path / "c", MODEL + "\n")).digest,
        _code(write_model(tmp_path / "d", MODEL, "other.py")).digest,
    }
    assert len(digests) == 3
    path = write_model(tmp_path / "e", "import helpers\n" + MODEL)
    before = _code(path).digest
    write_model(tmp_path / "e", "width = 3\n", "helpers.py")
    assert _code(path).digest != before


def test_siblings_are_imported_from_the_gathered_bytes_and_leave_nothing_behind(tmp_path) -> None:
    """Two folders with helpers of the same name, each file changed on the disk before it is imported."""
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        path = write_model(folder, "from helpers import WIDTH\nimport layers.dense\n" + MODEL)
        write_model(folder, f"WIDTH = {number}\n", "helpers.py")
        write_model(folder, f"DEPTH = {number}\n", "layers/dense.py")
        code = _code(path)
        write_model(folder, BOOM, "helpers.py")
        write_model(folder, BOOM)
        found.append(sys.modules[class_of(code).__module__])
        assert not list(folder.rglob("__pycache__"))
    assert [each.WIDTH for each in found] == [1, 2]
    assert [each.layers.dense.DEPTH for each in found] == [1, 2]
    assert not any(str(tmp_path) in each for each in sys.path)


def test_an_installed_package_is_located_without_importing_it(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "tinypack/__init__.py": "raise RuntimeError('this code was run')\n",
        "tinypack/models/__init__.py": "",
        "tinypack/models/vae.py": "from ..common import width\nfrom tinypack import extra\nimport json\n" + MODEL,
        "tinypack/common.py": "width = 1\n",
        "tinypack/extra.py": "",
        "tinypack/unused.py": "",
    }
    for name, text in files.items():
        write_model(tmp_path, text, name)
    code = find_code("tinypack.models.vae:TinyVae")
    assert set(code.files) == set(files) - {"tinypack/unused.py"}
    assert (code.kind, code.folder) == (CodeKind.MODULE, tmp_path)
    assert "tinypack" not in sys.modules
    with pytest.raises(
        ModelFailed, match=r"tinypack.models.vae cannot be imported: RuntimeError: this code was run"
    ) as e:
        class_of(code)
    assert e.value.where == f"{tmp_path / 'tinypack/__init__.py'}, line 1"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tyni.py:TinyVae", "there is no file {}/tyni.py. Did you mean 'tiny.py'?"),
        ("nowhere/tiny.py:TinyVae", "there is no folder {}/nowhere."),
        ("./tiny.txt:TinyVae", "{}/tiny.txt is no Python file, which ends with .py."),
        ("/:TinyVae", "/ is a folder: name a Python file in it."),
        ("torhc.nn:Linear", "no package 'torhc' is installed. Did you mean 'torch'?"),
        ("torch.nowhere:Linear", "the package 'torch' has no module 'torch.nowhere' with Python source."),
    ],
)
def test_code_that_is_not_there(tmp_path, monkeypatch, word: str, message: str) -> None:
    write_model(tmp_path)
    write_model(tmp_path, MODEL, "tiny.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        find_code(word)
    assert caught.value.faults[0].message.startswith(message.format(tmp_path))


def test_code_that_a_run_cannot_keep_is_refused(tmp_path) -> None:
    with pytest.raises(SpecError, match=r"a run cannot keep a file called 'my model.py'"):
        _code(write_model(tmp_path, MODEL, "my model.py"))
    path = write_model(tmp_path / "large", "import data\n" + MODEL)
    write_model(tmp_path / "large", "x = 1\n" * 800_000, "data.py")
    with pytest.raises(SpecError, match="which is too much for a run to keep"):
        _code(path)


def test_a_file_that_is_not_valid_python_names_its_line(tmp_path) -> None:
    path = write_model(tmp_path, "import torch\ndef f(:\n")
    with pytest.raises(ModelFailed, match=r"tiny.py is not valid Python: SyntaxError") as caught:
        _code(path)
    assert caught.value.where == f"{path}, line 2"
