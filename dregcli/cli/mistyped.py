"""Messages for options and commands that do not exist, with the names that the user may have meant."""

import re
from collections.abc import Sequence
from typing import Any

import typer

from dregcli.synonyms import did_you_mean, meant, meant_command


def message_of(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Describe in one sentence what was wrong with a command line, and what the user may have meant.

    Args:
        error: the exception that Typer raised.
        arguments: the command line, without the program's name.
    """
    context: Any = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    if hasattr(error, "possibilities"):
        return _option_message(str(getattr(error, "option_name", "")), context, arguments)
    if found := re.match(r"No such command '(.*?)'", error.format_message()):
        command = meant_command(found[1], " ".join(context.command_path.split()[1:]))
        if command:
            return f"No such command: {found[1]}.{did_you_mean([f'dreg {command}'])}"
    return error.format_message()


def _option_message(option: str, context: Any, arguments: Sequence[str]) -> str:  # noqa: ANN401 - Typer keeps it private
    if not option.startswith("--"):
        # For `-lr 0.1` the parser has seen only the first letter.
        option = next((word for word in arguments if word.startswith(option)), option).partition("=")[0]
    known = [each for parameter in context.command.params for each in parameter.opts if each.startswith("--")]
    known += [each for each in context.help_option_names if each.startswith("--")]
    names = [each.removeprefix("--") for each in known]
    found = meant(option.lstrip("-"), names, context.info_name)
    return f"No such option: {option}.{did_you_mean([f'--{name}' for name in found])}"
