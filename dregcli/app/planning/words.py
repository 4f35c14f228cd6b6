"""Objective and estimator as they are typed, and as a spec keeps them: one setting has one spelling."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dregcli.engine.words import parse_estimator, parse_objective, short_word, word_of
from dregcli.errors import Fault, SpecError
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.run import RunSpec, default_run_name


def canonical_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with objective, estimator and binarisation as a spec keeps them.

    Parameters are spelt out, defaults too: ``dreg-alpha`` becomes ``dreg-alpha:alpha=0.9``. What is no word stays.
    """
    canonical = dict(options)
    for key, parse in (("objective", parse_objective), ("estimator", parse_estimator)):
        if isinstance(word := options.get(key), str):
            with suppress(SpecError):
                canonical[key] = word_of(parse(word))
    if isinstance(word := options.get("binarisation"), str):
        with suppress(ValueError):
            canonical["binarisation"] = parse_binarisation(word).word
    return canonical


def spread_pair(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Options with an estimator given as a pair (``rws/dreg``) as objective and estimator.

    Returns:
        The options, and a fault where they name another objective beside.
    """
    spread = dict(options)
    word, objective = options.get("estimator"), options.get("objective")
    if not isinstance(word, str) or "/" not in word:
        return spread, []
    spread["objective"], _, spread["estimator"] = word.rpartition("/")
    if objective is not None and canonical_words({"objective": objective}) != canonical_words(
        {"objective": spread["objective"]}
    ):
        message = f"'{word}' contradicts --objective {objective}: leave one of the two out."
        return spread, [Fault("estimator", message)]
    return spread, []


def short_words(spec: RunSpec) -> dict[str, str]:
    """A spec's objective and estimator with parameters only where they are not the defaults."""
    return {
        "objective": short_word(parse_objective(spec.objective)),
        "estimator": short_word(parse_estimator(spec.estimator)),
    }


def run_name(spec: RunSpec) -> str:
    """The name of a run that was given none."""
    return default_run_name(spec.model_copy(update=short_words(spec)))
