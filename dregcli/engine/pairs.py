"""Pairs of objective and estimator: their words, what they promise, what cannot work, their coefficients.

A word is a name with its parameters, as typed on the command line: ``iwae``, ``vr-iwae:alpha=0.3``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dregcli.engine.estimators import ESTIMATORS, Coefficients, Estimator
from dregcli.engine.objectives import OBJECTIVES, Objective, Terms
from dregcli.errors import Fault, SpecError
from dregcli.names import Promise, unknown


def _parse(kind: str, word: str, entries: Mapping[Any, type[Any]]) -> Any:  # noqa: ANN401 - Objective or Estimator
    name, _, text = word.partition(":")
    if name not in entries:
        raise SpecError([Fault(kind, unknown(kind, name, entries))])
    entry = entries[name]
    known = {field.name for field in fields(entry)}
    values: dict[str, float] = {}
    faults: list[Fault] = []
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if key not in known:
            takes = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            faults.append(Fault(kind, f"'{name}' has no parameter '{key}': it {takes}."))
            continue
        try:
            values[key] = float(value)
        except ValueError:
            given = f"'{value}'" if equals else "nothing"
            faults.append(Fault(kind, f"parameter '{key}' of '{name}' needs a number, got {given}."))
    if faults:
        raise SpecError(faults)
    return entry(**values)


def parse_objective(word: str) -> Objective:
    """The objective that a word names.

    Raises:
        SpecError: unknown name (with the nearest one) or parameters it does not take.
    """
    return _parse("objective", word, OBJECTIVES)


def parse_estimator(word: str) -> Estimator:
    """The estimator that a word names.

    Raises:
        SpecError: unknown name (with the nearest one) or parameters it does not take.
    """
    return _parse("estimator", word, ESTIMATORS)


def pair_faults(objective: Objective, estimator: Estimator, k: int) -> list[Fault]:
    """Why this pair cannot work with ``k`` samples; empty when it can."""
    faults: list[Fault] = []
    for part in (objective, estimator):
        if k < part.smallest_k:
            message = f"'{part.name}' needs at least {part.smallest_k} samples, got {k}; use --k {part.smallest_k}."
            faults.append(Fault("k", message))
    return faults


def word_faults(objective: str, estimator: str, k: int) -> list[Fault]:
    """Everything wrong with a pair given as words, all at once."""
    faults: list[Fault] = []
    parsed: list[Any] = []
    for parse, word in ((parse_objective, objective), (parse_estimator, estimator)):
        try:
            parsed.append(parse(word))
        except SpecError as error:
            faults.extend(error.faults)
    return faults or pair_faults(parsed[0], parsed[1], k)


def promise(objective: Objective | str, estimator: Estimator | str, k: int) -> Promise:
    """Whether the pair's expected gradient is that of its own target, with ``k`` samples.

    The one source of promises: the trainer's warning, the README's table and the tests read it.
    """
    pair = resolve_pair(objective, estimator, k)
    return pair.estimator.promise(pair.objective, k)


@dataclass(frozen=True)
class Pair:
    """An objective and an estimator that go together."""

    objective: Objective
    estimator: Estimator

    def at(self, log_w: Tensor) -> tuple[Terms, Coefficients]:
        """The objective's terms and the gradient's weights at log-weights of shape (K, B), in nats.

        Both are computed in float64 whatever the log-weights are: v - v^2 subtracted from v leaves v^2 with
        an error of eps * v, which in float32 swamps v^2 once K is large. The arrays are small beside the
        decoder's rows, so this costs nothing that can be measured.
        """
        terms = self.objective.terms(log_w.detach().double())
        return terms, self.estimator.coefficients(terms)


def resolve_pair(objective: Objective | str, estimator: Estimator | str, k: int) -> Pair:
    """The pair that two words (or objects) name.

    Raises:
        SpecError: unknown names, wrong parameters, or a pair or a K that cannot work.
    """
    if isinstance(objective, str):
        objective = parse_objective(objective)
    if isinstance(estimator, str):
        estimator = parse_estimator(estimator)
    if faults := pair_faults(objective, estimator, k):
        raise SpecError(faults)
    return Pair(objective, estimator)


def coefficients(objective: Objective | str, estimator: Estimator | str, log_w: Tensor) -> Coefficients:
    """The weights of a gradient estimate.

    Args:
        objective: an objective or its word, e.g. ``"iwae"``.
        estimator: an estimator or its word, e.g. ``"dreg"``.
        log_w: log-weights, shape (K, B), nats.

    Returns:
        ``model``, ``path`` and ``score``, each (K, B), detached, of ``log_w``'s dtype. See ``Terms``.

    Raises:
        SpecError: unknown names, or a pair or a K that cannot work.

    Example:
        >>> import torch
        >>> from dregcli.engine import coefficients
        >>> c = coefficients("iwae", "dreg", torch.zeros(4, 1))
        >>> c.model[0].item(), c.path[0].item(), c.score[0].item()
        (0.25, 0.0625, 0.0)
    """
    if log_w.ndim != 2:
        what = f"log_w must have shape (K, B), got {tuple(log_w.shape)}."
        raise SpecError([Fault("log_w", what)])
    _, exact = resolve_pair(objective, estimator, log_w.shape[0]).at(log_w)
    dtype = torch.promote_types(log_w.dtype, torch.float32)
    return Coefficients(exact.model.to(dtype), exact.path.to(dtype), exact.score.to(dtype))
