"""Code that raises an error, and classes that are no models, are reported in the user's words and lines."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from dregcli.app.models.find import find_code
from dregcli.app.models.importing import class_of
from dregcli.errors import ModelFailed, SpecError
from tests.support.own_models import MODEL, small_data, write_model


def _class_of(path, name: str = "TinyVae"):
    return class_of(find_code(f"{path}:{name}"))


def test_an_error_of_the_users_is_its_own_last_line_and_its_own_line(tmp_path) -> None:
    path = write_model(tmp_path, "import helpers\n" + MODEL)
    write_model(tmp_path, "import torch\n\ntorch.zeros(2) @ torch.zeros(3)\n", "helpers.py")
    with pytest.raises(ModelFailed, match=r"^tiny.py cannot be imported: RuntimeError: ") as caught:
        _class_of(path)
    # The error arises inside torch; the last line of the user's is in the file that theirs imports.
    assert caught.value.where == f"{tmp_path / 'helpers.py'}, line 3"
    assert caught.value.exit_code == 24


def test_a_missing_package_is_named(tmp_path) -> None:
    path = write_model(tmp_path, "import no_such_package.flows\n" + MODEL)
    with pytest.raises(ModelFailed, match="ModuleNotFoundError: No module named 'no_such_package'") as caught:
        _class_of(path)
    assert caught.value.hint == "install 'no_such_package' beside dreg, or correct the import"
    assert caught.value.where == f"{path}, line 1"


def test_a_script_that_exits_ends_no_command(tmp_path) -> None:
    with pytest.raises(ModelFailed, match=r"tiny.py cannot be imported: SystemExit: 0"):
        _class_of(write_model(tmp_path, MODEL + "\nraise SystemExit(0)\n"))


def test_what_the_code_prints_does_not_reach_stdout(tmp_path, capsys) -> None:
    _class_of(write_model(tmp_path, MODEL + "\nprint('hello')\n"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "TinyVea", "tiny.py has no class 'TinyVea'. Did you mean 'TinyVae'? Its models: TinyVae."),
        ("", "gaussian", "gaussian in tiny.py is no torch.nn.Module: derive it from dregcli.LatentModel."),
        ("class A: pass", "A", "A in tiny.py is no torch.nn.Module"),
        (
            "class A(nn.Module): pass",
            "A",
            "A in tiny.py has no method posterior(self, x, draw) and model(self, z, given).",
        ),
        (
            "class A(dregcli.LatentModel):\n    def posterior(self, x, draw): ...",
            "A",
            "A in tiny.py has no method model(self, z, given).",
        ),
    ],
)
def test_a_class_that_is_no_model(tmp_path, text: str, name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _class_of(write_model(tmp_path, f"{MODEL}\n{text}\n"), name)
    (fault,) = caught.value.faults
    assert (fault.field, fault.message[: len(message)]) == ("model", message)


def test_a_file_without_any_model_says_so(tmp_path) -> None:
    with pytest.raises(SpecError, match="It has no class with posterior and model"):
        _class_of(write_model(tmp_path, "x = 1\n"), "A")


def test_any_module_with_the_two_methods_is_a_model(tmp_path) -> None:
    text = "class A(nn.Module):\n    def posterior(self, x, draw): ...\n    def model(self, z, given): ...\n"
    assert _class_of(write_model(tmp_path, f"{MODEL}\n{text}"), "A").__name__ == "A"


_LAZY = MODEL.replace("        draw(", "        from helpers import NAME\n\n        self.name = NAME\n        draw(")


def _name_in(kind: type) -> str:
    """What the posterior of a class imported inside its function."""
    model = kind(small_data())
    model.posterior(torch.zeros(1, 1, 2, 3), lambda *_: None)
    return model.name


def test_two_models_with_files_of_equal_names_each_import_their_own(tmp_path) -> None:
    kinds: list[type] = []
    for name in ("one", "two"):
        write_model(tmp_path / name, f"NAME = {name!r}\n", "helpers.py")
        kinds.append(_class_of(write_model(tmp_path / name, _LAZY)))
    assert [_name_in(kind) for kind in kinds] == ["one", "two"]


def test_a_module_that_is_loaded_already_is_not_taken_for_a_file_of_the_code(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "helpers", ModuleType("helpers"))
    write_model(tmp_path, "NAME = 'beside'\n", "helpers.py")
    assert _name_in(_class_of(write_model(tmp_path, _LAZY))) == "beside"


@pytest.mark.parametrize("name", ["colorsys", "helpers"])
def test_no_other_code_gets_a_file_of_the_model(tmp_path, name: str, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    write_model(tmp_path, "NAME = 'beside'\n", "helpers.py")
    _class_of(write_model(tmp_path, f"import helpers\nimport {name}\n{MODEL}", "colorsys.py"))
    if name == "helpers":
        assert importlib.util.find_spec(name) is None
    else:  # a module of the standard library, whose name the file of the model has
        assert hasattr(importlib.import_module(name), "rgb_to_hsv")


def test_files_import_each_other_in_every_form(tmp_path) -> None:
    write_model(tmp_path, "from . import inner\nfrom .inner import A\n", "pkg/__init__.py")
    write_model(tmp_path, "from pkg.deep.last import B\nA = B + 1\n", "pkg/inner.py")
    write_model(tmp_path, "B = 1\n", "pkg/deep/last.py")
    write_model(tmp_path, "import pkg\nC = pkg.A + 1\n", "other.py")
    imports = "import other, pkg.deep.last, pkg.inner as inner\nfrom pkg import A\nfrom pkg.deep import last\n"
    total = "TOTAL = pkg.deep.last.B + inner.A + A + last.B + other.C\n"
    kind = _class_of(write_model(tmp_path, imports + total + MODEL))
    assert sys.modules[kind.__module__].TOTAL == 9


def test_a_module_that_is_not_in_a_folder_beside_is_named_without_inner_names(tmp_path) -> None:
    write_model(tmp_path, "", "pkg/__init__.py")
    path = write_model(tmp_path, "import pkg.nothing\n" + MODEL)
    with pytest.raises(ModelFailed, match=r"No module named 'pkg.nothing' beside tiny.py") as caught:
        _class_of(path)
    assert "install" not in str(caught.value.hint)
    assert caught.value.where == f"{path}, line 1"


def test_a_file_that_imports_its_own_name_gets_the_installed_module(tmp_path) -> None:
    kind = _class_of(write_model(tmp_path, "import numpy\nZERO = numpy.zeros(1)\n" + MODEL, "numpy.py"))
    assert sys.modules[kind.__module__].ZERO.shape == (1,)
