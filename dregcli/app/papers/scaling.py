"""A shorter version of a study: fewer steps, seeds and samples, with every schedule as much shorter."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from dregcli.app.papers.kind import Change, Scaled
from dregcli.app.papers.shares import fewer_each, fewer_samples, fewer_seeds, whole
from dregcli.app.papers.studies import grids_of
from dregcli.app.studies.asked import asked_grid
from dregcli.engine.optimisation import parse_schedule
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.words import parse_scheduled, short_word
from dregcli.errors import SpecError
from dregcli.specs.papers.document import Evaluation, Paper, Training
from dregcli.specs.resolve import flag
from dregcli.words import split_list, split_pair

_STEPS: Final = ("steps", "warmup_steps", "kl_warmup", "log_every")
"""Options that are numbers of steps. Rows of metrics, which cost nothing, keep their number."""

_BETWEEN: Final = ("eval_every", "checkpoint_every")
"""Steps between validations and checkpoints. They shrink with the root of the share, and so does their number: a
validation takes as long in a short run as in a long one."""


SEEDS: Final = "seeds"
_EVALUATION: Final = "samples of the evaluation"

_MAIN: Final = ("steps", "epochs", "K", SEEDS, _EVALUATION)
"""Names of changes that a reader of a result must know."""


def shorter_study(paper: Paper, experiment: Training, share: float) -> Scaled:
    """Return an experiment with this share of the steps, and the root of the share of the seeds and of K.

    Args:
        paper: the experiment.
        experiment: its runs.
        share: more than 0 and less than 1.
    """
    ks = fewer_samples(_least(experiment), share, multiple=paper.scale.k_multiple)
    shorter = _Shorter(share, ks, [experiment.options, *experiment.runs])
    options = shorter.table(experiment.options)
    runs = [shorter.table(each, experiment.options) for each in experiment.runs]
    changes = shorter.changes
    published = [each.model_copy(update={"at": shorter.table(each.at)}) for each in paper.published]
    seeds = experiment.seed_list
    fewer = fewer_seeds(seeds, share, least=paper.scale.least_seeds)
    if len(fewer) < len(seeds):
        changes.append(_change(SEEDS, f"{len(seeds)}", f"{len(fewer)}"))
    evaluation = experiment.evaluation
    if evaluation is not None:
        k = min(evaluation.k, whole(evaluation.k, share, least=max(ks.values(), default=2)))
        if k < evaluation.k:
            changes.append(_change(_EVALUATION, f"{evaluation.k:,}", f"{k:,}"))
        evaluation = Evaluation(split=evaluation.split, k=k, n=evaluation.n)
    text = ",".join(map(str, fewer))
    study = experiment.model_copy(
        update={"options": options, "runs": runs, "seeds": text, "evaluation": evaluation},
    )
    return Scaled(paper.model_copy(update={"experiment": study, "published": published}), tuple(changes))


def _least(experiment: Training) -> dict[int, int]:
    """Return, for each K of the runs, the fewest samples with which all its pairs are defined."""
    found: dict[int, int] = {}
    for grid in grids_of(experiment):
        for each in (asked.options for asked in asked_grid(grid).asked.values()):
            smallest = resolve_pair(parse_scheduled(each.objective).start, each.estimator, each.k).smallest_k
            found[each.k] = max(smallest, found.get(each.k, 1))
    return found


def _change(name: str, before: str, after: str) -> Change:
    return Change(name, before, after, name in _MAIN)


class _Shorter:
    """Shortens tables of options, and notes each change once. Values that differ in some tables stay different.

    Args:
        share: share of the steps.
        ks: the smaller number of samples, by K.
        tables: all tables.
    """

    def __init__(self, share: float, ks: Mapping[int, int], tables: Sequence[Mapping[str, Any]]) -> None:
        def fewer(field: str, share: float, least: int = 1) -> dict[int, int]:
            return fewer_each((value for each in tables for value in _numbers(each, field)), share, least=least)

        self._share = share
        self._numbers_of = {field: fewer(field, share) for field in _STEPS}
        self._numbers_of |= {field: fewer(field, math.sqrt(share)) for field in _BETWEEN}
        self._numbers_of |= {"k": ks, "eval_k": fewer("eval_k", share, 2), "epochs": fewer("epochs", share)}
        self._changes: dict[Change, None] = {}

    @property
    def changes(self) -> list[Change]:
        return list(self._changes)

    def _changed(self, name: str, before: str, after: str) -> None:
        if before != after:
            self._changes[_change(name, before, after)] = None

    def table(self, options: Mapping[str, Any], shared: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a table of options, in which a value may be a list of values.

        Args:
            options: the table.
            shared: options that lie below it, such as the passes of its schedule.
        """
        found, below = dict(options), shared or {}
        schedule = _split(found.get("lr_schedule", below.get("lr_schedule")))
        if "lr_schedule" in found and not {"steps", "epochs"} & set(found) and "epochs" in below:
            found["epochs"] = below["epochs"]  # the passes may follow from this schedule
        for field in (*_STEPS, *_BETWEEN, "k", "eval_k"):
            self._numbers(found, field, self._numbers_of[field])
        for field in ("objective", "estimator"):
            self._words(found, field, self._objective_in)
        self._words(found, "lr_schedule", lambda word: parse_schedule(word).shortened(self._share).word)
        passes = None
        if isinstance(schedule, str) and "epochs" in found:
            passes = parse_schedule(schedule).shortened(self._share).passes
        fewer = self._numbers_of["epochs"]
        self._numbers(found, "epochs", dict.fromkeys(fewer, passes) if passes else fewer)
        return found

    def _objective_in(self, word: str) -> str:
        """Return a word in which an objective changes within fewer steps; it stands before the slash of a pair."""
        objective, estimator = split_pair(word)
        changes = objective if objective is not None else word
        with suppress(SpecError):  # the name of an estimator, or a word with a fault that is reported later
            found = parse_scheduled(changes)
            if found.schedules:
                shorter = short_word(found.shortened(self._share))
                return shorter if objective is None else f"{shorter}/{estimator}"
        return word

    def _numbers(self, options: dict[str, Any], field: str, shorter: Mapping[int, int]) -> None:
        before = _numbers(options, field)
        if not before:
            return
        after = [shorter.get(each, each) for each in before]
        options[field] = after if isinstance(options[field], list) else after[0]
        self._changed("K" if field == "k" else flag(field), _listed(before), _listed(after))

    def _words(self, options: dict[str, Any], field: str, shorter: Callable[[str], str]) -> None:
        given = _split(options.get(field))
        words = cast("list[object]", given) if isinstance(given, list) else [given]
        if not all(isinstance(each, str) for each in words):
            return
        after: list[str] = []
        for each in words:
            try:
                after.append(shorter(str(each)))
            except SpecError:
                return  # reported with the options
        options[field] = after if isinstance(given, list) else after[0]
        for one, other in zip(words, after, strict=True):
            self._changed(flag(field), str(one), other)


