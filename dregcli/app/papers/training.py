"""Experiments that train models: a study by the code of ``dreg train``, and an evaluation of each run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.evaluation.evaluate import evaluate_runs
from dregcli.app.evaluation.request import EvalRequest
from dregcli.app.papers.kind import Asked, Change, Expected, Made, PaperRequest, Ran, Results, Scaled, State
from dregcli.app.papers.pace import seconds_per_step
from dregcli.app.papers.provenance import made_by
from dregcli.app.papers.scaling import shorter_study
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.words import canonical_words, spread_pair
from dregcli.app.reporting.report import read_row
from dregcli.app.studies.launch import StudyResult, TrainRequest, launch, planned, preview
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.preview import Preview
from dregcli.app.studies.repeats import Repeat, Standing, key_of, repeats_in
from dregcli.engine.words import parse_estimator, parse_scheduled
from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.parts import shown_word
from dregcli.report.aggregate import Aggregate
from dregcli.report.figures.style import POINTS
from dregcli.report.groups import Group
from dregcli.report.papers.outcome import Compared, Drawing, Line, Mark, Point
from dregcli.report.papers.quantities import QUANTITIES, Wanted, evaluated
from dregcli.report.series import band
from dregcli.report.settings import setting_name, shown_setting, shown_value, with_model_options
from dregcli.specs.papers.document import STEP, Evaluation, Panel, Paper, Published, Training
from dregcli.specs.papers.lines import Place as Entry
from dregcli.specs.resolve import read_options
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.store.runs import RunStore
from dregcli.wording import counted, listed

_WORDS: Final = {"objective": parse_scheduled, "estimator": parse_estimator}
"""Fields whose words have parameters, such as ``estimator.alpha``, which may be the x of a panel."""


@dataclass(frozen=True)
class _Member:
    """The runs of one experiment at all seeds, and the group of those that are done; None if none is."""

    first: Combination
    repeats: Sequence[Repeat]
    group: Group | None

    @property
    def spec(self) -> RunSpec:
        return self.first.spec


class Trainings:
    """See ``dregcli.app.papers.kind.Kind``."""

    def faults(self, paper: Paper) -> list[tuple[Entry, str]]:
        """Find options that no run can have, runs without a length, and quantities that there are not."""
        experiment = _of(paper)
        found: list[tuple[Entry, str]] = []
        for number, table in enumerate(experiment.runs):
            found += _table_faults(experiment, number, table)
        for number, panel in enumerate(paper.figure):
            found += [((*("figure", number), name), why) for name, why in _panel_faults(panel, experiment)]
        for number, each in enumerate(paper.published):
            here: Entry = ("published", number)
            found += [((*here, "y"), why) for why in _unknown(each.y)]
            found += [((*here, "y"), why) for why in _needs(each.y, experiment)]
            if each.of == "slope":
                found.append(((*here, "of"), "must be value: slopes are measured on the toy only."))
        return found

    def scaled(self, paper: Paper, share: float) -> Scaled:
        """Shorten the runs, their schedules and their evaluations."""
        return shorter_study(paper, _of(paper), share)

    def request_faults(self, request: PaperRequest) -> list[Fault]:
        """Return nothing: the study itself checks where it can be trained."""
        return []

    def state(self, asked: Asked) -> State:
        """Count the runs that are done."""
        plan = planned(_request(asked), asked.data_dir)
        known = repeats_in(RunStore(asked.runs_dir))
        done = sum(_is_done(known.get(key_of(each.spec))) for each in plan.combinations)
        steps = sum(each.spec.steps for each in plan.combinations)
        ks = sorted({each.spec.k for each in plan.combinations})
        length = f"{steps:,} steps in all, K={','.join(map(str, ks))}"
        return State(done, len(plan.combinations), "run", length)

    def preview(self, asked: Asked, listener: Listener) -> Preview | None:
        """Return the runs."""
        self._require_places(asked)
        return preview(_request(asked), runs_dir=asked.runs_dir, data_dir=asked.data_dir, listener=listener)

    def expected(self, asked: Asked) -> Expected | None:
        """Take the first steps of each kind of run that is missing, and throw them away."""
        if asked.request.on is not Place.LOCAL:
            return None
        plan = planned(_request(asked), asked.data_dir)
        known = repeats_in(RunStore(asked.runs_dir))
        missing = [each for each in plan.combinations if not _is_done(known.get(key_of(each.spec)))]
        if not missing:
            return None
        paces: dict[str, float] = {}
        for each in missing:
            kind = key_of(each.spec)[0]
            if kind not in paces:
                paces[kind] = seconds_per_step(Plan(each.spec, plan.data(each), code=each.code))
        left = sum(paces[key_of(each.spec)[0]] * _steps_left(each, known.get(key_of(each.spec))) for each in missing)
        at_once = min(max(1, asked.request.jobs or 1), len(missing))
        evaluation = _of(asked.paper).evaluation
        besides = "the bounds along and after training"
        besides += f", and an evaluation with {evaluation.k:,} samples of each run" if evaluation else ""
        return Expected(left / at_once, f"by the first steps of {counted(len(paces), 'kind')} of run", besides)

    def run(self, asked: Asked, listener: ListenerOfMany) -> Ran:
        """Train what is missing as ``dreg train`` does, and evaluate each run that lacks its evaluation."""
        self._require_places(asked)
        study = launch(
            _request(asked),
            runs_dir=asked.runs_dir,
            data_dir=asked.data_dir,
            argv=[*asked.argv],
            listener=listener,
        )
        assert isinstance(study, StudyResult)
        evaluation = _of(asked.paper).evaluation
        if evaluation is not None and (missing := _unevaluated(asked, evaluation)):
            request = EvalRequest(
                split=evaluation.split.value, k=str(evaluation.k), n=evaluation.n, **asked.request.settings
            )
            evaluate_runs(
                missing, request, runs_dir=asked.runs_dir, data_dir=asked.data_dir, listener=listener
            )
        return Ran(study.exit_code, study)

    def results(self, asked: Asked) -> Results:
        """Collect the runs that are done."""
        plan = planned(_request(asked), asked.data_dir)
        members = _members(plan, RunStore(asked.runs_dir))
        evaluation = _of(asked.paper).evaluation
        wanted = Wanted(evaluation.split.value, evaluation.k, evaluation.n) if evaluation else None
        matched = _matched(asked, members)
        drawings = tuple(_drawing(panel, members, matched, wanted, asked.paper) for panel in asked.paper.figure)
        compared = tuple(
            _compared(asked, each, member, wanted)
            for each, member in zip(asked.paper.published, matched, strict=True)
        )
        done = [each for member in members for each in member.repeats]
        short = len(plan.combinations) - len(done)
        lacking = [] if wanted is None else [each for each in members if each.group and not evaluated(each.group, wanted)]
        parts = [counted(short, "run")] if short else []
        parts += [counted(len(lacking), "evaluation")] if lacking else []
        return Results(drawings, compared, _made(done, plan), f"{listed(parts)} missing" if parts else "")

    def _require_places(self, asked: Asked) -> None:
        """Refuse published numbers that belong to no run, or to several.

        Raises:
            SpecError: all of them, with their lines.
        """
        plan = planned(_request(asked), asked.data_dir)
        _matched(asked, _members(plan, None))


def _of(paper: Paper) -> Training:
    assert isinstance(paper.experiment, Training)
    return paper.experiment


def _tables(experiment: Training) -> list[dict[str, Any]]:
    return [{**experiment.options, "seeds": experiment.seeds, **each} for each in experiment.runs]


def _request(asked: Asked) -> TrainRequest:
    """Return the request of the study, as ``dreg train --sweep`` makes it."""
    request = asked.request
    return TrainRequest(
        request.settings,
        tables=_tables(_of(asked.paper)),
        jobs=request.jobs,
        on=request.on,
        at_once=request.at_once,
        slurm=request.slurm,
        ray_address=request.ray_address,
    )


def _table_faults(experiment: Training, number: int, table: Mapping[str, Any]) -> list[tuple[Entry, str]]:
    """Return the faults of one table's options, with the value of a list that has them."""
    whole = {**experiment.options, **table}
    here: Entry = ("experiment", "runs", number)
    found: list[tuple[Entry, str]] = []
    for field in ("seed", "seeds"):
        if field in whole:
            place = (*here, field) if field in table else ("experiment", "options", field)
            found.append((place, "belongs beside the runs: write seeds below [experiment]."))
    if not {"steps", "epochs"} & set(whole):
        found.append((here, "a run needs its length: write steps or epochs."))
    for field, given in whole.items():
        name = field.replace("-", "_")
        values: list[Any] = given if isinstance(given, list) and name not in _LISTS else [given]  # pyright: ignore[reportUnknownVariableType]
        place = (*here, field) if field in table else ("experiment", "options", field)
        for value in values:
            spread, _ = spread_pair({name: value})
            found += [(place, f"{fault.field}: {fault.message}") for fault in read_options(spread)[1]]
    return found


