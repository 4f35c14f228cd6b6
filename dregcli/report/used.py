"""Published methods, data and diagnostics that runs used, by the kinds and names of ``bibtex.cited``."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from dregcli.names import EvalMethod
from dregcli.report.comparison import Comparison
from dregcli.report.groups import Group, RunRow
from dregcli.words import name_of, split_pair

Use = tuple[str, str]
"""Kind and name."""

_SNR: Final[Use] = ("diagnostic", "gradient SNR")


def used(groups: Sequence[Group], comparisons: Sequence[Comparison]) -> Mapping[Use, int]:
    """Count the runs of each use. Runs of every status count, because an unfinished run also used the method.

    Args:
        groups: groups of a report.
        comparisons: comparisons of these groups; the runs of tested groups use the paired tests.
    """
    found = Counter[Use](use for group in groups for row in group.rows for use in dict.fromkeys(_of_run(row)))
    tested = {key for each in comparisons for pair in each.pairs if pair.p is not None for key in (pair.a, pair.b)}
    if runs := sum(len(group.rows) for group in groups if group.key in tested):
        found["diagnostic", "paired tests"] = runs
    return found


def data_sets_of_ones_own(groups: Sequence[Group], known: Mapping[str, object]) -> list[str]:
    """Return the names of the runs' data sets for which the program knows no work to cite."""
    return sorted({str(group.spec["dataset"]) for group in groups} - known.keys())


def _of_run(row: RunRow) -> Iterator[Use]:
    return uses_of(row.spec, row.evals, (*row.bias, *row.variance), measured=bool(row.variance))


def uses_of(
    spec: Mapping[str, Any],
    evals: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]] = (),
    *,
    measured: bool = False,
) -> Iterator[Use]:
    """Yield the uses of one run; a use may come several times.

    Args:
        spec: the spec as plain values, with its defaults.
        evals: attributes of the run's evaluations.
        checks: attributes of the run's bias checks and measurements of gradient variance.
        measured: whether the gradient variance was measured.
    """
    yield "program", "dreg"
    yield from _of_pair(str(spec["objective"]), str(spec["estimator"]))
    if "schedule=moments" in str(spec["objective"]):
        yield "tvo schedule", "moments"
    yield "data set", str(spec["dataset"])
    yield "model", str(spec["model"])
    # The usual values cite nothing; specs of other models have neither setting.
    if (posterior := str(spec.get("posterior")).partition(",")[0]).startswith("flow:"):
        yield "posterior", posterior
    if (kind := spec.get("prior_gradient", "score")) != "score":
        yield "prior gradient", str(kind)
    yield "task", str(spec["task"])
    if spec["likelihood"] is not None:
        yield "likelihood", str(spec["likelihood"])
    yield "optimiser", name_of(str(spec["optimizer"]))
    for word in spec["track_estimators"]:
        yield from _of_word(str(word))
        yield _SNR
    for attrs in evals:
        yield from _of_evaluation(attrs)
    for attrs in checks:
        for result in cast("list[Mapping[str, Any]]", attrs["results"]):
            # A gradient of the model has an objective and no estimator, because it is the same for all estimators.
            yield from _of_pair(result.get("objective"), result.get("estimator"))
    if measured:
        yield _SNR


def _of_evaluation(attrs: Mapping[str, Any]) -> Iterator[Use]:
    yield "evaluation", str(EvalMethod.IMPORTANCE)  # AIS comes in addition; it never replaces importance sampling
    if attrs.get("ais"):
        yield "evaluation", str(EvalMethod.AIS)
    if attrs.get("khat"):
        yield "diagnostic", "k-hat"
    if attrs.get("active_units") is not None:
        yield "diagnostic", "active units"
    if any(point.get("jackknife") for point in attrs.get("curve", ())):
        yield "diagnostic", "jackknife"


def _of_word(word: str) -> Iterator[Use]:
    """Yield the uses of an estimator's or a pair's word: ``dreg-alpha:alpha=0.9``, ``rws/dreg``."""
    yield from _of_pair(*split_pair(word))


def _of_pair(objective: object, estimator: object) -> Iterator[Use]:
    """Yield objective and estimator without their parameters."""
    if isinstance(objective, str):
        yield "objective", name_of(objective)
    if isinstance(estimator, str):
        yield "estimator", name_of(estimator)
