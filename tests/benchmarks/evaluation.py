"""Seconds of an evaluation pass, and the share of the machine's float32 rate that it reaches. By hand:

    python -m tests.benchmarks.evaluation --n 10000        (--n 256 for a quick look)

It is what `dreg eval --k 1,10,100,1000,5000` does for its batches: curve, jackknife, k-hat and all.

The share is of the rate in the decoder's own products, 2048x200x784, measured before, after and every few seconds in
between in the same process: a machine's clock wanders by a third within minutes. What is counted as work is the
networks' matrix products alone. Nothing here asserts anything about time.
"""

import argparse
import json
import os
import time
from pathlib import Path
from statistics import mean

from dregcli.app.common.process import share_cores

share_cores(os.environ)  # before torch is imported, as in ``dreg eval``

# ruff: noqa: E402
import torch

from dregcli.data.folders import default_data_dir
from dregcli.engine.device import prepare_process
from dregcli.engine.evaluation import seen_batches
from dregcli.engine.likelihood_estimate import estimate
from dregcli.errors import SpecError
from dregcli.names import Split
from dregcli.specs.number_lists import parse_ks
from tests.benchmarks.support import flops
from tests.benchmarks.support.bounds import automatic_chunk, compiles, split_bounds
from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import make_plan, make_trainer
from tests.benchmarks.support.others import OtherWork
from tests.benchmarks.support.rates import NETWORK_RATE, SQUARE_RATE, Rates
from tests.benchmarks.support.serve import peak_megabytes

BETWEEN_RATES = 4.0
"""Seconds of evaluation between two measurements of the machine."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", default="1,10,100,1000,5000")
    parser.add_argument("--n", type=int, default=10_000, help="images")
    parser.add_argument("--split", type=Split, default=Split.TEST)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--k-chunk", default="auto", help="samples at once, auto, or all")
    parser.add_argument("--compile", default="auto", choices=["auto", "on", "off"])
    parser.add_argument("--train-steps", type=int, default=500, help="before; 0 evaluates a fresh model")
    parser.add_argument("--json", type=Path, default=None, help="keep the shares in this file")
    parser.add_argument("--data-dir", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Train a little, evaluate, print."""
    asked = _arguments()
    prepare_process()
    options = {
        "dataset": asked.dataset,
        "device": "cpu",
        "compile": "off",
        "steps": max(1, asked.train_steps),
    }
    ks, faults = parse_ks(asked.k)
    if faults:
        raise SpecError(faults)
    k = ks[-1]
    plan = make_plan(options, asked.data_dir or default_data_dir())
    # Trained uncompiled: whether compilation pays is here a question to the evaluation.
    trainer = make_trainer(plan)
    for _ in range(asked.train_steps):
        trainer.advance()
    model = trainer.model
    n = min(asked.n, len(plan.data.examples(asked.split)))
    chunk = automatic_chunk(plan, k) if asked.k_chunk == "auto" else None
    chunk = int(asked.k_chunk) if asked.k_chunk.isdecimal() else chunk
    compiled = compiles(plan, asked.compile, examples=n, k=k, k_chunk=chunk)
    if compiled == "on":
        model.fuse()
    # What happens once only, compilation too, is not in the time.
    split_bounds(model, plan, asked.split, k=min(k, 2 * (chunk or 64)), limit=128, k_chunk=chunk)

    rates, others = Rates(seconds=0.2), OtherWork()
    measured, bounds, seconds, next_measurement = [rates.measure()], [], 0.0, BETWEEN_RATES
    started = time.perf_counter()
    examples, seed = plan.data.examples(asked.split), plan.spec.eval_seed
    for batch in seen_batches(model, examples, plan.data.pixels, split=asked.split, seed=seed, limit=n):
        found = estimate(batch, ks, repeats=1, k_chunk=chunk)
        seconds += time.perf_counter() - started
        bounds.append(found.bound[-1, 0])
        if seconds > next_measurement:
            measured.append(rates.measure())
            next_measurement = seconds + BETWEEN_RATES
        started = time.perf_counter()
    measured.append(rates.measure())
    load, bound = others.told(), torch.cat(bounds)

    hidden, latent_dim = plan.spec.hidden, plan.spec.latent_dim
    pixels = plan.data.dataset.pixels
    work = n * k * flops.decoder(hidden, latent_dim, pixels) + n * flops.encoder(hidden, latent_dim, pixels)
    reached = work / seconds / 1e9
    print(f"{n:,} {asked.dataset} {asked.split} images, K={k:,}, k-chunk {chunk or 'all'},", end=" ")
    print(f"compile {compiled}, after {asked.train_steps} steps: bound {float(bound.mean()):.2f} nats")
    print(f"{seconds:.1f} s, {work / 1e9:,.0f} GFLOP, {reached:.0f} GFLOP/s, peak {peak_megabytes():,.0f} MB")
    print(f"the machine's GFLOP/s, measured {len(measured)} times meanwhile, and the evaluation's share of the mean:")
    shares: dict[str, float] = {}
    for name in (NETWORK_RATE, SQUARE_RATE):
        each = [rate[name] for rate in measured]
        shares[name] = reached / mean(each)
        print(f"  {name:24} {mean(each):6.0f} ({min(each):.0f} to {max(each):.0f}) {shares[name]:8.0%}")
    print(load)
    if asked.json:
        asked.json.write_text(json.dumps({"seconds": seconds, "shares": shares}, indent=1))


if __name__ == "__main__":
    run(main)
