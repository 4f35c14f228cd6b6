"""Parts of the pages that are made from the program, so that pages and program always agree.

A page has a line such as ``<!-- generated: commands -->``, which ``fill`` replaces by the text. Sphinx calls ``fill``
for each page that it reads (see ``conf.py``).
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer

from dregcli import errors
from dregcli.app.diagnosis.estimators import list_pairs
from dregcli.cli import main
from dregcli.data.catalogue import DATASETS
from dregcli.data.entries import Embedded
from dregcli.engine import OBJECTIVES
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.pairs import all_pairs
from dregcli.names import Promise, Split

MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)

_STYLES = re.compile(r"\[/?(?:bold|dim|italic)?\]")
"""Marks of Rich in help texts."""

OUTCOMES = {
    0: "The command is done.",
    1: "A check found a fault: a bias, or damaged data, or a damaged run.",
    5: "A check was inconclusive, or a study is not complete although no run failed.",
    141: "The program that reads the output ended early, as `head` does; the command ends as well.",
}
"""Exit codes that belong to results and not to errors."""


def fill(text: str) -> str:
    """Replace every mark in a text by the part that it names.

    Raises:
        KeyError: a mark names no part.
    """
    return MARK.sub(lambda found: PARTS[found[1]](), text)


def table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a Markdown table. Bars in cells are escaped."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Return the text as code; an empty text stays empty."""
    return f"`{text}`" if text else ""


def commands() -> str:
    """Return a section for every command: its purpose, its arguments and options by panel, and examples."""
    sections: list[str] = []
    for name, command, context in _walk(_program(), None, "dreg"):
        sections += [f"## {name}", _plain(command.help or "")]
        parameters = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
        if hasattr(command, "list_commands"):
            inside = [f"{name} {each}" for each in command.list_commands(context)]
            links = [f"[{each}](#{each.replace(' ', '-')})" for each in inside]
            sections.append(f"Commands: {', '.join(links)}.")
            own = [_row(each, context) for each in parameters if "--help" not in each.opts]
            sections += [table(("name", "value", "meaning"), own)] if own else []
            continue
        usage = " ".join([name, "[OPTIONS]", *(_usage(e) for e in parameters if e.param_type_name == "argument")])
        sections.append(f"```text\n{usage}\n```")
        panels: dict[str, list[list[str]]] = {}
        for each in parameters:
            panels.setdefault(_panel(each), []).append(_row(each, context))
        sections += [f"**{panel}**\n\n{table(('name', 'value', 'meaning'), rows)}" for panel, rows in panels.items()]
        if command.epilog:
            sections.append(f"Examples:\n\n{_examples(command.epilog)}")
    return "\n\n".join(sections)


def _program() -> Any:  # noqa: ANN401 - Typer's own
    """Return the program as Typer runs it; its commands may be stand-ins that are loaded by name."""
    program = getattr(main, "program", None)
    return program() if program else typer.main.get_command(main.app)


def _walk(command: Any, parent: Any, path: str) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Yield a command and every command below it, with its path and its context."""
    command = command.load() if hasattr(command, "load") else command
    # With its settings, as Typer makes it: a command keeps the --help that its first context had.
    name = path.rpartition(" ")[2]
    context = command.context_class(command, info_name=name, parent=parent, **command.context_settings)
    yield path, command, context
    for each in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _walk(command.get_command(context, each), context, f"{path} {each}")


def _plain(text: str) -> str:
    return _STYLES.sub("", text).strip()


def _examples(text: str) -> str:
    """Return the paragraphs below a command's options as a list, with commands as code."""
    typed = re.sub(r"\[bold\](.*?)\[/bold\]", lambda found: code(found[1]), text, flags=re.DOTALL)
    return "\n".join("- " + " ".join(_plain(part).split()) for part in re.split(r"\n\s*\n", typed.strip()))


def _panel(parameter: Any) -> str:  # noqa: ANN401
    panel = getattr(parameter, "rich_help_panel", None)
    if isinstance(panel, str):
        return panel
    return "Arguments" if parameter.param_type_name == "argument" else "Options"


def _usage(argument: Any) -> str:  # noqa: ANN401
    """Return an argument as a line of usage has it: in brackets if it may be left out, with dots if it repeats."""
    word = _word(argument)
    word = word if argument.required else f"[{word}]"
    return word if argument.nargs == 1 else f"{word}..."


def _word(argument: Any) -> str:  # noqa: ANN401
    return argument.metavar or argument.name.upper()


