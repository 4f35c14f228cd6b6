"""One run as an object: its spec, its metrics, its evaluations, and its model."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dregcli.api.frames import Frame, html_table
from dregcli.api.listening import PythonListener
from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.app.loading.named import find_completed_run
from dregcli.app.loading.stored import parse_checkpoint, spec_of
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.names import Split
from dregcli.store.kept_weights import read_weights
from dregcli.store.results import Result
from dregcli.store.runs import RunStore

if TYPE_CHECKING:
    from dregcli.engine.loaded import LoadedModel
    from dregcli.names import RunStatus
    from dregcli.specs.run import RunSpec
    from dregcli.store.run import Run as StoredRun

Folder = str | os.PathLike[str] | None


def folder(given: Folder) -> Path | None:
    """Return a folder as a path; None stays None."""
    return None if given is None else Path(given)


@dataclass(frozen=True)
class Evaluation:
    """One stored result of ``dreg eval``.

    Attributes:
        file: the HDF5 file with the values by example.
        summary: what ``dreg eval --json`` prints, such as ``summary["bound"]["value"]``, nats per example.
    """

    file: Path
    summary: dict[str, Any]

    @property
    def bound(self) -> float:
        """The mean bound, nats per example."""
        return self.summary["bound"]["value"]

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean bound over examples, nats; None for a single example."""
        return self.summary["bound"]["stderr"]

    def arrays(self) -> dict[str, Any]:
        """Return the values by example as NumPy arrays, by name, such as ``bound`` of shape (n,)."""
        return Result(self.file, self.summary).arrays()

    def log_weights(self, first: int = 0, count: int | None = None) -> Any:  # noqa: ANN401 - an array of NumPy
        """Return the log-weights that ``dreg eval --keep-weights`` kept, for some of the examples.

        Args:
            first: index of the first example.
            count: number of examples; all from the first on if it is not given.

        Returns:
            Shape (K, count), nats.

        Raises:
            UsageError: the evaluation kept none.
        """
        if "log_w" not in self.summary:
            what = "This evaluation kept no log-weights."
            raise UsageError(what, where=str(self.file), hint=command("eval", self.file.parents[1], "--keep-weights"))
        return read_weights(self.file.parents[1] / self.summary["log_w"], first, count)

    def __repr__(self) -> str:
        """Return the split, K, the checkpoint and the bound."""
        said = self.summary
        return f"<Evaluation {said['split']}, K={said['k']}, step {said['checkpoint']}: {self.bound:.3f} nats>"


class LoadedRun:
    """One run of a store. Nothing is read before it is asked for, and the model is loaded once.

    Args:
        run: the run in its store.
        checkpoint: last, best or a step.
        device: auto, cpu, cuda, cuda:N or mps.
        data_dir: the data folder; only runs of earlier versions need their data set for ``model``.
        code: what the user says about the code of the run's model.
    """

    def __init__(
        self,
        run: "StoredRun",
        *,
        checkpoint: str = "last",
        device: str = "cpu",
        data_dir: Path | None = None,
        code: CodeRequest = AS_TRAINED,
    ) -> None:
        self._run, self._code = run, code
        self._checkpoint, self._device, self._data_dir = checkpoint, device, data_dir

    @property
    def name(self) -> str:
        """Name and version, such as ``mnist-iwae-dreg-k64/v001``."""
        return self._run.key

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._run.path

    @property
    def status(self) -> "RunStatus":
        """Status of the run, such as completed."""
        return self._run.status()

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the run."""
        return self._run.labels().tags

    @property
    def summary(self) -> dict[str, Any]:
        """What ``dreg train --json`` printed at the end of the run, such as ``summary["bound"]["test"]``."""
        return dict(self._run.info().summary)

    @cached_property
    def spec(self) -> "RunSpec":
        """The resolved settings of the run."""
        return spec_of(self._run)

    def metrics(self, split: str = Split.TRAIN.value) -> Frame:
        """Return the rows of metrics of a split as columns: NumPy arrays by name, sorted by step.

        The frame is empty if the run has none: no run has metrics of ``test``.

        Raises:
            UsageError: there is no such split.
        """
        if split not in [*Split]:
            what = f"There is no split '{split}'."
            raise UsageError(what, where="metrics", hint=f"use one of {', '.join(Split)}")
        return Frame(self._run.metrics(split))

    def evaluations(self) -> list[Evaluation]:
        """Return the results of ``dreg eval``, oldest first."""
        return [Evaluation(each.path, each.attrs) for each in self._run.results("evals")]

    @property
    def model(self) -> "LoadedModel":
        """The model with the weights of the checkpoint, an ``nn.Module`` in eval mode."""
        return self._loaded[0]

    @property
    def step(self) -> int:
        """The step of the weights in ``model``."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> "tuple[LoadedModel, int]":
        from dregcli.app.loading.loaded import loaded_model

        return loaded_model(
            self._run,
            self._checkpoint,
            device=self._device,
            data_dir=data_folder_if_any(self._data_dir),
            listener=PythonListener(),
            code=self._code,
        )

    def __repr__(self) -> str:
        """Return name and status."""
        return f"<LoadedRun {self.name}: {self.status}>"

    def _repr_html_(self) -> str:
        """Return a small HTML table, for notebooks."""
        spec, bounds = self.spec, self.summary.get("bound", {})
        rows = [
            ("run", self.name),
            ("status", f"{self.status}"),
            ("data", spec.dataset),
            ("model", str(spec.model)),
            ("objective", spec.objective),
            ("estimator", spec.estimator),
            ("K", f"{spec.k:,}"),
            ("steps", f"{spec.steps:,}"),
            ("seed", str(spec.seed)),
            *((f"{split} bound, nats per example", f"{value:.3f}") for split, value in bounds.items()),
            *((("tags", ", ".join(self.tags)),) if self.tags else ()),
        ]
        return html_table([], rows)


def load_run(
    run: str | os.PathLike[str],
    checkpoint: str | int = "last",
    *,
    runs_dir: Folder = None,
    data_dir: Folder = None,
    device: str = "cpu",
    model: str | None = None,
    trust_code: bool = False,
) -> LoadedRun:
    """Return a run of a store: its spec, its metrics, its evaluations and its model.

    Args:
        run: a name, which means its newest completed version; ``NAME/v001``; or the path of a run.
        checkpoint: whose weights ``model`` has: last, best or a step.
        runs_dir: the store in which names are looked up; ``runs`` if it is not given.
        data_dir: the data folder; only runs of earlier versions need their data set for ``model``.
        device: device of the model: auto, cpu, cuda, cuda:N or mps.
        model: for a run of your own model: the code to use in place of the run's, such as ``my_model.py:ConvVae``.
        trust_code: whether ``model`` may run the copy of the code that the run keeps, as an imported run needs it.

    Raises:
        RunNotFound: there is no such run, or no version of the name is completed.
        UsageError: the versions of the name differ in more than their seed, or the checkpoint is no such word.
    """
    parse_checkpoint(str(checkpoint))
    found = find_completed_run(RunStore(runs_folder(folder(runs_dir))), os.fspath(run), PythonListener())
    code = CodeRequest(model, trust=trust_code)
    return LoadedRun(found, checkpoint=str(checkpoint), device=device, data_dir=folder(data_dir), code=code)
