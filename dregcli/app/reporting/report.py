"""Collect runs from the store, group them and compare them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli.app.loading.stored import is_with_its_code, spec_of
from dregcli.app.reporting.renames import stored_renames
from dregcli.errors import DregError, RunNotFound
from dregcli.report.aggregate import Aggregate
from dregcli.report.along import Along, along_settings
from dregcli.report.comparison import Comparison
from dregcli.report.groups import Group, RunRow, group_rows
from dregcli.report.labels import Rename
from dregcli.report.paired import Paired
from dregcli.report.sections import ReportSection, sections_of
from dregcli.report.series import Metrics
from dregcli.report.settings import with_model_options
from dregcli.report.warnings import warnings_of
from dregcli.specs.models import OF_MODELS
from dregcli.specs.run import RunSpec, experiment_of, group_hash, spelt_out
from dregcli.store.results import ResultKind
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

__all__ = ["Aggregate", "Comparison", "Group", "Paired", "Report", "make_report", "read_row"]


_NEEDED: Final[Mapping[ResultKind, tuple[str, ...]]] = {
    "evals": ("checkpoint", "split", "k", "seed", "n", "value"),
    "bias": ("results",),
    "variance": ("summary",),
}
"""Attributes that a report needs; a result by another program or version may lack some of them."""


_WHAT: Final[Mapping[ResultKind, str]] = {"evals": "evaluation", "bias": "bias check", "variance": "measurement"}


def _is_with_its_code(kind: ResultKind, attrs: Mapping[str, Any], spec: RunSpec) -> bool:
    """Whether a result belongs to the code of its run; earlier versions did not keep the code of a diagnosis."""
    if kind == "evals":
        return is_with_its_code(attrs, spec)
    settings = attrs.get("settings", {})
    return "model_digest" not in settings or is_with_its_code(settings, spec)


@dataclass(frozen=True)
class Report:
    """Groups of runs and their comparisons.

    Attributes:
        sections: groups with the same data, pixels, task and model, with their labels and comparisons.
        warnings: warnings that a reader must see.
        left_out: everything that could not be read, with the reason.
        runs: the runs that could be read, by path.
        along: comparisons along each setting in which groups differ, all else equal.
    """

    sections: list[ReportSection]
    warnings: list[str]
    left_out: list[str]
    runs: dict[str, Run]
    along: list[Along]

    @property
    def remarks(self) -> list[str]:
        """The warnings, and everything that was left out, in words."""
        return [*self.warnings, *(f"left out: {each}" for each in self.left_out)]

    @property
    def groups(self) -> list[Group]:
        """The groups of all sections."""
        return [group for section in self.sections for group in section.groups]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of all groups, by key; they begin with the section's title if there are several sections."""
        several = len(self.sections) > 1
        return {
            key: f"{section.title}: {label}" if several else label
            for section in self.sections
            for key, label in section.labels.items()
        }


def make_report(references: Sequence[str], *, runs_dir: Path, renames: Sequence[Rename] = ()) -> Report:
    """Report on runs; a name means all its versions.

    Args:
        references: names or versions; an empty sequence means all runs of the store.
        runs_dir: the store.
        renames: names for groups, which go before the names in the store's ``labels.toml``.

    Raises:
        RunNotFound: no such run, or none of the runs can be read.
        StoreFormatError: the store has another format.
        UsageError: ``labels.toml`` cannot be read.
    """
    found = RunStore(runs_dir).resolve_all(references)
    if not found:
        what = "There are no runs to report on."
        raise RunNotFound(
            what, where=str(runs_dir), hint="name the store with --runs-dir; or train a run: dreg train --help"
        )
    rows: list[RunRow] = []
    runs: dict[str, Run] = {}
    left_out: list[str] = []
    for run in found:
        try:
            rows.append(read_row(run, left_out))
            runs[rows[-1].path] = run
        except DregError as error:
            left_out.append(f"{run.path}: {error.what}")
    if not rows:
        what = "None of these runs can be read: " + "; ".join(left_out)
        raise RunNotFound(what, where=str(runs_dir), hint="name another run")
    sections = sections_of(group_rows(rows), [*renames, *stored_renames(runs_dir)])
    warnings = [*_unused(renames, sections), *warnings_of(sections)]
    return Report(sections, warnings, left_out, runs, along_settings(sections, OF_MODELS))


def _unused(renames: Sequence[Rename], sections: Sequence[ReportSection]) -> list[str]:
    """Warn of names that no group has. Names in ``labels.toml`` need no warning: they are for all reports."""
    shown = [label for section in sections for label in section.labels.values()]
    return [
        f"--label '{each.pattern}={each.name}' names no group: the pattern must fit a label, an objective/estimator, "
        "or the name of a run."
        for each in renames
        if not any(f"{label} ".startswith(f"{each.name} ") for label in shown)
    ]


def read_row(run: Run, left_out: list[str]) -> RunRow:
    """Return a run's row of a report; parts that cannot be read are added to ``left_out``.

    Raises:
        DregError: the run's state or spec cannot be read, or this version of the program does not know it.
    """
    info = run.info()
    known = spec_of(run)  # refuse a spec that dreg does not know: it may lack what a report shows
    spec = spelt_out(run.spec(info))

    def results(kind: ResultKind) -> list[dict[str, Any]]:
        try:
            found = run.results(kind)
        except DregError as error:
            left_out.append(f"{kind} of {run.path}: {error.what}")
            return []
        whole = [result for result in found if all(key in result.attrs for key in _NEEDED[kind])]
        left_out.extend(
            f"{result.path}: the result lacks values that a report needs" for result in found if result not in whole
        )
        left_out.extend(
            f"{result.path}: the {_WHAT[kind]} used other code of the model than the training"
            for result in whole
            if not _is_with_its_code(kind, result.attrs, known)
        )
        own = [result.attrs for result in whole if _is_with_its_code(kind, result.attrs, known)]
        if kind != "evals":
            return own
        left_out.extend(
            f"{result.path}: bounds of samples that depend on each other (--noise {result.attrs['noise']}) are not "
            "compared with others"
            for result in whole
            if "noise" in result.attrs
        )
        return [attrs for attrs in own if "noise" not in attrs]

    metrics: Metrics = {}
    try:
        metrics = run.all_metrics()
    except DregError as error:  # the report can show the run without its metrics
        left_out.append(f"metrics of {run.path}: {error.what}")
    return RunRow(
        path=str(run.path),
        name=run.name,
        version=run.path.name,
        group=group_hash(spec),
        spec=spec,
        experiment=with_model_options(experiment_of(spec)),
        status=info.status,
        summary=info.summary,
        evals=results("evals"),
        metrics=metrics,
        bias=results("bias"),
        variance=results("variance"),
        created=info.created.isoformat(),
        elsewhere=run.elsewhere,
    )
