"""The output of a command that has trained a study."""

from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal
from dregcli.cli.reporting.result import show
from dregcli.cli.training.trained import trained_json
from dregcli.commands import command
from dregcli.defaults import EVALUATED_KS
from dregcli.names import RunStatus

if TYPE_CHECKING:
    from dregcli.app.studies.outcome import StudyResult, StudyRun


def show_study(terminal: Terminal, study: "StudyResult") -> None:
    """Show the report of the study's runs, like ``dreg report``, and the number of runs."""
    from dregcli.app.reporting.plain import report_json

    report = study.report
    for left_out in report.left_out if report else ():
        terminal.warn(f"left out: {left_out}")
    if terminal.as_json:
        content = report_json(report, time_to=None) if report else None
        labelled = zip(study.labels, study.runs, strict=True)
        terminal.result({"runs": [{"label": label, **_json(each)} for label, each in labelled], "report": content})
        return
    if report:
        show(terminal, report, time_to=None)
        for warning in report.warnings:
            terminal.warn(warning)
    terminal.line()
    terminal.line(f"study: {study_in_counts(study)}")
    for label, each in zip(study.labels, study.runs, strict=True):
        if each.failure and each.failure.hint:
            terminal.line(f"failed: {label}: {each.failure.hint}")
    if words := study.words:
        evaluate = command("eval", *words, "--split", "test", "--k", EVALUATED_KS, runs_dir=study.runs_dir)
        terminal.line(f"next:  {evaluate}")
        terminal.line(f"       {command('report', *words, '--html', 'report.html', runs_dir=study.runs_dir)}")


def study_in_counts(study: "StudyResult") -> str:
    """Return the number of runs by what has come of them."""
    failed = sum(each.failure is not None for each in study.runs)
    queued = sum(each.queued is not None for each in study.runs)
    there = [each for each in study.runs if each.skipped and each.failure is None and each.queued is None]
    elsewhere = sum(not (each.info and each.info.status is RunStatus.COMPLETED) for each in there)
    shared = sum(each.shared for each in there) - elsewhere
    counts = {
        "trained": len(study.runs) - failed - queued - len(there),
        "done before": len(there) - elsewhere - shared,
        "trained by another process": shared,
        "running in another process": elsewhere,
        "in the queue of the cluster": queued,
        "failed": failed,
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return f"{len(study.runs)} run{'s' if len(study.runs) != 1 else ''}: {', '.join(parts)}"


def _json(each: "StudyRun") -> dict[str, Any]:
    """Return the JSON of ``dreg train`` for one run, with its place in the study, and its error if it failed."""
    spec = each.spec
    found: dict[str, Any] = {"objective": spec.objective, "estimator": spec.estimator, "seed": spec.seed}
    if each.info:
        found = {**trained_json(each.info.summary), **found, "status": each.info.status.value}
    else:  # without a folder it is a run that another process is about to train, or one that failed before
        found["status"] = "running" if each.held else "failed"
    found["run"] = str(each.run.path) if each.run else None
    if each.skipped:
        found["skipped"] = True
    if each.queued:
        found |= {"status": "queued", "queued": each.queued}
    if failure := each.failure:
        found["error"] = {
            "what": failure.what,
            "where": failure.where,
            "next": failure.hint,
            "exit_code": failure.exit_code,
        }
    return found
