"""How the command line shows a setting, and how it reads the typed text."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


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
        several: whether the user can give the option several times.
        must_be: description of a valid value for the message, if the type has several forms.
        auto: sentence about ``auto``, after the field's description; a resolved run has no ``auto``, and no sentence.
    """

    panel: Panel
    metavar: str | None = None
    default: str | None = None
    typed: Callable[[str], object] | None = None
    several: bool = False
    must_be: str | None = None
    auto: str | None = None


def number_or_word(text: str) -> int | str:
    """Turn a whole number into one; return any other text unchanged."""
    try:
        return int(text)
    except ValueError:
        return text


def layer_sizes(text: str) -> tuple[int, ...] | str:
    """Turn ``200,200`` into (200, 200); return any other text unchanged."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return text
