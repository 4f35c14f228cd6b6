"""From typed options to the options of a run: merge the layers of options, and collect all faults of their values."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from dregcli.errors import Fault
from dregcli.names import nearest
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.models import OF_MODELS, is_layered, settings_of
from dregcli.specs.number_lists import parse_seeds
from dregcli.specs.options import SAME_MEANING, RunOptions, described
from dregcli.specs.presets import read_preset
from dregcli.specs.run import RUN_ONLY, RunSpec, spelt_out
from dregcli.synonyms import did_you_mean, meant

TYPED_ONLY: Final = (
    *("preset", "config", "sweep", "resume", "end", "trust_code", "name", "print_config", "dry_run"),
    *("jobs", "on", "at_once", "slurm", "ray_address", "runs_dir", "data_dir", "json", "quiet"),
)
"""Options of ``dreg train`` that are no settings of the run."""


def flag(field: str) -> str:
    """Return the name of a field as the command line spells it."""
    return field.replace("_", "-")


def merge_options(
    flags: Mapping[str, Any], config: Mapping[str, Any], preset: Mapping[str, Any] | str | None
) -> tuple[RunOptions, list[Fault]]:
    """Merge options by precedence: flag > config > preset > default; see ``merge_layers``.

    Raises:
        UsageError: the file of a preset cannot be read.
    """
    below, faults = (preset, list[Fault]()) if isinstance(preset, Mapping) else read_preset(preset)
    options, found = merge_layers([flags, config, below])
    return options, faults + found


def merge_layers(layers: Sequence[Mapping[str, Any]]) -> tuple[RunOptions, list[Fault]]:
    """Merge layers of options, the strongest first: the flags, in which None means not given, and then files.

    ``steps`` and ``epochs`` have the same meaning, and so have ``seed`` and ``seeds``: the stronger layer counts. If
    a stronger layer names another data set than a weaker one, the data options of this one and of those below it are
    dropped. The same holds for another split, for the options of another model, for the screening options of another
    ``backward``, and for the ``k_chunk`` of another ``k``. A layer that leaves the field open keeps its options: they
    are meant for any value, and a fault if they do not fit.
    If a file is the spec of a run, and a stronger layer changes more than its seed, its ``ROUNDING_ONLY`` options are
    dropped: they may not fit the new run.

    Returns:
        The options, and all faults. A value with a fault is replaced by the default of its field.
    """
    faults = [
        Fault(other, f"give --{one} or --{other}, not both.")
        for layer in reversed(layers)
        for one, other in SAME_MEANING
        if layer.get(one) is not None and layer.get(other) is not None
    ]
    options: dict[str, Any] = {}
    for layer in reversed(kept_layers(layers)):
        options |= {**layer, **_merged_model_options(options, layer)}
    read, of_values = read_options(options)
    return read, faults + of_values


def kept_layers(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return layers of options without those that a stronger layer overrules; see ``merge_layers``."""
    flags, *files = layers
    given = [{key: value for key, value in flags.items() if value is not None}]
    stronger: Mapping[str, Any] = given[0]
    for file in files:
        given.append(dict(_of_a_file(file, stronger)))
        stronger = {**given[-1], **stronger}
    for number in reversed(range(len(given))):
        _overrule(given[number], given[number + 1 :])
    return given


