"""Make pictures of a trained model and keep them in the run: prior samples, reconstructions and traversals."""

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.loading.build import build_model
from dregcli.app.loading.model_data import stored_model_data
from dregcli.app.loading.named import find_completed_run
from dregcli.app.loading.restore import load_checkpoint, load_model
from dregcli.app.loading.stored import code_used, is_with_its_code, parse_checkpoint, spec_of
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.executing import with_threads
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.run_data import RunData
from dregcli.app.sampling import pictures
from dregcli.app.sampling.made import make_pictures, make_samples
from dregcli.app.sampling.picture import REACH, Picture, Traversed
from dregcli.app.sampling.pictures import Look
from dregcli.app.sampling.request import SampleRequest
from dregcli.data.dataset import Dataset
from dregcli.defaults import ACTIVE_VARIANCE
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.engine.programs.contract import ModelData
from dregcli.errors import DatasetMissing, DregError, Fault, NotFinite, SpecError
from dregcli.names import DataKind, Split, Task
from dregcli.specs.run import RunSpec
from dregcli.store.checkpoints import Checkpoint, Which
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

LATENTS: Final = 10
"""Default number of traversed latents; all latents if the model has fewer."""

MOST_A_SIDE: Final = 16_384
"""Largest side of a picture in screen pixels; many programs do not open larger pictures."""

_RANGE: Final = (0.005, 0.995)
"""Quantiles of real training values that are shown as black and as white."""

_NORMAL_REACH: Final = NormalDist().inv_cdf(_RANGE[1])
"""Distance of these quantiles from the mean of a normal distribution, in standard deviations. It is used where the
data set is not on this machine, so that only the mean and the standard deviation of each value are known."""

_RANGE_ROWS: Final = 10_000
"""Training examples from which these quantiles are computed."""


_HINT: Final = "every option is shown by: dreg sample --help"


