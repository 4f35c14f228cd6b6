"""What there is to choose from: pairs of objective and estimator, what they promise and how they are computed."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any, cast, get_type_hints

from dregcli.app.planning.asked_pairs import parse_asked
from dregcli.app.planning.plan import in_words
from dregcli.commands import command
from dregcli.engine.estimators import ESTIMATORS, Estimator
from dregcli.engine.formulas import SYMBOLS
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.engine.pairs import Pair, all_pairs, estimators_of
from dregcli.engine.words import parse_objective, short_word, word_of
from dregcli.errors import Fault, SpecError
from dregcli.names import Promise


@dataclass(frozen=True)
class Parameter:
    """A parameter of an objective or estimator.

    Attributes:
        name: as in a word.
        kind: ``whole number``, ``number`` or ``choice``.
        choices: the values of a choice.
        default: the value it has when it is not given; of a learned one, where learning starts.
        learned: whether it changes during training.
    """

    name: str
    kind: str
    choices: tuple[str, ...]
    default: int | float | str
    learned: bool


@dataclass(frozen=True)
class Part:
    """An objective or estimator by itself.

    Attributes:
        name: as the user types it.
        model: the weight of theta's gradient; empty for an estimator, which has no say in it.
        parameters: what its word takes.
        reference: where it comes from.
    """

    name: str
    model: str
    parameters: tuple[Parameter, ...]
    reference: str


@dataclass(frozen=True)
class PairRow:
    """A pair at some K.

    Attributes:
        k: samples per example.
        objective: its word, parameters spelt out.
        estimator: its word, parameters spelt out.
        label: both words as short as they can be: parameters only where they are not the defaults.
        promise: what the pair promises, or None where it cannot work with this K.
        smallest_k: the fewest samples it is defined with.
        model: weight of each sample in theta's gradient.
        path: weight of each sample's path in phi's gradient.
        score: weight of each sample's score in phi's gradient.
        expectation: of a biased pair, what its expected gradient in phi is instead, where that is known.
        objective_reference: where the objective comes from.
        estimator_reference: where the estimator comes from.
        faults: why it cannot work with this K.
    """

    k: int
    objective: str
    estimator: str
    label: str
    promise: Promise | None
    smallest_k: int
    model: str
    path: str
    score: str
    expectation: str | None
    objective_reference: str
    estimator_reference: str
    faults: tuple[str, ...]

    @property
    def says(self) -> str:
        """The promise in a few words, or why there is none."""
        if self.promise is None:
            return f"needs K >= {self.smallest_k}" if self.k < self.smallest_k else f"not with K = {self.k}"
        return f"{self.promise}: {self.expectation}" if self.expectation else str(self.promise)


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

    Args:
        k: samples per example.
        objective: only this one, a word.
        estimators: only these, words, or pairs such as ``rws/dreg``.

    Raises:
        SpecError: unknown words, parameters out of range, or pairs that work with no K; all of them at once.
    """
    faults = [] if k >= 1 else [Fault("k", f"must be at least 1, got {k}.")]
    pairs = _asked(objective, estimators, faults)
    # At its own smallest K a pair that can work at all has no fault; too few samples, or groups that do not divide
    # them, are no reason not to list it.
    faults += [fault for pair in pairs for fault in pair.faults(max(1, pair.smallest_k))]
    if faults:
        raise SpecError(list(dict.fromkeys(faults)), hint=f"see all with their words: {command('estimators')}")
    order = list(OBJECTIVES)
    pairs = sorted(dict.fromkeys(pairs), key=lambda pair: order.index(pair.objective.name))
    return Listing(
        k,
        tuple(_row(pair, k) for pair in pairs),
        tuple(_part(entry()) for name, entry in OBJECTIVES.items() if name in {p.objective.name for p in pairs}),
        tuple(_part(entry()) for name, entry in ESTIMATORS.items() if name in {p.estimator.name for p in pairs}),
        _symbols(pairs),
    )


def _asked(objective: str | None, estimators: Sequence[str], faults: list[Fault]) -> list[Pair]:
    """The pairs that words name, whether they can work or not; what is no word is added to the faults."""
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
    expectation = pair.estimator.expectation(pair.objective) if promise is Promise.BIASED else None
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
        expectation=in_words(expectation) if expectation else None,
        objective_reference=pair.objective.reference,
        estimator_reference=pair.estimator.reference,
        faults=faults,
    )


def _part(part: Objective | Estimator) -> Part:
    hints = get_type_hints(type(part))
    learned = () if isinstance(part, Objective) else part.learned
    parameters: list[Parameter] = []
    for field in fields(cast("Any", part)):
        assert field.default is not MISSING, f"{part.name}:{field.name} must have a default"
        kind = cast("type", hints[field.name])
        choices = tuple(map(str, kind)) if issubclass(kind, StrEnum) else ()
        name = "choice" if choices else "whole number" if kind is int else "number"
        default = str(field.default) if choices else field.default
        parameters.append(Parameter(field.name, name, choices, default, field.name in learned))
    model = part.formula.model if isinstance(part, Objective) else ""
    return Part(str(part.name), model, tuple(parameters), part.reference)


def _symbols(pairs: Sequence[Pair]) -> dict[str, str]:
    """The symbols in the formulas of pairs, and those that their descriptions use."""
    texts = [text for pair in pairs for text in (pair.formula.model, pair.formula.path, pair.formula.score)]
    used: set[str] = set()
    while found := {name for text in texts for name in _names(text) if name in SYMBOLS} - used:
        used |= found
        texts = [f"{SYMBOLS[name]} {name.partition('_')[0]}" for name in found]
    return {name: text for name, text in SYMBOLS.items() if name in used}


def _names(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]\w*", text)
