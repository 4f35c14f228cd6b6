"""The study of an experiment that trains models: its request, its runs, and those that a published number means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dregcli.app.papers.kind import Asked
from dregcli.app.planning.run_data import RunData
from dregcli.app.planning.words import canonical_words, spread_pair
from dregcli.app.reporting.report import read_row
from dregcli.app.studies.launch import TrainRequest
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.engine.words import parse_estimator, parse_scheduled
from dregcli.errors import SpecError
from dregcli.parts import shown_word
from dregcli.report.aggregate import number
from dregcli.report.groups import Group
from dregcli.report.papers.quantities import Wanted
from dregcli.report.settings import shown_setting, shown_value, with_model_options
from dregcli.specs.axes import Grid
from dregcli.specs.options import Settings, described
from dregcli.specs.papers.document import Evaluation, Paper, Training
from dregcli.specs.papers.lines import Place
from dregcli.specs.run import RunSpec, as_json, experiment_of, spelt_out
from dregcli.specs.shown import Panel as HelpPanel
from dregcli.store.runs import RunStore

_WORDS: Final = {"objective": parse_scheduled, "estimator": parse_estimator}
"""Fields whose words have parameters, such as ``estimator.alpha``, which may be the x of a panel."""


@dataclass(frozen=True)
class Member:
    """The runs of one experiment at all seeds.

    Attributes:
        first: the first of them.
        repeats: those that are done.
        group: these as a report sees them; None if none is done.
        wanted: their evaluation that counts; None if the experiment has none.
    """

    first: Combination
    repeats: Sequence[Repeat]
    group: Group | None
    wanted: Wanted | None = None

    @property
    def spec(self) -> RunSpec:
        """The spec of the first run."""
        return self.first.spec

    def label(self, x: str = "") -> str:
        """Return what tells a line from others: the pair and the settings, without those of the axis.

        Args:
            x: the setting on the axis; ``estimator.alpha`` is a parameter of the estimator's word.
        """
        field, _, parameter = x.partition(".")
        words: list[str] = []
        for name in ("objective", "estimator"):
            word = shown_word(str(getattr(self.spec, name)))
            words.append(word.partition(":")[0] if parameter and name == field else word)
        others = [shown_setting(*each, is_short=False) for each in self.first.settings.items() if each[0] != x]
        return " ".join(["/".join(words), *others])


def training_of(paper: Paper) -> Training:
    """Return the experiment of a paper that trains models."""
    assert isinstance(paper.experiment, Training)
    return paper.experiment


def grids_of(experiment: Training) -> list[Grid]:
    """Return what each table of runs asks for, on top of the options that all share, as in a sweep."""
    request = TrainRequest({"seeds": experiment.seeds}, tables=experiment.runs, shared=experiment.options)
    return request.grids(request.read_files())


def request_of(asked: Asked) -> TrainRequest:
    """Return the request of the study, as ``dreg train --sweep`` makes it."""
    request, experiment = asked.request, training_of(asked.paper)
    return TrainRequest(
        {**request.settings, "seeds": experiment.seeds},
        tables=experiment.runs,
        shared=experiment.options,
        jobs=request.jobs,
        on=request.on,
        at_once=request.at_once,
        slurm=request.slurm,
        ray_address=request.ray_address,
    )


def is_done(found: Repeat | None) -> bool:
    """Whether a run is there and completed."""
    return found is not None and found.standing is Standing.DONE


def done_in(plan: StudyPlan, store: RunStore) -> dict[Key, Repeat]:
    """Return the completed runs of a plan.

    A run of another machine also counts, which may have chosen another device or another way to compute gradients:
    all of them have the same expectation.
    """
    known = repeats_in(store)
    alike = {_signature(found.run.spec(), seed): found for (_, seed), found in known.items() if is_done(found)}
    done: dict[Key, Repeat] = {}
    for spec in (each.spec for each in plan.combinations):
        same = known.get(key_of(spec))
        if found := same if is_done(same) else alike.get(_signature(as_json(spec), spec.seed)):
            done[key_of(spec)] = found
    return done


def members_of(plan: StudyPlan, store: RunStore | None, evaluation: Evaluation | None = None) -> list[Member]:
    """Return the runs of a plan by experiment, with those that a store has; with no store, none.

    Args:
        plan: the runs.
        store: the store.
        evaluation: the evaluation of each run.
    """
    there = done_in(plan, store) if store else {}
    by_kind: dict[str, list[Combination]] = {}
    for each in plan.combinations:
        by_kind.setdefault(key_of(each.spec)[0], []).append(each)
    members: list[Member] = []
    for kind, combinations in by_kind.items():
        done = [there[key] for key in (key_of(each.spec) for each in combinations) if key in there]
        rows = [read_row(each.run, []) for each in done]
        first = combinations[0]
        group = Group(kind, tuple(rows)) if rows else None
        wanted = _wanted(evaluation, plan.data(first)) if evaluation else None
        members.append(Member(first, done, group, wanted))
    return members


def _wanted(evaluation: Evaluation, data: RunData) -> Wanted:
    examples = evaluation.n or data.size(evaluation.split)
    return Wanted(evaluation.split, evaluation.k, examples)


def _signature(spec: Mapping[str, Any], seed: int) -> str:
    """Return a text that is equal for runs whose results have the same distribution."""
    values = experiment_of(spec)
    ways = {name: described(name)[1] for name in values}
    kept = {name: value for name, value in values.items() if not _is_execution(ways[name])}
    return repr((sorted(kept.items()), seed))


def _is_execution(way: Any) -> bool:  # noqa: ANN401 - how a field is shown, or None
    return way is not None and way.panel is HelpPanel.EXECUTION


def number_of(settings: Settings, name: str) -> float | None:
    """Return the number that a setting has, or a parameter in its word; None if there is none.

    Args:
        settings: the settings of a run.
        name: a setting, such as ``k`` or ``model_options.width``; or a parameter, such as ``estimator.alpha``.
    """
    values = with_model_options(settings.model_dump(mode="json"))
    field, _, parameter = name.partition(".")
    if name in values or field not in _WORDS:
        return number(values.get(name))
    try:
        part: Any = _WORDS[field](str(values[field]))
    except SpecError:
        return None  # reported with the options
    return number(getattr(getattr(part, "start", part), parameter, None))


def matched(asked: Asked, members: Sequence[Member]) -> list[Member]:
    """Return for each published number the runs that it belongs to.

    Raises:
        SpecError: a number belongs to no runs, or to several.
    """
    found: list[Member] = []
    faults: list[tuple[Place, str]] = []
    for i, each in enumerate(asked.paper.published):
        fitting = [member for member in members if _fits(member.spec, each.at)]
        if len(fitting) == 1:
            found += fitting
            continue
        given = ", ".join(f"{name} = {value!r}" for name, value in asked.file.paper.published[i].at.items())
        if fitting:
            some = " or ".join(member.label() for member in fitting[:3])
            why = f"{given}: several runs have these settings: {some}."
        else:
            why = f"{given}: no run has these settings."
        faults.append((("published", i, "at"), why))
    if faults:
        raise asked.file.error(faults)
    return found


def _fits(spec: RunSpec, at: Mapping[str, Any]) -> bool:
    """Whether a run has all these settings, in whatever words."""
    spread, contradictions = spread_pair(at)
    has = with_model_options(spelt_out(as_json(spec)))
    wants = canonical_words(spread)
    return not contradictions and all(
        name in has and shown_value(name, has[name]) == shown_value(name, value) for name, value in wants.items()
    )
