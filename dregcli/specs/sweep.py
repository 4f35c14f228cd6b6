"""The file of ``--sweep``: tables of options, each of which describes some runs of a study."""

from pathlib import Path
from typing import Any, Final, cast

from dregcli.errors import UsageError
from dregcli.specs.config import by_field, read_config
from dregcli.wording import listed

_TABLE: Final = "run"
_HINT: Final = "write tables such as:  [[run]]  with lines such as  k = 16  or  lr = [1e-3, 3e-4]"


def read_sweep(path: Path) -> list[dict[str, Any]]:
    """Read the tables of a sweep. A value may be a list of values, of which all combinations are meant.

    Args:
        path: a TOML file of ``[[run]]`` tables, each with options as in a config file.

    Raises:
        UsageError: the file cannot be read, or holds anything but such tables.
    """
    content = read_config(path, "--sweep")
    tables: object = content.pop(_TABLE, None)
    if content:
        what = f"The file of a sweep holds {listed(sorted(content))} outside its tables."
        hint = "move these lines into the [[run]] tables, or to a file for --config, or type them as options"
        raise UsageError(what, where=f"--sweep {path}", hint=hint)
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in cast("list[object]", tables)):
        tables = []
    if not tables:
        what = "The file of a sweep has no [[run]] table."
        raise UsageError(what, where=f"--sweep {path}", hint=_HINT)
    every = cast("list[dict[str, Any]]", tables)
    return [by_field(each, where=f"--sweep {path}, table {number}") for number, each in enumerate(every, start=1)]
