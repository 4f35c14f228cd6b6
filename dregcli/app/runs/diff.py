"""``dreg runs diff``: what two runs differ in, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import newest_version
from dregcli.describe import flat, flat_environment
from dregcli.specs.run import spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_OF_THE_MOMENT: Final = ("time", "argv", "cwd")
"""Of an environment: what differs from run to run whatever they are."""
_OF_THE_CLOCK: Final = ("run", "seconds", "steps_per_second", "last.train.seconds")
"""Of a summary."""


@dataclass(frozen=True)
class Difference:
    """One field that two runs differ in; None where one has no such field.

    Attributes:
        field: its name, nested ones with dots.
        a: of the first run.
        b: of the second.
    """

    field: str
    a: Any
    b: Any

    @property
    def change(self) -> float | None:
        """b - a, of numbers."""
        numbers = [each for each in (self.a, self.b) if isinstance(each, int | float) and not isinstance(each, bool)]
        return numbers[1] - numbers[0] if len(numbers) == 2 else None


@dataclass(frozen=True)
class RunDiff:
    """What two runs differ in, section by section: spec, environment, results."""

    a: Run
    b: Run
    sections: dict[str, list[Difference]]


def diff_runs(a: str, b: str, *, runs_dir: Path, listener: Listener, everything: bool = False) -> RunDiff:
    """Compare two runs; of a name the newest version.

    Args:
        a: the first.
        b: the second.
        runs_dir: the store.
        listener: told which versions names mean.
        everything: what belongs to the moment and the clock too, and long texts as they are.

    Raises:
        RunNotFound: no such run.
        RunStateError: one was killed while it was claimed.
        StoreCorrupt: a file is altered.
    """
    store = RunStore(runs_dir)
    runs = newest_version(store, a, listener), newest_version(store, b, listener)
    left_out = () if everything else (*_OF_THE_MOMENT, *_OF_THE_CLOCK)
    first, second = (_sections(run, everything=everything) for run in runs)
    return RunDiff(*runs, {name: _differences(first[name], second[name], left_out) for name in first})


def _sections(run: Run, *, everything: bool) -> dict[str, dict[str, Any]]:
    info = run.info()
    results = flat({"status": info.status.value, **info.summary, "last": info.last})
    # Their values are among the bounds, which have errors too.
    results = {name: value for name, value in results.items() if not name.startswith("bound.")}
    environment = flat(run.environment()) if everything else flat_environment(run.environment())
    return {"spec": flat(spelt_out(run.spec(info))), "environment": environment, "results": results}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], left_out: tuple[str, ...]) -> list[Difference]:
    names = [name for name in dict.fromkeys([*a, *b]) if name not in left_out]
    # NaN is equal to itself here: it says the same in both runs.
    return [
        Difference(name, a.get(name), b.get(name))
        for name in names
        if (name in a) != (name in b) or (a[name] != b[name] and not (a[name] != a[name] and b[name] != b[name]))
    ]