@dataclass(frozen=True)
class Sampled:
    """The pictures of a run, and their files.

    Attributes:
        run: the run of the model.
        checkpoint: step of the model's parameters.
        asked: the request.
        k: posterior samples of which the best is shown.
        eval_seed: seed of the examples' pixels, from the run.
        look: how values are shown.
        pictures: pictures, each with its file.
        latents: traversed numbers of the latents in the order of the picture.
        left_out: the reason for each picture that could not be made, by its kind.
    """

    run: Run
    checkpoint: int
    asked: SampleRequest
    k: int
    eval_seed: int
    look: Look
    pictures: list[tuple[Picture, Path]]
    latents: list[Traversed]
    left_out: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the form of ``dreg sample --json``."""
        return {
            "run": str(self.run.path),
            "checkpoint": self.checkpoint,
            "split": self.asked.split,
            "seed": self.asked.seed,
            "eval_seed": self.eval_seed,
            "k": self.k,
            "images": [
                {
                    "kind": picture.kind,
                    "file": str(path),
                    "rows": picture.rows,
                    "columns": picture.columns,
                    "pixels": list(picture.size),
                    "what": picture.what,
                }
                for picture, path in self.pictures
            ],
            "latents": [
                {
                    "index": each.index,
                    "name": each.name,
                    "variance": each.variance,
                    "active": each.variance > ACTIVE_VARIANCE,
                }
                for each in self.latents
            ],
            "left_out": self.left_out,
            "range": [-REACH, REACH],
            "scale": self.look.scale,
            "display": {"black": self.look.low, "white": self.look.high},
        }


def sample_run(asked: SampleRequest, *, runs_dir: Path, data_dir: Path, listener: Listener) -> Sampled:
    """Make the pictures of a run and keep them in it.

    Args:
        asked: the request.
        runs_dir: the store.
        data_dir: the data folder.
        listener: receives a note that says which version a name means.

    Raises:
        SpecError: all faults of the options at once.
        RunNotFound: no such run, no completed version, or no such checkpoint.
        StoreWriteError: a picture cannot be written into the run.
        NotFinite: the model's images are not finite; no picture is kept.
    """
    prepare_process()
    run = find_completed_run(RunStore(runs_dir), asked.run, listener)
    run.check_can_keep("figures")
    spec = spec_of(run)
    found = asked.faults()
    which: Which = "last"
    try:
        which = parse_checkpoint(asked.checkpoint)
    except SpecError as error:
        found += error.faults
    if asked.latents is not None and spec.latents is not None and asked.latents > spec.latents:
        found.append(Fault("latents", f"must be at most the model's {spec.latents}, got {asked.latents}."))
    spec = spec.model_copy(update={"compile": "off"})
    data = _data(spec, asked, data_dir, found)
    spec, code = code_of_run(run, spec, asked.code, listener)
    checkpoint = load_checkpoint(run, which, listener)
    spec = spec.model_copy(update={"device": resolve_device(asked.device)})
    if isinstance(data, RunData):
        data = RunData(data.dataset, spec)
        known, look = data.model_data, _look(data.dataset, asked)
    else:
        known = _stored(data, spec, checkpoint, run)
        _check_sides(_sides(known.shape, asked, 1), [])
        look = _look_without_data(known, asked)
    k = spec.k if asked.k is None else asked.k
    with with_threads(asked.threads), memory_explained(spec.model_copy(update={"k": k}), smaller="--k or --n"):
        model = build_model(spec, known, code)
        load_model(model, checkpoint, run)
        model.eval()
        most = len(model.coordinates())
        if asked.latents is not None and not model.no_traversals and asked.latents > most:
            message = f"must be at most the model's {most}, got {asked.latents}."
            raise SpecError([Fault("latents", message)], where=str(run.path))
        try:
            if isinstance(data, RunData):
                made = make_pictures(model, data, spec, asked, k, _latents(spec, asked), look)
            else:
                made = make_samples(model, known, spec, asked, look)
        except NotFinite as error:
            where = f"{run.path}, checkpoint of step {checkpoint.step}"
            raise NotFinite(error.what, where=where, hint=error.hint) from error
    # A report shows the newest files with the usual names.
    is_own = is_with_its_code({"checkpoint": checkpoint.step} | code_used(spec), spec_of(run))
    end = "" if is_own else "-other-code"
    kept = [
        (each, run.add_file("figures", each.kind + end, ".png", pictures.png(each.grid))) for each in made.pictures
    ]
    return Sampled(run, checkpoint.step, asked, k, spec.eval_seed, look, kept, made.latents, made.left_out)


def _data(spec: RunSpec, asked: SampleRequest, data_dir: Path, found: list[Fault]) -> RunData | DatasetMissing:
    """Load the run's data; return the error if they are not on this machine.

    Raises:
        SpecError: the faults in ``found``, more examples than the split has, or pictures that are too large to open.
        Other errors: see ``data_of``; only if there are no faults.
    """
    try:
        data = data_of(spec, data_dir)
    except DregError as error:
        if found:
            raise SpecError(found, hint=_HINT) from None
        if isinstance(error, DatasetMissing):
            return error
        raise
    faults = list(found)
    if not found:
        examples, size = asked.examples(spec.task), data.size(Split(asked.split))
        if examples > size:
            message = f"needs {examples} examples, but the {asked.split} split has only {size}: got {asked.n}."
            faults.append(Fault("n", message))
        _check_sides(_sides(data.model_data.shape, asked, _latents(spec, asked)), faults)
    if faults:
        raise SpecError(faults, hint=_HINT)
    return data


def _check_sides(sides: tuple[int, int], found: list[Fault]) -> None:
    """Refuse pictures that are too large to open, and report the faults that were found before."""
    if max(sides) > MOST_A_SIDE:
        message = (
            f"makes pictures of up to {sides[0]:,} x {sides[1]:,} screen pixels, but a side can have at most "
            f"{MOST_A_SIDE:,}: give a smaller --scale, or ask for fewer images."
        )
        raise SpecError([*found, Fault("scale", message)], hint=_HINT)


def _stored(missing: DatasetMissing, spec: RunSpec, checkpoint: Checkpoint, run: Run) -> ModelData:
    """Return what the checkpoint knows of data that are not on this machine.

    Raises:
        DatasetMissing: the checkpoint knows nothing of its data, or the model's samples start from an example.
    """
    known = stored_model_data(checkpoint, run)
    if known is None or spec.task is not Task.GENERATIVE:
        raise missing
    return known


def _latents(spec: RunSpec, asked: SampleRequest) -> int:
    most = LATENTS if spec.latents is None else min(LATENTS, spec.latents)
    return most if asked.latents is None else asked.latents


def _scale(height: int, width: int, asked: SampleRequest) -> int:
    return pictures.usual_scale(height, width) if asked.scale is None else asked.scale


def _sides(shape: tuple[int, ...], asked: SampleRequest, latents: int) -> tuple[int, int]:
    """Return the approximate largest width and height of the pictures, in screen pixels."""
    _, height, width = shape
    scale, side = _scale(height, width, asked), max(2, asked.columns)
    across, down = max(side, asked.steps + 1), max(side, latents)
    return across * (width * scale + pictures.FAR), down * (height * scale + pictures.FAR)


def _look(dataset: Dataset, asked: SampleRequest) -> Look:
    low, high = 0.0, 1.0
    if dataset.kind is DataKind.REAL:
        values = np.asarray(dataset.splits[Split.TRAIN][:_RANGE_ROWS])
        low, high = (float(each) for each in np.quantile(values, _RANGE))
        high = high if high > low else low + 1.0
    scale = _scale(dataset.height, dataset.width, asked)
    return Look(dataset.height, dataset.width, low, high, scale, dataset.channels)


def _look_without_data(known: ModelData, asked: SampleRequest) -> Look:
    """Return a look for data of which only the mean and the spread of each value are known."""
    channels, height, width = known.shape
    low, high = 0.0, 1.0
    if known.kind is DataKind.REAL:
        reach = _NORMAL_REACH * known.spread
        low, high = float((known.mean - reach).min()), float((known.mean + reach).max())
    return Look(height, width, low, high, _scale(height, width, asked), channels, is_guessed=True)
