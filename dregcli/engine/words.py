"""Words for objectives and estimators: a name with its parameters, as typed: ``iwae``, ``vr-iwae:alpha=0.3``."""

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
    """The parameters of an objective or estimator, each with the type of its values."""
    hints = get_type_hints(entry)
    return {field.name: cast("type", hints[field.name]) for field in fields(cast("Any", entry))}


def _parse(kind: str, word: str, entries: Mapping[str, type[Part]]) -> Part:
    name, values = read_word(kind, word, entries, lambda name: parameter_kinds(entries[name]))
    return entries[name](**values)


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