_LISTS: Final = ("hidden", "latent_dim", "track_estimators")
"""Options that a list is one value of."""


def _unknown(y: str) -> list[str]:
    return [] if y in QUANTITIES else [f"must be one of {', '.join(QUANTITIES)}, got '{y}'."]


def _needs(y: str, experiment: Training) -> list[str]:
    """Return what the runs lack for a quantity."""
    quantity = QUANTITIES.get(y)
    if quantity is None:
        return []
    if quantity.needs_evaluation and experiment.evaluation is None:
        return [f"{y} is the result of an evaluation: write an [experiment.evaluation] with split and k."]
    if quantity.is_tracked and not all("track_estimators" in each for each in _tables(experiment)):
        return [f"{y} needs runs that track their estimator: write track_estimators in the options or in every run."]
    return []


def _panel_faults(panel: Panel, experiment: Training) -> list[tuple[str, str]]:
    found = [("y", why) for why in (*_unknown(panel.y), *_needs(panel.y, experiment))]
    quantity = QUANTITIES.get(panel.y)
    if panel.x == STEP:
        if quantity and quantity.along is None:
            found.append(("x", f"{panel.y} is known at the end of training only: name a setting, such as k."))
    elif panel.x.partition(".")[0] not in {key for each in _tables(experiment) for key in each}:
        found.append(("x", f"must be step, or a setting of the runs, got '{panel.x}'."))
    return found


