"""A run of a GPU that goes on, on this GPU or on another one. The GPUs are played by replies of torch."""

from pathlib import Path

import pytest

from dregcli.app.planning.plan import resolve_plan
from dregcli.app.training.resuming import resume_plan
from dregcli.errors import DeviceUnavailable, SpecError
from dregcli.names import RunStatus
from dregcli.specs.options import RunOptions
from dregcli.specs.run import as_json
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

NOWHERE = Path("unused")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    options = RunOptions.model_validate({"dataset": "digits", "steps": 6, "hidden": [8], "latent_dim": 2})
    spec = resolve_plan(options, NOWHERE).spec.model_copy(update={"device": "cuda:1"})
    writer = RunStore(tmp_path).claim("run", spec=as_json(spec), environment={})
    writer.finish(RunStatus.INTERRUPTED, {})
    return writer.run


def _gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda at=None: "Some GPU")


def test_a_run_of_a_gpu_goes_on_there_or_on_another_gpu_and_nowhere_else(run: Run, monkeypatch) -> None:
    _gpus(monkeypatch, 2)
    for device in (None, "auto"):
        assert as_json(resume_plan(run, {"device": device}, NOWHERE).spec) == run.spec()
    for device in ("cuda", "cuda:0"):
        assert resume_plan(run, {"device": device}, NOWHERE).spec.device == device
    with pytest.raises(SpecError, match="device: the run was made with cuda:1; a resumed run keeps the kind"):
        resume_plan(run, {"device": "cpu"}, NOWHERE)
    with pytest.raises(SpecError, match="device: must be auto, cpu, cuda, cuda:N or mps, got 'cuda1'"):
        resume_plan(run, {"device": "cuda1"}, NOWHERE)


def test_a_missing_gpu_is_answered_with_commands(run: Run, monkeypatch) -> None:
    _gpus(monkeypatch, 1)
    with pytest.raises(DeviceUnavailable, match=r"no device 'cuda:1' .* cpu, cuda, cuda:0 \(Some GPU\)") as missing:
        resume_plan(run, {}, NOWHERE)
    assert f"dreg train --resume {run.path} --device cuda;" in missing.value.hint
    assert f"dreg train --config {run.path}/spec.json --device auto" in missing.value.hint
    assert resume_plan(run, {"device": "cuda"}, NOWHERE).spec.device == "cuda"
