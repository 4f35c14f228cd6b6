"""The figure of a bias check: t of every parameter block, as PNG."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dregcli.names import Verdict
from dregcli.report.figures import COLOURS

_MARKERS = {Verdict.BIASED: "X", Verdict.UNBIASED: "o", Verdict.INCONCLUSIVE: "D", Verdict.IDENTICAL: "o"}


@dataclass(frozen=True)
class BiasRow:
    """One tested pair.

    Attributes:
        pair: its word.
        verdict: what was found.
        t_blocks: t by parameter; blocks that are identical by construction are left out.
        critical_t: what |t| of a block must exceed to be called a bias, at the look that decided.
    """

    pair: str
    verdict: Verdict
    t_blocks: Mapping[str, float]
    critical_t: float


def _plain(value: float, _place: int) -> str:
    return f"{value:g}"


def bias_figure(rows: Sequence[BiasRow], blocks: Sequence[str], *, title: str) -> bytes:
    """t by parameter block for each pair, with the critical values; blocks with nothing to test are not drawn."""
    shown = [block for block in blocks if any(block in row.t_blocks for row in rows)]
    height = 1.6 + 0.16 * len(shown) * (len(rows) + 1) + 0.2 * len(rows)
    figure = Figure(figsize=(8.0, max(3.5, height)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    critical = max(row.critical_t for row in rows)
    # Linear where chance lives, logarithmic beyond: a bias may be at t = 5 or at t = 500.
    axes.set_xscale("symlog", linthresh=critical, linscale=2.0)
    axes.axvspan(-critical, critical, color="#999999", alpha=0.15, linewidth=0)
    axes.axvline(0.0, color="#999999", linewidth=0.8)
    step = 0.8 / len(rows)
    for i, row in enumerate(rows):
        places = [j - 0.4 + step * (i + 0.5) for j, block in enumerate(shown) if block in row.t_blocks]
        values = [row.t_blocks[block] for block in shown if block in row.t_blocks]
        axes.plot(
            values,
            places,
            linestyle="none",
            marker=_MARKERS[row.verdict],
            markersize=6.5,
            color=COLOURS[i % len(COLOURS)],
            markerfacecolor=COLOURS[i % len(COLOURS)] if i < len(COLOURS) else "white",
            label=f"{row.pair}: {row.verdict}",
        )
    for j in range(1, len(shown)):
        axes.axhline(j - 0.5, color="#cccccc", linewidth=0.6)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    limit = max(critical * 1.5, 1.3 * max(abs(t) for row in rows for t in row.t_blocks.values()))
    axes.set_xlim(-limit, limit)
    axes.set_xlabel(f"Student's t along each block's learned direction (grey: |t| < {critical:.1f}, no bias found)")
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_title(title, fontsize="medium")
    figure.legend(fontsize="small", loc="outside lower center", ncols=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "dreg"})
    return buffer.getvalue()
