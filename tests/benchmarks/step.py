"""Steps/s of our modes and of other codes' steps, in one run, interleaved. By hand:

    python -m tests.benchmarks.step --peers-python peers/bin/python [--k 64,1024] [--rounds 7] [--modes ...]

The same networks (784-200-200-50 tanh), Adam 1e-3, examples drawn and binarised anew every step, all from the same
trained model. Every contestant waits in a process of its own; every round asks each in turn for a burst of a second
or so, and a ratio is the median over rounds of the ratio within a round. Before a round it waits up to ``--patience``
seconds for a quiet machine. A round in which other programs used more than ``--disturbed`` cores is taken again,
three times as many rounds at most; where none is quiet, all of them count and the table says so. ("of best" compares
the best rounds.) Peers need an interpreter of their own:

    python -m venv peers
    peers/bin/pip install tensorflow-probability==0.25.0 jax==0.4.35 jaxlib==0.4.35 "numpy<2.2" optax==0.2.3

Nothing here asserts anything about time.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.support import flops
from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import MODES, add_settings, mode_options, names, numbers
from tests.benchmarks.support.others import OtherWork, wait_for_quiet
from tests.benchmarks.support.tables import figure, table
from tests.benchmarks.support.workers import Worker, WorkerFailed, steps_in

HIDDEN, LATENT_DIM = (200, 200), 50

TORCH_PEERS = {"two-backward": "two-backward", "hook": "hook"}
JAX_PEERS = {"tfp-jax": "tfp", "hand-jax": "hand"}
PASSES = {"dense": 3, "dense-compiled": 3, "two-backward": 4, "hook": 3, "tfp-jax": 3, "hand-jax": 3}
"""Matrix products of a whole forward pass that a step has to do; what screens does fewer, by what it keeps."""

RATES = "rates"
NETWORK_RATE = "float32 2048x200x784"


@dataclass
class Measured:
    """What one contestant came to, round by round."""

    name: str
    k: int
    steps_a_burst: int
    ms: list[float] = field(default_factory=list)
    bound: float | None = None
    ess: float | None = None
    peak_megabytes: float = 0.0

    def ratios(self, other: "Measured") -> list[float]:
        """How many times the other's steps/s, within each round."""
        return [theirs / own for own, theirs in zip(self.ms, other.ms, strict=True)]

    def share(self, rate: float, batch_size: int) -> float | None:
        """Of the machine's float32 rate in the network's own products; None where the work is not known."""
        passes = PASSES.get(self.name)
        if passes is None:
            return None
        decoder = self.k * batch_size * flops.decoder(HIDDEN, LATENT_DIM)
        encoder = batch_size * flops.encoder(HIDDEN, LATENT_DIM)
        return passes * (decoder + encoder) / (median(self.ms) * 1e6) / rate


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _started(name: str, k: int, start: Path, asked: argparse.Namespace) -> Worker:
    """A contestant's process; it goes on starting by itself."""
    shapes = ["--start", str(start), "--k", str(k), "--batch-size", str(asked.batch_size)]
    if name == RATES:
        return Worker(name, "tests.benchmarks.support.rates")
    if name in TORCH_PEERS:
        return Worker(name, "tests.benchmarks.peers.torch_steps", [TORCH_PEERS[name], *shapes])
    if name in JAX_PEERS:
        return Worker(name, "tests.benchmarks.peers.jax_steps", [JAX_PEERS[name], *shapes], asked.peers_python)
    options = json.dumps(_options(asked, k) | mode_options(name, asked.settings))
    words = ["--options", options, "--start", str(start), *asked.data_words]
    return Worker(name, "tests.benchmarks.support.our_worker", words)


def _options(asked: argparse.Namespace, k: int) -> dict[str, Any]:
    """Options of the run spec that all our contestants share."""
    shapes = {"hidden": HIDDEN, "latent_dim": LATENT_DIM, "k": k, "batch_size": asked.batch_size}
    return {"dataset": asked.dataset, "device": "cpu", **shapes}


def _train(asked: argparse.Namespace, file: Path) -> dict[str, Any]:
    """Train the model that all start from, at the smallest K; where it came to."""
    options = json.dumps(_options(asked, min(asked.k)))
    words = ["--file", str(file), "--options", options, "--steps", str(asked.train_steps), *asked.data_words]
    worker = Worker("training", "tests.benchmarks.support.start", words)
    try:
        about = worker.ready()
        worker.end()
    finally:
        worker.abandon()
    return about


def _begin(k: int, start: Path, asked: argparse.Namespace) -> Iterator[tuple[Worker, Measured]]:
    """Contestants that are warm, with how many steps they take in a burst."""
    for name in [RATES, *asked.modes]:
        wait_for_quiet(asked.disturbed, asked.patience)
        worker = _started(name, k, start, asked)
        try:
            worker.ready()
            steps = 1 if name == RATES else worker.burst_of(asked.seconds)
        except WorkerFailed as failure:
            _say(f"left out: {failure}")
            continue
        except BaseException:
            worker.abandon()
            raise
        _say(f"K={k} {name}: bursts of {steps} steps")
        yield worker, Measured(name, k, steps)


