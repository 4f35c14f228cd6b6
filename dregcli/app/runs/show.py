"""``dreg runs show``: everything that is known of one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from dregcli.app.common.listener import Listener
from dregcli.app.common.places import typed
from dregcli.app.loading.stored import newest_version
from dregcli.app.runs.list_ import ListedRun, read_listed
from dregcli.commands import command
from dregcli.errors import DregError
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec
from dregcli.store import checkpoints, layout, trash
from dregcli.store.labels import Labels, Note
from dregcli.store.lease import Lease
from dregcli.store.results import RESULT_KINDS
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_TOLD: Final = ("objective", "estimator", "lr", "seed")
"""Fields that nobody would look for among what is as usual."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class ShownCheckpoint:
    """A checkpoint, read whole.

    Attributes:
        step: of the optimisation.
        best: whether it is the best one.
        nbytes: the room it takes.
        fault: why it cannot be used; None of a whole one.
    """

    step: int
    best: bool
    nbytes: int
    fault: str | None


@dataclass(frozen=True)
class ShownRun:
    """What there is to say of a run.

    Attributes:
        listed: what a list shows.
        lease: of the process that writes it, or wrote it last.
        failures: what went wrong, oldest first.
        checkpoints: by step.
        results: evaluations, bias checks and variances, file by file, with what they say of themselves.
        notes: what people wrote about it.
        environment: what was captured when it was claimed.
        resumed: the same of each time it was resumed, by generation.
        log: where its log is; None where it has none.
        nbytes: the room it takes.
        damage: what of it cannot be read.
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
    nbytes: int
    damage: list[str]

    @property
    def best(self) -> int | None:
        """The step of the best checkpoint."""
        return next((each.step for each in self.checkpoints if each.best), None)

    @property
    def usual(self) -> list[str]:
        """The fields of the spec that say what they say where nothing is typed."""
        defaults: dict[str, Any] = {name: field.get_default() for name, field in RunSpec.model_fields.items()}
        return [
            name
            for name, value in self.listed.spec.items()
            if name not in _TOLD and name in defaults and _plain(defaults[name]) == value
        ]

    @property
    def command(self) -> str | None:
        """What was typed."""
        return typed(self.environment)

    @property
    def repeat_command(self) -> str | None:
        """What to type to train it once more."""
        run = self.listed.run
        return command("runs", "rerun", run.label, runs_dir=run.root) if self.listed.spec else None

    @property
    def next_command(self) -> str:
        """What to type next."""
        run = self.listed.run
        if not self.listed.spec:
            return command("runs", "rm", run.label, runs_dir=run.root)
        if self.listed.status in (RunStatus.CRASHED, RunStatus.INTERRUPTED, RunStatus.FAILED):
            return command("train", "--resume", run.path, runs_dir=run.root)
        return command("report", run.path, runs_dir=run.root)


def show_run(reference: str, *, runs_dir: Path, listener: Listener) -> ShownRun:
    """Read one run; of a name the newest version.

    What is damaged is told and the rest is shown.

    Raises:
        RunNotFound: no such run.
        StoreCorrupt: its ``run.json`` or spec is altered.
    """
    run = newest_version(RunStore(runs_dir), reference, listener)
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
    shown = [each for step in run.checkpoints() if (each := _checkpoint(run, step))]
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
        trash.size(run.path),
        damage,
    )


def _plain(value: object) -> object:
    """A value as JSON holds it."""
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value


def _place(step: int) -> Path:
    return Path(layout.CHECKPOINTS_FOLDER, layout.step_name(step))


def _checkpoint(run: Run, step: int) -> ShownCheckpoint | None:
    """A checkpoint as it is; None where its writer has removed it meanwhile, as it does with old ones."""
    home = run.path / _place(step)
    fault = None
    try:
        checkpoints.check_folder(home)
    except DregError as error:
        if not home.is_dir():
            return None
        fault = error.what
    return ShownCheckpoint(step, step == run.best(), trash.size(home), fault)
