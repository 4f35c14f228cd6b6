"""The job of a cluster in which a process runs: its id, and how often the cluster has started it again.

SLURM sets variables for this. Ray does not: there the process of dreg that starts the run's process sets the variable
``DREG_JOB``, which holds the job as JSON.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_VARIABLE: Final = "DREG_JOB"


class JobKind(StrEnum):
    """What a job is called in messages, and kept as in a lease."""

    SLURM = "SLURM job"
    RAY = "Ray task"


@dataclass(frozen=True)
class Job:
    """One start of a job of SLURM, or of a task of Ray.

    Args:
        id: id of the job; of a task of an array, id of the array.
        task: number of the task in its array; None without an array.
        restarts: how often the cluster had started this job again, because it was preempted, timed out or lost its
            node.
        cluster: name of the cluster, because two clusters may give the same id; None where SLURM does not say it.
        kind: what it is a job of.
    """

    id: str
    task: str | None
    restarts: int
    cluster: str | None
    kind: JobKind = JobKind.SLURM

    @property
    def name(self) -> str:
        """The job as the cluster's commands take it: ``1234``, or ``1234_7`` for a task of an array."""
        return self.id if self.task is None else f"{self.id}_{self.task}"

    def replaces(self, other: "Job | None") -> bool:
        """Whether this is a later start of the same job. A cluster starts a job again only after it has ended it."""
        return other is not None and self._one_job == other._one_job and self.restarts > other.restarts

    @property
    def _one_job(self) -> tuple[str | None, ...]:
        return self.kind, self.id, self.task, self.cluster

    @property
    def variables(self) -> dict[str, str]:
        """The variables from which a process that this one starts knows its job; see ``own_job``."""
        return {_VARIABLE: json.dumps(self.document())}

    def document(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        of_start = {"restarts": self.restarts, "cluster": self.cluster, "kind": self.kind.value}
        return {"id": self.id, "task": self.task, **of_start}

    @staticmethod
    def parse(document: Mapping[str, Any]) -> "Job":
        """Return the job in a JSON object; raise KeyError, TypeError or ValueError where it is not valid."""
        task, cluster = document["task"], document["cluster"]
        return Job(
            id=str(document["id"]),
            task=None if task is None else str(task),
            restarts=int(document["restarts"]),
            cluster=None if cluster is None else str(cluster),
            kind=JobKind(document["kind"]),
        )


def own_job(environment: Mapping[str, str] = os.environ) -> Job | None:
    """Return the job of this process, from ``DREG_JOB`` or the variables that SLURM sets; None outside of a job.

    A job of a cluster that itself runs in a job of SLURM counts: its tasks come and go while SLURM's job stays.

    Args:
        environment: the variables.
    """
    if given := environment.get(_VARIABLE):
        return Job.parse(json.loads(given))
    task = environment.get("SLURM_ARRAY_TASK_ID") or None
    found = environment.get("SLURM_ARRAY_JOB_ID") if task else None
    found = found or environment.get("SLURM_JOB_ID")
    if not found:
        return None
    restarts = environment.get("SLURM_RESTART_COUNT", "")  # SLURM does not set it at the first start
    return Job(
        found, task, int(restarts) if restarts.isdecimal() else 0, environment.get("SLURM_CLUSTER_NAME") or None
    )