def _numbers(options: Mapping[str, Any], field: str) -> list[int]:
    """Return the whole numbers of an option that has one value or a list of values; none if it has others."""
    given = options.get(field)
    values = cast("Sequence[object]", given) if isinstance(given, list) else [given]
    kept = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
    return kept if len(kept) == len(values) else []


def _split(given: object) -> object:
    """Return the words of a text with commas as a list; anything else as it is."""
    words = split_list(given) if isinstance(given, str) else []
    return words if len(words) > 1 else given


def _listed(values: Sequence[int]) -> str:
    return ", ".join(f"{each:,}" for each in values)


def in_a_sentence(scaled: Scaled, share: float) -> str:
    """Say in one sentence what a shorter version leaves out; empty for the whole experiment."""
    own = f"Our runs are shorter than the paper's: {scaled.paper.shorter}." if scaled.paper.shorter else ""
    if not scaled.changes:
        return own
    parts = [f"{each.name} {each.after} in place of {each.before}" for each in scaled.changes if each.is_main]
    scale = (
        f"At scale {share:g} ({'; '.join(parts)}) the order of the lines is the most that can be expected: the "
        "published numbers are those of the whole length."
    )
    return f"{own} {scale}".strip()


def shorter_in_words(scaled: Scaled) -> str:
    """Say in what a run is shorter than the paper's; empty if it is not."""
    kept = [each for each in scaled.changes if each.is_main and each.name != SEEDS]
    own = [scaled.paper.shorter] if scaled.paper.shorter else []
    return "; ".join([*own, *(f"{each.name} {each.after} of {each.before}" for each in kept)])
