"""``dreg runs verify``: check every byte of runs, or of a whole store."""

from dataclasses import dataclass
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import Finding, verify_run, verify_store


@dataclass(frozen=True)
class Verified:
    """The result of a verification.

    Attributes:
        runs: the runs that were read.
        findings: faults and notes of all runs, and of ``store.json``.
    """

    runs: list[Run]
    findings: list[Finding]

    def of(self, kind: str) -> list[Finding]:
        """Return the findings of one kind: faults or notes."""
        return [finding for finding in self.findings if finding.kind == kind]


def verify_runs(references: list[str], *, runs_dir: Path, listener: Listener) -> Verified:
    """Read every file of the named runs; without names, of all runs, and also ``store.json``.

    Raises:
        RunNotFound: no such run.
    """
    store = RunStore(runs_dir)
    of_store = [] if references else verify_store(runs_dir)
    if any(finding.kind == "fault" for finding in of_store):
        return Verified([], of_store)  # without a valid store format no run can be read
    runs = store.resolve_all(references)
    listener.begin("verify", len(runs), "runs")
    findings = list(of_store)
    for done, run in enumerate(runs, start=1):
        findings += verify_run(run)
        listener.update(done)
    listener.end()
    return Verified(runs, findings)
