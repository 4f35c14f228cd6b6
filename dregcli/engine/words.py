"""Words for objectives and estimators: a name with its parameters, as typed: ``iwae``, ``vr-iwae:alpha=0.3``."""

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeVar, cast, get_type_hints

from dregcli.engine.estimators import ESTIMATORS, Estimator
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.errors import Fault, SpecError
from dregcli.names import unknown

Part = TypeVar("Part", Objective, Estimator)


def _value(kind: type, text: str) -> int | float | StrEnum:
    """A parameter's value.

    Raises:
        ValueError: with what it takes.
    """
    if issubclass(kind, StrEnum):
        if text in list(kind):
            return kind(text)
        message = f"one of {', '.join(kind)}"
    else:
        try:
            return kind(text)
        except ValueError:
            message = "a whole number" if kind is int else "a number"
    raise ValueError(message)


def _parse(kind: str, word: str, entries: Mapping[Any, type[Part]]) -> Part:
    name, _, text = word.partition(":")
    if name not in entries:
        raise SpecError([Fault(kind, unknown(kind, name, entries))])
    entry = entries[name]
    hints = get_type_hints(entry)
    known = {field.name: cast("type", hints[field.name]) for field in fields(cast("Any", entry))}
    values: dict[str, int | float | StrEnum] = {}
    faults: list[Fault] = []
    for item in filter(None, text.split(",")):
        key, equals, given = item.partition("=")
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no parameters"
            faults.append(Fault(kind, f"'{name}' has no parameter '{key}': it {takes}."))
        elif key in values:
            faults.append(Fault(kind, f"parameter '{key}' of '{name}' is given twice."))
        else:
            try:
                values[key] = _value(known[key], given)
            except ValueError as error:
                got = f"'{given}'" if equals else "nothing"
                faults.append(Fault(kind, f"parameter '{key}' of '{name}' needs {error}, got {got}."))
    if faults:
        raise SpecError(faults)
    return entry(**values)


def parse_objective(word: str) -> Objective:
    """The objective that a word names; its parameters' ranges are checked with the pair.

    Raises:
        SpecError: unknown name (with the nearest one) or parameters it does not take.
    """
    return _parse("objective", word, OBJECTIVES)


def parse_estimator(word: str) -> Estimator:
    """The estimator that a word names; its parameters' ranges are checked with the pair.

    Raises:
        SpecError: unknown name (with the nearest one) or parameters it does not take.
    """
    return _parse("estimator", word, ESTIMATORS)


def word_of(part: Objective | Estimator) -> str:
    """The word that names an objective or estimator, its parameters spelt out; parsing it gives an equal one."""
    values = [f"{field.name}={_text(getattr(part, field.name))}" for field in fields(cast("Any", part))]
    return f"{part.name}:{','.join(values)}" if values else str(part.name)


def short_word(part: Objective | Estimator) -> str:
    """The name alone where all parameters have their defaults, else the whole word."""
    return str(part.name) if part == type(part)() else word_of(part)


def _text(value: float | StrEnum) -> str:
    # -0.0 is 0.0, and must not name another group of runs.
    return repr(value + 0.0) if isinstance(value, float) else str(value)