def _merged_model_options(options: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the model with those of a stronger layer in place of options of the same name."""
    weak, strong = options.get("model_options"), layer.get("model_options")
    if not isinstance(weak, Mapping) or not isinstance(strong, Mapping):
        return {}
    both: dict[str, Any] = {**cast("Mapping[str, Any]", weak), **cast("Mapping[str, Any]", strong)}
    return {"model_options": both}


def _of_a_file(layer: Mapping[str, Any], stronger: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of a file; those of a run's spec with its defaults, and as far as they fit the new run."""
    if "spec_version" not in layer:
        return layer
    whole = {key: value for key, value in spelt_out(layer).items() if key not in RUN_ONLY}
    if whole["eval_k"] is None and stronger.get("k", whole["k"]) == whole["k"]:
        whole["eval_k"] = whole["k"]  # the run's own K, which may be larger than the program would choose
    if any(key not in ("seed", "seeds") and whole.get(key) != value for key, value in stronger.items()):
        return {key: value for key, value in whole.items() if key not in ROUNDING_ONLY}
    return whole


def _overrule(layer: Mapping[str, Any], weaker: Sequence[dict[str, Any]]) -> None:
    """Remove from weaker layers, the strongest first, what a layer overrules or makes invalid."""

    def drop(fields: Iterable[str], since: int = 0) -> None:
        for field in fields:
            for each in weaker[since:]:
                each.pop(field, None)

    for field, belonging in _BELONGING.items():
        since = next((number for number, each in enumerate(weaker) if field in each), None)
        if field in layer and since is not None and weaker[since][field] != layer[field]:
            drop(belonging(weaker[since][field], layer[field]), since)
    if "model" in layer:  # also if it is the same word: it means the code as it is now
        drop(["model_digest"])
    for one, other in SAME_MEANING:
        if one in layer or other in layer:
            drop([one, other])
    drop(field for field in layer if field != "model_options")  # of these each has a name of its own


def _unfit(before: object, model: object) -> Iterable[str]:
    """Yield the settings of one model that another model does not have, or has in another form."""
    has = settings_of(model)
    yield from (name for name in OF_MODELS if name not in has)
    if is_layered(before) != is_layered(model):
        yield from ("hidden", "latent_dim")


_BELONGING: Final[Mapping[str, Callable[[object, object], Iterable[str]]]] = {
    "dataset": lambda _before, _now: ("data_checksum", "split_convention"),
    "split_convention": lambda _before, _now: ("data_checksum",),
    "model": lambda before, now: ("model_options", *_unfit(before, now)),
    "backward": lambda _before, _now: ("screen_inflation", "screen_precision"),
    "k": lambda _before, _now: ("k_chunk",),
}
"""By field, the options that belong to its value: those that fit it no more when another value takes its place."""


def read_options(values: Mapping[str, Any]) -> tuple[RunOptions, list[Fault]]:
    """Read options by field.

    Returns:
        The options, and all faults. A value with a fault is replaced by the default of its field, so that the other
        options can be checked too.
    """
    known = [flag(field) for field in RunOptions.model_fields]
    faults: list[Fault] = []
    for field in values:
        if field in TYPED_ONLY:
            faults.append(Fault(flag(field), f"cannot be set in a file: type --{flag(field)} on the command line."))
        elif flag(field) not in known:
            near = did_you_mean(meant(field, known))
            faults.append(Fault(flag(field), f"there is no such option.{near}"))
    options = {field: value for field, value in values.items() if flag(field) in known}
    faults += spec_faults(options, RunOptions)
    refused = {fault.field.partition("[")[0] for fault in faults}
    sound = {field: value for field, value in options.items() if flag(field) not in refused}
    return RunOptions.model_validate(sound), faults


def setting_faults(**values: object) -> list[Fault]:
    """Return all faults of single settings, by field, as a request may state them."""
    return spec_faults(values, RunOptions)


def spec_faults(options: Mapping[str, Any], kind: type[BaseModel] = RunSpec) -> list[Fault]:
    """Return all faults of options as the fields of a kind of spec; empty if they form a valid spec."""
    try:
        kind.model_validate(options)
    except ValidationError as error:
        by_field: dict[str, list[Mapping[str, Any]]] = {}
        for item in error.errors():
            by_field.setdefault(str(item["loc"][0]), []).append(item)
        return [
            fault for field, items in by_field.items() for fault in _of_field(field, items, options.get(field), kind)
        ]
    return []


def _of_field(field: str, errors: list[Mapping[str, Any]], given: object, kind: type[BaseModel]) -> list[Fault]:
    """Return the faults of a field: one in its own words if its type has several forms, else one for each part."""
    must_be = _must_be(field) if kind is RunOptions else None
    if must_be is None or errors[0]["type"] in ("value_error", "missing"):
        parts = ("".join(f"[{part}]" for part in each["loc"][1:]) for each in errors)
        more = _several_seeds(given) if field == "seed" else ""
        return [Fault(flag(field) + part, message_of(each) + more) for part, each in zip(parts, errors, strict=True)]
    words = [word for each in errors for word in _expected(each)]
    return [Fault(flag(field), f"must be {must_be}, got {given!r}.{_did_you_mean(given, words)}")]


def _several_seeds(given: object) -> str:
    """Return a sentence about ``--seeds`` if the value of ``--seed`` is a list of seeds; else an empty text."""
    if not isinstance(given, str) or not parse_seeds(given)[0]:
        return ""
    return f" A study takes several seeds: --seeds {given}"


def _must_be(field: str) -> str | None:
    shown = described(field)[1] if field in RunOptions.model_fields else None
    return shown.must_be if shown else None


def _expected(error: Mapping[str, Any]) -> list[str]:
    """Return the words that a literal or an enumeration accepts."""
    return re.findall(r"'([^']*)'", error.get("ctx", {}).get("expected", ""))


def _did_you_mean(given: object, words: list[str]) -> str:
    near = nearest(given, words) if isinstance(given, str) else None
    return f" Did you mean '{near}'?" if near else ""


def message_of(error: Mapping[str, Any]) -> str:
    """Rewrite pydantic's message in the words of this program, with the given value."""
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
        case "int_type":
            return f"must be a whole number{given}."
        case "float_type":
            return f"must be a number{given}."
        case "finite_number":
            return f"must be a finite number{given}."
        case "string_type":
            return f"must be a text{given}."
        case "model_type":
            return f"must be a table of values by name{given}."
        case "missing":
            return "is missing."
        case "value_error":
            return str(context["error"])
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}{given}."
