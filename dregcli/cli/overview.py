"""The help of a group of commands, drawn with only a few parts of Rich.

Typer's own help would import Rich's Markdown and traceback modules, which doubles the time.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dregcli.wording import printable


def show_overview(group: Any, context: Any) -> None:  # noqa: ANN401 - Typer keeps the types private
    """Show the help of a group, its options and its commands, in the same layout as Typer's help of a command.

    Args:
        group: the group; its commands have summaries that need no import.
        context: Typer's context of the call.
    """
    console = Console(highlight=False)
    console.print(Padding(Text(printable(group.get_usage(context)), style="bold"), 1))
    console.print(Padding(Text.from_markup(group.help), (0, 1, 1, 1)))
    options = [parameter for parameter in group.get_params(context) if not parameter.hidden]
    _panel(console, "Options", ((", ".join(sorted(each.opts, key=len, reverse=True)), each.help) for each in options))
    commands = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    _panel(console, "Commands", ((name, each.get_short_help_str()) for name, each in commands))
    console.print(Padding(Text.from_markup(group.epilog), 1))


def _panel(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, expand=True, pad_edge=False, padding=(0, 1))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(ratio=1)
    for name, text in rows:
        table.add_row(name, Text.from_markup(text))
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))
