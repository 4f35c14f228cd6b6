"""``dreg runs show``: show everything that is known about one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from dregcli.app.common.listener import Listener
from dregcli.app.common.places import typed
from dregcli.app.loading.named import find_run
from dregcli.app.runs.list_ import ListedRun, read_listed
from dregcli.commands import command
from dregcli.errors import DregError
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec
from dregcli.store import checkpoints, layout, trash
from dregcli.store.code import CapturedCode
from dregcli.store.labels import Labels, Note
from dregcli.store.lease import Lease
from dregcli.store.results import RESULT_KINDS
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_ALWAYS_SHOWN: Final = ("objective", "estimator", "lr", "seed")
"""Fields that are shown on their own even if they have their default values."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class ShownCheckpoint:
    """A checkpoint that was read and verified.

    Attributes:
        step: optimisation step of the checkpoint.
        best: whether it is the best checkpoint.
        nbytes: size in bytes.
        fault: why it cannot be used; None if it is whole.
    """

    step: int
    best: bool
    nbytes: int
    fault: str | None


@dataclass(frozen=True)
class ShownRun:
    """Everything that is shown of a run.

    Attributes:
        listed: the part of the run that a list shows.
        lease: lease of the process that writes the run, or wrote it last.
        failures: failures of the run, oldest first.
        checkpoints: checkpoints, by step.
        results: attributes of evaluations, bias checks and variances, by file.
        notes: notes that people wrote about the run.
        environment: environment that was captured when the run was claimed.
        resumed: environments that were captured at each resume, by generation.
        log: path of its log; None if it has none.
        code: what the run keeps of the code of its model; None for a built-in model.
        nbytes: size of the run in bytes.
        damage: parts of the run that cannot be read.
    """

    listed: ListedRun
    lease: Lease | None
    failures: tuple[Mapping[str, Any], ...]
    checkpoints: list[ShownCheckpoint]
    results: dict[str, dict[str, Any]]
    notes: tuple[Note, ...]
    environment: dict[str, Any]
    resumed: dict[int, dict[str, Any]]
    log: Path | None
    code: CapturedCode | None
    nbytes: int
    damage: list[str]

    @property
    def best(self) -> int | None:
        """The step of the best checkpoint."""
        return next((each.step for each in self.checkpoints if each.best), None)

    @property
    def defaults(self) -> list[str]:
        """The fields of the spec that have their default values."""
        known: dict[str, Any] = {name: field.get_default() for name, field in RunSpec.model_fields.items()}
        return [
            name
            for name, value in self.listed.spec.items()
            if name not in _ALWAYS_SHOWN and name in known and _plain(known[name]) == value
        ]

    @property
    def command(self) -> str | None:
        """The command line that made the run; None if it was not recorded."""
        return typed(self.environment)

    @property
    def repeat_command(self) -> str | None:
        """The command that trains the run again; None if the run has no spec."""
        run = self.listed.run
        return command("runs", "rerun", run.label, runs_dir=run.root) if self.listed.spec else None

    @property
    def next_command(self) -> str:
        """The command to type next."""
        run = self.listed.run
        if not self.listed.spec:
            return command("runs", "rm", run.label, runs_dir=run.root)
        if self.listed.status in (RunStatus.CRASHED, RunStatus.INTERRUPTED, RunStatus.FAILED):
            return command("train", "--resume", run.path, runs_dir=run.root)
        return command("report", run.path, runs_dir=run.root)


def show_run(reference: str, *, runs_dir: Path, listener: Listener) -> ShownRun:
    """Read one run; a name means its newest completed version.

    Damaged parts are reported in ``damage``, and all other parts are shown.

    Raises:
        RunNotFound: no such run.
        StoreCorrupt: the run's ``run.json`` or spec was altered.
    """
    run = find_run(RunStore(runs_dir), reference, listener)
    listed, info = read_listed(run), run.info()
    damage: list[str] = []

    def readable(read: Callable[[], Found], otherwise: Found) -> Found:
        try:
            return read()
        except DregError as error:
            damage.append(f"{error.where}: {error.what}")
            return otherwise

    results: dict[str, dict[str, Any]] = {}
    for kind in RESULT_KINDS:
        found = readable(lambda kind=kind: run.results(kind), [])
        results |= {str(each.path.relative_to(run.path)): each.attrs for each in found}
    shown = [each for step in readable(run.checkpoints, []) if (each := _checkpoint(run, step))]
    damage += [f"{run.path / _place(each.step)}: {each.fault}" for each in shown if each.fault]
    log = run.path / layout.LOG_FILE
    return ShownRun(
        listed,
        info.lease,
        info.failures,
        shown,
        results,
        readable(run.labels, Labels()).notes,
        readable(run.environment, {}) if info.started else {},
        readable(run.resumed_environments, {}) if info.started else {},
        log if log.is_file() else None,
        readable(run.code, None) if info.started else None,
        trash.size(run.path),
        damage,
    )


def _plain(value: object) -> object:
    """Return a value in its JSON form."""
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value


def _place(step: int) -> Path:
    return Path(layout.CHECKPOINTS_FOLDER, layout.step_name(step))


def _checkpoint(run: Run, step: int) -> ShownCheckpoint | None:
    """Read a checkpoint; None if its writer removed it meanwhile, as it removes old checkpoints."""
    home = run.path / _place(step)
    fault = None
    try:
        checkpoints.check_folder(home)
    except DregError as error:
        if not home.is_dir():
            return None
        fault = error.what
    return ShownCheckpoint(step, step == run.best(), trash.size(home), fault)
