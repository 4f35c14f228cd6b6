"""Seconds of a whole process: ``dreg train`` against a script in plain torch that trains the same model. By hand:

    python -m tests.benchmarks.whole [--dataset mnist] [--steps 200,2000] [--k 64] [--rounds 3]

The script, ``tests/benchmarks/peers/script.py``, is what one would write without dreg: data, DReG by two losses,
Adam, and the test bound at the end. Start, imports and data are in the time of both. "dreg" does the same work;
"dreg, as typed" is ``dreg train`` with its defaults: bounds on the way, and of all splits at the end.

Processes run one after another, in turn; a ratio is the script's seconds to dreg's within a round, larger is better.
Others' work meanwhile is told as in ``tests.benchmarks.step``. Nothing here asserts anything about time.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from dregcli.data.catalogue import load_dataset
from dregcli.data.folders import default_data_dir
from dregcli.names import Split
from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import numbers
from tests.benchmarks.support.others import OtherWork, wait_for_quiet
from tests.benchmarks.support.race import say
from tests.benchmarks.support.tables import figure, table

SCRIPT, DREG, TYPED = "script", "dreg", "dreg, as typed"
_SCRIPT_FILE = Path(__file__).with_name("peers") / "script.py"


@dataclass
class Whole:
    """A contestant's processes, round by round.

    Attributes:
        seconds: from start to end.
        cpu: processor seconds, of all threads.
        others: cores that other programs used meanwhile.
        bound: the last process's test bound, nats.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    bound: float = float("nan")

    def ratios(self, script: "Whole") -> list[float]:
        """The script's seconds to these, within each round."""
        return [theirs / own for own, theirs in zip(self.seconds, script.seconds, strict=True)]


def _take(whole: Whole, command: Sequence[str], bound_of: Callable[[str], float]) -> None:
    """Run a process to its end."""
    others, started = OtherWork(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, busy = time.perf_counter() - started, others.cores() or 0.0
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{whole.name} ended with {process.returncode}:\n{errors.read()}")
    cpu = used.ru_utime + used.ru_stime
    whole.seconds.append(seconds)
    whole.cpu.append(cpu)
    whole.others.append(max(0.0, busy - cpu / seconds))
    whole.bound = bound_of(text)


def _script_bound(text: str) -> float:
    found = re.search(r"test bound (\S+)", text)
    assert found, text
    return float(found[1])


def _dreg_bound(text: str) -> float:
    return json.loads(text)["bound"]["test"]


def _dreg_command(asked: argparse.Namespace, steps: int, store: Path, extra: Sequence[str]) -> list[str]:
    sizes = {"k": asked.k, "batch-size": asked.batch_size, "steps": steps, "latent-dim": asked.latent_dim}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    words += ["--hidden", f"{asked.hidden},{asked.hidden}", "--dataset", asked.dataset, "--device", "cpu"]
    places = ["--runs-dir", str(store), "--data-dir", str(asked.data_dir)]
    return [sys.executable, "-m", "dregcli", "train", *words, *places, "--json", "--quiet", *extra]


def _script_command(asked: argparse.Namespace, steps: int, images: Path) -> list[str]:
    sizes = {"k": asked.k, "batch-size": asked.batch_size, "steps": steps}
    sizes |= {"latent-dim": asked.latent_dim, "hidden": asked.hidden}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    return [sys.executable, str(_SCRIPT_FILE), str(images), *words]


def _compete(asked: argparse.Namespace, steps: int, folder: Path) -> list[Whole]:
    """All contestants at one number of steps."""
    same = ["--eval-every", "0", "--final-eval", "test", "--eval-k", str(asked.k)]
    dreg = partial(_dreg_command, asked, steps, folder / "runs")
    ways = {
        SCRIPT: (_script_command(asked, steps, folder / "images.npz"), _script_bound),
        DREG: (dreg(same), _dreg_bound),
        TYPED: (dreg([]), _dreg_bound),
    }
    found = {name: Whole(name) for name in ways if name in asked.only}
    for number in range(asked.rounds):
        for name, whole in found.items():
            wait_for_quiet(asked.disturbed, asked.patience)
            _take(whole, *ways[name])
        told = ", ".join(f"{name} {each.seconds[-1]:.1f} s" for name, each in found.items())
        say(f"{steps:,} steps, round {number + 1}: {told}")
    return list(found.values())


def _show(found: Sequence[Whole], steps: int, asked: argparse.Namespace) -> None:
    script = found[0]
    rows = [
        [
            each.name,
            *(figure(value) for value in (median(each.seconds), min(each.seconds), max(each.seconds))),
            figure(median(each.cpu)),
            figure(median(each.ratios(script))),
            f"{min(each.ratios(script)):.2f} to {max(each.ratios(script)):.2f}",
            figure(max(each.others)),
            figure(each.bound),
        ]
        for each in found
    ]
    print(f"\n{asked.dataset}, {steps:,} steps, K={asked.k}, batch {asked.batch_size}: whole processes")
    header = ["contestant", "seconds", "min", "max", "CPU s", "ratio", "over rounds", "others' cores", "test bound"]
    print(table(header, rows), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--steps", type=numbers, default=[200, 2000])
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=200, help="of each of the two hidden layers")
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-typed", action="store_true", help="leave out dreg with its defaults")
    parser.add_argument("--disturbed", type=float, default=0.2, help="cores that others may use before a process")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--json", type=Path, default=None, help="keep all figures in this file")
    parser.add_argument("--data-dir", type=Path, default=None)
    asked = parser.parse_args()
    asked.data_dir = asked.data_dir or default_data_dir()
    asked.only = [SCRIPT, DREG, *([] if asked.skip_typed else [TYPED])]
    return asked


def main() -> None:
    """Compete, print."""
    asked = _arguments()
    dataset = load_dataset(asked.dataset, asked.data_dir)
    kept: dict[str, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = {split.value: np.asarray(dataset.splits[split]) for split in (Split.TRAIN, Split.TEST)}
        np.savez(folder / "images.npz", **images, levels=np.float32(dataset.levels))
        for steps in asked.steps:
            found = _compete(asked, steps, folder)
            _show(found, steps, asked)
            kept[str(steps)] = [asdict(each) for each in found]
    if asked.json:
        asked.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    run(main)
