"""Runs too many that processes of one study make at once, where the disk refuses locks. By hand:

    python -m tests.benchmarks.claims --tries 50
    python -m tests.benchmarks.claims --tries 10 --way lock

Real processes of ``dreg train --seeds 0-1`` start at the same moment, in each of which no file can be locked. The way
``lock`` is the one before claims: a lock of the store's folder around looking and claiming.
"""

import argparse
import errno
import fcntl
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dregcli.app.studies import study
from dregcli.app.studies.repeats import Key, Repeat, repeats_in
from dregcli.names import RunStatus
from dregcli.store.claims import Claim
from dregcli.store.runs import RunStore
from tests.benchmarks.support.command import run

SEEDS: Final = 2
WORDS: Final = (
    *("train", "--seeds", f"0-{SEEDS - 1}", "--dataset", "digits", "--device", "cpu", "--quiet", "--threads", "1"),
    *("--hidden", "6", "--latent-dim", "2", "--k", "2", "--steps", "3", "--backward", "dense", "--capture", "none"),
    *("--eval-k", "2", "--final-eval", "test"),
)


class _NoClaim(Claim):
    """What is no claim at all."""

    def __init__(self) -> None: ...

    def name_run(self, run: str) -> None: ...

    def give_back(self) -> None: ...


def _looked(store: RunStore, key: Key) -> Repeat | Claim:
    return repeats_in(store).get(key) or _NoClaim()


def _refused(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def _process(way: str, root: str, start: Any) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    fcntl.flock = _refused
    if way == "lock":
        study.find_or_claim = _looked
    from dregcli.cli.main import entry

    sys.argv = ["dreg", *WORDS, "--runs-dir", root]
    start.wait()
    entry()


def _tried(way: str, processes: int, root: Path) -> tuple[int, Sequence[int | None]]:
    """Return how many runs too many there are after a study, and the exit codes."""
    context = multiprocessing.get_context("forkserver")
    start = context.Barrier(processes)
    started = [context.Process(target=_process, args=(way, str(root), start)) for _ in range(processes)]
    for each in started:
        each.start()
    for each in started:
        each.join(300)
    runs = RunStore(root).runs()
    done = sum(each.status() is RunStatus.COMPLETED for each in runs)
    if done < SEEDS:
        what = f"the study is not complete: {[each.status() for each in runs]}"
        raise RuntimeError(what)
    return len(runs) - SEEDS, [each.exitcode for each in started]


def main() -> None:
    """Try, and print each number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--way", choices=("claim", "lock"), default="claim")
    asked = parser.parse_args()
    preloaded = ["torch", "dregcli.cli.main", "dregcli.app.training.train"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(preloaded)
    too_many: list[int] = []
    codes: list[int | None] = []
    began = time.perf_counter()
    for _ in range(asked.tries):
        with tempfile.TemporaryDirectory() as folder:
            more, ended = _tried(asked.way, asked.processes, Path(folder) / "runs")
        too_many.append(more)
        codes += ended
    seconds = (time.perf_counter() - began) / asked.tries
    print(
        f"{asked.way}: {sum(too_many)} runs too many, in {sum(map(bool, too_many))} of {asked.tries} tries of "
        f"{asked.processes} processes ({seconds:.1f} s a try); exit codes {sorted(set(map(str, codes)))}"
    )


if __name__ == "__main__":
    run(main)
