"""Parse the estimators that a run tracks beside the one that it trains with: ``--track-estimators``."""

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from dregcli.app.planning.asked_pairs import asked_pairs, means_all, parse_asked
from dregcli.app.planning.words import first_objective
from dregcli.engine.objectives import Objective, ScheduledObjective
from dregcli.engine.pairs import Pair
from dregcli.engine.words import parse_estimator, parse_scheduled, word_of
from dregcli.errors import Fault, SpecError
from dregcli.specs.run import RunSpec
from dregcli.words import split_list

_FIELD = "track-estimators"


def tracked_words(given: object, *, objective: object, k: int | None) -> tuple[list[str], list[Fault]]:
    """Return the tracked estimators as words of a spec, with all parameters written out.

    A word is a pair such as ``rws/dreg`` if its objective is not the objective of the run.

    Args:
        given: a text with commas, or a list of words; ``all`` means every estimator that the objective takes.
        objective: the objective of the run as a word; if it is not valid, only the names of estimators are checked.
        k: samples per example; None if the number is not valid.

    Returns:
        The words, and every fault.
    """
    if not isinstance(given, str | list | tuple):
        return [], [Fault(_FIELD, f"must be words separated by commas, such as stl,dreg, got {given!r}.")]
    items = split_list(given) if isinstance(given, str) else cast("Sequence[object]", given)
    target: Objective | None = None
    scheduled: ScheduledObjective | None = None
    if isinstance(objective, str):
        with suppress(SpecError):  # reported with the objective
            scheduled = parse_scheduled(objective)
            target = scheduled.start
    found: dict[Pair, None] = {}
    faults: list[Fault] = []
    for word in items:
        if not isinstance(word, str):
            faults.append(Fault(_FIELD, f"must be words such as stl or rws/dreg, got {word!r}."))
            continue
        try:
            pairs = _pairs(word, target, k)
        except SpecError as error:
            faults += [Fault(_FIELD, f"{_of_k(fault)}{fault.message}") for fault in error.faults]
            continue
        if scheduled and scheduled.schedules and "/" in word and pairs and pairs[0].objective == target:
            message = f"'{word}' is the run's objective at its first step, and this objective changes: "
            faults.append(Fault(_FIELD, f"{message}write {word.rpartition('/')[2]}, which follows the change."))
        if pairs and pairs[0].objective != target and (reason := pairs[0].objective.unfitted):
            faults.append(Fault(_FIELD, f"'{word}' is not the run's objective: {reason}"))
        if any(pair in found for pair in pairs) and not means_all(word):
            faults.append(Fault(_FIELD, f"'{word}' is given twice."))
        found |= dict.fromkeys(pairs)
    return [_word(pair, target) for pair in found], list(dict.fromkeys(faults))


def with_trained(tracked: Sequence[str], estimator: str) -> list[str]:
    """Return the words of tracked estimators together with the estimator that trains; none if none is tracked.

    The trained one is what the others are compared with. It comes first, unless it is among them already.

    Args:
        tracked: words from ``tracked_words``.
        estimator: the estimator that trains, as a word; a wrong word is reported elsewhere.
    """
    try:
        trained = word_of(parse_estimator(estimator))
    except SpecError:
        return list(tracked)
    return list(tracked) if not tracked or trained in tracked else [trained, *tracked]


def _pairs(word: str, target: Objective | None, k: int | None) -> list[Pair]:
    if target is None or k is None:
        if not means_all(word):
            parse_asked(word, None)
        return []
    return [each.pair for each in asked_pairs(None, [word], default_objective=word_of(target), k=k)]


def _of_k(fault: Fault) -> str:
    return "k: " if fault.field == "k" else ""


def _word(pair: Pair, target: Objective | None) -> str:
    return word_of(pair.estimator) if pair.objective == target else pair.word


def tracked_pairs(spec: RunSpec) -> list[Pair]:
    """Return the pairs that a run tracks, at its first step; see ``Tracker`` for an objective that changes."""
    found = asked_pairs(None, spec.track_estimators, default_objective=word_of(first_objective(spec)), k=spec.k)
    return [each.pair for each in found]
