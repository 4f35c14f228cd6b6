"""Load the model of a run for use outside of the program, with or without its data set."""

from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.loading.build import build_model
from dregcli.app.loading.model_data import stored_model_data
from dregcli.app.loading.restore import load_checkpoint, load_model
from dregcli.app.loading.stored import parse_checkpoint, spec_of
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.load_data import data_of
from dregcli.engine.device import resolve_device
from dregcli.engine.loaded import LoadedModel
from dregcli.names import Task
from dregcli.store.run import Run


def loaded_model(
    run: Run, checkpoint: str, *, device: str, data_dir: Path, listener: Listener, code: CodeRequest = AS_TRAINED
) -> tuple[LoadedModel, int]:
    """Return the model of a run and the step of its weights.

    Args:
        run: the run.
        checkpoint: last, best or a step.
        device: auto, cpu, cuda, cuda:N or mps.
        data_dir: the data folder; only a checkpoint of an earlier version needs its data set.
        listener: receives a warning for each damaged checkpoint that is skipped.
        code: what the user says about the code of the run's model.

    Raises:
        RunNotFound: the run has no such checkpoint.
        CheckpointCorrupt: the checkpoint is damaged.
        DatasetMissing: an earlier version wrote the checkpoint, and the data set is not on this machine.
        DeviceUnavailable: the device is not on this machine.
        StoreFormatError: the weights do not fit the spec.
        CodeRefused: the code of the user's own model changed, or is only in the run and not trusted.
    """
    found = load_checkpoint(run, parse_checkpoint(checkpoint), listener)
    spec = spec_of(run).model_copy(update={"device": resolve_device(device), "compile": "off"})
    data = stored_model_data(found, run) or data_of(spec, data_dir).model_data
    spec, found_code = code_of_run(run, spec, code, listener)
    model = build_model(spec, data, found_code)
    load_model(model, found, run)
    return LoadedModel(model, data, has_context=spec.task is not Task.GENERATIVE), found.step
