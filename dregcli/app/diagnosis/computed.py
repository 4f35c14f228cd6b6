"""List pairs with the engine, for words that ``parts.json`` does not contain; also write that file.

``python -m dregcli.app.diagnosis.computed`` writes the file again. Run it after you add or change an objective, an
estimator or a likelihood.
"""

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from enum import StrEnum
from typing import Any, Final, cast

from dregcli.app.planning.asked_pairs import parse_asked
from dregcli.app.planning.plan import in_words
from dregcli.commands import command
from dregcli.engine.estimators import ESTIMATORS, Estimator
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.likelihoods import LIKELIHOODS
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.engine.pairs import Pair, all_pairs, estimators_of
from dregcli.engine.words import parameter_kinds, parse_objective, short_word, word_of
from dregcli.errors import Fault, SpecError
from dregcli.names import Promise
from dregcli.parts import FILE, PairRow, Parameter, Part

KS: Final = (
    *range(1, 17),
    *(20, 24, 25, 32, 40, 48, 50, 64, 80, 96, 100, 128, 200, 256, 500, 512),
    *(1000, 1024, 2000, 2048, 4096, 5000, 8192, 10_000),
)
"""Usual numbers of samples, which ``parts.json`` contains. The engine answers for all others."""


def computed_rows(k: int, objective: str | None, estimators: Sequence[str]) -> list[PairRow]:
    """Return all pairs, or the pairs that words name; see ``list_pairs``.

    Raises:
        SpecError: unknown words, parameters out of range, or pairs that work with no K; all faults at once.
    """
    faults = [] if k >= 1 else [Fault("k", f"must be at least 1, got {k}.")]
    pairs = _asked(objective, estimators, faults)
    # Check each pair at its smallest K: it is listed even if K is too small for it, or its groups do not divide K.
    faults += [fault for pair in pairs for fault in pair.faults(max(1, pair.smallest_k))]
    if faults:
        raise SpecError(list(dict.fromkeys(faults)), hint=f"this command lists all words: {command('estimators')}")
    order = list(OBJECTIVES)
    pairs = sorted(dict.fromkeys(pairs), key=lambda pair: order.index(pair.objective.name))
    return [_row(pair, k) for pair in pairs]


def _asked(objective: str | None, estimators: Sequence[str], faults: list[Fault]) -> list[Pair]:
    """Return the pairs that words name, even if they cannot work; add a fault for each unknown word."""
    if objective is None and not estimators:
        return list(all_pairs())
    target: Objective | None = None
    if objective is not None:
        try:
            target = parse_objective(objective)
        except SpecError as error:
            faults += error.faults
    if not estimators:
        return [] if target is None else [Pair(target, estimator) for estimator in estimators_of(target)]
    pairs: list[Pair] = []
    for word in estimators:
        try:
            own, estimator = parse_asked(word, target)
        except SpecError as error:
            faults += error.faults
            continue
        if own is not None:
            pairs.append(Pair(own, estimator))
        elif objective is None:
            every = [entry() for entry in OBJECTIVES.values()]
            pairs += [Pair(each, estimator) for each in every if estimator.refusal(each) is None]
    return pairs


def _row(pair: Pair, k: int) -> PairRow:
    faults = tuple(map(str, pair.faults(k)))
    promise = None if faults else pair.promise(k)
    shares = pair.estimator.expectation(pair.objective) if promise is Promise.BIASED else None
    expectation = in_words(shares) if shares else pair.estimator.own_target if promise is Promise.UNBIASED else None
    return PairRow(
        k=k,
        objective=word_of(pair.objective),
        estimator=word_of(pair.estimator),
        label=f"{short_word(pair.objective)}/{short_word(pair.estimator)}",
        promise=promise,
        smallest_k=pair.smallest_k,
        model=pair.formula.model,
        path=pair.formula.path,
        score=pair.formula.score,
        expectation=expectation,
        objective_reference=pair.objective.reference,
        estimator_reference=pair.estimator.reference,
        faults=faults,
    )


def _part(part: Objective | Estimator) -> Part:
    kinds = parameter_kinds(type(part))
    learned = () if isinstance(part, Objective) else part.learned
    parameters: list[Parameter] = []
    for field in (each for each in fields(cast("Any", part)) if each.name in kinds):
        assert field.default is not MISSING, f"{part.name}:{field.name} must have a default"
        kind = kinds[field.name]
        choices = tuple(map(str, kind)) if issubclass(kind, StrEnum) else ("true", "false") if kind is bool else ()
        name = "choice" if choices else "whole number" if kind is int else "number"
        default = str(field.default).lower() if choices else field.default
        parameters.append(Parameter(field.name, name, choices, default, field.name in learned))
    model = part.formula.model if isinstance(part, Objective) else ""
    return Part(part.name, model, tuple(parameters), part.reference, part.cites)


def _answers(pair: Pair) -> list[dict[str, Any]]:
    """Return the answers of a pair's row for ``KS``; numbers with the same answer are grouped."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for k in KS:
        row = _row(pair, k)
        found.setdefault((row.promise, row.expectation, row.faults), []).append(k)
    return [
        {"k": ks, "promise": promise, "expectation": expectation, "faults": faults}
        for (promise, expectation, faults), ks in found.items()
    ]


def table() -> dict[str, Any]:
    """Return the content of ``parts.json``, computed by the engine."""
    changing = {"k", "promise", "expectation", "faults"}
    return {
        "objectives": [asdict(_part(entry())) for entry in OBJECTIVES.values()],
        "estimators": [asdict(_part(entry())) for entry in ESTIMATORS.values()],
        "likelihoods": {name: entry.cites for name, entry in LIKELIHOODS.items()},
        "symbols": SYMBOLS,
        "ks": KS,
        "pairs": [
            {name: value for name, value in asdict(_row(pair, KS[-1])).items() if name not in changing}
            | {"answers": _answers(pair)}
            for pair in all_pairs()
        ],
    }


def table_text() -> str:
    """Return the text of ``parts.json``, one entry per line, so that a change of one entry changes one line."""
    blocks: list[str] = []
    for name, held in table().items():
        if name == "ks":
            blocks.append(f'"ks": {json.dumps(held)}')
        elif isinstance(held, dict):
            items = cast("dict[str, Any]", held).items()
            lines = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in items)
            blocks.append(f'"{name}": {{\n  {lines}\n}}')
        else:
            lines = ",\n  ".join(map(json.dumps, held))
            blocks.append(f'"{name}": [\n  {lines}\n]')
    body = ",\n".join(blocks)
    return f"{{\n{body}\n}}\n"


if __name__ == "__main__":
    FILE.write_text(table_text(), encoding="utf-8")
