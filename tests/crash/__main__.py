"""The slow mode: ``python -m tests.crash --kills 300 [--seed S]``."""

import argparse
import tempfile
import time
from pathlib import Path

from tests.crash.harness import campaign, uninterrupted


def main() -> None:
    """Kill, resume, compare; print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        references = uninterrupted(Path(folder) / "uninterrupted")
        tally = campaign(Path(folder), references, asked.kills, asked.seed, told=lambda line: print(line, flush=True))
    print(f"\n{sum(tally.kills.values())} kills in {time.monotonic() - started:.0f} s, seed {asked.seed}")
    for counts in (tally.kills, tally.landed):
        print("  " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    print(f"lost runs: {len(tally.lost)}, differences: {len(tally.differing)}")
    for line in (*tally.lost, *tally.differing):
        print(f"  {line}")
    raise SystemExit(bool(tally.lost or tally.differing))


if __name__ == "__main__":
    main()
