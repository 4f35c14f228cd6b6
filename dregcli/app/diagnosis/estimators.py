"""What there is to choose from: pairs of objective and estimator, what they promise and how they are computed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dregcli.parts import PairRow, Part, parts
from dregcli.words import name_of


@dataclass(frozen=True)
class Listing:
    """Pairs at some K, with what is needed to read them.

    Attributes:
        k: samples per example.
        rows: the pairs, by objective.
        objectives: each that occurs.
        estimators: each that occurs.
        symbols: those of the formulas.
    """

    k: int
    rows: tuple[PairRow, ...]
    objectives: tuple[Part, ...]
    estimators: tuple[Part, ...]
    symbols: dict[str, str]


def list_pairs(k: int, objective: str | None = None, estimators: Sequence[str] = ()) -> Listing:
    """The pairs that there are, or those that words ask for.

    Names alone are answered from a table that the engine has written, without torch. Parameters, an unusual K and
    faults are answered by the engine.

    Args:
        k: samples per example.
        objective: only this one, a word.
        estimators: only these, words, or pairs such as ``rws/dreg``.

    Raises:
        SpecError: unknown words, parameters out of range, or pairs that work with no K; all of them at once.
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
    """The symbols in formulas, and those that their descriptions use."""
    used: set[str] = set()
    while found := {name for text in texts for name in _names(text) if name in symbols} - used:
        used |= found
        texts = [f"{symbols[name]} {name.partition('_')[0]}" for name in found]
    return {name: text for name, text in symbols.items() if name in used}


def _names(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]\w*", text)
