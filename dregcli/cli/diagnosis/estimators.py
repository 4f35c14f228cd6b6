"""``dreg estimators``."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dregcli.cli.options import Json, Quiet
from dregcli.cli.render import Terminal
from dregcli.defaults import DEFAULT_K
from dregcli.names import Promise
from dregcli.words import listed_words

if TYPE_CHECKING:
    from dregcli.app.diagnosis.estimators import Listing
    from dregcli.parts import PairRow, Parameter, Part

EXAMPLES = """List all pairs:  [bold]dreg estimators[/bold]

List the estimators for one objective, with their promises for one sample:  \
[bold]dreg estimators --objective vr-iwae:alpha=1 --k 1[/bold]

List some pairs:  [bold]dreg estimators --estimator iwae/ovis:gamma=0.25 --estimator rws/dreg[/bold]"""

_STYLES = {Promise.UNBIASED: "green", Promise.BIASED: "yellow", None: "dim"}

_HOW_TO_READ = """\
The gradient of theta (parameters of the model) is weight * d log w_k/dtheta, with the objective's
weight for every estimator. The gradient of phi (parameters of the posterior q) is path *
(d log w_k/dz_k) dz_k/dphi, with q's parameters fixed in the first factor, plus score *
d log q(z_k|x)/dphi at fixed z_k. Both are summed over the K samples. unbiased: the expected
gradient is the gradient of the objective. unbiased: a: the expected gradient of phi is the gradient
of a. biased: a + b: it is the gradient of a plus the gradient of b."""


def estimators(
    k: Annotated[int, typer.Option("--k", help="Samples per example; the promises depend on it.")] = DEFAULT_K,
    objective: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="List only this objective, with its parameters: vr-iwae:alpha=0.3."),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="List only this estimator, or a pair such as rws/dreg; several: dreg,stl, or several options.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the pairs of objective and estimator, with promise, smallest K, formula and reference."""
    from dregcli.app.diagnosis.estimators import list_pairs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    listing = list_pairs(k, objective, listed_words(estimator or []))
    if as_json:
        terminal.result(_as_json(listing))
        return
    _show_pairs(terminal, listing)
    for fault in dict.fromkeys(fault for row in listing.rows if row.k >= row.smallest_k for fault in row.faults):
        terminal.line(fault)
    if quiet:
        return
    terminal.line(f"\n{_HOW_TO_READ}\n")
    _show_parts(terminal, "objective", listing.objectives)
    terminal.line()
    _show_parts(terminal, "estimator", listing.estimators)
    terminal.line()
    terminal.table(["symbol", "meaning"], list(listing.symbols.items()))


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


def _show_pairs(terminal: Terminal, listing: "Listing") -> None:
    rows: list[Sequence[str]] = []
    styles: list[dict[int, str]] = []
    for _, group in groupby(listing.rows, key=lambda row: row.objective):
        if rows:  # a blank line between objectives
            rows.append([])
            styles.append({})
        for row in group:
            rows.append(_cells(row))
            styles.append({1: _STYLES[row.promise]})
    terminal.table(["pair", f"promise at K={listing.k}", "least K", "path", "score"], rows, styles=styles)


def _cells(row: "PairRow") -> list[str]:
    return [row.label, row.says, str(row.smallest_k), row.path, row.score]


def _show_parts(terminal: Terminal, kind: str, parts: Sequence["Part"]) -> None:
    """List objectives or estimators, without columns that would be empty."""
    columns = [
        (kind, [part.name for part in parts]),
        ("theta's weight", [part.model for part in parts]),
        ("parameters and their defaults", [_parameters(part.parameters) for part in parts]),
        ("reference", [part.reference for part in parts]),
    ]
    shown = [(title, cells) for title, cells in columns if any(cells)]
    terminal.table([title for title, _ in shown], list(zip(*(cells for _, cells in shown), strict=True)))


def _parameters(parameters: Sequence["Parameter"]) -> str:
    """Format parameters as in ``order=1 (whole number)``; similar neighbours share one text."""
    texts: list[str] = []
    for value, group in groupby(parameters, key=_value):
        texts.append(", ".join(parameter.name for parameter in group) + value)
    return "; ".join(texts)


def _value(parameter: "Parameter") -> str:
    if parameter.choices:
        others = [choice for choice in parameter.choices if choice != parameter.default]
        return f"={'|'.join([str(parameter.default), *others])}"
    kind = f"{parameter.kind}, learned starting at this value" if parameter.learned else parameter.kind
    return f"={parameter.default:g} ({kind})"
