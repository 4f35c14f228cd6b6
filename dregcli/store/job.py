"""The job of SLURM in which a process runs: its id, its array task, and how often SLURM has started it again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One start of a job of SLURM.

    Args:
        id: id of the job; of a task of an array, id of the array.
        task: number of the task in its array; None without an array.
        restarts: how often SLURM had started this job again, because it was preempted, timed out or lost its node.
        cluster: name of the cluster, because two clusters may give the same id; None where SLURM does not say it.
    """

    id: str
    task: str | None
    restarts: int
    cluster: str | None

    @property
    def name(self) -> str:
        """The job as SLURM's commands take it: ``1234``, or ``1234_7`` for a task of an array."""
        return self.id if self.task is None else f"{self.id}_{self.task}"

    def replaces(self, other: "Job | None") -> bool:
        """Whether this is a later start of the same job. SLURM starts a job again only after it has ended it."""
        if other is None or (self.id, self.task, self.cluster) != (other.id, other.task, other.cluster):
            return False
        return self.restarts > other.restarts

    def document(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        return {"id": self.id, "task": self.task, "restarts": self.restarts, "cluster": self.cluster}

    @staticmethod
    def parse(document: Mapping[str, Any]) -> "Job":
        """Return the job in a JSON object; raise KeyError, TypeError or ValueError where it is not valid."""
        task, cluster = document["task"], document["cluster"]
        return Job(
            id=str(document["id"]),
            task=None if task is None else str(task),
            restarts=int(document["restarts"]),
            cluster=None if cluster is None else str(cluster),
        )


def own_job(environment: Mapping[str, str] = os.environ) -> Job | None:
    """Return the job of this process, from the variables that SLURM sets; None outside of SLURM.

    Args:
        environment: the variables.
    """
    task = environment.get("SLURM_ARRAY_TASK_ID") or None
    found = environment.get("SLURM_ARRAY_JOB_ID") if task else None
    found = found or environment.get("SLURM_JOB_ID")
    if not found:
        return None
    restarts = environment.get("SLURM_RESTART_COUNT", "")  # SLURM does not set it at the first start
    return Job(
        found, task, int(restarts) if restarts.isdecimal() else 0, environment.get("SLURM_CLUSTER_NAME") or None
    )
