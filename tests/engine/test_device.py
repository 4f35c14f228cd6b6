"""The words for devices, and what happens where a device is missing. GPUs are played by replies of torch."""

import pytest
import torch

from dregcli.devices import PATTERN, checked_device, kind_of, number_of
from dregcli.engine.device import devices_here, gpu, planning_for, resolve_device
from dregcli.errors import DeviceUnavailable, SpecError

WORDS = {"cpu": None, "cuda": None, "cuda:0": 0, "cuda:1": 1, "cuda:15": 15, "mps": None}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda at=None: f"Some GPU {at}")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda at=None: (1, 10 + (at or 0)))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


def test_a_word_is_a_device_of_torch_and_its_parts_are_its_kind_and_number() -> None:
    for word, number in WORDS.items():
        assert checked_device(word) == word
        device = torch.device(word)
        assert (kind_of(word), number_of(word)) == (device.type, device.index) == (device.type, number)


@pytest.mark.parametrize(
    "word", ["", "tpu", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "cuda:1 ", "cpu:0", "mps:0", "auto"]
)
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match=f"must be cpu, cuda, cuda:N or mps, got '{word}'"):
        checked_device(word)
    assert checked_device("auto", "auto") == "auto"
    if word != "auto":
        with pytest.raises(SpecError, match="device: must be auto, cpu, cuda, cuda:N or mps"):
            resolve_device(word)


def test_a_likely_word_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'cuda'"):
        checked_device("cuda1")


def test_the_pattern_of_the_schema_is_the_whole_rule() -> None:
    assert "^" not in PATTERN
    assert "$" not in PATTERN


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("word", ["cuda", "cuda:3", "mps"])
def test_a_machine_without_a_gpu_says_what_it_has(word: str) -> None:
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(DeviceUnavailable) as missing:
        resolve_device(word)
    error = missing.value
    assert error.what == f"There is no device '{word}' that this installation of torch can use. It can use cpu."
    assert (error.where, error.hint) == (f"--device {word}", "use --device cpu or --device auto")
    with pytest.raises(DeviceUnavailable) as missing:
        resolve_device(word, instead="type this")
    assert missing.value.hint == "type this"


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_too_many_is_answered_with_those_that_are_there() -> None:
    assert [resolve_device(word) for word in ("auto", "cuda", "cuda:0", "cuda:1", "cpu")] == [
        *("cuda", "cuda", "cuda:0", "cuda:1", "cpu")
    ]
    with pytest.raises(DeviceUnavailable) as missing:
        resolve_device("cuda:3")
    assert missing.value.what.endswith("It can use cpu, cuda, cuda:0 (Some GPU 0), cuda:1 (Some GPU 1).")
    assert missing.value.hint == "use --device cuda or --device cuda:0 or --device cuda:1"
    assert [*devices_here()] == ["cpu", "cuda", "cuda:0", "cuda:1"]


@pytest.mark.usefixtures("two_gpus")
def test_what_a_run_keeps_of_its_gpu_is_of_the_one_that_it_uses() -> None:
    assert gpu("cpu") is None
    found = {word: gpu(word) for word in ("cuda", "cuda:1")}
    assert [each and (each["name"], each["bytes"]) for each in found.values()] == [
        ("Some GPU None", 10),
        ("Some GPU 1", 11),
    ]


@pytest.mark.usefixtures("no_gpu")
def test_a_job_of_a_cluster_does_not_choose_among_gpus() -> None:
    with planning_for("cuda"):
        assert [resolve_device(word) for word in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
        for word in ("cuda:1", "mps"):
            with pytest.raises(DeviceUnavailable, match=f"cannot choose '{word}'"):
                resolve_device(word)
