"""Turn an error in the user's code into one in a few words: its own last line, and the user's file and line."""

import traceback
from collections.abc import Callable
from pathlib import Path

from dregcli.errors import ModelFailed


def failure(error: BaseException, owns: Callable[[str], bool], what: str, hint: str) -> ModelFailed:
    """Return the error for an exception that the user's code raised.

    Args:
        error: the exception.
        owns: whether a file, by the path in a traceback, belongs to the user's code.
        what: what failed, such as ``my_model.py cannot be imported``.
        hint: what to do next.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if owns(frame.filename)] or frames[-1:]
    where = f"{own[-1].filename}, line {own[-1].lineno}" if own else None
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install '{error.name.partition('.')[0]}' beside dreg, or correct the import"
    return ModelFailed(f"{what}: {last_line(error)}", where=where, hint=hint)


def last_line(error: BaseException) -> str:
    """Return the last line of an exception's traceback, such as ``NameError: name 'x' is not defined``."""
    return "".join(traceback.format_exception_only(error)).rstrip().splitlines()[-1]


def syntax_failure(error: SyntaxError | ValueError, path: Path) -> ModelFailed:
    """Return the error for a file that is not valid Python."""
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    what = f"{path.name} is not valid Python: {last_line(error)}"
    return ModelFailed(what, where=f"{path}{line}", hint="correct the file, then run the command again")
