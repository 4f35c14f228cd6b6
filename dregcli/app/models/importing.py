"""Import the class of a model from its code.

A file is executed from the bytes that were read for its digest, so that what runs is what the run captures. No
compiled files are written beside it. Only the files of the code can be imported by name from its folder.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeGuard

import torch
from torch import nn

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.failures import failure
from dregcli.engine.programs.contract import LatentModel
from dregcli.errors import DregError, Fault, SpecError
from dregcli.names import nearest

_PROGRAMS: Final = ("posterior", "model")
CORRECT: Final = "correct the code, then run the command again"
_imported: dict[tuple[str | None, Path | None, str], type[nn.Module]] = {}


def class_of(code: Code) -> type[nn.Module]:
    """Import a model's code and return the class. Equal code is imported once by a process.

    Raises:
        ModelFailed: the code raises an error.
        SpecError: there is no such class in it, or the class is no model.
    """
    key = (code.digest, code.folder, f"{code.module}:{code.name}")
    if key not in _imported:
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
        raise failure(error, code.owns, what, CORRECT) from error


def _run(code: Code) -> ModuleType:
    if code.kind is not CodeKind.FILE:
        with users_code(code, f"{code.module} cannot be imported"):
            return importlib.import_module(code.module)
    finder = _of_process()
    finder.serve(code)
    name = f"dreg_model_{(code.digest or '')[:16]}"
    spec = finder.spec_of(name, code.main)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with users_code(code, f"{code.main} cannot be imported"):
            assert spec.loader is not None
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
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

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content

    def get_filename(self, fullname: str) -> str:
        """Return the path that tracebacks show."""
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        """Return the content of the module, or of any other file."""
        return self._content if path == str(self._path) else Path(path).read_bytes()


class _Siblings(MetaPathFinder):
    """Finds the modules beside the model's file that are part of its code, and no others."""

    def __init__(self) -> None:
        self._code: Code | None = None
        self._names: dict[str, str] = {}
        self._given: set[str] = set()

    def serve(self, code: Code) -> None:
        """Let the modules of some code be imported, and forget those of other code."""
        for name in self._given:
            sys.modules.pop(name, None)
        self._given.clear()
        self._code = code
        self._names = {_module_name(name): name for name in code.files}

    def spec_of(self, fullname: str, file: str) -> ModuleSpec:
        """Return the spec of a module from one of the files."""
        assert self._code is not None
        path = self._code.path(file)
        loader = _FromBytes(path, self._code.files[file])
        inside = [str(path.parent)] if path.name == "__init__.py" else None
        make = importlib.util.spec_from_file_location
        spec = make(fullname, path, loader=loader, submodule_search_locations=inside)
        assert spec is not None
        return spec

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the code, or None; see ``MetaPathFinder``."""
        if fullname in self._names:
            self._given.add(fullname)
            return self.spec_of(fullname, self._names[fullname])
        if self._code is not None and any(name.startswith(f"{fullname}.") for name in self._names):
            self._given.add(fullname)
            spec = ModuleSpec(fullname, None, is_package=True)  # a folder without __init__.py
            spec.submodule_search_locations = [str(self._code.path(fullname.replace(".", "/")))]
            return spec
        return None


_FINDER: Final = _Siblings()


def _of_process() -> _Siblings:
    """Return the finder, which Python asks from then on before it looks for installed packages."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    return _FINDER


def _module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
