"""``dreg runs diff``: show only the fields that differ between two runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_run
from dregcli.describe import flat, flat_environment
from dregcli.specs.run import spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_OF_THE_MOMENT: Final = ("time", "argv", "cwd")
"""Fields of an environment that differ between any two runs."""
_OF_THE_CLOCK: Final = ("run", "seconds", "steps_per_second", "last.train.seconds")
"""Fields of a summary that differ between any two runs."""


@dataclass(frozen=True)
class Difference:
    """One field that differs between two runs.

    Attributes:
        field: name of the field; nested names have dots.
        a: value in the first run; None if it has no such field.
        b: value in the second run; None if it has no such field.
    """

    field: str
    a: Any
    b: Any

    @property
    def change(self) -> float | None:
        """b - a; None unless both are numbers."""
        numbers = [each for each in (self.a, self.b) if isinstance(each, int | float) and not isinstance(each, bool)]
        return numbers[1] - numbers[0] if len(numbers) == 2 else None


@dataclass(frozen=True)
class RunDiff:
    """The differences between two runs by section: spec, environment, results."""

    a: Run
    b: Run
    sections: dict[str, list[Difference]]


def diff_runs(a: str, b: str, *, runs_dir: Path, listener: Listener, everything: bool = False) -> RunDiff:
    """Compare two runs; a name means its newest completed version.

    Args:
        a: the first run.
        b: the second run.
        runs_dir: the store.
        listener: receives notes that say which version a name means.
        everything: whether to include times and other fields that always differ, and to keep long texts whole.

    Raises:
        RunNotFound: no such run.
        RunStateError: a run was killed while it was claimed.
        StoreCorrupt: a file was altered.
    """
    store = RunStore(runs_dir)
    runs = find_run(store, a, listener), find_run(store, b, listener)
    left_out = () if everything else (*_OF_THE_MOMENT, *_OF_THE_CLOCK)
    first, second = (_sections(run, everything=everything) for run in runs)
    return RunDiff(*runs, {name: _differences(first[name], second[name], left_out) for name in first})


def _sections(run: Run, *, everything: bool) -> dict[str, dict[str, Any]]:
    info = run.info()
    results = flat({"status": info.status.value, **info.summary, "last": info.last})
    # The section "bounds" has the same values, and their standard errors.
    results = {name: value for name, value in results.items() if not name.startswith("bound.")}
    environment = flat(run.environment()) if everything else flat_environment(run.environment())
    return {"spec": flat(spelt_out(run.spec(info))), "environment": environment, "results": results}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], left_out: tuple[str, ...]) -> list[Difference]:
    names = [name for name in dict.fromkeys([*a, *b]) if name not in left_out]
    # Two NaN values count as equal here.
    return [
        Difference(name, a.get(name), b.get(name))
        for name in names
        if (name in a) != (name in b) or (a[name] != b[name] and not (a[name] != a[name] and b[name] != b[name]))
    ]
