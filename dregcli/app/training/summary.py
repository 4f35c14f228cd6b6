"""The summary that a run's record keeps when training ends, in every case."""

from collections.abc import Sequence
from typing import Any

from dregcli.app.loading.bounds import SplitBounds
from dregcli.app.planning.executing import bound_computed
from dregcli.app.planning.plan import Plan
from dregcli.app.training.course import Course
from dregcli.app.training.origin import Baseline
from dregcli.engine.training import Trainer
from dregcli.names import RunStatus
from dregcli.store.run import Run


def summary(plan: Plan, trainer: Trainer, course: Course, run: Run, status: RunStatus) -> dict[str, Any]:
    """Return the summary of a run that ends now.

    Args:
        plan: the run that was asked for.
        trainer: the trainer after the last step.
        course: how the run went.
        run: the run in the store.
        status: how it ends.
    """
    learned, fitted = trainer.trained.learned.values(), trainer.trained.fitted.values
    spec, seconds = plan.spec, course.all_seconds
    return {
        "run": str(run.path),
        "status": status.value,
        "step": trainer.step,
        "k": spec.k,
        "eval_k": spec.bound_k,
        "task": spec.task.value,
        "binarisation": spec.binarisation,
        "likelihood": spec.likelihood and spec.likelihood.value,
        "split_convention": spec.split_convention,
        "split_hashes": plan.data.split_hashes,
        "backward": spec.backward.value,
        "screen_inflation": spec.screen_inflation,
        "screen_precision": spec.screen_precision.value if spec.screen_precision else None,
        "k_chunk": spec.k_chunk,
        "compile": "on" if trainer.model.fused else "off",
        "bound_computed": bound_computed(spec),
        "best": {"step": course.best[0], "valid": course.best[1]} if course.best else None,
        "seconds": seconds,
        "steps_per_second": trainer.step / seconds if seconds else None,
        **({"learned": learned} if learned else {}),
        **({"fitted": fitted} if fitted else {}),
        **({"parent": spec.parent.model_dump()} if spec.parent else {}),
    }


def of_bounds(bounds: Sequence[SplitBounds]) -> dict[str, Any]:
    """Return the final bounds by split, and exact log p(x) under the model and the data's distribution if known."""
    summaries = {bound.split.value: bound.summary() for bound in bounds}
    log_p = {bound.split.value: bound.log_p for bound in bounds if bound.log_p}
    return {"bound": _values(summaries), "bounds": summaries} | ({"log_p": log_p} if log_p else {})


def of_gain(before: Baseline, bounds: Sequence[SplitBounds], theta_sha256: str | None) -> dict[str, Any]:
    """Return the results of a run with a parent: bounds before, gain of q, and checksums of the frozen theta."""
    return {
        "bound_before": _values(before.bounds),
        "bounds_before": before.bounds,
        "gain": {bound.split.value: before.gain(bound) for bound in bounds if bound.split.value in before.examples},
        "theta_sha256": {"before": before.theta_sha256, "after": theta_sha256},
    }


def _values(bounds: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {split: each["value"] for split, each in bounds.items()}
