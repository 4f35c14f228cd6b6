"""The objectives and estimators that the engine has, for code that cannot wait seconds for torch to load.

``parts.json`` beside this file holds what the engine's classes declare. ``python -m dregcli.app.diagnosis.computed``
writes it, and a test holds it equal to the engine. Standard library only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from dregcli.names import Promise
from dregcli.words import name_of, split_pair

FILE: Final = Path(__file__).with_name("parts.json")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an objective or estimator.

    Attributes:
        name: as in a word.
        kind: ``whole number``, ``number`` or ``choice``.
        choices: the values of a choice.
        default: the value where none is given; for a learned parameter, the value from which learning starts.
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
        model: the weight of theta's gradient; empty for an estimator, which does not change it.
        parameters: what its word takes.
        reference: where it comes from, in a few words.
        cites: keys of ``references.bib``.
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
        objective: its word, parameters spelt out.
        estimator: its word, parameters spelt out.
        label: both words as short as they can be: parameters only where they are not the defaults.
        promise: what the pair promises, or None where it cannot work with this K.
        smallest_k: the fewest samples it is defined with.
        model: weight of each sample in theta's gradient.
        path: weight of each sample's path in phi's gradient.
        score: weight of each sample's score in phi's gradient.
        expectation: for a biased pair, the expected gradient in phi that it has instead, where that is known.
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
class Parts:
    """What ``parts.json`` holds.

    Attributes:
        objectives: all of them, by name.
        estimators: all of them, by name.
        likelihoods: the keys of ``references.bib`` that each cites, by name.
        symbols: those of the formulas, with their meanings.
        ks: the numbers of samples for which the answers about pairs are held.
        pairs: all pairs with default parameters, each by what its row is at each of ``ks``.
    """

    objectives: Mapping[str, Part]
    estimators: Mapping[str, Part]
    likelihoods: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    ks: Sequence[int]
    pairs: Sequence[Mapping[str, Any]]

    def rows(self, k: int, objective: str | None, estimators: Sequence[str]) -> list[PairRow] | None:
        """The rows of pairs with default parameters, as ``list_pairs`` wants them; None where the engine must say.

        Args:
            k: samples per example.
            objective: the word of the only objective to list, or None.
            estimators: words of the only estimators to list, or of pairs; empty for all.
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
    """What ``parts.json`` holds; read once."""
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
    """The names of all objectives and of all estimators, in the engine's order."""
    return tuple(parts().objectives), tuple(parts().estimators)
