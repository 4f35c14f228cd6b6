"""Convert objective and estimator from the user's words to the spec's words: one setting has one spelling."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from dregcli.engine.objectives import Objective
from dregcli.engine.optimisation import parse_optimizer, parse_schedule
from dregcli.engine.words import parse_estimator, parse_scheduled, short_word, word_of
from dregcli.errors import Fault, SpecError
from dregcli.parts import shown_word
from dregcli.specs.binarisation import parse_binarisation
from dregcli.specs.run import RunSpec, default_run_name


def canonical_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with objective, estimator, binarisation, optimizer and schedule spelt as in a spec.

    All parameters of objective and estimator are written out, also defaults: ``dreg-alpha`` becomes
    ``dreg-alpha:alpha=0.9``. An optimizer or a schedule has only those that differ from its defaults. Unknown words
    stay unchanged.
    """
    canonical = dict(options)
    for key, parse in (("objective", parse_scheduled), ("estimator", parse_estimator)):
        if isinstance(word := options.get(key), str):
            with suppress(SpecError):
                canonical[key] = word_of(parse(word))
    for key, parse in (("optimizer", parse_optimizer), ("lr_schedule", parse_schedule)):
        if isinstance(word := options.get(key), str):
            with suppress(SpecError):
                canonical[key] = parse(word).word
    if isinstance(word := options.get("binarisation"), str):
        with suppress(ValueError):
            canonical["binarisation"] = parse_binarisation(word).word
    return canonical


def spread_pair(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Split an estimator that is given as a pair (``rws/dreg``) into objective and estimator.

    Returns:
        The options, and a fault if they also name another objective.
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
    """Return a spec's objective and estimator, with only the parameters that differ from their defaults."""
    return {
        "objective": short_word(parse_scheduled(spec.objective)),
        "estimator": short_word(parse_estimator(spec.estimator)),
    }


def first_objective(spec: RunSpec) -> Objective:
    """Return the objective of a run's first step."""
    return parse_scheduled(spec.objective).start


def last_objective(spec: RunSpec) -> Objective:
    """Return the objective of a run's last step, which stands for the run where there are no steps."""
    return parse_scheduled(spec.objective).at(spec.steps - 1)


def label_of(spec: RunSpec, settings: Sequence[str] = ()) -> str:
    """Return the pair and the seed of a run as people read them, such as ``iwae/dreg, seed 2``.

    Args:
        spec: spec of the run.
        settings: further settings, such as ``K=16`` in ``iwae/dreg K=16, seed 2``.
    """
    pair = f"{shown_word(spec.objective)}/{shown_word(spec.estimator)}"
    return f"{' '.join([pair, *settings])}, seed {spec.seed}"


def run_name(spec: RunSpec) -> str:
    """Return the default name of a run."""
    return default_run_name(spec.model_copy(update=short_words(spec)))
