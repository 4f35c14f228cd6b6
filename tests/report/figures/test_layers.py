"""The figure of the layers along training is read back from its artists."""

import numpy as np
import pytest

from dregcli.columns import LAYER_QUANTITIES, LayerColumn, layer_columns
from dregcli.report.drawn import Drawn
from dregcli.report.figures.draw import draw_all
from dregcli.report.figures.layers import layers_figure
from dregcli.report.groups import RunRow
from tests.support.artists import bands, ends, legend, line, overlapping, unwrapped, xy
from tests.support.report_rows import grouped, learning, run_row

UNITS = {"z1": 8.0, "z2": 3.0}


def row(seed: int, **changes: object) -> RunRow:
    """A run of two layers, of which the upper one collapses."""
    metrics = learning(seed)
    steps = metrics["valid"]["step"]
    for i, (name, units) in enumerate(UNITS.items()):
        falling = np.exp(-i * steps / 300.0)
        metrics["valid"][f"kl_prior.{name}"] = (4.0 + seed) * falling
        metrics["valid"][f"active_units.{name}"] = np.round(units * falling) + seed
    return run_row(seed, metrics=metrics, **changes)


ROWS = [row(seed) for seed in range(3)]


def faults(drawn: Drawn, rows: list[RunRow]) -> list[str]:
    """Every way in which the curves are not the means of the columns over seeds."""
    found: list[str] = []
    for axes, quantity in zip(drawn.figure.axes, LAYER_QUANTITIES, strict=True):
        for name in UNITS:
            values = np.stack([each.metrics["valid"][f"{quantity}.{name}"] for each in rows])
            x, y = xy(line(axes, name))
            if x != pytest.approx(rows[0].metrics["valid"]["step"]) or y != pytest.approx(values.mean(axis=0)):
                found.append(f"{quantity} of {name}")
            at, low, high = ends(bands(axes)[name])
            if at != pytest.approx(x) or not ((low <= y) & (y <= high)).all():
                found.append(f"band of {name}")
    return found


def test_the_curves_are_the_means_of_the_columns_of_each_layer() -> None:
    drawn = layers_figure(grouped(ROWS)[3])
    assert drawn is not None
    assert faults(drawn, ROWS) == []
    assert [axes.get_ylabel() for axes in drawn.figure.axes] == ["part of KL(q||prior), nats", "active units"]
    assert legend(drawn) == ["z1", "z2"]
    assert "part of KL(q||prior), nats of z1 5.00" in unwrapped(drawn.alt)
    assert all(axes.get_ylim()[0] <= 0.0 for axes in drawn.figure.axes)
    assert not overlapping(drawn)


def test_numbers_of_another_layer_would_be_caught() -> None:
    """The wrong twin has the two layers exchanged."""
    swapped = []
    for each in ROWS:
        valid = dict(each.metrics["valid"])
        for quantity in LAYER_QUANTITIES:
            first, second = (f"{quantity}.{name}" for name in UNITS)
            valid[first], valid[second] = valid[second], valid[first]
        swapped.append(run_row(each.seed, metrics=dict(each.metrics) | {"valid": valid}))
    drawn = layers_figure(grouped(swapped)[3])
    assert drawn is not None
    assert len(faults(drawn, ROWS)) == 4


def test_groups_stand_side_by_side_and_models_with_one_layer_have_no_figure() -> None:
    groups, labels, comparisons, chosen = grouped([*ROWS, row(0, estimator="stl"), run_row(0, estimator="reparam")])
    drawn = layers_figure(chosen)
    assert drawn is not None
    assert len(drawn.figure.axes) == 4, "two groups have layers"
    assert drawn.figure.axes[0].get_ylim() == drawn.figure.axes[1].get_ylim()
    assert "layers" in [each.name for each in draw_all(groups, labels, comparisons)]
    assert layers_figure(grouped([run_row(0)])[3]) is None


def test_a_layers_name_is_read_back_from_its_column() -> None:
    columns = [LayerColumn("kl_prior", "z.1"), LayerColumn("active_units", "top")]
    others = ["bound", "stderr", "kl_prior", "dreg.posterior_variance"]
    assert layer_columns([*(each.name for each in columns), *others]) == columns
    assert "/" not in LayerColumn("kl_prior", "a/b").name
