"""The figure of a bias check: Student's t of every parameter block."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from dregcli.names import Backward, Verdict
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.letters import wrapped
from dregcli.report.figures.sheet import Sheet

_PALEST, _STRONGEST, _FULL_AT = 0.4, 0.8, 10.0
"""Strength of the colour just above the critical |t|, its largest strength, and the multiple of the critical |t| that
has the largest strength."""

_CELL: Final = 3.4
"""Width of a cell, in multiples of the letters' size."""

_NAMES: Final = 0.34
"""Largest part of the figure's width for the pairs' names."""


@dataclass(frozen=True)
class BiasRow:
    """One tested pair.

    Attributes:
        pair: label of the pair.
        verdict: verdict of the check.
        t_blocks: Student's t by parameter block; blocks that are identical by construction are left out.
        critical_t: value that a block's |t| must exceed to count as a bias, at the look that decided.
    """

    pair: str
    verdict: Verdict
    t_blocks: Mapping[str, float]
    critical_t: float


def computed(settings: Mapping[str, Any]) -> str:
    """Say how gradients were computed; empty if all rows were used, and the score of the prior."""
    found: list[str] = []
    if settings["backward"] != Backward.DENSE:
        precision, inflation = settings["screen_precision"], settings["screen_inflation"]
        found.append(f"{settings['backward']} {precision} (inflation {inflation:g})")
    if kind := settings.get("prior_gradient"):  # only if it is not the score
        found.append(f"prior by {kind}, against score")
    return ", ".join(found)


def titled(run: str, settings: Mapping[str, Any]) -> str:
    """Return a figure's title: which model was checked, and how its gradients were computed."""
    title = f"Bias check of {run}, step {settings['checkpoint']}, K={settings['k']}"
    return "\n".join(filter(None, [title, computed(settings)]))


def _shade(t: float, critical: float) -> tuple[str, float]:
    """Return a colour and its strength: grey up to the critical |t|, orange beyond it, stronger for a larger |t|.

    The strength is how much of the colour covers the page, so that letters can be read on a light and a dark page.
    """
    ratio = abs(t) / critical
    if ratio <= 1.0:
        return style.GREY, 0.35 * ratio
    share = min(1.0, math.log(ratio) / math.log(_FULL_AT))
    return style.COLOURS[1], _PALEST + (_STRONGEST - _PALEST) * share


def _number(t: float) -> str:
    """Return t as a text that fits into its cell."""
    return f"{t:.1f}" if abs(t) < 100.0 else f"{t:.0f}" if abs(t) < 1e5 else f"{t:.0e}"


def bias_figure(rows: Sequence[BiasRow], blocks: Sequence[str], *, title: str, sheet: Sheet | None = None) -> Drawn:
    """Draw t of each pair (down) and parameter block (across), with biases in colour.

    Blocks without any test are left out. Blocks for which there is no room follow below.
    """
    sheet = sheet or Sheet()
    shown = [block for block in blocks if any(block in row.t_blocks for row in rows)]
    figure = new_figure(sheet)
    room = sheet.width * (1.0 - _NAMES) - 3.0 * sheet.em
    parts = -(-len(shown) // max(1, int(room / (_CELL * sheet.em))))
    across = -(-len(shown) // parts)
    for i, (axes,) in enumerate(panels(figure, parts, 1)):
        _cells(axes, rows, shown[i * across : (i + 1) * across], sheet)
        axes.set_xlim(0.0, across)
    lines = max(label.get_text().count("\n") + 1 for label in figure.axes[0].get_yticklabels())
    height = len(rows) * sheet.em * max(2.2, 0.5 + 1.1 * lines)
    caption = _caption(rows, shown)
    lay_out(figure, sheet, title, height=height, below=Below({}, caption))
    return Drawn("bias-check", title, _alt(rows), figure, caption)


def _cells(axes: Axes, rows: Sequence[BiasRow], shown: Sequence[str], sheet: Sheet) -> None:
    for i, row in enumerate(rows):
        for j, block in enumerate(shown):
            t = row.t_blocks.get(block)
            colour, strength = (style.GREY, 0.0) if t is None else _shade(t, row.critical_t)
            edge: dict[str, Any] = {"edgecolor": (0.5, 0.5, 0.5, 0.3), "linewidth": 0.6}
            axes.add_patch(Rectangle((j, i), 1.0, 1.0, facecolor=to_rgba(colour, strength), **edge))
            axes.text(
                j + 0.5,
                i + 0.5,
                "=" if t is None else _number(t),
                ha="center",
                va="center",
                fontsize=0.95 * sheet.small,
                fontweight=_weight(t is not None and abs(t) > row.critical_t),
            )
    axes.set_ylim(len(rows), 0.0)
    axes.set_xticks([j + 0.5 for j in range(len(shown))], shown, rotation=40.0, ha="right", rotation_mode="anchor")
    names = [wrapped(f"{row.pair}: {row.verdict}", _NAMES * sheet.width, sheet.small, bold=True) for row in rows]
    axes.set_yticks([i + 0.5 for i in range(len(rows))], names)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight(_weight(row.verdict is Verdict.BIASED))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _alt(rows: Sequence[BiasRow]) -> str:
    """Describe the figure: each verdict with the largest |t| of a block, and the critical |t|."""
    verdicts = [
        f"{row.pair}: {row.verdict}, largest |t| of a block {max(map(abs, row.t_blocks.values())):.1f} "
        f"(critical {row.critical_t:.1f})"
        for row in rows
        if row.t_blocks
    ]
    return f"Student's t of each pair and parameter block. {'; '.join(verdicts)}."


def _weight(strong: bool) -> str:  # noqa: FBT001
    return "bold" if strong else "normal"


def _caption(rows: Sequence[BiasRow], shown: Sequence[str]) -> str:
    low, high = (pick(row.critical_t for row in rows) for pick in (min, max))
    critical = f"{low:.1f}"
    if f"{high:.1f}" != critical:
        critical += f" to {high:.1f}, depending on the look at which the pair's test ended"
    lines = [
        "Student's t along each block's learned direction.",
        f"Orange: this block alone shows that the pair is biased, |t| > {critical}.",
    ]
    biased = [row for row in rows if row.verdict is Verdict.BIASED]
    if any(all(abs(t) <= row.critical_t for t in row.t_blocks.values()) for row in biased):
        lines.append("Biased without orange: the bias was found in all blocks together.")
    if any(block not in row.t_blocks for row in rows for block in shown):
        lines.append("=: identical by construction.")
    return "\n".join(lines)
