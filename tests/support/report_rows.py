"""Runs as a report sees them, made in memory: for figures, which need many and read no store."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dregcli.names import RunStatus
from dregcli.report.comparison import Comparison, compare
from dregcli.report.figures.members import Chosen, choose
from dregcli.report.groups import Group, RunRow, group_rows
from dregcli.report.labels import labels
from dregcli.report.settings import with_model_options
from tests.support.store_study import spec

STEPS = np.arange(50, 1001, 50)


def learning(seed: int, *, level: float = -90.0, rows: int = len(STEPS)) -> dict[str, dict[str, np.ndarray]]:
    """Training and validation metrics that rise towards a level, other for every seed."""
    noise = np.random.default_rng([3, seed])
    steps = np.linspace(1000 / rows, 1000, rows).round().astype(np.int64) if rows != len(STEPS) else STEPS
    rising = level + noise.normal() - 30.0 * np.exp(-steps / 200.0)
    train = {"step": steps, "bound": rising + 0.2 * noise.normal(size=rows), "seconds": steps / 50.0}
    some = slice(rows // 10 - 1 if rows >= 10 else 0, None, max(1, rows // 10))
    valid = {"step": steps[some], "bound": rising[some] - 0.5 + 0.1 * noise.normal(size=len(steps[some]))}
    return {"train": train, "valid": valid}


def run_row(
    seed: int,
    *,
    metrics: Mapping[str, Any] | None = None,
    level: float = -90.0,
    bound: float | None = None,
    evals: Sequence[Mapping[str, Any]] = (),
    bias: Sequence[Mapping[str, Any]] = (),
    variance: Sequence[Mapping[str, Any]] = (),
    status: RunStatus = RunStatus.COMPLETED,
    **changes: Any,
) -> RunRow:
    """One run; what is changed of the spec makes its group."""
    content = spec(**changes)
    experiment = with_model_options({key: value for key, value in content.items() if key != "seed"})
    summary: dict[str, Any] = {
        "step": 1000,
        "split_hashes": {split: f"{split}-{content['dataset']}" for split in ("train", "valid", "test")},
        "bound": {"test": level if bound is None else bound},
    }
    name = f"{content['objective']}-{content['estimator']}"
    return RunRow(
        path=f"runs/{name}/v{seed + 1:03d}",
        name=name,
        version=f"v{seed + 1:03d}",
        group=repr(sorted(changes.items())),
        spec=content | {"seed": seed},
        experiment=experiment,
        status=status,
        summary=summary,
        evals=evals,
        metrics=learning(seed, level=level) if metrics is None else metrics,
        bias=bias,
        variance=variance,
    )


def grouped(rows: Sequence[RunRow]) -> tuple[list[Group], dict[str, str], list[Comparison], Chosen]:
    """All that a figure is drawn from."""
    groups = group_rows(rows)
    names, comparisons = dict(labels(groups).by_key), compare(groups)
    return groups, names, comparisons, choose(groups, names, comparisons)
