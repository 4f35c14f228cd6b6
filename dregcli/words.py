"""Words as the user types them: ``name``, ``name:key=value,key=value``, pairs of words, and lists of words.

Standard library only.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, cast

from dregcli.errors import Fault, SpecError
from dregcli.names import nearest, unknown

Value = bool | int | float | StrEnum

_TRUTH: Final = {"true": True, "false": False}


def name_of(word: str) -> str:
    """Return the name of a word without its parameters."""
    return word.partition(":")[0]


def split_pair(word: str) -> tuple[str | None, str]:
    """Split a pair such as ``rws/dreg`` into objective and estimator; the objective is None if there is no slash."""
    objective, slash, estimator = word.rpartition("/")
    return objective if slash else None, estimator


def split_parameters(word: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Split a word into its name and its parameters in order, each with its value, or None if there is no ``=``."""
    name, _, text = word.partition(":")
    items = (item.partition("=") for item in text.split(",") if item)
    return name, [(key, value if equals else None) for key, equals, value in items]


def split_list(text: str) -> list[str]:
    """Split a text into words at its commas. Commas also separate the parameters of one word.

    A part with ``=`` but without a name belongs to the word before it: ``stl,dreg-cv:alpha=1,beta=0`` are two words.
    """
    words: list[str] = []
    for part in (each.strip() for each in text.split(",")):
        is_parameter = "=" in part and ":" not in part.partition("=")[0]
        if words and is_parameter:
            words[-1] += f",{part}"
        elif part:
            words.append(part)
    return words


def listed_words(texts: Iterable[str]) -> list[str]:
    """Return the words of an option that may be given several times, each time with one word or a list with commas.

    A text without any word stays as it is, so that it is refused where the words are read.
    """
    return [word for text in texts for word in split_list(text) or [text]]


def read_word(
    kind: str, word: str, names: Iterable[str], parameters: Callable[[str], Mapping[str, type]]
) -> tuple[str, dict[str, Value]]:
    """Read the name of a word and the values of its parameters.

    Args:
        kind: the kind of word for the messages: ``objective`` or ``estimator``.
        word: the word as typed.
        names: the known names.
        parameters: returns the parameters of a name, each with the type of its values: bool, int, float or a StrEnum.

    Raises:
        SpecError: the name is unknown (with the nearest known name), or parameters have faults (with all of them).
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
    """Read the value of a parameter.

    Raises:
        ValueError: the value has the wrong form; the message says what is needed and what was given.
    """
    got = "nothing" if text is None else f"'{text}'"
    if issubclass(kind, StrEnum):
        if text in list(kind):
            return kind(text)
        message = f"one of {', '.join(kind)}, got {got}.{_meant(text or '', kind)}"
        raise ValueError(message)
    if kind is bool:
        if text in _TRUTH:
            return _TRUTH[text]
        message = f"true or false, got {got}."
        raise ValueError(message)
    try:
        return cast("Value", kind(text or ""))
    except ValueError:
        message = f"{'a whole number' if kind is int else 'a number'}, got {got}."
    raise ValueError(message)


def _meant(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f" Did you mean '{near}'?" if near else ""
