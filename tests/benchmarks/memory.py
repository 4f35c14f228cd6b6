"""Peak memory of ``dreg train`` at a K that does not fit at once. By hand:

    python -m tests.benchmarks.memory --k 65536 [--modes dense,screened,bfloat16] [--k-chunk auto]

Runs the command itself, once for every mode, each in a process of its own. At the checkpoint after ``--steps`` steps
it is told to stop as by Ctrl-C: what follows would be the final evaluation of all splits at that K, hours of it. Its
memory is measured by ``--evaluation``, on a few images. Nothing here asserts anything about memory.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import MODES, names
from tests.benchmarks.support.tables import figure, table

INTERRUPTED = 130
_LOOK_SECONDS = 0.1


def _flags(options: dict[str, Any]) -> list[str]:
    """Options of the run spec as ``dreg train`` takes them."""
    return [word for field, value in options.items() for word in (f"--{field.replace('_', '-')}", str(value))]


def _told(errors: Path) -> str:
    return "\n".join(errors.read_text().splitlines()[-12:])


def train(mode: str, asked: argparse.Namespace) -> dict[str, float]:
    """One run of the command: peak resident memory, MB, and the seconds it took to get to its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        runs, errors = Path(folder) / "runs", Path(folder) / "errors.txt"
        options = MODES[mode] | {
            "dataset": asked.dataset,
            "k": asked.k,
            "k_chunk": asked.k_chunk,
            "batch_size": asked.batch_size,
            "steps": 10**6,
            "checkpoint_every": asked.steps,
            "eval_every": 0,
            "log_every": 1,
            "device": "cpu",
            "runs_dir": runs,
            "name": "memory",
        }
        where = [] if asked.data_dir is None else ["--data-dir", asked.data_dir]
        started = time.perf_counter()
        with errors.open("w") as file:
            command = [sys.executable, "-m", "dregcli", "train", *_flags(options), *where, "--json"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        checkpoint = runs / "memory" / "v001" / "checkpoints" / f"step-{asked.steps:08d}"
        try:
            while not checkpoint.exists() and process.poll() is None:
                time.sleep(_LOOK_SECONDS)
            seconds = time.perf_counter() - started
            if process.returncode is not None:
                message = f"{mode}: dreg train ended with {process.returncode} before its checkpoint\n{_told(errors)}"
                raise SystemExit(message)
            process.send_signal(signal.SIGINT)
            # Of this child alone; getrusage(RUSAGE_CHILDREN) would be of the largest so far.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        if process.returncode != INTERRUPTED:
            raise SystemExit(f"{mode}: dreg train ended with {process.returncode}\n{_told(errors)}")
        unit = 1 if sys.platform == "darwin" else 1024
        return {"peak": usage.ru_maxrss * unit / 1e6, "seconds": seconds}


def interpreter() -> float:
    """The peak of a process that imports torch, MB: what no run can be below."""
    program = "import torch; from tests.benchmarks.support.serve import peak_megabytes as peak; print(peak())"
    return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def evaluate(asked: argparse.Namespace) -> str:
    """The evaluation benchmark at that K, for its peak."""
    words = ["--k", str(asked.k), "--n", "128", "--dataset", asked.dataset, "--train-steps", "0"]
    where = [] if asked.data_dir is None else ["--data-dir", asked.data_dir]
    command = [sys.executable, "-m", "tests.benchmarks.evaluation", *words, *where]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Run every mode, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=65_536)
    parser.add_argument("--k-chunk", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--modes", type=names, default=["dense", "screened", "bfloat16"])
    parser.add_argument("--evaluation", action="store_true", help="that of an evaluation as well")
    parser.add_argument("--data-dir", default=None)
    asked = parser.parse_args()
    print(f"dreg train, {asked.dataset}, K={asked.k:,}, k-chunk {asked.k_chunk}, batch {asked.batch_size}")
    least = interpreter()
    rows = [["torch alone", figure(least, 0), figure(least * 1e6 / 2**30), ""]]
    for mode in asked.modes:
        found = train(mode, asked)
        rows.append(
            [mode, figure(found["peak"], 0), figure(found["peak"] * 1e6 / 2**30), figure(found["seconds"], 1)]
        )
    print(table(["mode", "peak MB", "GiB", f"s to step {asked.steps}, from typing"], rows))
    if asked.evaluation:
        print(evaluate(asked), end="")


if __name__ == "__main__":
    run(main)
