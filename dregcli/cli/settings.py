"""Options of the command line, generated from the fields of ``RunOptions``."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer

from dregcli.cli.lazy import ONCE
from dregcli.errors import Fault, SpecError
from dregcli.specs.options import RunOptions, described
from dregcli.words import listed_words

PARAMETER: Final = "settings"
"""The parameter of a command that receives the generated options."""

_METAVARS: Final[Mapping[type, str]] = {int: "<int>", float: "<float>", str: "WORD"}


def with_settings(
    fields: Iterable[str],
    *,
    lists: bool = False,
    shown: Mapping[str, str] | str | None = None,
    defaults: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    helps: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each of some fields. The command gets a dict of the given ones as ``settings``.

    Args:
        fields: fields of ``RunOptions``; a field that only a config file may set gets no option.
        lists: whether an option may have several values: with commas, or given several times. The command gets them
            as a list, in the form of a config file. Without ``lists``, several values are refused.
        shown: by field, its default in words; one text applies to all fields.
        defaults: by field, a default that this command uses instead of the usual one.
        more: by field, additional help text in this command.
        helps: by field, a help text of this command in place of the common one.
    """
    words = {field: shown for field in fields} if isinstance(shown, str) else dict(shown or {})
    own, extra, texts = defaults or {}, more or {}, helps or {}
    generated = [
        _parameter(field, words.get(field), own.get(field), texts.get(field), extra.get(field, ""))
        for field in fields
        if described(field)[1] is not None
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**given: Any) -> None:  # noqa: ANN401 - whatever the command line holds
            texts: dict[str, list[str]] = {each.name: list(given.pop(each.name) or ()) for each in generated}
            if not lists and (faults := [fault for name, typed in texts.items() for fault in _several(name, typed)]):
                raise SpecError(faults, hint=ONCE)
            settings = {name: _read(name, typed) for name, typed in texts.items() if typed}
            command(**given, **{PARAMETER: {name: value for name, value in settings.items() if value is not None}})

        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for each in signature.parameters.values():
            # All by keyword: otherwise no parameter without a default could follow one with a default.
            parameters += generated if each.name == PARAMETER else [each.replace(kind=each.KEYWORD_ONLY)]
        called.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def _parameter(
    field: str, default_in_words: str | None, own_default: str | None, text: str | None, more: str
) -> inspect.Parameter:
    help_, way = described(field)
    assert way is not None
    words = default_in_words or way.default or _in_words(RunOptions.model_fields[field].default)
    of_type = _type_of(field)
    option = typer.Option(
        f"--{way.option or field.replace('_', '-')}",
        help=f"{text or help_} {more}".rstrip(),
        metavar=way.metavar or _METAVARS[of_type],
        show_default=words if own_default is None else True,
        rich_help_panel=way.panel.value,
    )
    # Texts, so that all wrong values are reported at once, and none is lost of an option that is given twice.
    annotation = Annotated[list[str] | None, option]
    default = None if own_default is None else [own_default]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _several(field: str, texts: list[str]) -> list[Fault]:
    """Return a fault if an option of a command that takes one value has several."""
    way = described(field)[1]
    if way is None or way.typed_all:
        return []
    values = texts if way.has_commas else listed_words(texts, way.split)
    return [Fault(field.replace("_", "-"), f"takes one value here, got {', '.join(values)}.")] if values[1:] else []


def _read(field: str, texts: list[str]) -> Any:  # noqa: ANN401 - whatever was typed
    """Read what the user typed: a value of the field, or a list of values, as in a config file."""
    way = described(field)[1]
    if way is None or way.typed_all:
        return way.typed_all(texts) if way and way.typed_all else texts
    if way.has_commas:
        return texts if texts[1:] else _value(field, texts[0])
    values = [_value(field, text) for text in listed_words(texts, way.split)]
    return values if values[1:] else values[0]


def _value(field: str, text: str) -> Any:  # noqa: ANN401 - whatever was typed
    """Read one value; a text that is none stays a text, which is refused later together with all other faults."""
    way = described(field)[1]
    if way and way.typed:
        return way.typed(text)
    try:
        return _type_of(field)(text)
    except ValueError:
        return text


def _type_of(field: str) -> type:
    """Return the type that the command line reads for a field: int, float or str."""
    annotation: Any = RunOptions.model_fields[field].annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    parts = [get_args(each)[0] if get_origin(each) is Annotated else each for each in parts]
    found = [each for each in parts if each is not type(None)]
    return found[0] if found in ([int], [float]) else str


def _in_words(default: Any) -> str | bool:  # noqa: ANN401 - of any field
    return False if default is None else str(default)
