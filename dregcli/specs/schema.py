"""The JSON schemas of a resolved run and of a config file."""

from typing import Any

from dregcli.specs.axes import MODEL_OPTIONS, listable
from dregcli.specs.options import RunOptions, described, described_when_resolved
from dregcli.specs.run import RunSpec


def schema_of(*, config: bool) -> dict[str, Any]:
    """Return the JSON schema of a config file, or of a resolved run.

    Args:
        config: whether to return the schema of a config file, which allows ``auto``, epochs and lists of values.
    """
    kind = RunOptions if config else RunSpec
    found = kind.model_json_schema()
    for field, entry in found["properties"].items():
        if config and field == MODEL_OPTIONS:
            _let_be_a_list(entry["additionalProperties"], texts=False)
        elif config and (values := listable(field)):
            _let_be_a_list(entry, texts=values == "texts")
        entry["description"] = described(field)[0] if config else described_when_resolved(field)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _let_be_a_list(entry: dict[str, Any], *, texts: bool) -> None:
    """Let a value also be a list of values: a study trains each."""
    own = {key: entry.pop(key) for key in list(entry) if key not in ("default", "title")}
    own.pop("description", None)
    values: dict[str, Any] = {"type": "string"} if texts else own
    entry["anyOf"] = [own, {"type": "array", "items": values, "minItems": 1}]
