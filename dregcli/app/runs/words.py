"""Compare words of objectives and estimators with stored words, without the engine, so that a list loads no torch."""

from collections.abc import Iterable, Sequence

from dregcli.errors import UsageError
from dregcli.names import nearest
from dregcli.parts import known_words
from dregcli.words import split_pair, split_parameters


def check_objective(word: str) -> None:
    """Refuse a word that names no objective.

    Raises:
        UsageError: there is no such objective; the error shows the nearest one.
    """
    objectives, _ = known_words()
    _check("objective", word, objectives)


def check_estimator(word: str) -> None:
    """Refuse a word that names no estimator and no pair, such as ``dreg`` or ``rws/dreg``.

    Raises:
        UsageError: there is no such estimator or objective; the error shows the nearest one.
    """
    objectives, estimators = known_words()
    objective, estimator = split_pair(word)
    if objective is not None:
        _check("objective", objective, objectives)
    _check("estimator", estimator, estimators)


def stands_for(asked: str, stored: str) -> bool:
    """Whether a word that the user typed matches a stored word, which writes out all parameters.

    The name and every typed parameter must be equal: ``dreg-alpha`` matches any alpha, and ``dreg-alpha:alpha=.9``
    matches ``dreg-alpha:alpha=0.9``.
    """
    name, typed = _parsed(asked)
    actual, spelt_out = _parsed(stored)
    return name == actual and all(_same(value, spelt_out.get(key)) for key, value in typed.items())


def _parsed(word: str) -> tuple[str, dict[str, str]]:
    name, items = split_parameters(word)
    return name, {key: value or "" for key, value in items}


def _same(a: str, b: str | None) -> bool:
    try:
        return a == b or (b is not None and float(a) == float(b))
    except ValueError:
        return False


def _check(kind: str, word: str, names: Sequence[str]) -> None:
    name, parameters = _parsed(word)
    if name not in names:
        what = f"There is no {kind} '{name}'."
        raise not_known(what, kind, name, names)
    if empty := [key for key, value in parameters.items() if not value]:
        what = f"A parameter needs a value: {', '.join(empty)} in '{word}'."
        raise UsageError(
            what, where=f"--{kind}", hint="write it as in vr-iwae:alpha=0.3, or leave it out for any value"
        )


def not_known(what: str, option: str, word: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown word; it shows the nearest known word."""
    words = list(known)
    near = nearest(word, words)
    meant = f" Did you mean '{near}'?" if near else ""
    return UsageError(f"{what}{meant}", where=f"--{option}", hint=f"use one of {', '.join(words)}")
