"""How the command line shows a setting, and how it reads the typed text."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dregcli.words import split_list


class Panel(StrEnum):
    """The groups in which the help of a command shows its options."""

    DATA = "Data"
    MODEL = "Model"
    OBJECTIVE = "Objective"
    OPTIMISATION = "Optimisation"
    EXECUTION = "Execution"
    OUTPUT = "Output"


@dataclass(frozen=True)
class Shown:
    """How the command line shows a field and reads it.

    Attributes:
        panel: the group of options that shows the field.
        metavar: placeholder for the value in the help; None means the name of the type.
        default: the default in words, if it depends on other settings.
        typed: turns the typed text into a value. An invalid text is returned unchanged, and refused later together
            with all other faults. None means the type of the field.
        has_commas: whether a comma can be a part of one value. Further values of such an option need the option
            again, and in a file they are a list of texts as they are typed: a list of numbers is one value there.
        split: splits a text with commas between values, as ``dregcli.words.split_list`` does.
        typed_all: turns all texts of an option that was given several times into one value, like ``typed``.
        option: name of the option, if it is not the name of the field.
        must_be: description of a valid value for the message, if the type has several forms.
        auto: sentence about ``auto``, after the field's description; a resolved run has no ``auto``, and no sentence.
    """

    panel: Panel
    metavar: str | None = None
    default: str | None = None
    typed: Callable[[str], object] | None = None
    has_commas: bool = False
    split: Callable[[str], list[str]] = split_list
    typed_all: Callable[[list[str]], object] | None = None
    option: str | None = None
    must_be: str | None = None
    auto: str | None = None


def number_or_word(text: str) -> int | str:
    """Turn a whole number into one; return any other text unchanged."""
    try:
        return int(text)
    except ValueError:
        return text


def layer_sizes(text: str) -> tuple[int, ...] | tuple[tuple[int, ...], ...] | str:
    """Turn ``200,200`` into (200, 200), and ``200,200/100`` into ((200, 200), (100,)).

    Any other text is returned unchanged.
    """
    try:
        layers = tuple(tuple(int(part) for part in layer.split(",")) for layer in text.split("/"))
    except ValueError:
        return text
    first, *further = layers
    return layers if further else first


def number_or_numbers(text: str) -> int | tuple[int, ...] | str:
    """Turn ``50`` into 50, and ``100,50`` into (100, 50); return any other text unchanged."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        return text
    first, *further = numbers
    return numbers if further else first


def joined(texts: list[str]) -> str:
    """Turn several lists of words into one list: ``["0-2", "5"]`` into ``0-2,5``."""
    return ",".join(texts)


def values_by_name(texts: list[str]) -> dict[str, str | list[str]] | str:
    """Turn ``["depth=2", "width=64"]`` into values by name; return the first text of another form unchanged.

    A name may have dashes. One that was given several times has the list of its values, as in a file.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            return text
        found.setdefault(name.replace("-", "_"), []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
