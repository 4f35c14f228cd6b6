"""From what was typed to the options of a run: layers of options merged, and every fault of their values at once."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from dregcli.errors import Fault
from dregcli.names import nearest
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.options import RunOptions, described
from dregcli.specs.presets import read_preset
from dregcli.specs.run import RunSpec, spelt_out
from dregcli.synonyms import did_you_mean, meant

_SAID_TWO_WAYS = (("steps", "epochs"), ("seed", "seeds"))
"""Options that say the same thing: the stronger layer's counts, whichever of the two it gives."""

_OF_THE_DATA = ("data_checksum", "split_convention")

_OF_SCREENING = ("screen_inflation", "screen_precision")


def flag(field: str) -> str:
    """A field's name as the command line spells it."""
    return field.replace("_", "-")


def merge_options(
    flags: Mapping[str, Any], config: Mapping[str, Any], preset: str | None
) -> tuple[RunOptions, list[Fault]]:
    """Merge options by precedence: flag > config > preset > default. A flag of None was not given.

    ``steps`` and ``epochs`` say the same thing, and so do ``seed`` and ``seeds``: the stronger layer's counts. What a
    layer says of its data is dropped when a stronger one names another data set, or another split of it; what it says
    of screening when a stronger one names another ``backward``. Where a config is a run's spec, what was decided for
    that run (``ROUNDING_ONLY``) is dropped unless the new run repeats it, seed apart: it may no longer fit.

    Returns:
        The options, and all faults. A value with a fault is replaced by the default of its field.

    Raises:
        UsageError: the file of a preset cannot be read.
    """
    below, faults = read_preset(preset)
    given = {key: value for key, value in flags.items() if value is not None}
    if "spec_version" in config:
        config = spelt_out(config)
        if any(key not in ("seed", "seeds") and config.get(key) != value for key, value in given.items()):
            config = {key: value for key, value in config.items() if key not in ROUNDING_ONLY}
    options: dict[str, Any] = {}
    for layer in (below, config, given):
        faults += [
            Fault(other, f"give --{one} or --{other}, not both.")
            for one, other in _SAID_TWO_WAYS
            if one in layer and other in layer
        ]
        for key in _overruled(layer, options):
            options.pop(key, None)
        options |= layer
    read, of_values = read_options(options)
    return read, faults + of_values


def _overruled(layer: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[str]:
    """The options of weaker layers that a stronger one makes void."""

    def changes(field: str) -> bool:
        before = options.get(field, RunOptions.model_fields[field].default)
        return layer.get(field, before) != before

    if changes("dataset"):
        yield from _OF_THE_DATA
    if changes("split_convention"):
        yield "data_checksum"
    if changes("backward"):
        yield from _OF_SCREENING
    for one, other in _SAID_TWO_WAYS:
        if one in layer:
            yield other
        if other in layer:
            yield one


def read_options(values: Mapping[str, Any]) -> tuple[RunOptions, list[Fault]]:
    """Read options by field.

    Returns:
        The options, and all faults. A value with a fault is replaced by the default of its field, so that the rest
        can be looked at too.
    """
    known = [flag(field) for field in RunOptions.model_fields]
    faults: list[Fault] = []
    for field in values:
        if flag(field) not in known:
            near = did_you_mean(meant(field, known))
            faults.append(Fault(flag(field), f"there is no such option.{near}"))
    options = {field: value for field, value in values.items() if flag(field) in known}
    faults += spec_faults(options, RunOptions)
    refused = {fault.field.partition("[")[0] for fault in faults}
    sound = {field: value for field, value in options.items() if flag(field) not in refused}
    return RunOptions.model_validate(sound), faults


def spec_faults(options: Mapping[str, Any], kind: type[BaseModel] = RunSpec) -> list[Fault]:
    """Everything wrong with options as the fields of a kind of spec; empty when they make one."""
    try:
        kind.model_validate(options)
    except ValidationError as error:
        by_field: dict[str, list[Mapping[str, Any]]] = {}
        for item in error.errors():
            by_field.setdefault(str(item["loc"][0]), []).append(item)
        return [fault for field, items in by_field.items() for fault in _of_field(field, items, options.get(field))]
    return []


def _of_field(field: str, errors: list[Mapping[str, Any]], given: object) -> list[Fault]:
    """What is wrong with a field: once, in its own words, where its type has several forms; else part by part."""
    must_be = _must_be(field)
    if must_be is None or errors[0]["type"] in ("value_error", "missing"):
        parts = ("".join(f"[{part}]" for part in each["loc"][1:]) for each in errors)
        return [Fault(flag(field) + part, _message(each)) for part, each in zip(parts, errors, strict=True)]
    words = [word for each in errors for word in _expected(each)]
    return [Fault(flag(field), f"must be {must_be}, got {given!r}.{_did_you_mean(given, words)}")]


def _must_be(field: str) -> str | None:
    shown = described(field)[1] if field in RunOptions.model_fields else None
    return shown.must_be if shown else None


def _expected(error: Mapping[str, Any]) -> list[str]:
    """The words that a literal or an enumeration takes."""
    return re.findall(r"'([^']*)'", error.get("ctx", {}).get("expected", ""))


def _did_you_mean(given: object, words: list[str]) -> str:
    near = nearest(given, words) if isinstance(given, str) else None
    return f" Did you mean '{near}'?" if near else ""


def _message(error: Mapping[str, Any]) -> str:
    """Pydantic's message in this program's words, with what was given."""
    context: Mapping[str, Any] = error.get("ctx", {})
    given = f", got {error['input']!r}"
    match error["type"]:
        case "greater_than_equal":
            return f"must be at least {context['ge']}{given}."
        case "greater_than":
            return f"must be greater than {context['gt']}{given}."
        case "less_than":
            return f"must be less than {context['lt']}{given}."
        case "less_than_equal":
            return f"must be at most {context['le']}{given}."
        case "literal_error" | "enum":
            near = _did_you_mean(error["input"], _expected(error))
            return f"must be one of {context['expected']}{given}.{near}"
        case "missing":
            return "is missing."
        case "value_error":
            return str(context["error"])
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}{given}."
