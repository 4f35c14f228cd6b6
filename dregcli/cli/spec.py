"""``dreg spec``."""

import json
from typing import Annotated

import typer

from dregcli.cli.render import Terminal

EXAMPLES = """Get a schema for an editor that checks TOML files:  \
[bold]dreg spec schema --config > dreg.schema.json[/bold]"""


def schema(
    config: Annotated[
        bool,
        typer.Option("--config", help="Print the schema of a config file, where settings may be left out."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Changes nothing: a schema is always JSON.")] = False,
) -> None:
    """Print the JSON schema of a resolved run, as in its spec.json and in the output of train --print-config."""
    from dregcli.specs.schema import schema_of

    Terminal(as_json=as_json).line(json.dumps(schema_of(config=config), indent=2, ensure_ascii=False))
