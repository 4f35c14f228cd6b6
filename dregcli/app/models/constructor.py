"""The options of a model's constructor: read values as the types that it declares, and refuse all others."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Union, get_args, get_origin, get_type_hints

from dregcli.errors import Fault
from dregcli.names import nearest

Value = bool | int | float | str
_PLAIN: Final = (bool, int, float, str)
_FIELD: Final = "model-option"
_KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Option:
    """One option of a constructor.

    Attributes:
        name: name of the parameter.
        kinds: the plain types of its values; empty if it may have any.
        choices: the values of a ``Literal``; empty if it is none.
        default: the value if the user gives none; None if it is no plain value, or if there is none.
        is_required: whether the user must give a value.
    """

    name: str
    kinds: tuple[type, ...]
    choices: tuple[Value, ...]
    default: Value | None
    is_required: bool

    def read(self, given: Value) -> Value | None:
        """Return a typed or written value as one of the option's types; None if it is none of them."""
        if self.choices:
            return next((each for each in self.choices if str(each) == str(given)), None)
        if not self.kinds:
            return _guessed(given) if isinstance(given, str) else given
        if type(given) in self.kinds:
            return given
        if type(given) is int and float in self.kinds:
            return float(given)
        if isinstance(given, str):
            for kind in self.kinds:
                if (value := _READ[kind](given)) is not None:
                    return value
        return None

    @property
    def must_be(self) -> str:
        """The values that it takes, in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return " or ".join(_KINDS[kind] for kind in self.kinds)


def read_options(
    kind: type, given: Mapping[str, Value], *, settings: Sequence[str] = ()
) -> tuple[dict[str, Value], list[Fault]]:
    """Return the options of a class as a spec has them: those that were given, and all plain defaults.

    Args:
        kind: the class; the first parameter of its constructor takes the ``ModelData``.
        given: values by name; texts from the command line are read by the constructor's types. A name may be spelt
            with hyphens.
        settings: arguments that are settings of the spec, which are given as options of their own.

    Returns:
        The values, and every fault.
    """
    known, takes_all, fault = _options(kind)
    if fault:
        return {}, [fault]
    known = {name: option for name, option in known.items() if name not in settings}
    values: dict[str, Value] = {}
    faults: list[Fault] = []
    for typed, value in given.items():
        name = typed.replace("-", "_")
        option = known.get(name)
        if name in settings:
            own = f"--{name.replace('_', '-')}"
            faults.append(Fault(_FIELD, f"{kind.__name__} has an option of its own for it: give {own} {value}."))
            continue
        if option is None and takes_all:
            option = Option(name, (), (), None, is_required=False)
        if option is None:
            faults.append(Fault(_FIELD, _unknown(kind, typed, known)))
        elif (read := option.read(value)) is None:
            faults.append(Fault(_FIELD, f"{name} of {kind.__name__} must be {option.must_be}, got {value!r}."))
        else:
            values[name] = read
    lacking = {fault.message.partition(" ")[0] for fault in faults}
    for name, option in known.items():
        if name in values or name in lacking:
            continue
        if option.is_required:
            faults.append(Fault(_FIELD, f"{kind.__name__} needs {name}: give --model-option {name}=VALUE."))
        elif option.default is not None:
            values[name] = option.default
    return dict(sorted(values.items())), faults


def _options(kind: type) -> tuple[dict[str, Option], bool, Fault | None]:
    """Return the options of a constructor, whether it takes any other too, and a fault if it cannot be a model's."""
    name = kind.__name__
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        return {}, True, None
    try:
        hints = get_type_hints(kind.__init__)
    except Exception:  # names in annotations that only a type checker knows
        hints = {}
    takes_data = parameters and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    first = parameters[0] if takes_data else None
    is_plain = first is not None and (hints.get(first.name) in _PLAIN or isinstance(first.default, _PLAIN))
    if first is None or is_plain:
        message = f"the constructor of {name} must take the data first: def __init__(self, data, ...)."
        return {}, False, Fault("model", message)
    found: dict[str, Option] = {}
    for each in parameters[1:]:
        if each.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            found[each.name] = _option(each, hints.get(each.name, each.annotation))
    return found, any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters), None


def _option(parameter: inspect.Parameter, annotation: object) -> Option:
    default = parameter.default
    has_default = default is not inspect.Parameter.empty
    kinds, choices = _types(annotation)
    if not (kinds or choices) and isinstance(default, _PLAIN):
        kinds = (type(default),)
    plain = default if has_default and isinstance(default, _PLAIN) else None
    return Option(parameter.name, kinds, choices, plain, is_required=not has_default)


def _types(annotation: object) -> tuple[tuple[type, ...], tuple[Value, ...]]:
    """Return the plain types of an annotation, and the choices of a ``Literal``."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return (), tuple(each for each in get_args(annotation) if isinstance(each, _PLAIN))
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    # A text fits every option of type str, so that this type is tried last.
    return tuple(kind for kind in _PLAIN if kind in parts), ()


def _unknown(kind: type, typed: str, known: Mapping[str, Option]) -> str:
    near = nearest(typed.replace("-", "_"), known)
    meant = f" Did you mean '{near}'?" if near else ""
    options = f"Its options: {', '.join(known)}." if known else "It has no options."
    return f"{kind.__name__} has no option '{typed}'.{meant} {options}"


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


_READ: Final[dict[type, Callable[[str], Value | None]]] = {bool: _truth, int: _whole, float: _number, str: str}


def _guessed(text: str) -> Value:
    """Return a text as the plainest value that it spells: the constructor says nothing about its type."""
    found = (read(text) for read in _READ.values())
    return next(value for value in found if value is not None)
