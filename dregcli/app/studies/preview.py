"""What a command would train, and what the store has of it already: nothing is trained, and nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.app.common.listener import Listener
from dregcli.app.planning.plan import Plan, warnings_of
from dregcli.app.planning.words import run_name
from dregcli.app.studies.claiming import Held, being_made
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.repeats import Repeat, Standing, key_of, repeats_in
from dregcli.data.dataset import Dataset
from dregcli.store.runs import RunStore

_STATES: Final = {
    Standing.DONE: "done",
    Standing.RUNNING: "running elsewhere",
    Standing.CUT: "interrupted",
    Standing.BROKEN: "failed",
}


@dataclass(frozen=True)
class Previewed:
    """One run that a command is about.

    Attributes:
        combination: the run.
        name: the name that a new run would get.
        found: the most usable run of the store with the same experiment and seed; or who is about to make the first
            one; None if there is none.
    """

    combination: Combination
    name: str
    found: Repeat | Held | None

    @property
    def repeat(self) -> Repeat | None:
        """The run that the store has; None if there is none yet."""
        return self.found if isinstance(self.found, Repeat) else None

    @property
    def state(self) -> str:
        """``new``, ``done``, ``starting elsewhere``, ``running elsewhere``, ``interrupted`` or ``failed``."""
        if self.repeat is None:
            return "new" if self.found is None else "starting elsewhere"
        return _STATES[self.repeat.standing]

    @property
    def is_missing(self) -> bool:
        """Whether a study would train the run, or train it on."""
        return self.found is None or (self.repeat is not None and self.repeat.standing is Standing.CUT)

    @property
    def step(self) -> int | None:
        """The step from which an interrupted run goes on; None for other runs."""
        if self.repeat is None or self.repeat.standing is not Standing.CUT:
            return None
        return max(self.repeat.run.checkpoints(), default=0)


@dataclass(frozen=True)
class Preview:
    """The runs of a command.

    Attributes:
        runs: the runs, in the order in which they would be trained.
        is_study: whether the command is a study, which trains no run again that is done.
        elsewhere: how the missing runs would be handed over to a cluster, in sentences.
    """

    runs: tuple[Previewed, ...]
    is_study: bool
    elsewhere: tuple[str, ...] = ()


def preview_study(plan: StudyPlan, store: RunStore, listener: Listener) -> Preview:
    """Return the runs of a study; show each of their warnings once.

    Raises:
        StoreCorrupt: the newest entry of a claim is altered.
        StoreFormatError: the store has another format.
    """
    datasets = [plan.data(each).dataset for each in plan.combinations]
    return Preview(_previewed(plan.combinations, datasets, plan.name, store, listener), is_study=True)


def preview_run(plan: Plan, name: str | None, store: RunStore, listener: Listener) -> Preview:
    """Return the one run of a command that is no study; show its warnings.

    Raises:
        StoreCorrupt: the newest entry of a claim is altered.
        StoreFormatError: the store has another format.
    """
    alone = Combination(plan.spec, plan.warnings, {}, plan.code, {})
    return Preview(_previewed((alone,), [plan.data.dataset], name, store, listener), is_study=False)


def _previewed(
    combinations: Sequence[Combination],
    datasets: Sequence[Dataset],
    name: str | None,
    store: RunStore,
    listener: Listener,
) -> tuple[Previewed, ...]:
    warnings = (
        warning
        for each, dataset in zip(combinations, datasets, strict=True)
        for warning in (*each.warnings, *warnings_of(each.spec, dataset))
    )
    for warning in dict.fromkeys(warnings):
        listener.warn(warning)
    known = repeats_in(store)
    return tuple(
        Previewed(each, name or run_name(each.spec), known.get(key) or being_made(store, key))
        for each, key in ((each, key_of(each.spec)) for each in combinations)
    )
