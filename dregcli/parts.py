"""The engine's objectives and estimators, for code that cannot wait seconds until torch is loaded.

``parts.json`` beside this file holds the declarations of the engine's classes. Run
``python -m dregcli.app.diagnosis.computed`` to write the file. A test checks that it agrees with the engine. Standard
library only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from dregcli.names import Promise
from dregcli.words import name_of, split_pair, split_parameters

FILE: Final = Path(__file__).with_name("parts.json")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an objective or estimator.

    Attributes:
        name: the parameter's name in a word.
        kind: ``whole number``, ``number`` or ``choice``.
        choices: the values of a choice.
        default: the value when the user gives none; for a learned parameter, the value where learning starts.
        learned: whether training changes the value.
    """

    name: str
    kind: str
    choices: tuple[str, ...]
    default: int | float | str
    learned: bool


@dataclass(frozen=True)
class Part:
    """An objective, or an estimator.

    Attributes:
        name: the name as the user types it.
        model: weight of each sample in theta's gradient; empty for an estimator, which does not change this weight.
        parameters: the parameters that the word takes.
        reference: the source, in a few words.
        cites: keys of the cited works in ``references.bib``.
    """

    name: str
    model: str
    parameters: tuple[Parameter, ...]
    reference: str
    cites: tuple[str, ...]


@dataclass(frozen=True)
class PairRow:
    """A pair of objective and estimator at some K.

    Attributes:
        k: samples per example.
        objective: word of the objective, with all parameters.
        estimator: word of the estimator, with all parameters.
        label: both words as short as possible, with a parameter only where it differs from its default.
        promise: the pair's promise, or None if the pair cannot work with this K.
        smallest_k: the smallest number of samples for which the pair is defined.
        model: weight of each sample in theta's gradient.
        path: weight of each sample's path in phi's gradient.
        score: weight of each sample's score in phi's gradient.
        expectation: what has the expected gradient in phi: for a biased pair a sum of objectives, if it is known, and
            for an unbiased pair its own target, if it is another than the objective.
        objective_reference: source of the objective.
        estimator_reference: source of the estimator.
        faults: the reasons why the pair cannot work with this K.
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
        """The promise in a few words, or the reason why there is none."""
        if self.promise is None:
            return f"needs K >= {self.smallest_k}" if self.k < self.smallest_k else f"not with K = {self.k}"
        return f"{self.promise}: {self.expectation}" if self.expectation else str(self.promise)


@dataclass(frozen=True)
class Parts:
    """The content of ``parts.json``.

    Attributes:
        objectives: all objectives, by name.
        estimators: all estimators, by name.
        likelihoods: by name of a likelihood, the keys of the works in ``references.bib`` that it cites.
        symbols: the symbols of the formulas, with their meanings.
        ks: the numbers of samples for which the file holds answers about pairs.
        pairs: all pairs with default parameters, each with its answers for every number in ``ks``.
    """

    objectives: Mapping[str, Part]
    estimators: Mapping[str, Part]
    likelihoods: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    ks: Sequence[int]
    pairs: Sequence[Mapping[str, Any]]

    def rows(self, k: int, objective: str | None, estimators: Sequence[str]) -> list[PairRow] | None:
        """Return the rows of pairs with default parameters for ``list_pairs``, or None if only the engine knows them.

        Args:
            k: samples per example.
            objective: word of the only objective to list, or None for all.
            estimators: words of the only estimators or pairs to list; empty for all.
        """
        if k not in self.ks or not (objective is None or objective in self.objectives):
            return None
        of_objective = [pair for pair in self.pairs if objective in (None, name_of(pair["objective"]))]
        if not estimators:
            return [_row(pair, k) for pair in of_objective]
        chosen: list[Mapping[str, Any]] = []
        for word in estimators:
            own, name = split_pair(word)
            found = [pair for pair in of_objective if pair["label"] == word or pair["label"].endswith(f"/{word}")]
            if not found or name not in self.estimators or own not in (None, *self.objectives):
                return None
            chosen += [pair for pair in found if pair not in chosen]
        order = list(self.objectives)
        chosen.sort(key=lambda pair: order.index(name_of(pair["objective"])))
        return [_row(pair, k) for pair in chosen]


def _row(pair: Mapping[str, Any], k: int) -> PairRow:
    answer = next(each for each in pair["answers"] if k in each["k"])
    promise = None if answer["promise"] is None else Promise(answer["promise"])
    fields = {name: value for name, value in pair.items() if name != "answers"}
    return PairRow(k=k, promise=promise, expectation=answer["expectation"], faults=tuple(answer["faults"]), **fields)


@cache
def parts() -> Parts:
    """Return the content of ``parts.json``, which is read only once."""
    held = json.loads(FILE.read_text(encoding="utf-8"))
    return Parts(
        objectives={each["name"]: _part(each) for each in held["objectives"]},
        estimators={each["name"]: _part(each) for each in held["estimators"]},
        likelihoods={name: tuple(keys) for name, keys in held["likelihoods"].items()},
        symbols=held["symbols"],
        ks=held["ks"],
        pairs=held["pairs"],
    )


def _part(held: Mapping[str, Any]) -> Part:
    parameters = tuple(Parameter(**each | {"choices": tuple(each["choices"])}) for each in held["parameters"])
    return Part(held["name"], held["model"], parameters, held["reference"], tuple(held["cites"]))


def known_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all objectives, and the names of all estimators, in the engine's order."""
    return tuple(parts().objectives), tuple(parts().estimators)


def shown_word(word: str, digits: int | None = 3) -> str:
    """Return a word as people read it: parameters that differ from their defaults, with few significant digits.

    Values that training has learned have 16 digits, which hide the rest of a line. A pair such as ``rws/dreg`` is
    shown in the same way. Names that the program does not know keep all their parameters.

    Args:
        word: the word of an objective or estimator, or a pair of them.
        digits: the most significant digits of a number; None keeps all.
    """
    objective, estimator = split_pair(word)
    if objective is not None:
        return f"{shown_word(objective, digits)}/{shown_word(estimator, digits)}"
    name, items = split_parameters(word)
    part = parts().estimators.get(name) or parts().objectives.get(name)
    defaults = {each.name: str(each.default) for each in part.parameters} if part else {}
    shown = [
        f"{key}={_shown_value(value, digits)}"
        for key, value in items
        if value is not None and defaults.get(key) != value
    ]
    return f"{name}:{','.join(shown)}" if shown else name


def _shown_value(text: str, digits: int | None) -> str:
    try:
        value = float(text)
    except ValueError:  # a choice
        return text
    if digits is None or text.removeprefix("-").isdecimal():  # a whole number
        return text
    return f"{value:.{digits}g}" if abs(value) < 1000.0 else f"{value:.0f}"


def kept_apart(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words as people read them, with the fewest digits that keep different words different.

    Args:
        words: words of objectives or of estimators, by any key.
    """
    for digits in (*range(3, 18), None):
        shown = {key: shown_word(word, digits) for key, word in words.items()}
        if len(set(shown.values())) == len(set(words.values())):
            return shown
    return dict(words)
