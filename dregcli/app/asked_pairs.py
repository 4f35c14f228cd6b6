"""Which pairs a command means by ``--objective`` and ``--estimator``: names, pairs, or all."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        bare: whether its estimator was named without parameters.
    """

    pair: Pair
    bare: bool


def asked_pairs(
    objective: str | None, estimators: Sequence[str], *, default_objective: str, k: int
) -> list[AskedPair]:
    """The pairs that words ask for, each once.

    Args:
        objective: as given, or None.
        estimators: each a name, a pair (``rws/dreg``) or ``all``, which means every estimator that the objective
            takes with ``k`` samples.
        default_objective: of estimators named alone, where no objective is given.
        k: samples per example.

    Raises:
        SpecError: everything that cannot be, at once: unknown words, pairs that do not go together, a pair that
            contradicts the objective.
    """
    faults: list[Fault] = []
    found: dict[Pair, AskedPair] = {}
    try:
        common = parse_objective(objective or default_objective)
    except SpecError as error:
        raise SpecError(error.faults, hint="`dreg estimators` lists what there is") from error
    for word in estimators:
        try:
            pairs = _meant(word, common, given=objective is not None, k=k)
        except SpecError as error:
            faults += error.faults
            continue
        for pair in pairs:
            if problems := pair.faults(k):
                faults += problems
            else:
                found.setdefault(pair, AskedPair(pair, bare=":" not in word.rpartition("/")[2]))
    if faults:
        raise SpecError(list(dict.fromkeys(faults)), hint="`dreg estimators` lists every pair")
    return list(found.values())


def parse_asked(word: str, target: Objective | None) -> tuple[Objective | None, Estimator]:
    """The objective and the estimator that a word names: a pair (``rws/dreg``), or an estimator of the target.

    Args:
        word: as typed.
        target: the objective that was given, or None.

    Raises:
        SpecError: unknown names, or a pair of another objective than the target.
    """
    left, slash, right = word.rpartition("/")
    own = parse_objective(left) if slash else target
    estimator = parse_estimator(right)
    if slash and target is not None and own != target:
        message = f"'{word}' contradicts --objective {short_word(target)}: leave one of the two out."
        raise SpecError([Fault("estimator", message)])
    return own, estimator


def _meant(word: str, common: Objective, *, given: bool, k: int) -> list[Pair]:
    if word == ALL:
        pairs = [Pair(common, estimator) for estimator in estimators_of(common)]
        return [pair for pair in pairs if not pair.faults(k)] or pairs
    own, estimator = parse_asked(word, common if given else None)
    return [Pair(own or common, estimator)]
