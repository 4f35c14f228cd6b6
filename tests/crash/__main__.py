"""The slow mode: ``python -m tests.crash --kills 300`` or ``--mutations 2000``, with ``--seed S``."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.crash.fuzz import fuzz
from tests.crash.harness import ENVIRONMENT, campaign, uninterrupted


def _told(line: str) -> None:
    print(line, flush=True)


def _kill(folder: Path, kills: int, seed: int) -> list[str]:
    tally = campaign(folder, uninterrupted(folder / "uninterrupted"), kills, seed, told=_told)
    _told(f"\n{sum(tally.kills.values())} kills, seed {seed}")
    for counts in (tally.kills, tally.landed):
        _told("  " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    _told(f"lost runs: {len(tally.lost)}, differences: {len(tally.differing)}")
    return [*tally.lost, *tally.differing]


def _fuzz(folder: Path, mutations: int, seed: int) -> list[str]:
    os.environ["DREG_DATA_DIR"] = str(folder / "data")
    found = fuzz(folder, mutations, seed, told=_told)
    _told(f"\n{found.mutations} mutations, seed {seed}")
    for name, count in sorted(found.codes.items()):
        _told(f"  {name}: {count}")
    _told(f"faults: {len(found.faults)}")
    return found.faults


def main() -> None:
    """Kill and resume, or mutate and use; print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    os.environ |= ENVIRONMENT
    started, wrong = time.monotonic(), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        if asked.kills:
            wrong += _kill(Path(folder), asked.kills, asked.seed)
        if asked.mutations:
            wrong += _fuzz(Path(folder), asked.mutations, asked.seed)
    _told(f"{time.monotonic() - started:.0f} s")
    for line in wrong:
        _told(f"  {line}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
