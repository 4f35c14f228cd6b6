"""Gather the source files of a model without running any of them: the file of the class, and what it imports.

Only files of the user's own are gathered: for a file those beside it, for an installed package those of the package.
Imports are read from the syntax, also inside functions. A module whose name is computed is not found.
"""

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.failures import syntax_failure
from dregcli.app.models.words import ClassInFile, ClassInModule
from dregcli.errors import Fault, SpecError
from dregcli.names import nearest
from dregcli.store.layout import is_code_name

_MOST_FILES: Final = 200
_MOST_BYTES: Final = 4 << 20
_AS_PACKAGE: Final = "install the code as a package, and name it: --model package.module:Class"


def gather(found: ClassInFile | ClassInModule) -> Code:
    """Return the code of a class.

    Raises:
        SpecError: there is no such file or module, or the code is too large to be captured.
        ModelFailed: the file is not valid Python.
    """
    if isinstance(found, ClassInFile):
        files = _beside(found.path)
        kept = Code(CodeKind.FILE, found.word, found.path.stem, found.name, found.path.parent, files)
        return _placed(kept, f"{found.path}:{found.name}")
    if found.is_built_in:
        return Code(CodeKind.BUILT_IN, found.word, found.module, found.name)
    folder, files = _of_package(found.module)
    kept = Code(CodeKind.MODULE, found.word, found.module, found.name, folder, files)
    return _placed(kept, f"{found.module}:{found.name}", _distribution(found.module))


def _placed(code: Code, place: str, distribution: dict[str, str] | None = None) -> Code:
    return Code(code.kind, code.word, code.module, code.name, code.folder, code.files, place, distribution or {})


def _beside(main: Path) -> dict[str, bytes]:
    """Return a file and the modules beside it that it imports, each also by what it imports."""
    if not main.is_file() or main.suffix != ".py":
        raise SpecError([Fault("model", _no_file(main))])
    found = {main.name: _read(main)}
    waiting = [main.name]
    while waiting:
        name = waiting.pop()
        for imported in _imports(found[name], main.parent / name):
            for path in _sibling(main.parent, imported):
                relative = path.relative_to(main.parent).as_posix()
                if relative not in found:
                    found[relative] = _read(path)
                    waiting.append(relative)
        _check_size(found, main)
    return found


def _sibling(folder: Path, imported: str) -> list[Path]:
    """Return the files beside the model's file that an import means; none if it means an installed package."""
    top = imported.partition(".")[0]
    if not top or top in sys.stdlib_module_names:
        return []
    if (package := folder / top / "__init__.py").is_file():
        return sorted(path for path in package.parent.rglob("*.py") if "__pycache__" not in path.parts)
    if (file := folder / f"{top}.py").is_file():
        return [file]
    # A folder without __init__.py is only imported if no installed package has its name.
    if (folder / top).is_dir() and importlib.machinery.PathFinder.find_spec(top) is None:
        parts = imported.split(".")
        ends = (folder.joinpath(*parts[:n]) for n in range(2, len(parts) + 1))
        return [path for end in ends for path in (end.with_suffix(".py"), end / "__init__.py") if path.is_file()]
    return []


def _imports(content: bytes, path: Path, package: str = "") -> Iterator[str]:
    """Yield the full names of the modules that a file imports; of ``from a import b`` both ``a`` and ``a.b``.

    Args:
        content: content of the file.
        path: its path, for errors.
        package: full name of its package, which relative imports begin at; empty if there is none.
    """
    try:
        tree = ast.parse(content, str(path))
    except (SyntaxError, ValueError) as error:
        raise syntax_failure(error, path) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and not package:
                continue  # Python itself reports it when it imports the file
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _of_package(module: str) -> tuple[Path, dict[str, bytes]]:
    """Return the folder in which the top of a package lies, and the files of the module and of what it imports."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        names = [each for each in sys.modules if "." not in each]
        near = nearest(top, names)
        meant = f" Did you mean '{near}'?" if near else ""
        message = f"no package '{top}' is installed.{meant} A class in a file is named by its path: FILE.py:Class."
        raise SpecError([Fault("model", message)])
    main = _located(module)
    if main is None:
        message = f"the package '{top}' has no module '{module}' with Python source."
        raise SpecError([Fault("model", message)])
    folder = main.parents[len(module.split(".")) - (0 if main.name == "__init__.py" else 1)]
    found: dict[str, bytes] = {}
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = None if name in seen else _located(name)
        seen.add(name)
        if path is None:
            continue
        content = found[path.relative_to(folder).as_posix()] = _read(path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        # Python imports the packages above a module first.
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += [each for each in _imports(content, path, package) if each.partition(".")[0] == top]
        _check_size(found, main)
    return folder, found


def _located(module: str) -> Path | None:
    """Return the source file of an installed module, without importing its package; None if it has none."""
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    name = top
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _distribution(module: str) -> dict[str, str]:
    """Return name and version of the distribution that has a module; empty if it belongs to none."""
    names = _packages().get(module.partition(".")[0], [])
    return {"name": names[0], "version": metadata.version(names[0])} if names else {}


@cache
def _packages() -> Mapping[str, list[str]]:
    """Return the distributions of each installed package; reading them takes most of a second."""
    return metadata.packages_distributions()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}."
        raise SpecError([Fault("model", message)]) from error


def _check_size(found: dict[str, bytes], main: Path) -> None:
    """Refuse code that a run cannot keep."""
    size = sum(map(len, found.values()))
    if len(found) > _MOST_FILES or size > _MOST_BYTES:
        message = (
            f"{main} imports {len(found)} files of {size:,} bytes beside it, which is too much for a run to keep"
        )
        raise SpecError([Fault("model", f"{message}: {_AS_PACKAGE}.")])
    for name in found:
        if not is_code_name(name):
            message = f"a run cannot keep a file called '{name}': use ASCII letters, digits, '.', '_' and '-'."
            raise SpecError([Fault("model", message)])


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder: name a Python file in it."
    if path.suffix != ".py":
        return f"{path} is no Python file, which ends with .py."
    near = nearest(path.name, [each.name for each in path.parent.glob("*.py")]) if path.parent.is_dir() else None
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}."
    return f"there is no file {path}." + (f" Did you mean '{near}'?" if near else "")