def _is_done(found: Repeat | None) -> bool:
    return found is not None and found.standing is Standing.DONE


def _steps_left(combination: Combination, found: Repeat | None) -> int:
    done = max(found.run.checkpoints(), default=0) if found and found.standing is Standing.CUT else 0
    return max(0, combination.spec.steps - done)


def _members(plan: StudyPlan, store: RunStore | None) -> list[_Member]:
    """Return the runs of a plan by experiment, with those that a store has; with no store, none."""
    known = repeats_in(store) if store else {}
    by_kind: dict[str, list[Combination]] = {}
    for each in plan.combinations:
        by_kind.setdefault(key_of(each.spec)[0], []).append(each)
    members: list[_Member] = []
    for kind, combinations in by_kind.items():
        done = [found for each in combinations if (found := known.get(key_of(each.spec))) and _is_done(found)]
        rows = [read_row(each.run, []) for each in done]
        members.append(_Member(combinations[0], done, Group(kind, tuple(rows)) if rows else None))
    return members


def _matched(asked: Asked, members: Sequence[_Member]) -> list[_Member]:
    """Return for each published number the runs that it belongs to.

    Raises:
        SpecError: a number belongs to no runs, or to several.
    """
    found: list[_Member] = []
    faults: list[tuple[Entry, str]] = []
    for number, each in enumerate(asked.paper.published):
        fitting = [member for member in members if _fits(member.spec, each.at)]
        if len(fitting) == 1:
            found += fitting
            continue
        given = ", ".join(f"{name} = {value!r}" for name, value in asked.file.paper.published[number].at.items())
        why = f"{given}: no run has these settings." if not fitting else ""
        some = " or ".join(_label(member, "") for member in fitting[:3])
        faults.append((("published", number, "at"), why or f"{given}: several runs have these settings: {some}."))
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


