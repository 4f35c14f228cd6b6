"""Carry out one run of a study: claim it, train or continue it, and say how it ended.

A study carries out its runs in its own process, or orders them from other processes: an ``Order`` is plain JSON, and
so is the ``Outcome``. Processes on any machine may get orders of a study, since each run is claimed in the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.listener import Listener
from dregcli.app.models.code import Code
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.run_data import RunData
from dregcli.app.studies.claiming import Held, find_or_claim
from dregcli.app.studies.kept import as_it_began
from dregcli.app.studies.outcome import Failure
from dregcli.app.studies.repeats import Repeat, Standing, key_of
from dregcli.app.training import train
from dregcli.app.training.result import TrainResult
from dregcli.app.training.resuming import resume_plan
from dregcli.commands import remember_data_dir, remember_runs_dir
from dregcli.engine.device import prepare_process
from dregcli.errors import (
    CheckpointCorrupt,
    DeviceUnavailable,
    Diverged,
    ModelFailed,
    NotFinite,
    RunStateError,
    SpecError,
    StoreCorrupt,
)
from dregcli.specs.run import RunSpec, as_json
from dregcli.store.claims import Claim
from dregcli.store.runs import RunStore

_OF_ONE_RUN: Final = (
    *(Diverged, NotFinite, DeviceUnavailable, CheckpointCorrupt, StoreCorrupt, RunStateError),
    *(SpecError, ModelFailed),  # faults of the run's model that show only on its data
)
"""Errors that end one run but not the study. A full disk ends the study, because all other runs would fail, too."""


@dataclass(frozen=True)
class Order:
    """One run of a study, with everything that a process needs to carry it out.

    Attributes:
        label: the run's place in the study and what it is: ``run 2 of 4: iwae/dreg, seed 1``.
        spec: spec of the run.
        warnings: warnings about ``auto`` decisions.
        free: options of ``dregcli.app.training.resuming.FREE`` that the run gets if it was interrupted and continues.
        name: name of the run; None means the default name.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in a new run.
        code: code of the run's model; None for a built-in network.
        typed: the folders of runs and data that the user typed, which commands in messages repeat.
    """

    label: str
    spec: RunSpec
    warnings: tuple[str, ...]
    free: Mapping[str, Any]
    name: str | None
    runs_dir: Path
    data_dir: Path
    argv: tuple[str, ...]
    code: Code | None = None
    typed: tuple[Path | None, Path | None] = (None, None)

    def document(self) -> dict[str, Any]:
        """Return the order as a JSON object."""
        return {
            **{"label": self.label, "spec": as_json(self.spec), "warnings": self.warnings, "free": dict(self.free)},
            **{"name": self.name, "runs_dir": str(self.runs_dir), "data_dir": str(self.data_dir), "argv": self.argv},
            "code": None if self.code is None else self.code.document(),
            "typed": [None if folder is None else str(folder) for folder in self.typed],
        }

    @staticmethod
    def parse(document: Mapping[str, Any]) -> "Order":
        """Return the order in a JSON object that ``document`` made."""
        runs_dir, data_dir = (None if folder is None else Path(folder) for folder in document["typed"])
        return Order(
            **{key: document[key] for key in ("label", "free", "name")},
            spec=RunSpec.model_validate(document["spec"]),
            warnings=tuple(document["warnings"]),
            runs_dir=Path(document["runs_dir"]),
            data_dir=Path(document["data_dir"]),
            argv=tuple(document["argv"]),
            code=None if document["code"] is None else Code.parse(document["code"]),
            typed=(runs_dir, data_dir),
        )


@dataclass(frozen=True)
class Outcome:
    """What has come of an order.

    Attributes:
        run: the run, ``NAME/v001``; None if a failure left none, or left it open which.
        trained: whether this order trained it to its end; otherwise it was done already, or it is another process's.
        failure: why the run has no results.
        maker: another process, in words, that is about to make the run; None if there is none.
        queued: the cluster's job, in words, that will train the run; None if there is none.
    """

    run: str | None = None
    trained: bool = False
    failure: Failure | None = None
    maker: str | None = None
    queued: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        return asdict(self)

    @staticmethod
    def parse(document: Mapping[str, Any]) -> "Outcome":
        """Return the outcome in a JSON object that ``document`` made."""
        found: dict[str, Any] = {**document}
        failure = found.pop("failure")
        return Outcome(**found, failure=None if failure is None else Failure(**failure))


def carry_out(order: Order, listener: Listener) -> Outcome:
    """Carry out an order in a process that does nothing else.

    Args:
        order: the order.
        listener: receives the messages of the run.

    Raises:
        Interrupted: a signal came; a checkpoint was written first.
        DregError: an error that concerns more than this run, such as a full disk.
    """
    prepare_process()
    runs_dir, data_dir = order.typed
    remember_runs_dir(runs_dir)
    remember_data_dir(data_dir)
    return settle(order, store=RunStore(order.runs_dir), data=data_of(order.spec, order.data_dir), listener=listener)


def settle(order: Order, *, store: RunStore, data: RunData, listener: Listener) -> Outcome:
    """Train a run, or continue it; leave it alone if it is done, or if another process trains it.

    Args:
        order: the run.
        store: its store.
        data: its data.
        listener: receives the messages of the run.

    Raises:
        Errors: see ``carry_out``.
    """
    try:
        work = _work(order, store, data, listener)
        if isinstance(work, Repeat):
            return Outcome(work.run.key)
        if isinstance(work, Held):
            return Outcome(maker=work.maker)
        return Outcome(work().run.key, trained=True)
    except _OF_ONE_RUN as error:
        return Outcome(failure=Failure.of(error))


def _work(
    order: Order, store: RunStore, data: RunData, listener: Listener
) -> Repeat | Held | Callable[[], TrainResult]:
    """Return the function that trains or continues a run, or what there is already if there is nothing to do."""
    argv = [*order.argv]
    found = find_or_claim(store, key_of(order.spec))
    if isinstance(found, Held):
        return found
    if isinstance(found, Claim):
        try:
            plan = Plan(order.spec, data, order.warnings, order.code)
            return train.claim(plan, name=order.name, store=store, argv=argv, listener=listener, right=found)
        except BaseException:  # also after Ctrl-C: the other processes of the study must not wait for this one
            found.give_back()
            raise
    if found.standing is not Standing.CUT:
        return found
    plan = resume_plan(found.run, order.free, order.data_dir, code=order.code)
    if own := as_it_began(order.spec, as_json(plan.spec)):
        listener.warn(f"{found.run.path} continues as it began: {own}")
    return partial(train.resume, found.run, plan, store=store, argv=argv, listener=listener)
