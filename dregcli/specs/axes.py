"""Options with several values: a study trains every combination of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final, Literal, cast

from dregcli.errors import Fault
from dregcli.specs.number_lists import MOST_SEEDS
from dregcli.specs.options import SAME_MEANING, RunOptions, described
from dregcli.specs.resolve import flag
from dregcli.specs.run import DECIDED_BY_PATIENCE, NO_EFFECT
from dregcli.wording import typed_list

MODEL_OPTIONS: Final = "model_options"

Layer = Mapping[str, Any]
"""Options from one place: the command line, a table of a sweep, a config file or a preset."""

Choice = tuple[int, ...]
"""One combination: the number of a value for each axis."""


@dataclass(frozen=True)
class Axis:
    """An option with several values.

    Attributes:
        field: field of the options.
        entry: name of the option of the model's constructor, if the field is ``model_options``; else None.
        layer: number of the layer that has the values.
        values: the values, at least two.
    """

    field: str
    entry: str | None
    layer: int
    values: tuple[object, ...]

    @property
    def name(self) -> str:
        """The field, or ``model_options.NAME``, as a report calls it."""
        return self.field if self.entry is None else f"{self.field}.{self.entry}"


@dataclass(frozen=True)
class Grid:
    """Layers of options, and the options that have several values in them.

    Attributes:
        layers: the layers, the strongest first; no value is a list of values.
        axes: the options with several values, in the order of the help.
        faults: every fault of the lists.
    """

    layers: tuple[Layer, ...]
    axes: tuple[Axis, ...]
    faults: tuple[Fault, ...]

    @property
    def size(self) -> int:
        """The number of combinations."""
        return prod(len(axis.values) for axis in self.axes)

    def choices(self) -> Iterator[Choice]:
        """Yield every combination. The last axis changes first."""
        yield from product(*(range(len(axis.values)) for axis in self.axes))

    def at(self, choice: Choice) -> list[dict[str, Any]]:
        """Return the layers of one combination."""
        layers = [dict(layer) for layer in self.layers]
        for axis, number in zip(self.axes, choice, strict=True):
            layer, value = layers[axis.layer], axis.values[number]
            if axis.entry is None:
                layer[axis.field] = value
            else:
                layer[axis.field] = {**layer.get(axis.field, {}), axis.entry: value}
        return layers

    def equal_values(self, keys: Mapping[Choice, object]) -> Iterator[tuple[Axis, list[int]]]:
        """Yield values of an axis that never make a difference, as the numbers of two or more such values.

        Args:
            keys: what each combination means; equal keys mean the same.
        """
        for at, axis in enumerate(self.axes):
            columns = [
                [key for choice, key in keys.items() if choice[at] == number] for number in range(len(axis.values))
            ]
            left = list(range(len(columns)))
            while left:
                alike = [each for each in left if columns[each] == columns[left[0]]]
                left = [each for each in left if each not in alike]
                if len(alike) > 1:
                    yield axis, alike

    def without(self, axis: Axis) -> "Grid":
        """Return the grid with only the first value of an axis, which has no effect."""
        fixed = Grid(self.layers, (axis,), ()).at((0,))
        return Grid(tuple(fixed), tuple(each for each in self.axes if each is not axis), self.faults)


def with_single_values(layer: Layer) -> dict[str, Any]:
    """Return options in which each list of one value is this value."""
    found = dict(layer)
    for field, entry, value in _flat(layer):
        values = _listed(field, entry, value)
        if values is None or len(values) != 1:
            continue
        if entry is None:
            found[field] = values[0]
        else:
            found[field] = {**found[field], entry: values[0]}
    return found


def grid_of(layers: Sequence[Layer]) -> Grid:
    """Find the options with several values in layers of options, the strongest first.

    An option counts where its strongest layer has it; of a list in a weaker layer one value is left. ``seeds`` is no
    axis.
    """
    kept = [dict(layer) for layer in layers]
    axes: list[Axis] = []
    faults: list[Fault] = []
    stronger: set[tuple[str, str | None]] = set()
    for number, layer in enumerate(layers):
        here: set[tuple[str, str | None]] = set()
        for field, entry, value in _flat(layer):
            if value is None:
                continue
            here |= {(each, entry) for each in _same_as(field)}
            if (values := _listed(field, entry, value)) is None:
                continue
            _drop(kept[number], field, entry)
            if (field, entry) in stronger:
                if entry is None and values:
                    # One value stays, which the stronger layer overrules together with what belongs to it.
                    given = next(each[field] for each in layers if each.get(field) is not None)
                    kept[number][field] = given if given in values else values[0]
                continue
            if fault := _fault(field, entry, values, layers):
                faults.append(fault)
            else:
                axes.append(Axis(field, entry, number, values))
        stronger |= here
    order = list(RunOptions.model_fields)
    axes.sort(key=lambda axis: order.index(axis.field))
    return Grid(tuple(kept), tuple(axes), tuple(dict.fromkeys(faults)))


def size_fault(runs: int) -> list[Fault]:
    """Return a fault if a study has more runs than anybody means to train."""
    message = f"the study would have {runs:,} runs, and at most {MOST_SEEDS:,} are possible."
    return [Fault("study", message)] if runs > MOST_SEEDS else []


def value_in_words(value: object) -> str:
    """Return a value as it is typed; ``none`` for a setting that is left open."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return typed_list(cast("Sequence[object]", value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _flat(layer: Layer) -> Iterator[tuple[str, str | None, object]]:
    for field, value in layer.items():
        if field == MODEL_OPTIONS and isinstance(value, Mapping):
            for entry, inner in cast("Mapping[str, object]", value).items():
                yield field, entry, inner
        else:
            yield field, None, value


