"""Steps/s on a GPU: every mode of ours beside plain torch and a jitted JAX step. By hand, on a machine with a GPU:

    python -m tests.benchmarks.gpu [--k 64,1024,16384] [--batch-size 32] [--seconds 1] [--file OUT.json]

All contestants train the same networks (784-200-200-50 tanh) with Adam on MNIST, binarised again at every step. They
start from one model, which was trained for a while, since how much screening saves depends on that. "products" is the
time that the matrix products of one first pass over all rows take alone, in float32; the share is that time divided
by the step's. JAX takes part where it and optax are installed. Nothing here asserts anything about time.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dregcli.data.folders import default_data_dir
from dregcli.engine.device import prepare_process
from dregcli.names import Split
from tests.benchmarks.peers.torch_steps import STEPS, PlainVae
from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import MODES, NO_END, make_plan, make_trainer, names, numbers
from tests.benchmarks.support.tables import figure, table

HIDDEN, LATENT_DIM = (200, 200), 50

Burst = Callable[[int], object]
"""Takes a number of steps, and waits for the last one."""


def _milliseconds(burst: Burst, seconds: float) -> float:
    """Time of one step, the least of three bursts that take about ``seconds`` together."""
    burst(5)
    count, spent = 5, 0.0
    while spent < seconds / 10 and count < 10**5:
        count *= 2
        started = time.perf_counter()
        burst(count)
        spent = time.perf_counter() - started
    steps = max(3, round(count * seconds / 3 / spent))
    times: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        burst(steps)
        times.append((time.perf_counter() - started) / steps)
    return 1e3 * min(times)


def _options(k: int, batch_size: int, mode: str) -> dict[str, Any]:
    shapes = {"hidden": HIDDEN, "latent_dim": LATENT_DIM, "k": k, "batch_size": batch_size}
    return {"dataset": "mnist", "device": "cuda", "steps": NO_END, **shapes, **MODES[mode]}


def _ours(k: int, batch_size: int, mode: str, start: dict[str, Tensor], data: Path) -> Burst:
    trainer = make_trainer(make_plan(_options(k, batch_size, mode), data))
    trainer.model.load_state_dict(start)

    def burst(steps: int) -> None:
        for _ in range(steps):
            trainer.advance()
        trainer.collect()
        torch.cuda.synchronize()

    return burst


def _plain(k: int, batch_size: int, name: str, start: dict[str, Tensor], images: Tensor, *, compiled: bool) -> Burst:
    vae = PlainVae({key: each.cpu().numpy() for key, each in start.items()}).cuda()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    step = torch.compile(STEPS[name]) if compiled else STEPS[name]

    def burst(steps: int) -> None:
        for _ in range(steps):
            rows = images[torch.randint(len(images), (batch_size,), device="cuda")]
            x = (rows.float() / 255.0 > torch.rand(rows.shape, device="cuda")).float()
            optimizer.zero_grad(set_to_none=True)
            step(vae, x, k)
            optimizer.step()
        torch.cuda.synchronize()

    return burst


def _jax(k: int, batch_size: int, start: dict[str, Tensor], images: Tensor, precision: str) -> Burst:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from tests.benchmarks.peers.jax_steps import stepper

    jax.config.update("jax_default_matmul_precision", precision)
    arrays = {key: each.cpu().numpy() for key, each in start.items()} | {"images": images.cpu().numpy()}
    return stepper("hand", arrays, k=k, batch_size=batch_size)


def _products(rows: int, layers: list[Tensor]) -> Burst:
    inputs = [torch.randn(rows, each.shape[1], device="cuda") for each in layers]
    outputs = [torch.empty(rows, each.shape[0], device="cuda") for each in layers]

    def burst(steps: int) -> None:
        for _ in range(steps):
            for one, layer, out in zip(inputs, layers, outputs, strict=True):
                torch.mm(one, layer.mT, out=out)
        torch.cuda.synchronize()

    return burst


def _contestants(
    k: int, batch_size: int, start: dict[str, Tensor], images: Tensor, data: Path
) -> Iterator[tuple[str, Callable[[], Burst]]]:
    """Yield the name of each contestant, and a function that builds it."""
    for mode in MODES:
        yield mode, lambda mode=mode: _ours(k, batch_size, mode, start, data)
    for name in STEPS:
        yield f"torch {name}", lambda name=name: _plain(k, batch_size, name, start, images, compiled=False)
    yield "torch two-backward, compiled", lambda: _plain(k, batch_size, "two-backward", start, images, compiled=True)
    yield "jax jitted, float32", lambda: _jax(k, batch_size, start, images, "float32")
    yield "jax jitted, its default (TF32)", lambda: _jax(k, batch_size, start, images, "default")


def _trained(data: Path, steps: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return a trained model's tensors and the training images, on the GPU."""
    plan = make_plan(_options(64, 32, "dense"), data)
    trainer = make_trainer(plan)
    for _ in range(steps):
        trainer.advance()
    images = torch.as_tensor(plan.data.dataset.splits[Split.TRAIN][:], device="cuda")
    return trainer.state().model, images


def main() -> None:
    """Measure, and print one table for each K."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=numbers, default=[64, 1024, 16384])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--train-steps", type=int, default=3000)
    parser.add_argument("--only", type=names, default=[], help="contestants whose names begin with these words")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--file", type=Path, default=None)
    asked = parser.parse_args()
    prepare_process()
    data = asked.data_dir or default_data_dir()
    start, images = _trained(data, asked.train_steps)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch {asked.batch_size}")
    layers = [each for name, each in start.items() if name.startswith("decoder") and name.endswith("weight")]
    kept: list[dict[str, Any]] = []
    for k in asked.k:
        products = _milliseconds(_products(k * asked.batch_size, layers), asked.seconds)
        rows: list[list[str]] = []
        for name, build in _contestants(k, asked.batch_size, start, images, data):
            if asked.only and not name.startswith(tuple(asked.only)):
                continue
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                ms = _milliseconds(build(), asked.seconds)
            except (ImportError, RuntimeError) as error:
                print(f"left out: {name}: {str(error).splitlines()[0][:150]}", flush=True)
                continue
            megabytes = torch.cuda.max_memory_allocated() / 2**20
            rows.append([name, figure(ms, 3), figure(1e3 / ms, 0), f"{products / ms:.0%}", figure(megabytes, 0)])
            kept.append({"k": k, "name": name, "ms": ms, "products_ms": products, "megabytes": megabytes})
            print(*rows[-1], flush=True)
        print(f"\nK={k}: the products of a first pass alone take {products:.3f} ms")
        print(table(["contestant", "ms a step", "steps/s", "share", "peak MB"], rows), flush=True)
    if asked.file:
        asked.file.write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
