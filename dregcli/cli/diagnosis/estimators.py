"""``dreg estimators``."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dregcli.cli.options import Json, Quiet
from dregcli.cli.render import Terminal
from dregcli.names import Promise

if TYPE_CHECKING:
    from dregcli.app.diagnosis.estimators import Listing
    from dregcli.parts import PairRow, Parameter, Part

EXAMPLES = """All there are:  [bold]dreg estimators[/bold]

What goes with one objective, and what it promises with one sample:  \
[bold]dreg estimators --objective vr-iwae:alpha=1 --k 1[/bold]

Some pairs:  [bold]dreg estimators --estimator iwae/ovis:gamma=0.25 --estimator rws/dreg[/bold]"""

_STYLES = {Promise.UNBIASED: "green", Promise.BIASED: "yellow", None: "dim"}

_HOW_TO_READ = """\
theta, the model's parameters, follows the objective's weight * d log w_k/dtheta, whatever the
estimator. phi, the posterior's, follows path * (d log w_k/dz_k) dz_k/dphi, q's parameters fixed in
the first factor, plus score * d log q(z_k|x)/dphi at fixed z_k. All summed over the K samples.
unbiased: the expected gradient is the objective's. biased: a + b: that of phi is a's plus b's."""


def estimators(
    k: Annotated[int, typer.Option("--k", help="Samples per example; promises depend on it.")] = 64,
    objective: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only this one, parameters included: vr-iwae:alpha=0.3.")
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Only this one, or this pair, as rws/dreg; may be given several times."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the pairs of objective and estimator: promise, smallest K, formula, reference."""
    from dregcli.app.diagnosis.estimators import list_pairs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    listing = list_pairs(k, objective, estimator or [])
    if as_json:
        terminal.result(_as_json(listing))
        return
    terminal.show(_pairs(listing))
    for fault in dict.fromkeys(fault for row in listing.rows if row.k >= row.smallest_k for fault in row.faults):
        terminal.line(fault)
    if quiet:
        return
    terminal.line(f"\n{_HOW_TO_READ}\n")
    terminal.show(_parts("objective", listing.objectives))
    terminal.line()
    terminal.show(_parts("estimator", listing.estimators))
    terminal.line()
    terminal.show(_table(["symbol", "meaning"], [[name, text] for name, text in listing.symbols.items()]))


def _as_json(listing: "Listing") -> dict[str, Any]:
    return {
        "k": listing.k,
        "results": [
            {
                "objective": row.objective,
                "estimator": row.estimator,
                "promise": row.promise,
                "smallest_k": row.smallest_k,
                "formula": {"model": row.model, "path": row.path, "score": row.score},
                "expectation": row.expectation,
                "reference": {"objective": row.objective_reference, "estimator": row.estimator_reference},
                "faults": row.faults,
            }
            for row in listing.rows
        ],
        "parameters": {
            kind: {part.name: [vars(parameter) for parameter in part.parameters] for part in parts if part.parameters}
            for kind, parts in (("objective", listing.objectives), ("estimator", listing.estimators))
        },
        "symbols": listing.symbols,
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Columns of text, wrapped where the terminal is too narrow for them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column == "least K" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _pairs(listing: "Listing") -> Table:
    rows: list[Sequence[str | Text]] = []
    for _, group in groupby(listing.rows, key=lambda row: row.objective):
        rows += [[]] if rows else []  # a blank line between objectives
        rows += map(_cells, group)
    return _table(["pair", f"promise at K={listing.k}", "least K", "path", "score"], rows)


def _cells(row: "PairRow") -> list[str | Text]:
    return [row.label, Text(row.says, style=_STYLES[row.promise]), str(row.smallest_k), row.path, row.score]


def _parts(kind: str, parts: Sequence["Part"]) -> Table:
    """Objectives or estimators by themselves; without columns that would be empty."""
    columns = [
        (kind, [part.name for part in parts]),
        ("theta's weight", [part.model for part in parts]),
        ("parameters and their defaults", [_parameters(part.parameters) for part in parts]),
        ("reference", [part.reference for part in parts]),
    ]
    shown = [(title, cells) for title, cells in columns if any(cells)]
    return _table([title for title, _ in shown], list(zip(*(cells for _, cells in shown), strict=True)))


def _parameters(parameters: Sequence["Parameter"]) -> str:
    """``order=1 (whole number)``; neighbours alike are told together."""
    texts: list[str] = []
    for told, group in groupby(parameters, key=_told):
        texts.append(", ".join(parameter.name for parameter in group) + told)
    return "; ".join(texts)


def _told(parameter: "Parameter") -> str:
    if parameter.choices:
        others = [choice for choice in parameter.choices if choice != parameter.default]
        return f"={'|'.join([str(parameter.default), *others])}"
    kind = f"{parameter.kind}, learned from there on" if parameter.learned else parameter.kind
    return f"={parameter.default:g} ({kind})"
