"""Words as the user types them: ``name``, ``name:key=value,key=value``, pairs of words, and lists of words.

Standard library only.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar, cast

from dregcli.errors import Fault, SpecError
from dregcli.names import ScheduleShape, nearest, unknown

_TRUTH: Final = {"true": True, "false": False}
_ARROW: Final = "->"
_FORM: Final = "START->END@STEPS or START->END@STEPS:linear"


@dataclass(frozen=True)
class ParameterSchedule:
    """A number that changes during training, as the word ``START->END@STEPS`` or ``START->END@STEPS:linear``.

    Attributes:
        start: value of the first step.
        end: value after ``steps`` steps and in all later ones.
        steps: steps of the change, at least 1.
        shape: how the value moves in between.
    """

    start: float
    end: float
    steps: int
    shape: ScheduleShape = ScheduleShape.LOG

    def at(self, step: int) -> float:
        """Return the value of a step (from 0).

        The shape ``log`` is that of the reference code of OVIS (arXiv 2008.01998): 1 - value is multiplied by the
        same factor in every step.
        """
        if step >= self.steps:
            return self.end
        done = max(0, step) / self.steps
        if done == 0.0:
            return self.start
        if self.shape is ScheduleShape.LINEAR:
            return self.start + done * (self.end - self.start)
        return -math.expm1((1.0 - done) * math.log1p(-self.start) + done * math.log1p(-self.end))

    def __str__(self) -> str:
        """Return the word; equal schedules have equal words."""
        # -0.0 equals 0.0, so it must not give another word.
        word = f"{self.start + 0.0!r}{_ARROW}{self.end + 0.0!r}@{self.steps}"
        return word if self.shape is ScheduleShape.LOG else f"{word}:{self.shape}"


Value = bool | int | float | StrEnum
_V = TypeVar("_V")


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


def listed_words(texts: Iterable[str], split: Callable[[str], list[str]] = split_list) -> list[str]:
    """Return the words of an option that may be given several times, each time with one word or a list with commas.

    A text without any word stays as it is, so that it is refused where the words are read.
    """
    return [word for text in texts for word in split(text) or [text]]


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
    return _read(kind, word, names, parameters, _value)


def read_scheduled_word(
    kind: str, word: str, names: Iterable[str], parameters: Callable[[str], Mapping[str, type]]
) -> tuple[str, dict[str, Value | ParameterSchedule]]:
    """Read a word as ``read_word`` does, in which each float may also be a schedule."""
    return _read(kind, word, names, parameters, _value_or_schedule)


def _read(
    kind: str,
    word: str,
    names: Iterable[str],
    parameters: Callable[[str], Mapping[str, type]],
    value: Callable[[type, str | None], _V],
) -> tuple[str, dict[str, _V]]:
    name, items = split_parameters(word)
    known = list(names)
    if name not in known:
        raise SpecError([Fault(kind, unknown(kind, name, known))])
    kinds = parameters(name)
    values: dict[str, _V] = {}
    faults: list[Fault] = []
    for key, text in items:
        if key not in kinds:
            takes = f"takes {', '.join(kinds)}" if kinds else "takes no parameters"
            faults.append(Fault(kind, f"'{name}' has no parameter '{key}': it {takes}.{_meant(key, kinds)}"))
        elif key in values:
            faults.append(Fault(kind, f"parameter '{key}' of '{name}' is given twice."))
        else:
            try:
                values[key] = value(kinds[key], text)
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
    if text and _ARROW in text:
        message += " Only a fractional number of an objective can change by a schedule."
    raise ValueError(message)


def _value_or_schedule(kind: type, text: str | None) -> Value | ParameterSchedule:
    """Read the value of a parameter, as ``_value`` does; a float may be a schedule."""
    if kind is float and text and (_ARROW in text or "@" in text or text.endswith("-")):
        return _schedule(text)
    return _value(kind, text)


def _schedule(text: str) -> ParameterSchedule:
    """Read ``START->END@STEPS``, which may end with ``:log`` or ``:linear``.

    Raises:
        ValueError: the value has the wrong form, or no such schedule exists; the message says what is needed.
    """
    ends, _, rest = text.partition("@")
    start, arrow, end = ends.partition(_ARROW)
    steps, colon, shape = rest.partition(":")
    wanted = f"a number or a schedule such as {_FORM}, got '{text}'."
    if not arrow and not rest:
        # A shell takes an unquoted > and what follows it as the name of a file for the output.
        message = f"{wanted} Write the word in quotes: a shell reads >."
        raise ValueError(message)
    try:
        values, count = (float(start), float(end)), int(steps)
    except ValueError:
        raise ValueError(wanted) from None
    if not all(map(math.isfinite, values)) or count < 1:
        message = f"finite ends and at least 1 step, got '{text}'."
        raise ValueError(message)
    if colon and shape not in list(ScheduleShape):
        shapes = " or :".join(ScheduleShape)
        message = f"a schedule that ends with :{shapes}, got ':{shape}'.{_meant(shape, ScheduleShape)}"
        raise ValueError(message)
    found = ParameterSchedule(*values, count, ScheduleShape(shape) if colon else ScheduleShape.LOG)
    if found.shape is ScheduleShape.LOG and max(values) >= 1.0:
        message = f"ends below 1, got '{text}': write {ends}@{steps}:linear, or an end such as 0.99."
        raise ValueError(message)
    return found


def _meant(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f" Did you mean '{near}'?" if near else ""
