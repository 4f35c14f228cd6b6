"""Names that the user gives to the groups of a report: by ``--label``, and in the store's ``labels.toml``."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dregcli.errors import UsageError
from dregcli.report.labels import Rename

LABELS_FILE: Final = "labels.toml"
"""A file at the top of a store, such as ``"iwae/dreg" = "DReG"``. The user writes it, and dreg only reads it."""

_HINT: Final = 'write a pattern and a name, such as:  --label "iwae/dreg=DReG"'


def parse_renames(texts: Sequence[str]) -> list[Rename]:
    """Read ``PATTERN=NAME``; patterns may contain ``=``, as in ``vr-iwae:alpha=0.3/*=ours``, so the last one counts.

    Raises:
        UsageError: there is no pattern or no name.
    """
    found: list[Rename] = []
    for text in texts:
        pattern, equals, name = (part.strip() for part in text.rpartition("="))
        if not (pattern and equals and name):
            what = f"'{text}' is not a pattern and a name."
            raise UsageError(what, where="--label", hint=_HINT)
        found.append(Rename(pattern, name))
    return found


def stored_renames(root: Path) -> list[Rename]:
    """Read the names in a store's ``labels.toml``, in the order of the file; none if there is no such file.

    Raises:
        UsageError: the file cannot be read, or has anything else than patterns with their names.
    """
    path = root / LABELS_FILE
    if not path.is_file():
        return []
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        what = f"The names of groups cannot be read: {error}."
        raise UsageError(what, where=str(path), hint='write lines such as:  "iwae/dreg" = "DReG"') from error
    wrong = [key for key, name in content.items() if not (isinstance(name, str) and name.strip() and key.strip())]
    if wrong:
        what = f"The name of '{wrong[0]}' is not a text."
        raise UsageError(what, where=str(path), hint='write lines such as:  "iwae/dreg" = "DReG"')
    return [Rename(pattern.strip(), name.strip()) for pattern, name in content.items()]
