"""KL and active units of each layer along training, for models with several layers."""

from typing import Any, Final

from dregcli.columns import LayerColumn, layer_columns
from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import steps_axis
from dregcli.report.series import Band, series

_LABELS: Final = {"kl_prior": "part of KL(q||prior), nats", "active_units": "active units"}
_CAPTION: Final = (
    "By layer, on the validation split. Part of the KL: mean of log q - log p of the layer, the prior given the "
    "layers above. It is near 0 for a layer that has collapsed, and may be negative if q goes bottom-up. Active "
    "units: numbers of the latent whose mean under q varies over examples. Mean over seeds where all seeds have "
    "values; band: 95\u00a0% interval over seeds (Student's\u00a0t)."
)

_LEAST: Final = 13.0
"""Width that a panel needs, in multiples of the letters' size."""

MOST_COLUMNS: Final = 3
"""Most groups in a figure."""

Curves = dict[str, dict[str, Band]]
"""Curves by the layer's name and the quantity."""


def layers_figure(chosen: Chosen) -> Drawn | None:
    """Draw the KL (above) and the active units (below) of each group's layers against steps, one column per group.

    At most ``MOST_COLUMNS`` groups are drawn, the first ones with several layers. None if no group has several.
    """
    curves = {member.group.key: found for member in chosen.members if (found := _curves(member))}
    every = [member for member in chosen.members if member.group.key in curves]
    members = every[:MOST_COLUMNS]
    if not members:
        return None
    few = f" ({len(members)} of {len(every)} groups with several layers)" if len(members) < len(every) else ""
    sheet = chosen.sheet
    title = sheet.titled(f"Layers along training{few}")
    figure = new_figure(sheet)
    # Groups stand side by side. If they do not fit, they stand above one another, with the quantities side by side.
    beside = sheet.columns(len(members), _LEAST) == len(members)
    size = (len(_LABELS), len(members)) if beside else (len(members), len(_LABELS))
    axes = panels(figure, *size, shared="row" if beside else "col")
    names = dict.fromkeys(name for member in members for name in curves[member.group.key])
    looks = {name: style.look(i) for i, name in enumerate(names)}
    entries: dict[str, Any] = {}
    alt: list[str] = []
    for at, (quantity, label) in enumerate(_LABELS.items()):
        mine = axes[at] if beside else [row[at] for row in axes]
        for panel, member in zip(mine, members, strict=True):
            for i, (name, found) in enumerate(curves[member.group.key].items()):
                if quantity in found:
                    entries[name] = style.draw_band(panel, found[quantity], looks[name], name, i=i)
                    end = style.at_the_end(found[quantity])
                    alt.append(f"{member.label}: {label} of {name} {end}")
            style.grid(panel)
        bands = [each[quantity] for found in curves.values() for each in found.values() if quantity in each]
        if (limits := style.late_limits(bands)) is not None:
            mine[0].set_ylim(min(0.0, limits[0]), limits[1])
        mine[0].set_ylabel(label) if beside else mine[0].set_title(label)
    for i, member in enumerate(members):
        axes[0][i].set_title(member.label) if beside else axes[i][0].set_ylabel(member.label)
    for panel in axes[-1]:
        steps_axis(panel)
    lay_out(figure, sheet, title, below=Below(entries, _CAPTION))
    text = f"{title}, means over seeds, at the right end of each curve: {'; '.join(alt)}."
    return Drawn("layers", title, text, figure, _CAPTION)


def _curves(member: Member) -> Curves:
    names = dict.fromkeys(
        column.layer for row in member.group.seeds() for column in layer_columns(row.metrics.get(Split.VALID, {}))
    )
    found: Curves = {}
    for name in names:
        for quantity in _LABELS:
            if (curve := _curve(member, LayerColumn(quantity, name).name)) is not None:
                found.setdefault(name, {})[quantity] = curve
    return found


def _curve(member: Member, column: str) -> Band | None:
    return member.band(lambda row: series(row.metrics, Split.VALID, column))
