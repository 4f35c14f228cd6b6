"""Commands that the program knows by name, and imports only when they are called."""

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from dregcli.commands import quoted
from dregcli.errors import Fault, SpecError

ONCE: Final = "give each of these options once, with one value"
"""What to type where an option that takes one value has several."""

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """The place of a command in the source.

    Attributes:
        module: module of the command, inside ``dregcli.cli``.
        function: the function whose parameters are the command's options, and whose docstring is its help.
        examples: the constant of the module that the program shows below the help.
    """

    module: str
    function: str
    examples: str = "EXAMPLES"

    def summary(self) -> str:
        """Read the first paragraph of the command's help from its source, which is much faster than an import."""
        source = _FOLDER.joinpath(*self.module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name == self.function:
                return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
        return ""


class _Command(TyperCommand):
    """A command that refuses a repeated option, and does not check values while a shell completes them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer keeps the type private
        """Read the command line; while a shell completes it, keep the words unchanged.

        Typer checks values with pydantic. Importing pydantic would take longer than the whole completion.

        Raises:
            SpecError: an option that takes one value was given several times; Typer would take the last one.
        """
        if not ctx.resilient_parsing:
            given = list(args)
            rest = super().parse_args(ctx, args)
            self._refuse_repeated(ctx, given)
            return rest
        given, rest, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.params:
            ctx.params[parameter.name], source = parameter.consume_value(ctx, given)
            ctx.set_parameter_source(parameter.name, source)
        ctx.args = rest
        return rest

    def _refuse_repeated(self, ctx: Any, args: list[str]) -> None:  # noqa: ANN401
        values, _, given = self.make_parser(ctx).parse_args(args=args)
        order: list[Any] = [*given]  # Typer keeps the type of options private
        faults: list[Fault] = []
        for option in dict.fromkeys(order):
            # An option with a list decides itself what several values mean; a flag has no value.
            if order.count(option) > 1 and not (option.multiple or option.is_flag):
                name = option.opts[0]
                what = f"takes one value, and is given {order.count(option)} times; the last is {name} "
                faults.append(Fault(name.lstrip("-"), f"{what}{quoted(values[option.name])}"))
        if faults:
            raise SpecError(faults, hint=ONCE)


class CommandByName(TyperCommand):
    """A placeholder for a command, until the user calls it, asks for its help or completes it."""

    def __init__(self, typed: str, place: Place) -> None:
        super().__init__(typed.split()[-1])
        self.typed, self.place = typed, place

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first paragraph of the help, without shortening it."""
        return self.place.summary()

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """Load the command, and let Typer continue with it."""
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> TyperCommand:
        """Import the command."""
        from dregcli.cli.words import with_words

        module = import_module(f"dregcli.cli.{self.place.module}")
        function = with_words(getattr(module, self.place.function), self.typed)
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(self.name, cls=_Command, epilog=getattr(module, self.place.examples))(function)
        command = get_command(single)
        assert isinstance(command, TyperCommand)
        return command


class CommandGroup(TyperGroup):
    """A group that knows its commands by name; showing its help imports none of them."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - Typer keeps the types private
        """Return the options of the group, which are flags with the default False.

        The default of Typer's own flags is None, and Typer would import pydantic to read it.
        """
        options: list[Any] = [*super().get_params(ctx)]
        for option in options:
            option.default = option.default or False
        return options

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the help of the group, without shortening it."""
        return self.help or ""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer keeps the types private
        """Show the group's options and commands."""
        from dregcli.cli.overview import show_overview

        show_overview(self, ctx)
