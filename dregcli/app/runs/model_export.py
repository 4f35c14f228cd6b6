"""``dreg runs export RUN --model FOLDER``: a trained model as files that need no dreg."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli import __version__
from dregcli.app.common.listener import Listener
from dregcli.app.common.written import check_targets, write_named
from dregcli.app.loading.loaded import loaded_model
from dregcli.app.loading.model_data import about_model, data_tensors
from dregcli.app.loading.named import find_completed_run
from dregcli.app.loading.stored import parse_checkpoint, spec_of
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.runs.exported_programs import exported_programs
from dregcli.app.runs.loader_code import LOADER, PROGRAMS, WEIGHTS, loader_code, loader_of_programs
from dregcli.app.runs.model_card import model_card
from dregcli.data.catalogue import DATASETS
from dregcli.engine.loaded import LoadedModel
from dregcli.errors import CodeRefused, UsageError
from dregcli.report.bibtex import Citation, citations, cited
from dregcli.report.used import uses_of
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.tensors import tensor_bytes

CONFIG: Final = "config.json"
CARD: Final = "README.md"
DATA: Final = "data.safetensors"


@dataclass(frozen=True)
class ExportedModel:
    """A folder with an exported model.

    Attributes:
        run: the run of the model.
        step: step of the weights.
        folder: the folder.
        files: size of each file in bytes, by its name.
        not_exported: why torch cannot export the networks as programs; None if it can.
    """

    run: Run
    step: int
    folder: Path
    files: dict[str, int]
    not_exported: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the form of ``dreg runs export --model --json``."""
        return {
            "run": str(self.run.path),
            "checkpoint": self.step,
            "folder": str(self.folder),
            "files": [{"file": str(self.folder / name), "bytes": size} for name, size in self.files.items()],
            "not_exported": self.not_exported,
        }


def export_model(
    reference: str,
    folder: Path,
    *,
    checkpoint: str,
    runs_dir: Path,
    data_dir: Path,
    listener: Listener,
    code: CodeRequest = AS_TRAINED,
) -> ExportedModel:
    """Write a model, its description and a program that loads it into a new folder.

    Args:
        reference: a run; a name means its newest completed version.
        folder: the folder, which must be new or empty.
        checkpoint: last, best or a step.
        runs_dir: the store.
        data_dir: the data folder; only a checkpoint of an earlier version needs its data set.
        listener: receives progress messages.
        code: what the user says about the code of the run's model.

    Raises:
        UsageError: the folder has files already, or torch cannot export a model that only torch could describe.
        StoreWriteError: the folder cannot be written.
        Other errors: see ``loaded_model``.
    """
    parse_checkpoint(checkpoint)
    run = find_completed_run(RunStore(runs_dir), reference, listener)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = (
            "An exported model needs a new or empty folder, but this one has files."
            if folder.is_dir()
            else ("This is not a folder.")
        )
        raise UsageError(what, where=str(folder), hint="name another FOLDER")
    check_targets((), [folder])
    try:
        model, step = loaded_model(run, checkpoint, device="cpu", data_dir=data_dir, listener=listener, code=code)
    except CodeRefused as error:  # here --model is the folder, so that it cannot name code
        hint = "read the copy of the code that the run keeps, and use it: --trust-code"
        raise CodeRefused(error.what, where=error.where, hint=hint) from error
    spec = spec_of(run)
    files, not_exported = _contents(run, spec, model, step, listener)
    sizes = {name: write_named(folder / name, content) for name, content in files.items()}
    return ExportedModel(run, step, folder, sizes, not_exported)


def _contents(
    run: Run, spec: RunSpec, model: LoadedModel, step: int, listener: Listener
) -> tuple[dict[str, bytes], str | None]:
    """Return the content of every file, and why torch cannot export the networks."""
    not_exported, programs = None, dict[str, bytes]()
    try:
        programs = exported_programs(model)
    except Exception as error:
        not_exported = str(error).strip().partition("\n")[0] or type(error).__name__
        listener.warn(f"torch.export could not make programs of the networks: {not_exported}")
    loader = loader_code(spec, model.data.levels)
    if loader is None:
        if not_exported:
            what = f"Only exported programs can load this model, but torch cannot export it: {not_exported}"
            raise UsageError(what, where=str(run.path), hint="load it with dregcli.load_run")
        loader = loader_of_programs(model)
    about = about_model(spec, model.data)
    config = {"format": "dreg-model", "version": 1, "dreg": __version__, **about, "run": run.key, "step": step}
    config |= {"dataset": spec.dataset, "data_checksum": spec.data_checksum}
    files = {
        WEIGHTS: tensor_bytes(model.network.state_dict()),
        DATA: tensor_bytes(data_tensors(model.data)),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        LOADER: loader.encode(),
        **{PROGRAMS[name]: content for name, content in programs.items()},
    }
    words = {
        WEIGHTS: "the weights of both networks."
        if "encoder" in programs
        else "the weights of both networks; the posterior is no exported program, because it draws its samples.",
        DATA: "mean and spread of the training examples.",
        CONFIG: "the architecture and the kind of data, as JSON.",
        LOADER: "loads the model.",
        PROGRAMS["encoder"]: "the encoder for `torch.export.load`: examples (B, D) to mean and scale of q.",
        PROGRAMS["decoder"]: "the decoder for `torch.export.load`: latents to the mean of x, (B, D).",
    }
    card = model_card(
        run,
        spec,
        step=step,
        shape=model.data.shape,
        kind=model.data.kind,
        files={name: words[name] for name in files},
        loader=loader,
        not_exported=not_exported,
        cited=_cited(run, spec),
    )
    return {**files, CARD: card.encode()}, not_exported


def _cited(run: Run, spec: RunSpec) -> list[Citation]:
    keys = cited({name: entry.cites for name, entry in DATASETS.items()})
    uses = uses_of(spelt_out(as_json(spec)), [each.attrs for each in run.results("evals")])
    return citations(dict.fromkeys(uses, 1), keys)
