"""Which pairs a command means by ``--objective`` and ``--estimator``: names, pairs, or all."""

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
    """

    pair: Pair
    bare: bool


def asked_pairs(
    objective: str | None, estimators: Sequence[str], *, default_objective: str, k: int, or_k: Sequence[int] = ()
) -> list[AskedPair]:
    """The pairs that words ask for, each once.

    Args:
        objective: as given, or None.
        estimators: each a name, a pair (``rws/dreg``) or ``all`` (``rws/all``), which means every estimator that the
            objective takes with ``k`` samples.
        default_objective: of estimators named alone, where no objective is given.
        k: samples per example.
        or_k: other numbers of samples; a pair that works with one of them all is one that can be.

    Raises:
        SpecError: everything that cannot be, at once: unknown words, pairs that do not go together, a pair that
            contradicts the objective.
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
            pairs = _meant(word, common, given=objective is not None, ks=(k, *or_k))
        except SpecError as error:
            faults += error.faults
            continue
        for pair in pairs:
            if problems := faults_at_all(pair, (k, *or_k)):
                faults += problems
            else:
                found.setdefault(pair, AskedPair(pair, bare=":" not in word.rpartition("/")[2]))
    if faults:
        raise SpecError(list(dict.fromkeys(faults)), hint="see every pair: " + command("estimators"))
    return list(found.values())


def faults_at_all(pair: Pair, ks: Sequence[int]) -> list[Fault]:
    """Why a pair cannot work with any of some numbers of samples, by the first of them; empty when it can."""
    found = [pair.faults(k) for k in ks]
    return found[0] if all(found) else []


def parse_asked(word: str, target: Objective | None) -> tuple[Objective | None, Estimator]:
    """The objective and the estimator that a word names: a pair (``rws/dreg``), or an estimator of the target.

    Args:
        word: as typed.
        target: the objective that was given, or None.

    Raises:
        SpecError: unknown names, or a pair of another objective than the target.
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
    """Whether a word is ``all``, or ``all`` of an objective (``rws/all``)."""
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


def _meant(word: str, common: Objective | None, *, given: bool, ks: Sequence[int]) -> list[Pair]:
    """The pairs of a word; none where the objective that they would need is not known."""
    target = common if given else None
    if means_all(word):
        objective = _objective_of(word, target) or common
        pairs = [Pair(objective, estimator) for estimator in estimators_of(objective)] if objective else []
        return [pair for pair in pairs if not faults_at_all(pair, ks)] or pairs
    own, estimator = parse_asked(word, target)
    return [Pair(objective, estimator)] if (objective := own or common) else []
