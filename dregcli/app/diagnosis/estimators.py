"""List the pairs of objective and estimator, with their promises and formulas."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dregcli.parts import PairRow, Part, parts
from dregcli.words import name_of


@dataclass(frozen=True)
class Listing:
    """Pairs at one K, with explanations.

    Attributes:
        k: samples per example.
        rows: the pairs, by objective.
        objectives: the objectives of the pairs.
        estimators: the estimators of the pairs.
        symbols: the symbols in the formulas, with their descriptions.
    """

    k: int
    rows: tuple[PairRow, ...]
    objectives: tuple[Part, ...]
    estimators: tuple[Part, ...]
    symbols: dict[str, str]


def list_pairs(k: int, objective: str | None = None, estimators: Sequence[str] = ()) -> Listing:
    """Return all pairs, or the pairs that words name.

    Names without parameters are looked up in a table that the engine has written, without torch. The engine itself
    answers for parameters, an unusual K and faults.

    Args:
        k: samples per example.
        objective: word of the only objective to list; None means all.
        estimators: the only estimators to list, as words or as pairs such as ``rws/dreg``; empty means all.

    Raises:
        SpecError: unknown words, parameters out of range, or pairs that work with no K; all faults at once.
    """
    known = parts()
    rows = known.rows(k, objective, estimators)
    if rows is None:
        from dregcli.app.diagnosis.computed import computed_rows

        rows = computed_rows(k, objective, estimators)
    objectives = {name_of(row.objective) for row in rows}
    used = {name_of(row.estimator) for row in rows}
    return Listing(
        k,
        tuple(rows),
        tuple(part for name, part in known.objectives.items() if name in objectives),
        tuple(part for name, part in known.estimators.items() if name in used),
        _symbols([text for row in rows for text in (row.model, row.path, row.score)], known.symbols),
    )


def _symbols(texts: Sequence[str], symbols: Mapping[str, str]) -> dict[str, str]:
    """Return the symbols in formulas, and the symbols in the descriptions of these symbols."""
    used: set[str] = set()
    while found := {name for text in texts for name in _names(text) if name in symbols} - used:
        used |= found
        texts = [f"{symbols[name]} {name.partition('_')[0]}" for name in found]
    return {name: text for name, text in symbols.items() if name in used}


def _names(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]\w*", text)
