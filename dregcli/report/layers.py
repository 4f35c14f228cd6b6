"""What evaluations found of each layer of models with several layers, over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dregcli.report.aggregate import Aggregate, aggregate, mapping, number


@dataclass(frozen=True)
class OfLayer:
    """One layer in evaluations with equal settings.

    Attributes:
        kl: mean of log q - log p of the layer, nats per example; None where no evaluation has it.
        active_units: number of units whose mean under q varies over examples; None where it is not known.
        units: number of units; None where evaluations differ.
        collapsed: number of evaluations in which the layer has collapsed.
    """

    kl: Aggregate | None
    active_units: Aggregate | None
    units: int | None
    collapsed: int


def layers_of(evals: Sequence[Mapping[str, Any]], *, counts: bool = True) -> dict[str, OfLayer]:
    """Aggregate the layers of evaluations, by name, the layer nearest to x first; empty for models with one layer.

    Args:
        evals: attributes of evaluations with equal settings, one for each seed.
        counts: whether active units were counted above the same threshold, so that their mean says something.
    """
    found: dict[str, list[Mapping[str, object]]] = {}
    for attrs in evals:
        layers = attrs.get("layers")
        for each in cast("list[object]", layers) if isinstance(layers, list) else []:
            if (layer := mapping(each)) is not None and "name" in layer:
                found.setdefault(str(layer["name"]), []).append(layer)
    return {name: _of_layer(each, counts=counts) for name, each in found.items()}


def _of_layer(layers: Sequence[Mapping[str, object]], *, counts: bool) -> OfLayer:
    units = {number(layer.get("units")) for layer in layers}
    width = units.pop() if len(units) == 1 else None
    return OfLayer(
        _over((mapping(layer.get("kl_prior")) or {}).get("value") for layer in layers),
        _over(layer.get("active_units") for layer in layers) if counts else None,
        None if width is None else int(width),
        sum(layer.get("collapsed") is True for layer in layers),
    )


def _over(values: Iterable[object]) -> Aggregate | None:
    # Neither a larger KL nor more active units are better.
    return aggregate([known for value in values if (known := number(value)) is not None], None)
