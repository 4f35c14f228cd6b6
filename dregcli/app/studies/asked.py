"""The combinations of options that a study asks for, before they are resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dregcli.app.planning.words import canonical_words, spread_pair
from dregcli.app.training.resuming import FREE
from dregcli.describe import flat
from dregcli.errors import Fault
from dregcli.specs.axes import Axis, Choice, Grid, Layer, value_in_words
from dregcli.specs.number_lists import parse_seeds
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag, kept_layers, merge_layers


@dataclass(frozen=True)
class Asked:
    """One combination, at any seed.

    Attributes:
        options: its options.
        faults: their faults from before they are resolved.
        varied: the options that the study varies in this combination, by name, with their values as given.
    """

    options: RunOptions
    faults: list[Fault]
    varied: Mapping[str, object]

    @property
    def free(self) -> dict[str, Any]:
        """The options of ``FREE`` that the user gave: a default changes nothing of a run that is continued."""
        return {key: getattr(self.options, key) for key in FREE if key in self.options.model_fields_set}

    @property
    def pair(self) -> str:
        """The pair as typed, such as ``iwae/dreg``; the words may not be valid."""
        return f"{self.options.objective}/{self.options.estimator}"

    def value(self, name: str) -> object:
        """Return the value of an option that some combination varies."""
        if name in self.varied:
            return self.varied[name]
        field, _, entry = name.partition(".")
        if entry:
            return self.options.model_options.get(entry, "none")
        # Another table may vary a name that is no option, which is reported as a fault.
        return getattr(self.options, field, None)

    @property
    def meaning(self) -> str:
        """A text that is equal for two combinations that say the same in other words."""
        return repr((sorted(canonical_words(dict(self.options)).items()), self.faults))


@dataclass(frozen=True)
class AskedGrid:
    """The combinations of one grid.

    Attributes:
        grid: the grid, without options that have no effect because a stronger layer overrules them.
        asked: the combinations.
        seeds: the seeds of every combination; None means the one seed of the options.
        faults: faults of the seeds, and of values that are given twice.
    """

    grid: Grid
    asked: Mapping[Choice, Asked]
    seeds: Sequence[int] | None
    faults: list[Fault]


def asked_grid(grid: Grid) -> AskedGrid:
    """Merge the layers of every combination of a grid."""
    whole, of_seeds = merge_layers([_only(layer, ("seed", "seeds")) for layer in grid.layers])
    seeds, of_list = (None, []) if whole.seeds is None else parse_seeds(whole.seeds)
    of_seeds = [fault for fault in of_seeds if fault.field == "seeds"]  # the combinations have those of the seed
    dropped = ("seeds",) if seeds is None else ("seeds", "seed")
    asked = {choice: _asked(grid, choice, dropped) for choice in grid.choices()}
    twice: list[Fault] = []
    for axis, alike in list(grid.equal_values({choice: each.meaning for choice, each in asked.items()})):
        words = [value_in_words(axis.values[number]) for number in alike]
        if len(alike) == len(axis.values) and _is_overruled(grid, axis):
            at = grid.axes.index(axis)
            grid = grid.without(axis)
            asked = {(*choice[:at], *choice[at + 1 :]): each for choice, each in asked.items() if choice[at] == 0}
        else:
            twice += [Fault(flag(axis.name), f"{word} is given twice.") for word in dict.fromkeys(words[1:])]
    return AskedGrid(grid, asked, seeds, [*of_seeds, *of_list, *twice])


def _is_overruled(grid: Grid, axis: Axis) -> bool:
    """Whether a stronger layer overrules a value of an axis, or names what the values do not belong to."""
    at = grid.axes.index(axis)
    for choice in grid.choices():
        kept = kept_layers([spread_pair(layer)[0] for layer in grid.at(choice)])[axis.layer]
        if axis.entry is not None:
            if axis.entry not in kept.get(axis.field, {}):
                return True
        elif not set(spread_pair({axis.field: axis.values[choice[at]]})[0]) <= set(kept):
            return True
    return False


def _asked(grid: Grid, choice: Choice, dropped: Sequence[str]) -> Asked:
    layers = [{key: value for key, value in layer.items() if key not in dropped} for layer in grid.at(choice)]
    spread, contradictions = zip(*map(spread_pair, layers), strict=True)
    options, faults = merge_layers(spread)
    flags, table, *_ = layers
    in_table = {name: value for name, value in flat(table).items() if flags.get(name) is None}
    varied = in_table | {axis.name: axis.values[number] for axis, number in zip(grid.axes, choice, strict=True)}
    return Asked(options, [*(fault for each in contradictions for fault in each), *faults], varied)


def _only(layer: Layer, fields: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key in fields}
