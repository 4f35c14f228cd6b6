"""From options to a resolved spec: layers of options merged, every fault of the result found at once."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from dregcli.errors import Fault
from dregcli.names import nearest, unknown
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.presets import DEFAULTS, PRESETS
from dregcli.specs.run import RunSpec, spelt_out
from dregcli.synonyms import did_you_mean, meant

_EXTRA_OPTIONS = ("epochs",)
"""Options that are resolved into other fields."""

_SAID_TWO_WAYS = (("steps", "epochs"), ("seed", "seeds"))
"""Options of which the stronger layer's stands, whichever of the two it gives."""

_OF_THE_DATA = ("data_checksum", "split_convention")

_OF_SCREENING = ("screen_inflation", "screen_precision")


def flag(field: str) -> str:
    """A field's name as the command line spells it."""
    return field.replace("_", "-")


def merge_options(
    flags: Mapping[str, Any], config: Mapping[str, Any], preset: str | None
) -> tuple[dict[str, Any], list[Fault]]:
    """Options by precedence: flag > config > preset > default. A flag of None was not given.

    ``steps`` and ``epochs`` say the same thing, and so do ``seed`` and ``seeds``: whichever comes from the stronger
    layer stands. What a layer says of its data goes when a stronger one names another data set, or another split of
    it; what it says of screening when a stronger one names another ``backward``. Where a config is a run's spec, what
    was decided for that run (``ROUNDING_ONLY``) goes unless the new one repeats it, seed apart: it may no longer fit.

    Returns:
        The options, and a fault for an unknown preset and for one thing said in two ways in one layer.
    """
    faults: list[Fault] = []
    if preset is not None and preset not in PRESETS:
        faults.append(Fault("preset", unknown("preset", preset, PRESETS)))
    given = {key: value for key, value in flags.items() if value is not None}
    if "spec_version" in config:
        config = spelt_out(config)
        if any(key not in ("seed", "seeds") and config.get(key) != value for key, value in given.items()):
            config = {key: value for key, value in config.items() if key not in ROUNDING_ONLY}
    options: dict[str, Any] = {}
    for layer in (DEFAULTS, PRESETS.get(preset or "", {}), config, given):
        for one, other in _SAID_TWO_WAYS:
            if one in layer and other in layer:
                faults.append(Fault(other, f"give --{one} or --{other}, not both."))
        if "dataset" in layer and layer["dataset"] != options.get("dataset"):
            for key in _OF_THE_DATA:
                options.pop(key, None)
        if layer.get("split_convention", options.get("split_convention")) != options.get("split_convention"):
            options.pop("data_checksum", None)
        if layer.get("backward", options.get("backward")) != options.get("backward"):
            for key in _OF_SCREENING:
                options.pop(key, None)
        for one, other in _SAID_TWO_WAYS:
            if one in layer:
                options.pop(other, None)
            if other in layer:
                options.pop(one, None)
        options |= layer
    return options, faults


def unknown_option_faults(options: Mapping[str, Any]) -> list[Fault]:
    """A fault for every option that is none, with the nearest one that is."""
    known = [*RunSpec.model_fields, *_EXTRA_OPTIONS]
    faults: list[Fault] = []
    for key in options:
        if key not in known:
            near = did_you_mean(meant(key, [flag(each) for each in known]))
            faults.append(Fault(flag(key), f"there is no such option.{near}"))
    return faults


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
            known: list[str] = re.findall(r"'([^']*)'", context["expected"])
            near = nearest(error["input"], known) if isinstance(error["input"], str) else None
            meant = f" Did you mean '{near}'?" if near else ""
            return f"must be one of {context['expected']}{given}.{meant}"
        case "missing":
            return "is missing."
        case "value_error":
            return str(context["error"])
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}{given}."


def spec_faults(options: Mapping[str, Any], kind: type[BaseModel] = RunSpec) -> list[Fault]:
    """Everything wrong with options as the fields of a kind of spec; empty when they make one."""
    try:
        kind.model_validate(options)
    except ValidationError as error:
        faults: list[Fault] = []
        for item in error.errors():
            field, *rest = item["loc"]
            if field == "hidden" and item["type"] != "value_error":
                fault = Fault("hidden", f"must be layer sizes such as 200,200, got {options['hidden']!r}.")
            else:
                fault = Fault(flag(str(field)) + "".join(f"[{part}]" for part in rest), _message(item))
            if fault not in faults:
                faults.append(fault)
        return faults
    return []
