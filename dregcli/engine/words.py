"""Words for objectives and estimators: a name with its parameters, such as ``vr-iwae:alpha=0.3``."""

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast, get_type_hints

from dregcli.engine.estimators import ESTIMATORS, Estimator
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.words import read_word

Part = TypeVar("Part", Objective, Estimator)


@cache
def parameter_kinds(entry: type[Objective] | type[Estimator]) -> dict[str, type]:
    """Return the parameters of an objective or estimator, each with the type of its values."""
    hints = get_type_hints(entry)
    return {field.name: cast("type", hints[field.name]) for field in fields(cast("Any", entry))}


def _parse(kind: str, word: str, entries: Mapping[str, type[Part]]) -> Part:
    name, values = read_word(kind, word, entries, lambda name: parameter_kinds(entries[name]))
    return entries[name](**values)


def parse_objective(word: str) -> Objective:
    """Return the objective that a word names. The ranges of its parameters are checked later, with the pair.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), or it does not take these parameters.
    """
    return _parse("objective", word, OBJECTIVES)


def parse_estimator(word: str) -> Estimator:
    """Return the estimator that a word names. The ranges of its parameters are checked later, with the pair.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), or it does not take these parameters.
    """
    return _parse("estimator", word, ESTIMATORS)


def word_of(part: Objective | Estimator) -> str:
    """Return the word of an objective or estimator with all parameters; parsing it gives an equal object."""
    values = [f"{field.name}={_text(getattr(part, field.name))}" for field in fields(cast("Any", part))]
    return f"{part.name}:{','.join(values)}" if values else str(part.name)


def short_word(part: Objective | Estimator) -> str:
    """Return the name alone if all parameters have their defaults, otherwise the whole word."""
    return str(part.name) if part == type(part)() else word_of(part)


def _text(value: float | StrEnum | Estimator) -> str:
    if isinstance(value, Estimator):
        return word_of(value)
    if isinstance(value, bool):
        return str(value).lower()
    # -0.0 equals 0.0, so it must not give another word and so another group of runs.
    return repr(value + 0.0) if isinstance(value, float) else str(value)
