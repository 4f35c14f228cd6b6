"""Options from a config file, in TOML, or from the ``spec.json`` of a run."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dregcli.errors import UsageError

_MAX_BYTES = 1 << 20


def read_config(path: Path, option: str = "--config") -> dict[str, Any]:
    """Read the options in a config file. Keys are spelt like the options, or with underscores.

    Args:
        path: the file.
        option: the option that names the file, for the message.

    Raises:
        UsageError: the file does not exist, is too large, or is neither TOML nor JSON with one level of keys.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            what = f"The file of options is larger than {_MAX_BYTES} bytes."
            raise UsageError(what, where=str(path), hint="give a TOML file of options, or a run's spec.json")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"The file of options cannot be read: {error}."
        raise UsageError(what, where=f"{option} {path}", hint="give a TOML file or a run's spec.json") from error
    try:
        content: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        what = f"The file of options is not valid {kind}: {error}."
        hint = 'write lines such as:  estimator = "dreg"   or   batch-size = 32'
        raise UsageError(what, where=str(path), hint=hint) from error
    if not isinstance(content, dict):
        what = "The file of options does not hold options by name."
        raise UsageError(what, where=str(path), hint="give a TOML file or a run's spec.json")
    return by_field(cast("dict[str, Any]", content), where=str(path))


def by_field(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return options by field: a file may spell them, and those of a model, as they are typed, with dashes.

    Raises:
        UsageError: an option is there in both spellings.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        field = name.replace("-", "_")
        if field in found:
            what = f"{field.replace('_', '-')} is given twice, once with dashes and once with underscores."
            raise UsageError(what, where=where, hint="leave one of the two out")
        found[field] = by_field(cast("dict[str, Any]", value), where) if isinstance(value, dict) else value
    return found
