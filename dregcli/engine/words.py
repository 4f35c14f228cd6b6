"""Words for objectives and estimators: a name with its parameters, such as ``vr-iwae:alpha=0.3``."""

from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, cast, get_type_hints

from dregcli.engine.estimators import ESTIMATORS, Estimator
from dregcli.engine.objectives import OBJECTIVES, Objective, ScheduledObjective
from dregcli.errors import Fault, SpecError
from dregcli.words import ParameterSchedule, read_scheduled_word, read_word


@cache
def parameter_kinds(entry: type[Objective] | type[Estimator]) -> dict[str, type]:
    """Return the parameters of an objective or estimator, each with the type of its values."""
    hints = get_type_hints(entry)
    fitted = entry.fitted_fields if issubclass(entry, Objective) else ()
    names = [field.name for field in fields(cast("Any", entry)) if field.name not in fitted]
    return {name: cast("type", hints[name]) for name in names}


def parse_scheduled(word: str) -> ScheduledObjective:
    """Return the objective of a training, whose parameters may change: ``vr-iwae:alpha=0.99->0@1000000``.

    The ranges of its parameters are checked later, with the pair.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), or it does not take these parameters.
    """
    name, values = read_scheduled_word("objective", word, OBJECTIVES, lambda name: parameter_kinds(OBJECTIVES[name]))
    schedules = {key: value for key, value in values.items() if isinstance(value, ParameterSchedule)}
    starts = {key: value.start if isinstance(value, ParameterSchedule) else value for key, value in values.items()}
    return ScheduledObjective(OBJECTIVES[name](**cast("Any", starts)), tuple(sorted(schedules.items())))


def parse_objective(word: str) -> Objective:
    """Return the objective that a word names. The ranges of its parameters are checked later, with the pair.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), it does not take these parameters, or a
            parameter changes by a schedule, for which there must be steps.
    """
    found = parse_scheduled(word)
    if found.schedules:
        last = short_word(found.at(found.steps))
        message = f"'{word}' changes from step to step of a training, but here there are no steps: give one value, "
        raise SpecError([Fault("objective", f"{message}such as '{last}'.")])
    return found.start


def parse_estimator(word: str) -> Estimator:
    """Return the estimator that a word names. The ranges of its parameters are checked later, with the pair.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), or it does not take these parameters.
    """
    name, values = read_word("estimator", word, ESTIMATORS, lambda name: parameter_kinds(ESTIMATORS[name]))
    return ESTIMATORS[name](**cast("Any", values))


def word_of(part: Objective | ScheduledObjective | Estimator) -> str:
    """Return the word of an objective or estimator with all parameters; parsing it gives an equal object.

    A parameter of ``written_if_set`` is left out while it has its default.
    """
    values = _values(part)
    own = part.start if isinstance(part, ScheduledObjective) else part
    later = own.written_if_set if isinstance(own, Objective) else ()
    defaults = type(own)()
    shown = [
        f"{name}={_text(value)}"
        for name, value in values.items()
        if name not in later or value != getattr(defaults, name)
    ]
    return f"{own.name}:{','.join(shown)}" if shown else str(own.name)


def short_word(part: Objective | ScheduledObjective | Estimator) -> str:
    """Return the name alone if all parameters have their defaults, otherwise the whole word."""
    own = part.start if isinstance(part, ScheduledObjective) else part
    return str(own.name) if _values(part) == _values(type(own)()) else word_of(part)


def _values(part: Objective | ScheduledObjective | Estimator) -> dict[str, Any]:
    """Return the parameters with their values; the value of one that changes is its schedule."""
    if isinstance(part, ScheduledObjective):
        return _values(part.start) | dict(part.schedules)
    return {name: getattr(part, name) for name in parameter_kinds(type(part))}


def _text(value: float | StrEnum | Estimator | ParameterSchedule) -> str:
    if isinstance(value, Estimator):
        return word_of(value)
    if isinstance(value, bool):
        return str(value).lower()
    # -0.0 equals 0.0, so it must not give another word and so another group of runs.
    return repr(value + 0.0) if isinstance(value, float) else str(value)
