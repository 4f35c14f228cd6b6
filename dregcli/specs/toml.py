"""A resolved spec as a TOML file for ``--config``."""

import json
from typing import Any, cast

from dregcli.defaults import MOST_TRAINING_EVAL_K
from dregcli.specs.options import RunOptions, described
from dregcli.specs.run import RUN_ONLY, RunSpec


def as_toml(spec: RunSpec) -> str:
    """Write every setting of a spec as TOML, grouped like the panels of the help, without settings that are None.

    A run with this file resolves to the same spec on every machine with the same data.
    """
    values = spec.model_dump(mode="json", exclude={"spec_version", *RUN_ONLY}, exclude_none=True)
    if not spec.model_options:
        del values["model_options"]
    # TOML has no word for "all samples". If k_chunk were left out, the program would choose it again.
    values.setdefault("k_chunk", spec.k)
    if spec.bound_k > MOST_TRAINING_EVAL_K:  # also this number, which the program would not choose
        values.setdefault("eval_k", spec.bound_k)
    by_panel: dict[str, list[str]] = {}
    for field in RunOptions.model_fields:
        if field in values:
            shown = described(field)[1]
            by_panel.setdefault(shown.panel if shown else "Data", []).append(f"{field} = {_value(values[field])}")
    return "\n\n".join("\n".join([f"# {panel}", *lines]) for panel, lines in by_panel.items()) + "\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else _value(name)


def _value(value: Any) -> str:  # noqa: ANN401 - of any field
    """Write a value as TOML: the same as JSON, except for tables."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        pairs = (f"{_key(key)} = {_value(inner)}" for key, inner in entries.items())
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value, ensure_ascii=False)