def _same_as(field: str) -> tuple[str, ...]:
    return next((pair for pair in SAME_MEANING if field in pair), (field,))


def _listed(field: str, entry: str | None, value: object) -> tuple[object, ...] | None:
    """Return the values of a list of values; None for one value, which may be a list itself, such as layer sizes.

    The words of a setting may also be one text with commas, as they are typed.
    """
    listed = tuple(cast("list[object]", value)) if isinstance(value, list) else None
    if entry is not None:
        return listed
    way = described(field)[1] if field in RunOptions.model_fields else None
    if way is None or field == MODEL_OPTIONS:
        return None
    if listed is None:
        kind: Any = RunOptions.model_fields[field].annotation
        is_word = not way.has_commas and kind in (str, str | None)
        words = way.split(value) if is_word and isinstance(value, str) else []
        return tuple(words) if len(words) > 1 else None
    if not way.has_commas:
        return listed
    if way.typed is None or not listed or not all(isinstance(each, str) for each in listed):
        return None
    return tuple(way.typed(str(each)) for each in listed)


def listable(field: str) -> Literal["values", "texts"] | None:
    """Say what a list of values of a field holds in a file: values, or texts as they are typed; None for no list."""
    way = described(field)[1]
    if way is None or field in ("seed", MODEL_OPTIONS) or (field in NO_EFFECT and field not in DECIDED_BY_PATIENCE):
        return None
    if way.has_commas:
        return "texts" if way.typed else None
    return "values"


def _fault(field: str, entry: str | None, values: tuple[object, ...], layers: Sequence[Layer]) -> Fault | None:
    name = flag(field) if entry is None else f"model-option {entry}"
    if not values:
        return Fault(name, "is empty: a list of values needs at least one.")
    words = ", ".join(map(value_in_words, values))
    if field == "seed":
        seeds = words.replace(", ", ",")
        return Fault(name, f"takes one number, got {words}. A study takes several seeds: --seeds {seeds}")
    has_patience = any(layer.get("patience") is not None for layer in layers)
    if field in NO_EFFECT and not (field in DECIDED_BY_PATIENCE and has_patience):
        message = f"takes one value for all runs, because it does not change their numbers; got {words}."
        return Fault(name, message)
    return None


def _drop(layer: dict[str, Any], field: str, entry: str | None) -> None:
    if entry is None:
        del layer[field]
    else:
        layer[field] = {name: value for name, value in layer[field].items() if name != entry}
