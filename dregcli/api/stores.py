"""A store of runs as an object: the runs in it, and one table of all of them."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from dregcli.api.frames import Frame, frame_of
from dregcli.api.reports import RunsReport
from dregcli.api.runs import Folder, LoadedRun, folder, load_run
from dregcli.app.runs.list_ import ListedRun, Wanted, list_runs
from dregcli.describe import flat
from dregcli.names import Split
from dregcli.specs.run import RunSpec, spelt_out


class Store:
    """A folder of runs. The folder is read again by each call, so that a running study can be watched.

    Args:
        path: the folder.
        data_dir: the data folder; only runs of earlier versions need their data set for ``model``.
    """

    def __init__(self, path: Path, *, data_dir: Path | None = None) -> None:
        self.path = path
        self._data_dir = data_dir

    def runs(
        self,
        name: str | None = None,
        *,
        tag: str | None = None,
        dataset: str | None = None,
        objective: str | None = None,
        estimator: str | None = None,
        status: str | None = None,
    ) -> list[LoadedRun]:
        """Return the runs that match all given conditions, oldest first; runs that cannot be read are left out.

        Args:
            name: name of the runs, or one version.
            tag: a tag that the runs have; see ``dreg runs tag``.
            dataset: data set of the runs.
            objective: objective of the runs; without parameters it matches any parameters.
            estimator: estimator of the runs, matched in the same way; it may be a pair, such as ``rws/dreg``.
            status: running, completed, interrupted, failed or crashed.

        Raises:
            RunNotFound: there is no run of this name.
            UsageError: a word is unknown.
        """
        listed = self._listed(name, tag, dataset, objective, estimator, status)
        return [LoadedRun(each.run, data_dir=self._data_dir) for each in listed]

    def frame(
        self,
        name: str | None = None,
        *,
        tag: str | None = None,
        dataset: str | None = None,
        objective: str | None = None,
        estimator: str | None = None,
        status: str | None = None,
    ) -> Frame:
        """Return one row for each run that ``runs`` returns, as a dict of columns for pandas or polars.

        The columns are ``run``, ``name``, ``version``, ``path``, ``status``, ``created`` (ISO 8601, UTC), ``tags``,
        ``step``, ``seconds``, the final bounds ``bound.train``, ``bound.valid`` and ``bound.test`` (nats per
        example), and each setting as ``spec.NAME``. A value that a run lacks is None: a run that has not ended has no
        final bounds, and ``--final-eval`` leaves splits out. ``LoadedRun.metrics`` has the bounds during training.
        """
        listed = self._listed(name, tag, dataset, objective, estimator, status)
        # Without any run that has begun, the settings are known from the program alone.
        settings = {} if any(each.spec for each in listed) else dict.fromkeys(RunSpec.model_fields) | spelt_out({})
        return frame_of([_row(each) for each in listed], columns=(*_OWN, *_of_spec(settings)))

    def load(
        self,
        run: str,
        checkpoint: str | int = "last",
        *,
        device: str = "cpu",
        model: str | None = None,
        trust_code: bool = False,
    ) -> LoadedRun:
        """Return one run; see ``dregcli.load_run``."""
        return load_run(
            run,
            checkpoint,
            runs_dir=self.path,
            data_dir=self._data_dir,
            device=device,
            model=model,
            trust_code=trust_code,
        )

    def report(self, *runs: str) -> RunsReport:
        """Return a report on runs, as ``dreg report`` makes it.

        Args:
            *runs: names, which mean all their versions, or versions; without any, all runs of the store.

        Raises:
            RunNotFound: no such run, or none of the runs can be read.
        """
        return RunsReport(runs, self.path)

    def __iter__(self) -> Iterator[LoadedRun]:
        """Iterate over all runs, oldest first."""
        return iter(self.runs())

    def __len__(self) -> int:
        """Return the number of readable runs."""
        return len(self.runs())

    def __repr__(self) -> str:
        """Return the folder."""
        return f"<Store {self.path}>"

    def _repr_html_(self) -> str:
        """Return a table of the runs, for notebooks."""
        whole = self.frame()
        few = ("run", "status", "spec.dataset", "spec.objective", "spec.estimator", "spec.k", "step", "bound.test")
        return Frame({name: whole[name] for name in few if name in whole}).html()

    def _listed(
        self,
        name: str | None,
        tag: str | None,
        dataset: str | None,
        objective: str | None,
        estimator: str | None,
        status: str | None,
    ) -> list[ListedRun]:
        wanted = Wanted(
            names=() if name is None else (name,),
            dataset=dataset,
            objective=objective,
            estimator=estimator,
            statuses=() if status is None else (status,),
            tags=() if tag is None else (tag,),
        )
        return list_runs(wanted, runs_dir=self.path).rows


_OWN: Final[Mapping[str, Callable[[ListedRun], Any]]] = {
    "run": lambda listed: listed.run.key,
    "name": lambda listed: listed.run.name,
    "version": lambda listed: listed.run.version,
    "path": lambda listed: str(listed.run.path),
    "status": lambda listed: listed.status.value,
    "created": lambda listed: listed.created.isoformat(),
    "tags": lambda listed: ",".join(listed.tags),
    "step": lambda listed: listed.step,
    "seconds": lambda listed: listed.seconds,
    **{f"bound.{split}": partial(ListedRun.final_bound, split=split) for split in Split},
}
"""Columns of a frame, besides the settings, and how to get each from a run."""


def _row(listed: ListedRun) -> dict[str, Any]:
    own = {name: value(listed) for name, value in _OWN.items()}
    return own | _of_spec(listed.spec)


def _of_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {f"spec.{name}": value for name, value in flat(spec).items() if name != "spec_version"}


def open_store(runs_dir: str | os.PathLike[str] = "runs", *, data_dir: Folder = None) -> Store:
    """Return a store of runs. This imports no torch.

    Args:
        runs_dir: the folder; one that is not there yet is an empty store.
        data_dir: the data folder; only runs of earlier versions need their data set for ``model``.
    """
    return Store(Path(runs_dir), data_dir=folder(data_dir))
