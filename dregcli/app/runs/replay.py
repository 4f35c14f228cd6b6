"""Train the first steps of a run again, and compare its metrics bit for bit; nothing is written."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.loading.bounds import split_bounds
from dregcli.app.loading.named import find_run
from dregcli.app.loading.stored import spec_of
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan
from dregcli.app.runs.rerun import differing_here
from dregcli.app.training.resuming import anew_on_another_device
from dregcli.app.training.train import built
from dregcli.engine.device import prepare_process, resolve_device, settled_process, using_threads
from dregcli.engine.training import Trainer
from dregcli.engine.training_state import TrainerState
from dregcli.errors import UsageError
from dregcli.names import Split
from dregcli.store.hdf5 import Array
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_TIMES = ("seconds",)


@dataclass(frozen=True)
class RowDifference:
    """A number that differs from the run's number.

    Attributes:
        split: split of the metrics.
        step: step of the row.
        column: name of the column.
        stored: number that the run kept.
        replayed: number of the replay.
    """

    split: str
    step: int
    column: str
    stored: float
    replayed: float


@dataclass
class Replay:
    """The result of a replay.

    Attributes:
        run: the run.
        steps: number of replayed steps, at most up to the run's last row.
        differing: parts of the environment that changed since the run was made.
        rows: number of compared rows, by split.
        differences: numbers that are not the same to the last bit.
    """

    run: Run
    steps: int
    differing: list[str]
    rows: dict[str, int] = field(default_factory=dict[str, int])
    differences: list[RowDifference] = field(default_factory=list[RowDifference])


def replay(
    reference: str,
    steps: int,
    *,
    runs_dir: Path,
    data_dir: Path,
    listener: Listener,
    code: CodeRequest = AS_TRAINED,
) -> Replay:
    """Train the first steps of a run again, and compare every row of metrics that the run kept of these steps.

    Args:
        reference: the run; a name means its newest completed version.
        steps: number of steps; the run must have at least one row within them.
        runs_dir: the store.
        data_dir: the data folder.
        listener: receives a note that says which version a name means, and progress messages.
        code: what the user says about the code of the run's model.

    Raises:
        UsageError: the run kept no row of the first ``steps`` steps.
        DatasetMissing, DataCorrupt: its data are not on this machine.
        RunNotFound: the run or its parent is not in the store.
    """
    prepare_process()
    run = find_run(RunStore(runs_dir), reference, listener)
    spec = spec_of(run)
    stored = run.all_metrics()
    first = min((int(columns["step"][0]) for columns in stored.values() if len(columns["step"])), default=None)
    if first is None or steps < first:
        what = f"The run has no metrics of its first {steps} steps."
        hint = f"replay at least {first} steps: --replay {first}" if first else "this run has no metrics at all"
        raise UsageError(what, where=str(run.path), hint=hint)
    resolve_device(spec.device, instead=anew_on_another_device(run))
    data = data_of(spec, data_dir)
    spec, used = code_of_run(run, spec, code, listener)
    trainer, _ = built(Plan(spec, data, code=used), RunStore.of(run))
    last = int(max(columns["step"][-1] for columns in stored.values() if len(columns["step"])))
    found = Replay(run, min(steps, last), differing_here(run, spec))
    trainer.warm_up()
    chunk = Shape.of_run(spec, data.dataset, trainer.model).evaluation_chunk(spec.bound_k)
    listener.begin("replay", found.steps, "steps")
    ended: TrainerState | None = None
    with settled_process(), using_threads(spec.threads):
        while trainer.step < found.steps:
            trainer.advance()
            step = trainer.step
            # The window of a row begins after the row before it, so that every row of the run must be computed.
            if _row(stored, Split.TRAIN, step) is not None:
                ended = _compare_window(found, stored, trainer, ended, log_every=spec.log_every)
                listener.update(step)
            if _row(stored, Split.VALID, step) is not None:
                trainer.collect()
                with trainer.trained.evaluated():
                    bounds = split_bounds(
                        trainer.model,
                        data,
                        Split.VALID,
                        k=spec.bound_k,
                        seed=spec.eval_seed,
                        listener=listener,
                        k_chunk=chunk,
                    )
                _keep(found, Split.VALID, _differing(stored, Split.VALID, step, bounds.row()))
    listener.end()
    return found


def _compare_window(
    found: Replay,
    stored: dict[str, dict[str, Array]],
    trainer: Trainer,
    ended: TrainerState | None,
    *,
    log_every: int,
) -> TrainerState | None:
    """Compare the row of training at the trainer's step.

    A run that ends earlier than planned gets a row there, but its checkpoint keeps the window: if it is prolonged
    later, its next row is that of a run that never ended. So if a row differs, and the one before it may be such a
    row, the steps from there are taken again, in that row's window.

    Args:
        found: gets the differences.
        stored: the run's metrics.
        trainer: the trainer, after the row's last step.
        ended: its state before the row before this one, if the run may have ended there.
        log_every: steps between rows.

    Returns:
        The state before this row, if the run may have ended here.
    """

    def compared() -> tuple[TrainerState | None, list[RowDifference]]:
        trainer.collect()
        before = trainer.state() if step % log_every else None
        return before, _differing(stored, Split.TRAIN, step, trainer.row())

    step = trainer.step
    before, differences = compared()
    if differences and ended is not None:
        trainer.load(ended.step, ended.model, ended.optimizer, ended.window)
        while trainer.step < step:
            trainer.advance()
        other, differing = compared()
        if not differing:
            before, differences = other, []
    _keep(found, Split.TRAIN, differences)
    return before


def _row(stored: dict[str, dict[str, Array]], split: str, step: int) -> int | None:
    """Return the index of a step's row, or None."""
    if split not in stored:
        return None
    places = (stored[split]["step"] == step).nonzero()[0]
    return int(places[0]) if len(places) else None


def _keep(found: Replay, split: str, differences: list[RowDifference]) -> None:
    found.rows[split] = found.rows.get(split, 0) + 1
    found.differences.extend(differences)


def _differing(
    stored: dict[str, dict[str, Array]], split: str, step: int, values: dict[str, float]
) -> list[RowDifference]:
    """Return the differences between a row of the run and the values of the replay."""
    row, found = _row(stored, split, step), list[RowDifference]()
    for column, kept in stored[split].items():
        if column in ("step", *_TIMES):
            continue
        before, now = float(kept[row]), float(values.get(column, math.nan))
        if before != now and not (math.isnan(before) and math.isnan(now)):
            found.append(RowDifference(split, step, column, before, now))
    return found
