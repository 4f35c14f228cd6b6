"""Find the pairs that a command names by ``--objective`` and ``--estimator``: names, pairs, or all."""

from collections.abc import Sequence
from dataclasses import dataclass

from dregcli.commands import command
from dregcli.engine.estimators import Estimator
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair, estimators_of
from dregcli.engine.words import parse_estimator, parse_objective, short_word
from dregcli.errors import Fault, SpecError

ALL = "all"


@dataclass(frozen=True)
class AskedPair:
    """A pair that was asked for.

    Attributes:
        pair: the pair.
        bare: whether its estimator was named without parameters, or not named at all.
        by_all: whether ``all`` named it: it is left out if the model cannot take it.
    """

    pair: Pair
    bare: bool
    by_all: bool = False


def asked_pairs(
    objective: str | None,
    estimators: Sequence[str],
    *,
    default_objective: str,
    k: int,
    or_k: Sequence[int] = (),
    own: str | None = None,
) -> list[AskedPair]:
    """Return the pairs that words name, each once.

    Args:
        objective: the objective that the user gave, or None.
        estimators: words, each a name, a pair (``rws/dreg``) or ``all`` (``rws/all``), which means every estimator
            that the objective takes with ``k`` samples.
        default_objective: objective for estimators without one, if the user gave no objective.
        k: samples per example.
        or_k: other numbers of samples; a pair is accepted if it works with at least one of all these numbers.
        own: the estimator that a run was trained with, which ``all`` includes with its parameters.

    Raises:
        SpecError: all faults at once: unknown words, pairs that cannot work, a pair that contradicts the objective.
    """
    faults: list[Fault] = []
    found: dict[Pair, AskedPair] = {}
    common: Objective | None = None
    try:
        common = parse_objective(objective or default_objective)
    except SpecError as error:
        faults += error.faults
    for word in estimators:
        try:
            pairs = _meant(word, common, given=objective is not None, ks=(k, *or_k), own=own)
        except SpecError as error:
            faults += error.faults
            continue
        for pair in pairs:
            if problems := faults_at_all(pair, (k, *or_k)):
                faults += problems
            else:
                found.setdefault(pair, AskedPair(pair, ":" not in word.rpartition("/")[2], by_all=means_all(word)))
    if faults:
        raise SpecError(list(dict.fromkeys(faults)), hint="this command lists every pair: " + command("estimators"))
    return list(found.values())


def faults_at_all(pair: Pair, ks: Sequence[int]) -> list[Fault]:
    """Return the faults of a pair with the first of ``ks`` samples if it works with none of ``ks``; else none."""
    found = [pair.faults(k) for k in ks]
    return found[0] if all(found) else []


def parse_asked(word: str, target: Objective | None) -> tuple[Objective | None, Estimator]:
    """Return the objective and the estimator that a word names: a pair (``rws/dreg``), or an estimator alone.

    Args:
        word: the word that the user typed.
        target: the objective that the user gave, or None; an estimator alone belongs to it.

    Raises:
        SpecError: a name is unknown, or the pair has another objective than ``target``.
    """
    faults: list[Fault] = []
    own, estimator = target, None
    try:
        own = _objective_of(word, target)
    except SpecError as error:
        faults += error.faults
    try:
        estimator = parse_estimator(word.rpartition("/")[2])
    except SpecError as error:
        faults += error.faults
    if faults or estimator is None:
        raise SpecError(faults)
    return own, estimator


def means_all(word: str) -> bool:
    """Whether a word is ``all``, or ``all`` with an objective (``rws/all``)."""
    return word.rpartition("/")[2] == ALL


def _objective_of(word: str, target: Objective | None) -> Objective | None:
    left, slash, _ = word.rpartition("/")
    if not slash:
        return target
    own = parse_objective(left)
    if target is not None and own != target:
        message = f"'{word}' contradicts --objective {short_word(target)}: leave one of the two out."
        raise SpecError([Fault("estimator", message)])
    return own


def _meant(
    word: str, common: Objective | None, *, given: bool, ks: Sequence[int], own: str | None = None
) -> list[Pair]:
    """Return the pairs that a word names; none if their objective is not known."""
    target = common if given else None
    if means_all(word):
        objective = _objective_of(word, target) or common
        pairs = [Pair(objective, estimator) for estimator in _all_of(objective, own)] if objective else []
        return [pair for pair in pairs if not faults_at_all(pair, ks)] or pairs
    named, estimator = parse_asked(word, target)
    return [Pair(objective, estimator)] if (objective := named or common) else []


def _all_of(objective: Objective, own: str | None) -> list[Estimator]:
    """Return every estimator that an objective takes, and a run's own with its parameters.

    Parameters that are learned are those of the training in any case, so that such an estimator is there once.
    """
    found = estimators_of(objective)
    kept = parse_estimator(own) if own else None
    if kept is None or kept in found or kept.refusal(objective):
        return found
    return [*(each for each in found if not (kept.learned and each.name == kept.name)), kept]