def _x(spec: RunSpec, name: str) -> float | None:
    """Return the number of a setting, or of a parameter of a word, such as ``estimator.alpha``."""
    field, _, parameter = name.partition(".")
    if field in _WORDS and parameter:
        part: Any = _WORDS[field](getattr(spec, field))
        value: Any = getattr(getattr(part, "start", part), parameter, None)
    else:
        value = with_model_options(spec.model_dump(mode="json")).get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _label(member: _Member, x: str) -> str:
    """Return what tells a line from others: the pair and the settings, without those of the axis."""
    field, _, parameter = x.partition(".")
    words = {
        name: shown_word(getattr(member.spec, name)).partition(":")[0]
        if parameter and name == field
        else shown_word(getattr(member.spec, name))
        for name in ("objective", "estimator")
    }
    others = [shown_setting(*each, is_short=False) for each in member.first.settings.items() if each[0] != x]
    return " ".join(["/".join(words.values()), *others])


def _drawing(
    panel: Panel, members: Sequence[_Member], matched: Sequence[_Member], wanted: Wanted | None, paper: Paper
) -> Drawing:
    quantity = QUANTITIES[panel.y]
    is_along = panel.x == STEP
    by_label: dict[str, list[_Member]] = {}
    for each in members:
        by_label.setdefault(_label(each, panel.x), []).append(each)
    lines = [
        line for label, of_one in by_label.items() if (line := _line(label, of_one, panel, wanted)) is not None
    ]
    marks = [
        Mark(_label(member, panel.x), None if is_along else _x(member.spec, panel.x), each.value)
        for each, member in zip(paper.published, matched, strict=True)
        if (each.y, each.network) == (panel.y, panel.network)
    ]
    return Drawing(
        panel.title or quantity.name.format(panel.network),
        "optimisation steps" if is_along else setting_name(panel.x),
        quantity.name.format(panel.network),
        is_along,
        quantity.is_log,
        tuple(lines),
        tuple(marks),
    )


def _line(label: str, members: Sequence[_Member], panel: Panel, wanted: Wanted | None) -> Line | None:
    quantity = QUANTITIES[panel.y]
    points: list[Point] = []
    course = None
    for each in members:
        if each.group is None:
            continue
        if panel.x == STEP and quantity.along is not None:
            curves = [found for row in each.group.seeds() if (found := quantity.along(row, panel.network))]
            course = band(curves, points=POINTS)
        x = None if panel.x == STEP else _x(each.spec, panel.x)
        value = quantity.at_end(each.group, panel.network, wanted)
        if value is not None and (panel.x == STEP or x is not None):
            points.append(Point(x, value))
    points.sort(key=lambda each: each.x or 0.0)
    return Line(label, tuple(points), course) if points or course else None


def _compared(asked: Asked, published: Published, member: _Member, wanted: Wanted | None) -> Compared:
    quantity = QUANTITIES[published.y]
    ours: Aggregate | None = None
    if member.group is not None:
        ours = quantity.at_end(member.group, published.network, wanted)
    plain = published.model_dump(mode="json", include={"value", "error", "read", "source", "what", "at", "of"})
    return Compared(
        _label(member, ""),
        quantity.name.format(published.network),
        plain,
        ours,
        _shorter(asked.scaled.changes),
    )


def _shorter(changes: Sequence[Change]) -> str:
    """Name what is shorter of a run: its length, and K."""
    kept = [each for each in changes if each.name in ("steps", "epochs", "K")]
    return "; ".join(f"{each.name} {each.after} of {each.before}" for each in kept)


def _unevaluated(asked: Asked, evaluation: Evaluation) -> list[str]:
    """Return the runs that are done and lack the evaluation at their last step."""
    plan = planned(_request(asked), asked.data_dir)
    wanted = Wanted(evaluation.split.value, evaluation.k, evaluation.n)
    missing: list[str] = []
    for member in _members(plan, RunStore(asked.runs_dir)):
        for row in member.group.rows if member.group else ():
            alone = replace(member.group, rows=(row,)) if member.group else None
            if alone is not None and evaluated(alone, wanted) is None:
                missing.append(row.key)
    return missing


def _made(done: Sequence[Repeat], plan: StudyPlan) -> Made | None:
    if not done:
        return None
    seeds = sorted({each.spec.seed for each in plan.combinations})
    steps = sorted({each.spec.steps for each in plan.combinations})
    hours = sum(float(each.info.summary.get("seconds", 0.0)) for each in done) / 3600.0
    length = f"{counted(len(seeds), 'seed')}, {listed([f'{each:,}' for each in steps])} steps a run"
    return made_by([each.run.environment() for each in done], hours, length)
