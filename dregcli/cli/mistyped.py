"""Messages for options and commands that do not exist, and for words whose option is missing: what the user meant."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from dregcli.commands import quoted, remembered_folders
from dregcli.errors import RunNotFound
from dregcli.synonyms import did_you_mean, meant, meant_command

_EXTRA: Final = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)", re.DOTALL)
"""Typer's message about words that a command does not take."""


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
    if found := _EXTRA.match(error.format_message()):
        words, options = found[1].split(), _options(context.command)
        said = [
            f" '{word}' is {what}: say {option}." for word in words for what, option in _meanings(word, options)[:1]
        ]
        shown = ", ".join(f"'{word}'" for word in words)
        return (
            f"{context.command_path} has no place for the word{'s' if len(words) > 1 else ''} {shown}.{''.join(said)}"
        )
    return error.format_message()


def hint_of(error: typer.TyperException, arguments: Sequence[str]) -> str | None:
    """Return the command line with the options that words without an option need; None if this is not the fault."""
    context: Any = getattr(error, "ctx", None)
    found = _EXTRA.match(error.format_message())
    return _with_options(arguments, found[1].split(), _options(context.command)) if context and found else None


def hint_of_no_run(error: RunNotFound, arguments: Sequence[str], command: Any) -> str | None:  # noqa: ANN401
    """Return the command line with the missing option if the run that was not found is a data set, for example.

    Args:
        error: the error about a run.
        arguments: the command line, without the program's name.
        command: the command, as Typer keeps it.
    """
    found = re.match(r"There is no run '(.*?)'", error.what, re.DOTALL)
    return _with_options(arguments, [found[1]], _options(command)) if found else None


def _options(command: Any) -> list[str]:  # noqa: ANN401 - Typer keeps the type private
    return [each for parameter in command.params for each in parameter.opts if each.startswith("--")]


def _with_options(arguments: Sequence[str], words: Collection[str], options: Collection[str]) -> str | None:
    """Return the command line in which each word follows the option that it needs; None if a word has no meaning."""
    typed: list[str] = []
    left = list(words)
    for i, argument in enumerate(arguments):
        if argument in left and not arguments[i - 1].startswith("--"):
            left.remove(argument)
            found = _meanings(argument, options)
            if not found:
                return None
            typed.append(found[0][1])
        typed.append(argument)
    return None if left else quoted("dreg", *typed)


def _meanings(word: str, options: Collection[str]) -> list[tuple[str, str]]:
    """Return the possible meanings of a word for a command, each with its option, the likeliest first."""
    return [each for each in _all_meanings(word) if each[1] in options]


def _all_meanings(word: str) -> Iterator[tuple[str, str]]:
    from dregcli.app.common.on_disk import dataset_names, run_versions
    from dregcli.app.common.places import data_folder_if_any, runs_folder
    from dregcli.names import DatasetName
    from dregcli.parts import known_words
    from dregcli.words import name_of, split_list, split_pair

    runs_dir, data_dir = remembered_folders()
    objectives, estimators = known_words()
    if word in [*DatasetName, *dataset_names(data_folder_if_any(data_dir))]:
        yield "a data set", "--dataset"
    if word.partition("/")[0] in run_versions(runs_folder(runs_dir)):
        yield "a run", "--resume"
    pairs = [split_pair(each) for each in split_list(word)]
    if pairs and all(
        name_of(right) in (*estimators, "all") and (left is None or name_of(left) in objectives)
        for left, right in pairs
    ):
        kind = "a list of estimators" if len(pairs) > 1 else "a pair" if pairs[0][0] else "an estimator"
        yield kind, "--estimator"
    if name_of(word) in objectives:
        yield "an objective", "--objective"
    if word == "paper":
        yield "a preset", "--preset"
    if Path(word).suffix in (".toml", ".json"):
        yield "a file of options", "--config"


def _option_message(option: str, context: Any, arguments: Sequence[str]) -> str:  # noqa: ANN401 - Typer keeps it private
    if not option.startswith("--"):
        # For `-lr 0.1` the parser has seen only the first letter.
        option = next((word for word in arguments if word.startswith(option)), option).partition("=")[0]
    known = [each for parameter in context.command.params for each in parameter.opts if each.startswith("--")]
    known += [each for each in context.help_option_names if each.startswith("--")]
    names = [each.removeprefix("--") for each in known]
    found = meant(option.lstrip("-"), names, context.info_name)
    return f"No such option: {option}.{did_you_mean([f'--{name}' for name in found])}"
