"""Kills ``dreg train`` with SIGKILL at seeded random moments and resumes it until it is done.

A kill while the run writes comes at an exact operation on the disk, any other one after a random time. After each
kill everything in the store must be readable and the run crashed, not running; at the end the run must equal one that
was never interrupted, bit for bit: tensors, state and metrics, times apart.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dregcli.names import RunStatus
from dregcli.store import layout
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.forked import Forked

NAME: Final = "x"
STEPS: Final = 144
BASE: Final = (
    *("--dataset", "digits", "--device", "cpu", "--name", NAME, "--quiet", "--json"),
    *("--hidden", "24", "--latent-dim", "6", "--k", "16", "--batch-size", "16", "--lr", "3e-3"),
    *("--steps", str(STEPS), "--log-every", "7", "--eval-every", "54", "--checkpoint-every", "25"),
)
VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "dense": ("--backward", "dense"),
    "dreg-cv": ("--estimator", "dreg-cv", "--backward", "dense"),
    "tracking": ("--track-estimators", "stl,vimco", "--backward", "screened", "--screen-precision", "bfloat16"),
}

# One thread: two processes then have a core each, and sums have one order on every machine.
ENVIRONMENT: Final = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PATIENCE, _PAUSE = 120.0, 0.005
_OPERATIONS = 130
"""Operations on the disk of a whole run, about."""

_STARTING, _WRITING, _AT_ANY_TIME = "while it starts", "while it writes", "at any time"


@dataclass
class Tally:
    """What a harness counted.

    Attributes:
        kills: by the moment they were aimed at.
        landed: by what the run was then.
        lost: runs that could not be brought to their end, with the reason.
        differing: what differs from the runs that never stopped.
    """

    kills: dict[str, int] = field(default_factory=dict[str, int])
    landed: dict[str, int] = field(default_factory=dict[str, int])
    lost: list[str] = field(default_factory=list[str])
    differing: list[str] = field(default_factory=list[str])

    def add(self, aim: str, landed: str) -> None:
        self.kills[aim] = self.kills.get(aim, 0) + 1
        self.landed[landed] = self.landed.get(landed, 0) + 1


def command(root: Path, variant: str) -> list[str]:
    """The arguments that start a run."""
    return ["train", *BASE, *VARIANTS[variant], "--runs-dir", str(root)]


def resume_command(root: Path) -> list[str]:
    """The arguments that resume the run."""
    return ["train", "--resume", f"{NAME}/v001", "--quiet", "--json", "--runs-dir", str(root)]


def uninterrupted(folder: Path) -> dict[str, Run]:
    """A run of each variant that nobody disturbs."""
    for variant in VARIANTS:  # one after the other: how long each lives is known then
        whole = Forked(command(folder / variant, variant), _output(folder / variant))
        whole.wait()
        assert whole.code == 0, whole.err
    return {variant: only_run(folder / variant) for variant in VARIANTS}


def only_run(root: Path) -> Run:
    (run,) = RunStore(root).runs()
    return run


def life(run: Run) -> float:
    """Seconds from a run's claim to its end."""
    info = run.info()
    return (info.updated - info.created).total_seconds()


def interrupted(root: Path, variant: str, kills: int, seconds: float, seed: int, tally: Tally) -> Run | None:
    """A run that is killed so many times on its way.

    Args:
        root: its store.
        variant: of the command.
        kills: how many.
        seconds: of its life when nobody disturbs it.
        seed: of the moments.
        tally: to count in.

    Returns:
        The run, done; None where it was lost.
    """
    chance = random.Random(f"{variant}/{seed}")
    for number in range(kills):
        aim = chance.choices((_STARTING, _WRITING, _AT_ANY_TIME), (1, 5, 5))[0]
        if not _killed(chance, root, variant, aim, number, seconds):
            break  # it was done before the moment came
        try:
            tally.add(aim, _state_after_kill(root))
        except Exception as error:
            tally.lost.append(f"{variant}, seed {seed}, after kill {number + 1} ({aim}): {error!r}")
            return None
    done = Forked(_next_command(root, variant), _output(root))
    done.wait()
    already = "The run is completed" in done.err
    if done.code and not already:
        tally.lost.append(f"{variant}, seed {seed}: {done.err}")
        return None
    return RunStore(root).resolve(f"{NAME}/v001")[0]


def _next_command(root: Path, variant: str) -> list[str]:
    started = [run for run in RunStore(root).runs() if run.info().started]
    if not started:
        for run in RunStore(root).runs():
            shutil.rmtree(run.path)  # killed while it was claimed: there is nothing to resume
        return command(root, variant)
    return resume_command(root)


def _output(root: Path) -> Path:
    return root.with_name(f"{root.name}-output")


