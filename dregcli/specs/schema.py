"""The JSON schemas of a resolved run and of a config file."""

from typing import Any

from dregcli.specs.options import RunOptions, described, described_when_resolved
from dregcli.specs.run import RunSpec


def schema_of(*, config: bool) -> dict[str, Any]:
    """Return the JSON schema of a config file, or of a resolved run.

    Args:
        config: whether to return the schema of a config file, which allows ``auto``, epochs and several estimators.
    """
    kind = RunOptions if config else RunSpec
    found = kind.model_json_schema()
    for field, entry in found["properties"].items():
        entry["description"] = described(field)[0] if config else described_when_resolved(field)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
