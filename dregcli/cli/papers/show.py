"""``dreg paper show``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dregcli.cli.options import Json, Quiet
from dregcli.cli.papers.options import Name
from dregcli.cli.render import Terminal

if TYPE_CHECKING:
    from dregcli.specs.papers.document import Published
    from dregcli.specs.papers.read import PaperFile

EXAMPLES = """Show an experiment, and its published numbers:  [bold]dreg paper show burda2015-1layer[/bold]

Begin with a file of your own:  [bold]dreg paper show burda2015-1layer --toml > my.toml[/bold]"""


def show(
    name: Name,
    toml: Annotated[bool, typer.Option("--toml", help="Print the file itself, to begin with for one's own.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a published experiment runs, its published numbers, and where each was read."""
    from dregcli.app.papers.showing import shown_paper

    terminal = Terminal(as_json=as_json, quiet=quiet)
    file = shown_paper(name)
    if as_json:
        terminal.result({"name": file.name, "file": str(file.path), **file.paper.model_dump(mode="json")})
        return
    if toml:
        terminal.document(file.text)
        return
    _show(terminal, file)


def _show(terminal: Terminal, file: "PaperFile") -> None:
    from dregcli.app.papers.showing import NO_NUMBERS

    paper = file.paper
    terminal.heading(f"{file.name}: {paper.title}")
    terminal.line(f"{paper.reference}, {paper.place}")
    terminal.line(paper.what)
    for sentence in paper.ours:
        terminal.line(f"ours: {sentence}")
    if paper.shorter:
        terminal.line(f"shorter than the paper: {paper.shorter}")
    terminal.line()
    experiment = paper.experiment.model_dump(mode="json", exclude_none=True)
    for key, value in experiment.items():
        if key == "runs":
            for number, table in enumerate(value, start=1):
                terminal.line(f"run {number}: {_settings(table)}")
        elif isinstance(value, dict):
            terminal.line(f"{key}: {_settings(value)}")  # pyright: ignore[reportUnknownArgumentType]
        else:
            terminal.line(f"{key}: {_value(value)}")
    for panel in paper.figure:
        network = f" of the {panel.network}" if panel.y in ("variance", "snr", "dsnr", "squared_bias") else ""
        terminal.line(f"figure: {panel.y}{network} against {panel.x}")
    terminal.line()
    if not paper.published:
        terminal.line(NO_NUMBERS)
        return
    columns = ["quantity", "at", "published", "read in", "source", "what it is"]
    terminal.table(columns, [_row(each) for each in paper.published], title="published numbers", names=2)


def _row(each: "Published") -> list[str]:
    error = f" ± {each.error:g}" if each.error is not None else ""
    quantity = f"slope of {each.y}" if each.of == "slope" else each.y
    return [quantity, _settings(each.at), f"{each.value:g}{error}", each.read, each.source, each.what]


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
