"""A contestant of ours: the trainer that ``dreg train`` would build of these options.

    python -m tests.benchmarks.support.our_worker --options '{"dataset": "mnist", ...}' --start START.npz

A step is all that the program does for one: order, pixels, noise, gradient, Adam, and a row of metrics every
``log_every`` steps.
"""

import argparse
import json
from pathlib import Path

from dregcli.data.folders import default_data_dir
from dregcli.engine.device import prepare_process, settled_process
from tests.benchmarks.support.command import run
from tests.benchmarks.support.modes import NO_END, make_plan, make_trainer
from tests.benchmarks.support.serve import serve
from tests.benchmarks.support.start import load_model


def main() -> None:
    """Build, load, serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", type=json.loads, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, default=None)
    asked = parser.parse_args()
    prepare_process()
    plan = make_plan({**asked.options, "steps": NO_END}, asked.data_dir or default_data_dir())
    trainer = make_trainer(plan)
    load_model(trainer, asked.start)

    def burst(steps: int) -> dict[str, float]:
        row: dict[str, float] = {}
        for _ in range(steps):
            trainer.advance()
            if trainer.step % plan.spec.log_every == 0:
                row = trainer.row()
        if trainer.step % plan.spec.log_every:
            row = trainer.row()
        return {"bound": row["bound"], "ess": row["ess"]}

    with settled_process():
        serve(burst, {"spec": plan.spec.model_dump(mode="json")})


if __name__ == "__main__":
    run(main)
