"""Import the class of a model from its code.

A file is executed from the bytes that were read for its digest, so that what runs is what the run captures. No
compiled files are written beside it. Only the files of the code can be imported by name from its folder, and only by
``import`` statements in these files.
"""

import builtins
import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeGuard

import torch
from torch import nn

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.failures import failure
from dregcli.engine.programs.contract import LatentModel
from dregcli.errors import DregError, Fault, ModelFailed, SpecError, is_of_memory
from dregcli.names import nearest

_PROGRAMS: Final = ("posterior", "model")
CORRECT: Final = "correct the code, then run the command again"
_PREFIX: Final = "dreg_model_"
_numbers: Final = count(1)
_imported: dict[tuple[str | None, Path | None, str], type[nn.Module]] = {}
_run_here: Final[list[Code]] = []
"""All code that this process has run."""


def class_of(code: Code) -> type[nn.Module]:
    """Import a model's code and return the class. Equal code is imported once by a process.

    Raises:
        ModelFailed: the code raises an error.
        SpecError: there is no such class in it, or the class is no model.
    """
    key = (code.digest, code.folder, f"{code.module}:{code.name}")
    if key not in _imported:
        _run_here.append(code)
        module = _run(code)
        _imported[key] = _checked(getattr(module, code.name, None), module, code)
    return _imported[key]


