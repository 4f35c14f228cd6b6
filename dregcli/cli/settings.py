"""Options of the command line that are generated from the fields of ``RunOptions``."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer

from dregcli.specs.options import RunOptions, described

PARAMETER: Final = "settings"
"""The parameter of a command that stands for the generated options."""


def with_settings(
    fields: Iterable[str],
    *,
    shown: Mapping[str, str] | str | None = None,
    defaults: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each of some fields; it gets a dict of those that were given, as ``settings``.

    Args:
        fields: the fields of ``RunOptions``; one that only a config file may give has no option.
        shown: by field, what holds where it is not given, in words; a text stands for all of them.
        defaults: by field, a default of this command's own.
        more: by field, what else its help says in this command.
    """
    words = {field: shown for field in fields} if isinstance(shown, str) else dict(shown or {})
    own, extra = defaults or {}, more or {}
    generated = [
        _parameter(field, words.get(field), own.get(field), extra.get(field, ""))
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
            # All by keyword: a signature has no parameter without a default after one that has one.
            parameters += generated if each.name == PARAMETER else [each.replace(kind=each.KEYWORD_ONLY)]
        called.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def _parameter(field: str, default_in_words: str | None, own_default: str | None, more: str) -> inspect.Parameter:
    help_, way = described(field)
    assert way is not None
    of_type = str if way.typed else _type_of(RunOptions.model_fields[field].annotation)
    words = default_in_words or way.default or _in_words(RunOptions.model_fields[field].default)
    option = typer.Option(
        f"--{field.replace('_', '-')}",
        help=f"{help_} {more}".rstrip(),
        metavar=way.metavar or ("WORD" if of_type is str else None),
        show_default=words if own_default is None else True,
        rich_help_panel=way.panel.value,
    )
    taken: Any = list[of_type] if way.several else of_type
    annotation = Annotated[taken, option] if own_default is not None else Annotated[taken | None, option]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=own_default, annotation=annotation)


def _read(field: str, value: Any) -> Any:  # noqa: ANN401 - whatever was typed
    """What was typed as a value of the field; a list of one is that one."""
    way = described(field)[1]
    if way is None or value is None:
        return value
    if way.several:
        return value[0] if len(value) == 1 else value or None
    return way.typed(value) if way.typed else value


def _type_of(annotation: Any) -> type:  # noqa: ANN401 - of any field
    """What the command line reads for a type: a whole number, a number, or a text."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    parts = [get_args(each)[0] if get_origin(each) is Annotated else each for each in parts]
    found = [each for each in parts if each is not type(None)]
    return found[0] if found in ([int], [float]) else str


def _in_words(default: Any) -> str | bool:  # noqa: ANN401 - of any field
    return False if default is None else str(default)
