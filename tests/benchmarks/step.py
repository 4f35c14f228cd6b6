"""Steps/s of our modes and of other codes' steps, in one run, interleaved. By hand:

    python -m tests.benchmarks.step [--peers-python peers/bin/python] [--k 64,1024] [--networks mlp,conv]
        [--rounds 7] [--modes ...] [--markdown]

Two networks: the paper's (784-200-200-50 tanh) and a convolutional VAE. Adam 1e-3, examples drawn and binarised anew
every step, all from the same trained model. How rounds are taken and which of them count:
``tests.benchmarks.support.race``. A ratio is the median over rounds of the ratio within a round; "of best" compares
the best rounds. Ratios are to TFP's DReG step, jitted on JAX, or else to one backward pass in plain torch, or to
``--against``. JAX's peers need an interpreter of their own:

    python -m venv peers
    peers/bin/pip install tensorflow-probability==0.25.0 jax==0.4.35 jaxlib==0.4.35 "numpy<2.2" optax==0.2.3

``--markdown`` prints the tables of docs/theory/screening.md at the end. Nothing here asserts anything about time.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.support import flops
from tests.benchmarks.support.command import run
from tests.benchmarks.support.contestants import BASES, HIDDEN, JAX_PEERS, LABELS, LATENT_DIM, NETWORKS, Problem
from tests.benchmarks.support.modes import add_settings, names, numbers
from tests.benchmarks.support.processor import told
from tests.benchmarks.support.race import Measured, Outcome, add_terms, compete, ratio, say, terms_of
from tests.benchmarks.support.tables import figure, table

PASSES = {"dense": 3, "dense-compiled": 3, "two-backward": 4, "hook": 3, "tfp-jax": 3, "hand-jax": 3}
"""Matrix products of a whole forward pass that a step has to do; what screens does fewer, by what it keeps."""

NETWORK_RATE = "float32 2048x200x784"


def _share(each: Measured, rate: float, *, k: int, batch_size: int, pixels: int) -> float | None:
    """Of the machine's float32 rate in the tanh networks' own products; None where the work is not known."""
    passes = PASSES.get(each.name)
    if passes is None:
        return None
    decoder = k * batch_size * flops.decoder(HIDDEN, LATENT_DIM, pixels)
    encoder = batch_size * flops.encoder(HIDDEN, LATENT_DIM, pixels)
    return passes * (decoder + encoder) / (median(each.ms) * 1e6) / rate


def _against(found: list[Measured], wanted: str | None) -> Measured:
    """The contestant whose steps/s are 1."""
    order = (wanted, *BASES)
    return min(found, key=lambda each: order.index(each.name) if each.name in order else len(order))


def _show(outcome: Outcome, asked: argparse.Namespace, *, network: str, k: int, pixels: int) -> None:
    """The table of one network at one K."""
    against = _against(outcome.found, asked.against)
    rate = median(outcome.rates[NETWORK_RATE]) if network == "mlp" else None
    rows: list[list[str]] = []
    for each in outcome.found:
        ratios = each.ratios(against)
        share = None if rate is None else _share(each, rate, k=k, batch_size=asked.batch_size, pixels=pixels)
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
    print(f"\n{network}, K={k}, batch {asked.batch_size}; ratios are steps/s to those of {against.name}")
    header = ["contestant", "ms a step", "min", "max", "steps/s", "ratio", "over rounds", "of best", "of float32"]
    print(table([*header, "peak MB", "bound", "ESS"], rows))
    print("\nmatrix products, GFLOP/s: median, min, max over the same rounds")
    for name, values in outcome.rates.items():
        print(f"  {name:24} {median(values):8.0f} {min(values):8.0f} {max(values):8.0f}")
    print(outcome.load, flush=True)


def markdown(outcomes: Mapping[int, Outcome], wanted: str | None) -> str:
    """A network's table for the pages: ms and speed of each contestant that was measured at every K."""
    in_all = [each.name for each in next(iter(outcomes.values())).found]
    in_all = [name for name in in_all if all(each.named(name) for each in outcomes.values())]
    base = _against([each for each in next(iter(outcomes.values())).found if each.name in in_all], wanted).name
    header = ["step", *(f"ms at K = {k} | speed" for k in outcomes)]
    lines = [f"| {' | '.join(header)} |", "|---" * (1 + 2 * len(outcomes)) + "|"]
    for name in sorted(in_all, key=list(LABELS).index):
        cells = [LABELS[name]]
        for outcome in outcomes.values():
            each = outcome.named(name)
            speed = ratio(each, outcome.named(base))
            assert each
            assert speed
            ms = median(each.ms)
            cells += [figure(ms, 1 if ms < 100 else 0), "1" if name == base else figure(speed, 1)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=numbers, default=[64, 1024])
    parser.add_argument("--networks", type=names, default=["mlp"], help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dataset", default="mnist")
    add_terms(parser)
    parser.add_argument("--train-steps", type=int, default=None, help="of the model that all start from")
    parser.add_argument("--peers-python", default=None, help="an interpreter that has TFP, JAX and optax")
    parser.add_argument("--modes", type=names, default=list(LABELS), help=f"contestants, of {', '.join(LABELS)}")
    parser.add_argument("--against", choices=list(LABELS), default=None, help="the contestant whose ratio is 1")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the pages as well")
    parser.add_argument("--json", type=Path, default=None, help="keep all figures in this file")
    parser.add_argument("--data-dir", default=None)
    add_settings(parser)
    asked = parser.parse_args()
    for given, known in ((asked.modes, LABELS), (asked.networks, NETWORKS)):
        if strange := set(given) - set(known):
            parser.error(f"there is no {', '.join(sorted(strange))}; known are {', '.join(known)}")
    if asked.peers_python is None and set(asked.modes) & set(JAX_PEERS):
        say("No --peers-python: JAX's contestants are left out. To have them:")
        say(
            "  python -m venv peers && peers/bin/pip install tensorflow-probability==0.25.0 jax==0.4.35 \\\n"
            '    jaxlib==0.4.35 "numpy<2.2" optax==0.2.3'
        )
        asked.modes = [name for name in asked.modes if name not in JAX_PEERS]
    return asked


def _race(network: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train, compete at each K, print; all figures of one network."""
    problem = Problem(
        network,
        asked.dataset,
        asked.batch_size,
        data_words=[] if asked.data_dir is None else ["--data-dir", asked.data_dir],
        settings=asked.settings,
        peers_python=asked.peers_python,
    )
    start = folder / f"{network}.npz"
    trained = problem.train(start, k=min(asked.k), steps=asked.train_steps)
    ess = f"ESS {trained['ess']:.2f}, bound {trained['bound']:.2f}" if trained["ess"] else "no training"
    print(
        f"\n{network}, {asked.dataset}: all start from a model of {trained['steps']} steps at K={trained['k']}: {ess}"
    )
    contestants = [name for name in asked.modes if name in NETWORKS[network].contestants]
    outcomes: dict[int, Outcome] = {}
    for k in asked.k:
        outcomes[k] = compete({name: problem.start_of(name, k, start) for name in contestants}, terms_of(asked))
        if not outcomes[k].found:
            raise SystemExit(f"no contestant of {network} could start at K={k}; see the messages above")
        print(told(outcomes[k].processor))
        _show(outcomes[k], asked, network=network, k=k, pixels=trained["pixels"])
    if asked.markdown:
        print(f"\n{markdown(outcomes, asked.against)}", flush=True)
    processor = next(iter(outcomes.values())).processor
    return {"trained": trained, "processor": processor, "k": {str(k): each.plain() for k, each in outcomes.items()}}


def main() -> None:
    """Race on each network."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        kept = {network: _race(network, asked, Path(folder)) for network in asked.networks}
    if asked.json:
        asked.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    run(main)
