"""A study on a real Ray cluster of two nodes with one CPU each, of which one is lost in the middle. By hand:

    python -m tests.benchmarks.ray_cluster

The second node is removed without grace as soon as its run has a checkpoint. The run goes on at the first node, and
the weights of all runs are compared with those of the same study in this process. It needs the extra ``ray``, 30
seconds of processor time, and a minute on two free cores, which is too long for the suite.
``tests/cli/training/test_ray.py`` tests the same logic with a cluster in one process.
"""

import json
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from dregcli.errors import DregError
from dregcli.names import RunStatus
from dregcli.specs.run import spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

STEPS: Final = 300
STUDY: Final = (
    *("train", "--seeds", "0-1", "--dataset", "digits", "--device", "cpu", "--threads", "1", "--k", "4"),
    *("--batch-size", "16", "--hidden", "16,8", "--latent-dim", "4", "--steps", str(STEPS), "--log-every", "10"),
    *("--eval-every", "0", "--checkpoint-every", "50", "--final-eval", "test", "--quiet"),
)


class _Losing(threading.Thread):
    """Remove a node as soon as a run that is trained there has a checkpoint."""

    def __init__(self, cluster: Any, node: Any, root: Path) -> None:
        super().__init__(daemon=True)
        self._cluster, self._node, self._root = cluster, node, root
        self.lost: Run | None = None

    def run(self) -> None:
        raylet = str(self._node.all_processes["raylet"][0].process.pid)
        while self.lost is None:
            time.sleep(0.05)
            for run in RunStore(self._root).runs():
                with suppress(DregError, OSError):  # a run that is being claimed, or whose process has just ended
                    info = run.info()
                    assert info.lease
                    variables = Path(f"/proc/{info.lease.pid}/environ").read_bytes().decode().split("\0")
                    is_there = f"RAY_RAYLET_PID={raylet}" in variables
                    if is_there and info.status is RunStatus.RUNNING and [*run.path.glob("checkpoints/step-*")]:
                        self._cluster.remove_node(self._node, allow_graceful=False)
                        self.lost = run
                        break


def main() -> None:
    """Run the study both ways, and print what was found."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from dregcli.cli.main import main as dreg
    from tests.crash.harness import differences

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        assert dreg([*STUDY, "--runs-dir", str(root / "local")]) == 0
        head = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False}
        cluster: Any = import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=head)
        try:
            losing = _Losing(cluster, cluster.add_node(num_cpus=1), root / "ray")
            losing.start()
            words = ("--on", "ray", "--ray-address", cluster.address, "--runs-dir", str(root / "ray"))
            code = dreg([*STUDY, *words])
        finally:
            cluster.shutdown()
        local, beside = (
            {spelt_out(each.spec())["seed"]: each for each in RunStore(root / name).runs()}
            for name in ("local", "ray")
        )
        lost = losing.lost.info() if losing.lost else None
        found = {
            "code": code,
            "differences": {seed: differences(local[seed], beside[seed]) for seed in sorted(local)},
            "runs": sorted(beside) == sorted(local),
            "lost": losing.lost.key if losing.lost else None,
            "leases": lost.lease.generation if lost and lost.lease else None,
            "restarts": lost.lease.job.restarts if lost and lost.lease and lost.lease.job else None,
            "seconds": round(time.monotonic() - began),
        }
    print(json.dumps(found, indent=1))
    is_good = code == 0 and lost and found["leases"] == 2 and not any(found["differences"].values())
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
