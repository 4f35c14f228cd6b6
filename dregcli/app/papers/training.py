"""Experiments that train models: a study by the code of ``dreg train``, and an evaluation of each run."""

from collections.abc import Sequence
from dataclasses import replace

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.evaluation.evaluate import evaluate_runs
from dregcli.app.evaluation.request import EvalRequest
from dregcli.app.papers.kind import Asked, Expected, Made, PaperRequest, Ran, Results, Scaled, State
from dregcli.app.papers.pace import seconds_per_step
from dregcli.app.papers.provenance import made_by
from dregcli.app.papers.scaling import shorter_study
from dregcli.app.papers.studies import Member, done_in, matched, members_of, request_of, training_of
from dregcli.app.papers.study_file import file_faults
from dregcli.app.papers.study_lines import compared, drawing_of
from dregcli.app.planning.plan import Plan
from dregcli.app.studies.launch import StudyResult, launch, planned, preview
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.preview import Preview
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.report.papers.quantities import evaluated
from dregcli.specs.papers.document import Paper
from dregcli.specs.papers.lines import Place as Entry
from dregcli.specs.run import group_hash, spelt_out
from dregcli.store.runs import RunStore
from dregcli.wording import counted, listed


class Trainings:
    """See ``dregcli.app.papers.kind.Kind``."""

    def faults(self, paper: Paper) -> list[tuple[Entry, str]]:
        """Find options that no run can have, runs without a length, and quantities that there are not."""
        return file_faults(paper)

    def scaled(self, paper: Paper, share: float) -> Scaled:
        """Shorten the runs, their schedules and their evaluations."""
        return shorter_study(paper, training_of(paper), share)

    def request_faults(self, request: PaperRequest) -> list[Fault]:
        """Return nothing: the study itself checks where it can be trained."""
        return []

    def state(self, asked: Asked) -> State:
        """Count the runs that are done."""
        plan = planned(request_of(asked), asked.data_dir)
        done = len(done_in(plan, RunStore(asked.runs_dir)))
        steps = sum(each.spec.steps for each in plan.combinations)
        ks = sorted({each.spec.k for each in plan.combinations})
        length = f"{steps:,} steps in all, K={','.join(map(str, ks))}"
        return State(done, len(plan.combinations), "run", length)

    def preview(self, asked: Asked, listener: Listener) -> Preview | None:
        """Return the runs."""
        plan = planned(request_of(asked), asked.data_dir)
        return preview(
            request_of(asked),
            runs_dir=asked.runs_dir,
            data_dir=asked.data_dir,
            listener=listener,
            without=_from_elsewhere(plan, RunStore(asked.runs_dir), listener),
        )

    def expected(self, asked: Asked) -> Expected | None:
        """Take the first steps of each kind of run that is missing, and throw them away."""
        plan = planned(request_of(asked), asked.data_dir)
        matched(asked, members_of(plan, None))  # a published number that belongs to no run is found before any step
        if asked.request.on is not Place.LOCAL:
            return None
        known = repeats_in(RunStore(asked.runs_dir))
        done = done_in(plan, RunStore(asked.runs_dir))
        missing = [each for each in plan.combinations if key_of(each.spec) not in done]
        if not missing:
            return None
        paces: dict[str, float] = {}
        for each in missing:
            kind = key_of(each.spec)[0]
            if kind not in paces:
                paces[kind] = seconds_per_step(Plan(each.spec, plan.data(each), code=each.code))
        left = sum(paces[key_of(each.spec)[0]] * _steps_left(each, known.get(key_of(each.spec))) for each in missing)
        at_once = min(max(1, asked.request.jobs or 1), len(missing))
        evaluation = training_of(asked.paper).evaluation
        besides = "the bounds along and after training"
        besides += f", and an evaluation with {evaluation.k:,} samples of each run" if evaluation else ""
        return Expected(left / at_once, f"by the first steps of {counted(len(paces), 'kind')} of run", besides)

    def run(self, asked: Asked, listener: ListenerOfMany) -> Ran:
        """Train what is missing as ``dreg train`` does, and evaluate each run that lacks its evaluation."""
        plan = planned(request_of(asked), asked.data_dir)
        elsewhere = _from_elsewhere(plan, RunStore(asked.runs_dir), listener)
        study = None
        if len(elsewhere) < len(plan.combinations):
            study = launch(
                request_of(asked),
                runs_dir=asked.runs_dir,
                data_dir=asked.data_dir,
                argv=[*asked.argv],
                listener=listener,
                without=elsewhere,
            )
            assert isinstance(study, StudyResult)
        evaluation = training_of(asked.paper).evaluation
        missing = _unevaluated(members_of(plan, RunStore(asked.runs_dir), evaluation))
        if evaluation is not None and missing:
            request = EvalRequest(
                split=evaluation.split.value, k=str(evaluation.k), n=evaluation.n, **asked.request.settings
            )
            evaluate_runs(missing, request, runs_dir=asked.runs_dir, data_dir=asked.data_dir, listener=listener)
        return Ran(study.exit_code if study else 0, study)

    def results(self, asked: Asked) -> Results:
        """Collect the runs that are done."""
        plan = planned(request_of(asked), asked.data_dir)
        members = members_of(plan, RunStore(asked.runs_dir), training_of(asked.paper).evaluation)
        published = list(zip(asked.file.paper.published, matched(asked, members), strict=True))
        drawings = tuple(drawing_of(panel, members, published) for panel in asked.paper.figure)
        beside = tuple(compared(asked, each, member) for each, member in published)
        done = [each for member in members for each in member.repeats]
        short = len(plan.combinations) - len(done)
        lacking = _unevaluated(members)
        parts = [counted(short, "run")] if short else []
        parts += [counted(len(lacking), "evaluation")] if lacking else []
        return Results(drawings, beside, _made(done), f"{listed(parts)} missing" if parts else "")


def _steps_left(combination: Combination, found: Repeat | None) -> int:
    done = max(found.run.checkpoints(), default=0) if found and found.standing is Standing.CUT else 0
    return max(0, combination.spec.steps - done)


def _from_elsewhere(plan: StudyPlan, store: RunStore, listener: Listener) -> set[Key]:
    """Return what needs no run because one made in another way, as on another machine, is done; say which."""
    others = {key: found for key, found in done_in(plan, store).items() if group_hash(found.run.spec()) != key[0]}
    if others:
        runs = listed([found.run.label for found in others.values()])
        listener.note(f"made elsewhere or in another way, with the same expectation, and not repeated: {runs}")
    return set(others)


def _unevaluated(members: Sequence[Member]) -> list[str]:
    """Return the runs that are done and lack the evaluation at the end of their training, by their keys."""
    missing: list[str] = []
    for member in members:
        if member.group is None or member.wanted is None:
            continue
        for row in member.group.rows:
            if evaluated(replace(member.group, rows=(row,)), member.wanted) is None:
                missing.append(row.key)
    return missing


def _made(done: Sequence[Repeat]) -> Made | None:
    if not done:
        return None
    specs = [spelt_out(each.run.spec()) for each in done]
    seeds, steps = ({int(each[name]) for each in specs} for name in ("seed", "steps"))
    hours = sum(float(each.info.summary.get("seconds", 0.0)) for each in done) / 3600.0
    length = f"{counted(len(seeds), 'seed')}, {listed([f'{each:,}' for each in sorted(steps)])} steps a run"
    # A summary's seconds are those of the steps.
    return made_by([each.run.environment() for each in done], hours, "training steps", length)