def _row(parameter: Any, context: Any) -> list[str]:  # noqa: ANN401
    """Return name, value and meaning of a parameter, as ``--help`` shows them."""
    names, help_ = parameter.get_help_record(context) or (_word(parameter), parameter.help or "")
    if parameter.param_type_name == "argument":
        return [code(_word(parameter)), "", _plain(help_)]
    words = [word for part in names.split(", ") for word in part.split(" ", 1)]
    value = next((word for word in words if not word.startswith("-")), "")
    flags = ", ".join(code(word) for word in (*parameter.opts, *parameter.secondary_opts))
    return [flags, code(value.strip("<>")), _plain(help_)]


def pairs() -> str:
    """Return a table of all pairs with their promises at K = 1 and K = 64, and their weights."""
    one, many = list_pairs(1).rows, list_pairs(64).rows
    rows = [
        [
            code(at_one.label.partition("/")[0]),
            code(at_one.label.partition("/")[2]),
            at_one.says,
            at_many.says,
            code(at_many.path),
            code(at_many.score),
        ]
        for at_one, at_many in zip(one, many, strict=True)
    ]
    header = ("objective", "estimator", "K = 1", "K = 64", "path", "score")
    return f"All {len(rows)} pairs:\n\n{table(header, rows)}"


def objectives() -> str:
    """Return a table of objectives: the maximised function, θ's weight, and estimators by promise at K = 64."""
    rows: list[list[str]] = []
    for part in list_pairs(64).objectives:
        named = [pair for pair in all_pairs() if pair.objective.name == part.name]
        by = {
            promise: ", ".join(code(pair.estimator.name) for pair in named if pair.promise(64) is promise) or "none"
            for promise in (Promise.UNBIASED, Promise.BIASED)
        }
        maximised = (OBJECTIVES[named[0].objective.name].__doc__ or "").partition("\n")[0].rstrip(".")
        rows.append(
            [code(part.name), _escaped(maximised), code(part.model), by[Promise.UNBIASED], by[Promise.BIASED]]
        )
    header = ("objective", "what is maximised", "θ's weight", "unbiased at K = 64", "biased at K = 64")
    return table(header, rows)


def _escaped(text: str) -> str:
    """Return a formula as plain text in Markdown."""
    return re.sub(r"([*_])", r"\\\1", text)


def parameters() -> str:
    """Return a table of the parameters of objectives and estimators, with defaults and sources."""
    listing = list_pairs(64)
    rows = [
        [code(part.name), what, "; ".join(map(_parameter, part.parameters)) or "none", part.reference]
        for what, parts in (("objective", listing.objectives), ("estimator", listing.estimators))
        for part in parts
    ]
    return table(("name", "is an", "parameters", "source"), rows)


def _parameter(parameter: Any) -> str:  # noqa: ANN401
    kind = ", ".join(map(code, parameter.choices)) or parameter.kind
    default = "learned, starts at" if parameter.learned else "default"
    return f"{code(parameter.name)} ({kind}; {default} {code(str(parameter.default))})"


def symbols() -> str:
    """Return a table of the symbols in formulas."""
    return table(("symbol", "meaning"), [[code(name), meaning] for name, meaning in SYMBOLS.items()])


def exit_codes() -> str:
    """Return a table of all exit codes, from the classes of errors."""
    found = dict(OUTCOMES)
    for each in _classes(errors.DregError):
        if each is errors.DregError:
            found[each.exit_code] = "A fault of dreg itself. The message names a log file: please report it."
        elif each is not errors.SpecError:
            found[each.exit_code] = " ".join((each.__doc__ or "").partition("\n\n")[0].split())
    rows = [[code(str(number)), _names(number), meaning] for number, meaning in sorted(found.items())]
    return table(("exit code", "error", "meaning"), rows)


def _names(number: int) -> str:
    return ", ".join(code(each.__name__) for each in _classes(errors.DregError) if each.exit_code == number)


def _classes(root: type[errors.DregError]) -> list[type[errors.DregError]]:
    return [root, *(found for child in root.__subclasses__() for found in _classes(child))]


def data_sets() -> str:
    """Return a table of the splits of every data set; the first one is the default."""
    rows: list[list[str]] = []
    for name, entry in DATASETS.items():
        if isinstance(entry, Embedded):
            splits = entry.load().splits
            cuts = {entry.convention: {split: len(splits[split]) for split in Split}}
        else:
            cuts = {cut: found.sizes for each in entry.file_sets for cut, found in each.conventions.items()}
        for cut, sizes in cuts.items():
            rows.append([code(name), code(cut), *(f"{sizes[split]:,}" for split in Split)])
    return table(("`--dataset`", "`--split-convention`", *map(str, Split)), rows)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "pairs": pairs,
    "objectives": objectives,
    "parameters": parameters,
    "symbols": symbols,
    "exit-codes": exit_codes,
    "data-sets": data_sets,
}
