"""Options from a config file: TOML, or the ``spec.json`` of a run."""

import json
import tomllib
from pathlib import Path
from typing import Any, cast

from dregcli.errors import UsageError

_MAX_BYTES = 1 << 20


def read_config(path: Path, option: str = "--config") -> dict[str, Any]:
    """The options in a config file, keys as the flags are spelt or with underscores.

    Args:
        path: the file.
        option: the option that names it, for the message.

    Raises:
        UsageError: the file is not there, too large, or neither TOML nor JSON with one level of keys.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            what = f"The config file is larger than {_MAX_BYTES} bytes."
            raise UsageError(what, where=str(path), hint="give a TOML file of options, or a run's spec.json")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"The config file cannot be read: {error}."
        raise UsageError(what, where=f"{option} {path}", hint="give a TOML file or a run's spec.json") from error
    try:
        content: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        what = f"The config file is not valid {kind}: {error}."
        hint = 'lines such as:  estimator = "dreg"   or   batch-size = 32'
        raise UsageError(what, where=str(path), hint=hint) from error
    if not isinstance(content, dict):
        what = "The config file holds no options by name."
        raise UsageError(what, where=str(path), hint="give a TOML file or a run's spec.json")
    return {key.replace("-", "_"): value for key, value in cast("dict[str, Any]", content).items()}
