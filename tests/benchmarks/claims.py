"""Runs too many that processes of one study make at once, where the disk refuses locks. By hand:

    python -m tests.benchmarks.claims --tries 50

Real processes run ``dreg train --seeds 0-1`` from the same moment on, each try in a new store, and none of them can
lock a file. The way before claims, a lock around looking and claiming, is a wrong twin of
``tests/app/studies/test_claiming.py``.
"""

import argparse
import errno
import fcntl
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.benchmarks.support.command import run

SEEDS: Final = 2
WORDS: Final = (
    *("train", "--seeds", f"0-{SEEDS - 1}", "--dataset", "digits", "--device", "cpu", "--quiet", "--threads", "1"),
    *("--hidden", "6", "--latent-dim", "2", "--k", "2", "--steps", "3", "--backward", "dense", "--capture", "none"),
    *("--eval-k", "2", "--final-eval", "test"),
)


def _refused(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def _process(folder: str, tries: int, start: Any, codes: Any) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    fcntl.flock = _refused
    from dregcli.cli.main import entry

    for number in range(tries):
        sys.argv = ["dreg", *WORDS, "--runs-dir", str(_root(folder, number))]
        start.wait(600)
        try:
            entry()
        except SystemExit as ended:
            codes.put(ended.code)


def _root(folder: str, number: int) -> Path:
    return Path(folder) / f"runs-{number}"


def _too_many(root: Path) -> int:
    runs = RunStore(root).runs()
    done = sum(each.status() is RunStatus.COMPLETED for each in runs)
    if done < SEEDS:
        what = f"the study is not complete: {[each.status() for each in runs]}"
        raise RuntimeError(what)
    return len(runs) - SEEDS


def _try(processes: int, tries: int, folder: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "dregcli.cli.main", "dregcli.app.training.train"])
    start, queue = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=_process, args=(folder, tries, start, queue), daemon=True) for _ in range(processes)
    ]
    began = time.perf_counter()
    for each in started:
        each.start()
    too_many: list[int] = []
    codes: Counter[object] = Counter()
    for number in range(tries):
        codes.update(queue.get(timeout=600) for _ in range(processes))
        too_many.append(_too_many(_root(folder, number)))
        seconds = (time.perf_counter() - began) / len(too_many)
        print(
            f"{sum(too_many)} runs too many, in {sum(map(bool, too_many))} of {len(too_many)} tries of "
            f"{processes} processes ({seconds:.1f} s a try); exit codes {dict(codes)}",
            flush=True,
        )


def main() -> None:
    """Try, and print the tally after each try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _try(asked.processes, asked.tries, folder)


if __name__ == "__main__":
    run(main)
