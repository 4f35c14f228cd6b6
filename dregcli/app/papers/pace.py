"""How fast a run's first steps are on this machine: they are taken and thrown away."""

import time
from typing import Final

from dregcli.app.planning.plan import Plan
from dregcli.app.training.train import built
from dregcli.engine.device import prepare_process, settled_process, using_threads

_FIRST: Final = 3
"""Steps before the clock starts: the first ones are slower."""

_MOST: Final = 50
"""Most steps that are timed."""

_SECONDS: Final = 1.0
"""Time after which no further step is timed."""


def seconds_per_step(plan: Plan) -> float:
    """Return the mean time of a run's first steps, seconds.

    Args:
        plan: the run; it starts from no other run.
    """
    prepare_process()
    with using_threads(plan.spec.threads), settled_process():
        trainer, _ = built(plan, None)
        trainer.warm_up()
        for _ in range(_FIRST):
            trainer.advance()
        trainer.collect()
        began, taken = time.monotonic(), 0
        while taken < _MOST and (not taken or time.monotonic() - began < _SECONDS):
            trainer.advance()
            taken += 1
        trainer.collect()
        return (time.monotonic() - began) / taken