def _killed(chance: random.Random, root: Path, variant: str, aim: str, number: int, seconds: float) -> bool:
    """Kills one process at a moment; false where it ended before the moment came."""
    words, wait = _next_command(root, variant), chance.uniform(0.0, seconds / (number + 1))
    at = chance.randint(1, _OPERATIONS // (number + 1)) if aim == _WRITING else None
    home = root / NAME / "v001"
    begun = _entries(home)
    process = Forked(words, _output(root), at)
    try:
        if aim == _WRITING:
            process.wait(_PATIENCE)
        elif aim == _STARTING or until(process, lambda: _entries(home) > begun):
            process.wait(wait)
    finally:
        process.kill()
    return process.code == -signal.SIGKILL


def _entries(home: Path) -> int:
    return sum(len(layout.entries(path)) for path in (home, home / layout.LEASES_FOLDER))


def until(process: Forked, condition: Callable[[], bool]) -> bool:
    """Waits for a condition; false where the process ended before, or where it takes too long."""
    limit = time.monotonic() + _PATIENCE
    while not condition():
        if process.wait(_PAUSE) or time.monotonic() > limit:
            return False
    return True


def _state_after_kill(root: Path) -> str:
    """Reads all there is; says what the run is now.

    Raises:
        AssertionError: a dead run reads as running, or rows or checkpoints are not whole.
        DregError: something cannot be read.
    """
    runs = RunStore(root).runs()
    if not runs or not runs[0].info().started:
        assert all(run.status() is RunStatus.CRASHED for run in runs)
        return "not yet claimed"
    (run,) = runs
    info = run.info()
    assert info.status in (RunStatus.CRASHED, RunStatus.COMPLETED), info.status
    run.spec(), run.environment(), run.resumed_environments()
    for split in run.all_metrics():
        steps = run.metrics(split)["step"].tolist()
        assert steps == sorted(set(steps)), f"{split}: {steps}"
    known = run.checkpoints()
    for step in known:
        run.load_checkpoint(step)
    if info.status is RunStatus.COMPLETED:
        return "completed"
    return "with a checkpoint" if known else "without a checkpoint"


_TIMES = ("seconds", "steps_per_second", "run")


def differences(mine: Run, theirs: Run) -> list[str]:
    """Where two runs of one spec differ, times apart; bit for bit."""
    found: list[str] = []
    a, b = mine.load_checkpoint("last"), theirs.load_checkpoint("last")
    if mine.checkpoints() != theirs.checkpoints() or mine.best() != theirs.best():
        found.append(f"checkpoints: {mine.checkpoints()} and {theirs.checkpoints()}")
    for part in ("model", "optimizer"):
        tensors: tuple[dict[str, Any], dict[str, Any]] = getattr(a, part), getattr(b, part)
        if tensors[0].keys() != tensors[1].keys():
            found.append(f"{part}: other tensors")
            continue
        found += [f"{part}: {name}" for name in tensors[0] if _bytes(tensors[0][name]) != _bytes(tensors[1][name])]
    if _without_times(a.state) != _without_times(b.state):
        found.append("state")
    if sorted(mine.all_metrics()) != sorted(theirs.all_metrics()):
        found.append(f"splits: {list(mine.all_metrics())} and {list(theirs.all_metrics())}")
    for split in theirs.all_metrics():
        one, other = mine.metrics(split), theirs.metrics(split)
        if one.keys() != other.keys():
            found.append(f"{split}: other columns")
            continue
        found += [
            f"{split}: {name}"
            for name in other
            if name not in _TIMES and one[name].tobytes() != other[name].tobytes()
        ]
    if _without_times(mine.info().summary) != _without_times(theirs.info().summary):
        found.append("summary")
    return found


def _without_times(values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _TIMES}


def _bytes(tensor: Any) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def campaign(
    folder: Path,
    references: Mapping[str, Run],
    kills: int,
    seed: int,
    *,
    per_run: int = 3,
    told: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Kills so many times in all, over all variants in turn, two runs at a time; and compares each run in the end."""
    tally = Tally()
    jobs: list[tuple[str, int, int]] = []
    while (planned := sum(job[1] for job in jobs)) < kills:
        jobs.append((list(VARIANTS)[len(jobs) % len(VARIANTS)], min(per_run, kills - planned), len(jobs)))

    def work(job: tuple[str, int, int]) -> None:
        variant, count, number = job
        reference = references[variant]
        # With the moments of a run that shares its processor with another.
        run = interrupted(
            folder / f"run{number}", variant, count, 1.3 * life(reference), seed * 10_000 + number, tally
        )
        found = differences(run, reference) if run else []
        tally.differing += [f"{variant}, run {number}: {each}" for each in found]
        told(
            f"{variant}: {sum(tally.kills.values())} kills, lost {len(tally.lost)}, differing {len(tally.differing)}"
        )

    with ThreadPoolExecutor(max_workers=2) as workers:
        list(workers.map(work, jobs))
    return tally