@contextlib.contextmanager
def users_code(code: Code, what: str) -> Any:  # noqa: ANN401 - a generator
    """Run code of the user's inside the block: its output goes to stderr, and its errors are reported as its own.

    Args:
        code: the code.
        what: what fails if the block raises an error, such as ``my_model.py cannot be imported``.

    Raises:
        ModelFailed: the block raised an error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (DregError, MemoryError, torch.OutOfMemoryError):
        raise  # not errors of the user's code
    except (Exception, SystemExit) as error:
        if isinstance(error, RuntimeError) and is_of_memory(error):
            raise
        raise failure(error, code.owns, what, CORRECT) from error


def raised_by_a_model(error: Exception) -> ModelFailed | None:
    """Return an error in the user's words if code of a user's model raised it, in a step for example; else None."""
    if isinstance(error, (DregError, MemoryError)) or is_of_memory(error):
        return None
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    for code in _run_here:
        if any(map(code.owns, files)):
            return failure(error, code.owns, f"{code.name} fails", CORRECT)
    return None


def _run(code: Code) -> ModuleType:
    if code.kind is not CodeKind.FILE:
        with users_code(code, f"{code.module} cannot be imported"):
            return importlib.import_module(code.module)
    name = f"{_PREFIX}{next(_numbers)}"
    modules = _Modules(code, f"{name}_files")
    sys.meta_path.insert(0, modules)
    spec = modules.spec_of(name, code.main)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with users_code(code, f"{code.main} cannot be imported"):
            assert spec.loader is not None
            spec.loader.exec_module(module)
    except BaseException:
        sys.meta_path.remove(modules)
        for each in [each for each in sys.modules if each == name or modules.has(each)]:
            del sys.modules[each]
        raise
    return module


def _checked(found: object, module: ModuleType, code: Code) -> type[nn.Module]:
    """Return a class that is a model.

    Raises:
        SpecError: it is none.
    """
    place = code.main if code.kind is CodeKind.FILE else code.module
    if found is None:
        models = [name for name, each in vars(module).items() if _is_model(each)]
        near = nearest(code.name, models)
        meant = f" Did you mean '{near}'?" if near else ""
        known = f" Its models: {', '.join(models)}." if models else " It has no class with posterior and model."
        raise SpecError(_fault(f"{place} has no class '{code.name}'.{meant}{known}"))
    if not _is_module(found):
        raise SpecError(_fault(f"{code.name} in {place} is no torch.nn.Module: derive it from dregcli.LatentModel."))
    if missing := [name for name in _PROGRAMS if not _has(found, name)]:
        programs = {"posterior": "posterior(self, x, draw)", "model": "model(self, z, given)"}
        words = " and ".join(programs[name] for name in missing)
        raise SpecError(_fault(f"{code.name} in {place} has no method {words}."))
    return found


def _is_model(found: object) -> bool:
    return _is_module(found) and all(_has(found, name) for name in _PROGRAMS)


def _is_module(found: object) -> TypeGuard[type[nn.Module]]:
    return isinstance(found, type) and issubclass(found, nn.Module)


def _has(found: object, program: str) -> bool:
    """Whether a class has a program of its own; those of the base class only raise an error."""
    own = getattr(found, program, None)
    return callable(own) and own is not getattr(LatentModel, program)


def _fault(message: str) -> list[Fault]:
    return [Fault("model", message)]


class _FromBytes(SourceLoader):
    """Loads a module from bytes that were read before, and writes no compiled file."""

    def __init__(self, path: Path, content: bytes, import_: Callable[..., ModuleType]) -> None:
        self._path = path
        self._content = content
        self._import = import_

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, whose ``import`` statements, also those in functions, find the files of its own code."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def get_filename(self, fullname: str) -> str:
        """Return the path that tracebacks show."""
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        """Return the content of the module, or of any other file."""
        return self._content if path == str(self._path) else Path(path).read_bytes()


class _Modules(MetaPathFinder):
    """The modules of some code: the file of the class, and the files beside it that are part of the code.

    Their names in ``sys.modules`` begin with a name of their own, so that neither another model's ``layers.py`` nor
    an installed module ``layers`` is taken for this code's, and no other code gets a module of this code.
    """

    def __init__(self, code: Code, package: str) -> None:
        self._code = code
        self._package = package
        self._names = {_module_name(name): name for name in code.files}
        self._tops = {name.partition(".")[0] for name in self._names} - sys.stdlib_module_names

    def has(self, fullname: str) -> bool:
        """Whether a name in ``sys.modules`` is that of a module beside the file of the class."""
        return fullname == self._package or fullname.startswith(f"{self._package}.")

    def spec_of(self, fullname: str, file: str) -> ModuleSpec:
        """Return the spec of a module from one of the files."""
        path = self._code.path(file)
        loader = _FromBytes(path, self._code.files[file], self._import)
        inside = [str(path.parent)] if path.name == "__init__.py" else None
        make = importlib.util.spec_from_file_location
        spec = make(fullname, path, loader=loader, submodule_search_locations=inside)
        assert spec is not None
        return spec

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the code, or None; see ``MetaPathFinder``."""
        if not self.has(fullname):
            return None
        name = fullname.removeprefix(self._package).removeprefix(".")
        if name in self._names:
            return self.spec_of(fullname, self._names[name])
        if not name or any(each.startswith(f"{name}.") for each in self._names):
            spec = ModuleSpec(fullname, None, is_package=True)  # a folder without __init__.py
            spec.submodule_search_locations = []
            return spec
        return None

    def _import(
        self,
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import a module as ``__import__`` does, for the code."""
        top = name.partition(".")[0]
        # A file that imports its own name, such as zuko.py, means an installed module.
        is_own = top == self._code.module and (globals_ or {}).get("__file__") == str(
            self._code.path(self._code.main)
        )
        if level or is_own or top not in self._tops:
            return builtins.__import__(name, globals_, locals_, fromlist, level)
        try:
            found = builtins.__import__(f"{self._package}.{name}", globals_, locals_, fromlist, 0)
        except ModuleNotFoundError as error:
            inside = f"{self._package}."
            if error.name is None or not error.name.startswith(inside):
                raise
            missing = error.name.removeprefix(inside)
            message = f"No module named '{missing}' beside {self._code.main}"
            raise ModuleNotFoundError(message) from None
        return found if fromlist else sys.modules[f"{self._package}.{top}"]


def _module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
