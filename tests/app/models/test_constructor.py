"""Options are read as the types that a constructor declares."""

from typing import Any, Literal

import pytest

from dregcli.app.models.constructor import read_options


class Typed:
    def __init__(
        self,
        data,
        width: int = 3,
        slope: float = 0.5,
        deep: bool = False,
        name: str = "a",
        most: int | None = None,
        kind: Literal["relu", "tanh"] = "relu",
        untyped=7,
        sizes: tuple[int, ...] = (1, 2),
    ) -> None: ...


class Needs:
    def __init__(self, data, width: int, *, depth): ...


class Any_:
    def __init__(self, data: Any, **options): ...


DEFAULTS = {"width": 3, "slope": 0.5, "deep": False, "name": "a", "kind": "relu", "untyped": 7}


def test_plain_defaults_are_written_out_and_texts_become_values() -> None:
    assert read_options(Typed, {}) == (dict(sorted(DEFAULTS.items())), [])
    typed = {"width": "16", "slope": "2", "deep": "True", "name": "0.5", "most": "4", "kind": "tanh", "untyped": "8"}
    values, faults = read_options(Typed, typed)
    assert values == {"width": 16, "slope": 2.0, "deep": True, "name": "0.5", "most": 4, "kind": "tanh", "untyped": 8}
    assert [type(values[name]) for name in ("slope", "deep", "untyped")] == [float, bool, int]
    assert faults == []


def test_values_of_a_file_have_their_types_and_a_name_may_have_hyphens() -> None:
    values, faults = read_options(Typed, {"width": 4, "slope": 1, "deep": True})
    assert (values["width"], values["slope"], type(values["slope"]), values["deep"], faults) == (
        4,
        1.0,
        float,
        True,
        [],
    )
    assert read_options(Needs, {"width": 1, "depth": "x"})[0] == {"width": 1, "depth": "x"}

    class Hyphens:
        def __init__(self, data, latent_dim: int = 1): ...

    assert read_options(Hyphens, {"latent-dim": "5"}) == ({"latent_dim": 5}, [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": "1.5"}, "width of Typed must be a whole number, got '1.5'."),
        ({"width": True}, "width of Typed must be a whole number, got True."),
        ({"slope": "fast"}, "slope of Typed must be a number, got 'fast'."),
        ({"deep": "maybe"}, "deep of Typed must be true or false, got 'maybe'."),
        ({"deep": 1}, "deep of Typed must be true or false, got 1."),
        ({"name": 3}, "name of Typed must be a text, got 3."),
        ({"kind": "gelu"}, "kind of Typed must be one of relu, tanh, got 'gelu'."),
        ({"widht": "3"}, "Typed has no option 'widht'. Did you mean 'width'? Its options: width, slope, deep, name"),
    ],
)
def test_a_wrong_option_is_refused_with_what_the_constructor_takes(given, message: str) -> None:
    _, (fault,) = read_options(Typed, given)
    assert fault.field == "model-option"
    assert fault.message.startswith(message)


def test_an_option_without_a_default_is_needed() -> None:
    values, faults = read_options(Needs, {"depth": "2"})
    assert values == {"depth": 2}
    assert [fault.message for fault in faults] == ["Needs needs width: give --model-option width=VALUE."]


def test_a_constructor_with_any_options_takes_all() -> None:
    assert read_options(Any_, {"a": "1", "b": "1e-3", "c": "true", "d": "x"}) == (
        {"a": 1, "b": 1e-3, "c": True, "d": "x"},
        [],
    )


def test_a_constructor_must_take_the_data_first() -> None:
    class Nothing:
        def __init__(self): ...

    class Width:
        def __init__(self, latent_dim: int = 32): ...

    for kind in (Nothing, Width):
        _, (fault,) = read_options(kind, {})
        assert fault.message.endswith("must take the data first: def __init__(self, data, ...).")
