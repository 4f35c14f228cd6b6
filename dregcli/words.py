"""Words as they are typed: ``name``, ``name:key=value,key=value``, pairs of them, and lists of them.

Standard library only.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import cast

from dregcli.errors import Fault, SpecError
from dregcli.names import nearest, unknown

Value = int | float | StrEnum


def name_of(word: str) -> str:
    """The name of a word without its parameters."""
    return word.partition(":")[0]


def split_pair(word: str) -> tuple[str | None, str]:
    """The objective and the estimator of a pair such as ``rws/dreg``; no objective where the estimator is alone."""
    objective, slash, estimator = word.rpartition("/")
    return objective if slash else None, estimator


def split_parameters(word: str) -> tuple[str, list[tuple[str, str | None]]]:
    """The name of a word, and its parameters in order: each with its value, or None where there is no ``=``."""
    name, _, text = word.partition(":")
    items = (item.partition("=") for item in text.split(",") if item)
    return name, [(key, value if equals else None) for key, equals, value in items]


def split_list(text: str) -> list[str]:
    """Words with commas between them, which also stand between the parameters of one.

    A parameter after the first has no name of its own before it: ``stl,dreg-cv:alpha=1,beta=0`` are two words.
    """
    words: list[str] = []
    for part in (each.strip() for each in text.split(",")):
        is_parameter = "=" in part and ":" not in part.partition("=")[0]
        if words and is_parameter:
            words[-1] += f",{part}"
        elif part:
            words.append(part)
    return words


def read_word(
    kind: str, word: str, names: Iterable[str], parameters: Callable[[str], Mapping[str, type]]
) -> tuple[str, dict[str, Value]]:
    """The name of a word and the values of its parameters.

    Args:
        kind: what the word is, for the messages: ``objective``, ``estimator``.
        word: as typed.
        names: those that there are.
        parameters: the parameters of a name, each with the type of its values: int, float or a StrEnum.

    Raises:
        SpecError: an unknown name, with the nearest one; or everything that is wrong with the parameters.
    """
    name, items = split_parameters(word)
    known = list(names)
    if name not in known:
        raise SpecError([Fault(kind, unknown(kind, name, known))])
    kinds = parameters(name)
    values: dict[str, Value] = {}
    faults: list[Fault] = []
    for key, text in items:
        if key not in kinds:
            takes = f"takes {', '.join(kinds)}" if kinds else "takes no parameters"
            faults.append(Fault(kind, f"'{name}' has no parameter '{key}': it {takes}.{_meant(key, kinds)}"))
        elif key in values:
            faults.append(Fault(kind, f"parameter '{key}' of '{name}' is given twice."))
        else:
            try:
                values[key] = _value(kinds[key], text)
            except ValueError as error:
                faults.append(Fault(kind, f"parameter '{key}' of '{name}' needs {error}"))
    if faults:
        raise SpecError(faults)
    return name, values


def _value(kind: type, text: str | None) -> Value:
    """A parameter's value.

    Raises:
        ValueError: with what it takes and what it got.
    """
    got = "nothing" if text is None else f"'{text}'"
    if issubclass(kind, StrEnum):
        if text in list(kind):
            return kind(text)
        message = f"one of {', '.join(kind)}, got {got}.{_meant(text or '', kind)}"
        raise ValueError(message)
    try:
        return cast("Value", kind(text or ""))
    except ValueError:
        message = f"{'a whole number' if kind is int else 'a number'}, got {got}."
    raise ValueError(message)


def _meant(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f" Did you mean '{near}'?" if near else ""
