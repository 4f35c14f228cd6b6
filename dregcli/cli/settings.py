"""Options of the command line, generated from the fields of ``RunOptions``."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer

from dregcli.specs.options import RunOptions, described
from dregcli.words import listed_words

PARAMETER: Final = "settings"
"""The parameter of a command that receives the generated options."""


def with_settings(
    fields: Iterable[str],
    *,
    shown: Mapping[str, str] | str | None = None,
    defaults: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    helps: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each of some fields. The command gets a dict of the given ones as ``settings``.

    Args:
        fields: fields of ``RunOptions``; a field that only a config file may set gets no option.
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
            settings = {each.name: _read(each.name, given.pop(each.name)) for each in generated}
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
    of_type = str if way.typed else _type_of(RunOptions.model_fields[field].annotation)
    words = default_in_words or way.default or _in_words(RunOptions.model_fields[field].default)
    option = typer.Option(
        f"--{way.option or field.replace('_', '-')}",
        help=f"{text or help_} {more}".rstrip(),
        metavar=way.metavar or ("WORD" if of_type is str else None),
        show_default=words if own_default is None else True,
        rich_help_panel=way.panel.value,
    )
    taken: Any = list[of_type] if way.several else of_type
    annotation = Annotated[taken, option] if own_default is not None else Annotated[taken | None, option]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=own_default, annotation=annotation)


def _read(field: str, value: Any) -> Any:  # noqa: ANN401 - whatever was typed
    """Read what the user typed as a value of the field; a list of one value becomes this value."""
    way = described(field)[1]
    if way is None or value is None:
        return value
    if way.typed_all:
        return way.typed_all(value) if value else None
    if way.several:
        words = listed_words(value)
        return words[0] if len(words) == 1 else words or None
    return way.typed(value) if way.typed else value


def _type_of(annotation: Any) -> type:  # noqa: ANN401 - of any field
    """Return the type that the command line reads for an annotation: int, float or str."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    parts = [get_args(each)[0] if get_origin(each) is Annotated else each for each in parts]
    found = [each for each in parts if each is not type(None)]
    return found[0] if found in ([int], [float]) else str


def _in_words(default: Any) -> str | bool:  # noqa: ANN401 - of any field
    return False if default is None else str(default)