def _round(contestants: list[tuple[Worker, Measured]], rates: dict[str, list[float]], seconds: float) -> float:
    """One burst of each; the cores that others used meanwhile."""
    others = OtherWork(worker.pid for worker, _ in contestants)
    for worker, measured in contestants:
        told = worker.burst(measured.steps_a_burst)
        measured.ms.append(told.pop("ms"))
        if worker.name != RATES:
            # By the best so far: the first guess may have been made while others worked.
            measured.steps_a_burst = steps_in(seconds, min(measured.ms))
        measured.bound, measured.ess = told.pop("bound", None), told.pop("ess", None)
        for name, rate in told.items():
            rates.setdefault(name, []).append(rate)
    return others.cores() or 0.0


def _compete(k: int, start: Path, asked: argparse.Namespace) -> tuple[list[Measured], dict[str, list[float]], str]:
    """All contestants at one K, the machine's rates in the same rounds, and how busy others kept it."""
    contestants: list[tuple[Worker, Measured]] = []
    rates: dict[str, list[float]] = {}
    busy: list[float] = []
    try:
        for each in _begin(k, start, asked):
            contestants.append(each)
        while sum(cores <= asked.disturbed for cores in busy) < asked.rounds and len(busy) < 3 * asked.rounds:
            wait_for_quiet(asked.disturbed, asked.patience)
            busy.append(_round(contestants, rates, asked.seconds))
            _say(f"K={k} round {len(busy)}: others used {busy[-1]:.2f} cores")
        for worker, measured in contestants:
            measured.peak_megabytes = worker.end()
    finally:
        for worker, _ in contestants:
            worker.abandon()
    found = [measured for _, measured in contestants if measured.name != RATES]
    quiet = [i for i, cores in enumerate(busy) if cores <= asked.disturbed]
    counted = quiet or list(range(len(busy)))
    for measured in found:
        measured.ms = [measured.ms[i] for i in counted]
    load = f"{len(quiet)} of {len(busy)} rounds were quiet; " + (
        "only they count"
        if quiet
        else f"all count, although others used up to {max(busy):.2f} of {os.cpu_count()} cores"
    )
    return found, {name: [values[i] for i in counted] for name, values in rates.items()}, load


def _show(found: list[Measured], rates: dict[str, list[float]], batch_size: int) -> None:
    """The table of one K."""
    by_name = {each.name: each for each in found}
    against = next((by_name[name] for name in ("tfp-jax", "dense") if name in by_name), found[0])
    rate = median(rates[NETWORK_RATE])
    rows: list[list[str]] = []
    for each in found:
        ratios, share = each.ratios(against), each.share(rate, batch_size)
        rows.append(
            [
                each.name,
                *(figure(value) for value in (median(each.ms), min(each.ms), max(each.ms))),
                figure(1e3 / median(each.ms), 1),
                figure(median(ratios)),
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                figure(min(against.ms) / min(each.ms)),
                "-" if share is None else f"{share:.0%}",
                figure(each.peak_megabytes, 0),
                figure(each.bound),
                figure(each.ess, 1),
            ]
        )
    print(f"\nK={found[0].k}, batch {batch_size}; ratios are steps/s to those of {against.name}")
    header = ["contestant", "ms a step", "min", "max", "steps/s", "ratio", "over rounds", "of best", "of float32"]
    print(table([*header, "peak MB", "bound", "ESS"], rows))
    print("\nmatrix products, GFLOP/s: median, min, max over the same rounds")
    for name, values in rates.items():
        print(f"  {name:24} {median(values):8.0f} {min(values):8.0f} {max(values):8.0f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=numbers, default=[64, 1024])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a burst")
    parser.add_argument(
        "--disturbed", type=float, default=0.2, help="cores that others may use in a round that counts"
    )
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--train-steps", type=int, default=2000)
    parser.add_argument("--peers-python", default=None, help="an interpreter that has TFP, JAX and optax")
    parser.add_argument("--modes", type=names, default=[*MODES, *TORCH_PEERS, *JAX_PEERS])
    parser.add_argument("--json", type=Path, default=None, help="keep all figures in this file")
    parser.add_argument("--data-dir", default=None)
    add_settings(parser)
    asked = parser.parse_args()
    if strange := set(asked.modes) - {*MODES, *TORCH_PEERS, *JAX_PEERS}:
        parser.error(f"no such contestants: {', '.join(sorted(strange))}")
    if asked.peers_python is None and set(asked.modes) & set(JAX_PEERS):
        _say("No --peers-python: JAX's contestants are left out, and ratios are to our dense mode. To have them:")
        _say(
            "  python -m venv peers && peers/bin/pip install tensorflow-probability==0.25.0 jax==0.4.35 \\\n"
            '    jaxlib==0.4.35 "numpy<2.2" optax==0.2.3'
        )
        asked.modes = [name for name in asked.modes if name not in JAX_PEERS]
    asked.data_words = [] if asked.data_dir is None else ["--data-dir", asked.data_dir]
    return asked


def main() -> None:
    """Train, compete, print."""
    asked = _arguments()
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        trained = _train(asked, start)
        print(f"{platform.processor() or platform.machine()}, {asked.dataset}; all start from a model of")
        ess = f"ESS {trained['ess']:.2f}, bound {trained['bound']:.2f}" if trained["ess"] else "no training"
        print(f"{asked.train_steps} steps at K={trained['k']}: {ess}", flush=True)
        for k in asked.k:
            found, rates, load = _compete(k, start, asked)
            _show(found, rates, asked.batch_size)
            print(load, flush=True)
            kept[str(k)] = {"contestants": [asdict(each) for each in found], "rates": rates, "load": load}
    if asked.json:
        asked.json.write_text(json.dumps({"trained": trained, "k": kept}, indent=1))


if __name__ == "__main__":
    run(main)
