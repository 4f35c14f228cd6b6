"""A store as many trainings leave it, without any training: for what reads runs and makes none."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dregcli.names import RunStatus, Split
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

ENVIRONMENT: Mapping[str, Any] = {"argv": ["dreg", "train"], "python": {"version": "3.11.0"}, "threads": 2}


def spec(**changes: Any) -> dict[str, Any]:
    """A spec with all its values, as a report reads it."""
    base: dict[str, Any] = {
        "dataset": "digits",
        "data_checksum": "c" * 64,
        "split_convention": "dreg",
        "steps": 1000,
        "k_chunk": None,
    }
    return RunSpec.model_validate(base | changes).model_dump(mode="json")


def add_run(
    root: Path,
    *,
    name: str = "",
    level: float = -90.0,
    rows: int = 20,
    status: RunStatus = RunStatus.COMPLETED,
    rate: float = 50.0,
    extra: Mapping[str, Sequence[float]] | None = None,
    environment: Mapping[str, Any] = ENVIRONMENT,
    summary: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """Claim, log and finish one run.

    Args:
        root: the store.
        name: of the run; by objective and estimator where it is not given.
        level: the final test bound; train and validation bounds approach it from below.
        rows: of training metrics; a tenth as many of validation.
        status: how it ended; RUNNING leaves it unfinished.
        rate: steps a second.
        extra: further columns of training metrics, one value a row.
        environment: what was captured.
        summary: more of it.
        changes: of the spec.
    """
    content = spec(**changes)
    store = RunStore(root)
    label = name or f"{content['dataset']}-{content['objective']}-{content['estimator']}-k{content['k']}"
    writer = store.claim(
        "".join(c if c.isalnum() or c in "._-" else "-" for c in label), spec=content, environment=environment
    )
    noise = np.random.default_rng(content["seed"])
    last = int(content["steps"])
    steps: list[int] = np.linspace(last / rows, last, rows).round().astype(int).tolist()
    for i, step in enumerate(steps):
        bound = level + 1.0 - 30.0 * math.exp(-5.0 * (i + 1) / rows)
        more = {column: values[i] for column, values in (extra or {}).items()}
        row = {"step": float(step), "bound": bound + 0.2 * noise.normal(), "seconds": step / rate, "ess": 3.0}
        writer.append(Split.TRAIN, row | more)
        if (i + 1) % max(1, rows // 10) == 0:
            writer.append(Split.VALID, {"step": float(step), "bound": bound - 0.5, "stderr": 0.1, "ess": 3.0})
    if status is RunStatus.RUNNING:
        writer.flush()
        return writer.run
    told: dict[str, Any] = {
        "step": steps[-1],
        "seconds": content["steps"] / rate,
        "steps_per_second": rate,
        "split_hashes": {split.value: f"{split.value}-{content['dataset']}".ljust(64, "0") for split in Split},
    }
    if status is RunStatus.COMPLETED:
        told["bound"] = {"train": level + 0.5, "valid": level - 0.2, "test": level}
    writer.finish(status, told | dict(summary or {}))
    return writer.run


def add_eval(run: Run, value: float, *, k: int = 5000, n: int = 100, **changes: Any) -> None:
    """Keep an evaluation such as ``dreg eval`` keeps."""
    step = run.info().summary.get("step")
    content = run.spec()
    ks = [each for each in (1, 10, 100, 1000) if each < k]
    curve = [{"k": each, "value": value - 3.0 / each**0.5, "stderr": 0.3, "jackknife": None} for each in ks]
    attrs: dict[str, Any] = {
        "checkpoint": step,
        "split": "test",
        "seed": 0,
        "method": "importance",
        "n": n,
        "k": k,
        "value": value,
        "stderr": 0.3,
        "bound": {"value": value, "stderr": 0.3, "mc_stderr": 0.01},
        "curve": [
            *curve,
            {"k": k, "value": value, "stderr": 0.3, "jackknife": {"value": value + 0.1, "stderr": 0.3}},
        ],
        "ess": 8.5,
        "khat": {"median": 0.6, "share_above_0.7": 0.25},
        "active_units": 20,
        "active_threshold": 0.01,
        "dataset": content["dataset"],
        "split_hash": run.info().summary["split_hashes"]["test"],
    }
    variance = np.sort(np.random.default_rng(0).exponential(0.3, 50))[::-1].copy()
    arrays = {"bound": np.full(n, value), "latent_variance": variance}
    run.add_result("evals", f"test-k{k}-seed0-step{step}", arrays=arrays, attrs=attrs | changes)


def add_study(
    root: Path,
    *,
    estimators: Mapping[str, float],
    seeds: Sequence[int] = range(5),
    spread: float = 0.1,
    **changes: Any,
) -> list[Run]:
    """Runs of several estimators at several seeds; seeds move all estimators alike, and ``spread`` each on its own.

    Args:
        root: the store.
        estimators: each with its mean test bound.
        seeds: of the runs.
        spread: standard deviation of what a run has of its own, nats.
        changes: see ``add_run``.
    """
    found: list[Run] = []
    for i, (estimator, level) in enumerate(estimators.items()):
        for seed in seeds:
            common = np.random.default_rng([7, seed]).normal()
            own = np.random.default_rng([11, i, seed]).normal()
            at = level + common + spread * own
            found.append(add_run(root, level=at, estimator=estimator, seed=seed, **changes))
    return found
