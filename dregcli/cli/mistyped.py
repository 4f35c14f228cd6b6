"""What to say of an option or a command that is not there: what it is called here."""

import re
from collections.abc import Sequence
from typing import Any

import typer

from dregcli.synonyms import did_you_mean, meant, meant_command


def message_of(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """What was wrong with a command line, in one sentence, and what may have been meant.

    Args:
        error: what was raised.
        arguments: the command line, without the program's name.
    """
    context: Any = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    if hasattr(error, "possibilities"):
        return _of_option(str(getattr(error, "option_name", "")), context, arguments)
    if found := re.match(r"No such command '(.*?)'", error.format_message()):
        command = meant_command(found[1], " ".join(context.command_path.split()[1:]))
        if command:
            return f"No such command: {found[1]}.{did_you_mean([f'dreg {command}'])}"
    return error.format_message()


def _of_option(option: str, context: Any, arguments: Sequence[str]) -> str:  # noqa: ANN401 - Typer keeps it private
    if not option.startswith("--"):
        # Of `-lr 0.1` the parser has seen the first letter alone.
        option = next((word for word in arguments if word.startswith(option)), option).partition("=")[0]
    known = [each for parameter in context.command.params for each in parameter.opts if each.startswith("--")]
    known += [each for each in context.help_option_names if each.startswith("--")]
    names = [each.removeprefix("--") for each in known]
    found = meant(option.lstrip("-"), names, context.info_name)
    return f"No such option: {option}.{did_you_mean([f'--{name}' for name in found])}"
