"""A resolved spec as a TOML file that ``--config`` takes."""

import json
from typing import Any

from dregcli.specs.options import RunOptions, described
from dregcli.specs.run import RunSpec


def as_toml(spec: RunSpec) -> str:
    """Every setting of a spec, by the panels of the help; what is left open is left out.

    A run of this file resolves to the same spec on every machine with the same data.
    """
    values = spec.model_dump(mode="json", exclude={"spec_version"}, exclude_none=True)
    # TOML has no word for "all of them", and left out it would be decided anew.
    values.setdefault("k_chunk", spec.k)
    by_panel: dict[str, list[str]] = {}
    for field in RunOptions.model_fields:
        if field in values:
            shown = described(field)[1]
            by_panel.setdefault(shown.panel if shown else "Data", []).append(f"{field} = {_value(values[field])}")
    return "\n\n".join("\n".join([f"# {panel}", *lines]) for panel, lines in by_panel.items()) + "\n"


def _value(value: Any) -> str:  # noqa: ANN401 - of any field
    """A value as TOML writes it: as JSON does, but for tables."""
    if isinstance(value, dict):
        pairs = (f"{key} = {_value(inner)}" for key, inner in value.items())  # pyright: ignore[reportUnknownVariableType]
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value, ensure_ascii=False)
