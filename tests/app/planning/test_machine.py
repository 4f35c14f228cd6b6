"""What ``auto`` is, by the numbers of a machine."""

from functools import partial

import pytest
import torch

from dregcli.app.planning import machine
from dregcli.app.planning.machine import auto_backward, auto_chunk, compile_pays, compile_saves
from dregcli.engine.likelihoods.base import FEWEST_COMPILED
from dregcli.names import Backward, Precision

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("backward", "k", "batch_size", "outputs", "memory", "cache", "chunk"),
    [
        # MNIST on two cores of 2 MiB: 3 x 4 MiB hold 4,012 rows of 784; of 32 examples 125 samples, so 112.
        (Backward.SCREENED, 1024, 32, 784, 16 * GIB, 4 * MIB, 112),
        (Backward.SCREENED, 64, 32, 784, 16 * GIB, 4 * MIB, None),
        (Backward.SCREENED, 112, 32, 784, 16 * GIB, 4 * MIB, None),
        (Backward.SCREENED, 113, 32, 784, 16 * GIB, 4 * MIB, 112),
        # Evaluation's 128 examples: 31 samples, so 16.
        (Backward.SCREENED, 5000, 128, 784, 16 * GIB, 4 * MIB, 16),
        # Never less than one block of noise, nor a chunk of all there is.
        (Backward.SCREENED, 64, 4096, 784, 16 * GIB, MIB, 16),
        (Backward.SCREENED, 16, 4096, 784, 16 * GIB, MIB, None),
        (Backward.SCREENED, 1, 4096, 784, 16 * GIB, MIB, None),
        # Forward only, memory at hand is no matter.
        (Backward.SCREENED, 1024, 32, 784, MIB, 4 * MIB, 112),
        # Dense: 6 x 1,024 x 32 x 784 x 4 bytes are 0.57 GiB, within 2 GiB and a quarter of 16.
        (Backward.DENSE, 1024, 32, 784, 16 * GIB, 4 * MIB, None),
        (Backward.DENSE, 1024, 32, 784, 2 * GIB, 4 * MIB, 112),
        # 2.3 GiB are more than 2, however much memory there is.
        (Backward.DENSE, 4096, 32, 784, 512 * GIB, 4 * MIB, 112),
        (Backward.DENSE, 3562, 32, 784, 512 * GIB, 4 * MIB, None),
        (Backward.DENSE, 65536, 32, 784, 16 * GIB, 4 * MIB, 112),
        (Backward.DENSE, 64, 32, 784, 0, 4 * MIB, None),
    ],
)
def test_a_chunk_fits_the_cache_or_a_dense_pass_the_memory(
    backward, k, batch_size, outputs, memory, cache, chunk
) -> None:
    found = auto_chunk(
        backward=backward, k=k, batch_size=batch_size, outputs=outputs, memory=memory, cache=cache, device="cpu"
    )
    assert found == chunk


def test_a_gpu_is_given_larger_work() -> None:
    """Measured on an H200, see the constants."""
    dense = partial(auto_chunk, backward=Backward.DENSE, batch_size=32, outputs=784, cache=60 * MIB, device="cuda")
    assert dense(k=4096, memory=140 * GIB) is None  # 2.3 GiB of 35
    assert dense(k=4096, memory=8 * GIB) == 1872  # 60 MiB three times
    assert auto_backward(outputs=2048 * 784, device="cuda") is Backward.DENSE
    assert auto_backward(outputs=32768 * 784, device="cuda") is Backward.SCREENED
    assert auto_backward(outputs=2048 * 784, device="cpu") is Backward.SCREENED
    assert machine.auto_precision(outputs=2**30, device="cuda") is Precision.FLOAT32
    rows = {"rows_at_once": 2048, "outputs": 784}
    assert not compile_pays(compile_saves(rows=2000 * 2048, device="cuda", **rows))
    assert compile_pays(compile_saves(rows=2048 * 10**6, device="cuda", **rows))


def test_the_number_of_a_gpu_changes_no_decision() -> None:
    for outputs in (2048 * 784, 32768 * 784):
        assert auto_backward(outputs=outputs, device="cuda:1") is auto_backward(outputs=outputs, device="cuda")
    rows = {"rows": 2048 * 10**6, "rows_at_once": 2048, "outputs": 784}
    assert compile_saves(device="cuda:1", **rows) == compile_saves(device="cuda", **rows) > 0.0


def test_a_gpu_without_float64_is_given_dense_steps_and_says_so() -> None:
    assert auto_backward(outputs=32768 * 784, device="mps") is Backward.DENSE
    assert machine.auto_precision(outputs=2**30, device="mps") is Precision.FLOAT32
    assert compile_saves(rows=10**9, rows_at_once=2048, outputs=784, device="mps") == 0.0
    assert machine.memory_at_hand("mps") > 0
    assert "only float32" in (machine.device_warning("mps") or "")
    assert machine.device_warning("cuda:1") is machine.device_warning("cpu") is None
    (fault,) = machine.float64_faults("backward", "mps", "rows are screened in", "--backward dense")
    assert str(fault) == "backward: 'mps' has only float32, but rows are screened in float64: use --backward dense."
    assert machine.float64_faults("backward", "cuda", "rows are screened in", "--backward dense") == []


def test_runs_that_are_trained_at_once_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free", lambda device: 12 * GIB)
    assert machine.memory_at_hand("cpu") == 12 * GIB
    with machine.sharing_memory(4):
        assert machine.memory_at_hand("cpu") == 3 * GIB
    assert machine.memory_at_hand("cpu") == 12 * GIB


def test_what_compilation_saves() -> None:
    rows = 64 * 32
    saves = partial(compile_saves, device="cpu")
    assert saves(rows=4000 * rows, rows_at_once=rows, outputs=784) == pytest.approx(3.211, abs=1e-3)
    assert saves(rows=10**6 * rows, rows_at_once=rows, outputs=784) > 800
    small = FEWEST_COMPILED // 64 - 1
    assert saves(rows=10**9, rows_at_once=small, outputs=64) == 0.0, "small arrays are never compiled"
    assert saves(rows=10**9, rows_at_once=small + 1, outputs=64) > 0.0
    assert not compile_pays(9.9)
    assert compile_pays(10.1)


def _cpu(root, number: int, shared: str, size: str) -> None:
    for index, (level, text) in enumerate((("1", "48K"), ("1", "32K"), ("2", size), ("3", "491520K"))):
        folder = root / f"cpu{number}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, value in (("level", level), ("size", text), ("shared_cpu_list", shared if level == "2" else "x")):
            (folder / name).write_text(value + "\n")


def test_second_level_caches_are_counted_once_each_and_no_more_than_threads(tmp_path, monkeypatch) -> None:
    for number, shared in enumerate(("0-1", "0-1", "2", "3")):
        _cpu(tmp_path, number, shared, "2048K")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert machine._l2_of(range(4), tmp_path) == 3 * 2 * MIB
    assert machine._l2_of([0, 1], tmp_path) == 2 * MIB
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert machine._l2_of(range(4), tmp_path) == 2 * 2 * MIB
    assert machine._l2_of(range(4), tmp_path / "no-linux") == 0


def test_the_tightest_control_group_decides(tmp_path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    inner = root / "user" / "job"
    inner.mkdir(parents=True)
    own.write_text("0::/user/job\n")
    for folder, limit, used in ((root, "max", 9), (root / "user", str(8 * GIB), GIB), (inner, str(6 * GIB), GIB)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 2}\n")
    left = machine._left_by_cgroups(root, own)
    assert sorted(left) == [6 * GIB - GIB // 2, 8 * GIB - GIB // 2], "what the page cache gives back is free"
    assert machine._left_by_cgroups(root, tmp_path / "none") == []


def test_this_machine_has_memory_and_a_cache() -> None:
    assert 1 << 24 < machine.memory_at_hand("cpu") < 1 << 50
    assert 1 << 16 < machine.cache_size("cpu") < 1 << 40


def test_bfloat16_without_its_products_is_warned_of(monkeypatch) -> None:
    def warning(precision: Precision | None, *, in_blocks: bool = False) -> str | None:
        return machine.precision_warning(precision, "cpu", in_blocks=in_blocks)

    monkeypatch.setattr(machine, "has_bfloat16_products", lambda device: False)
    for of_blocks in (False, True):
        monkeypatch.setattr(machine, "rounds_in_blocks", lambda device, found=of_blocks: found)
        assert "slower here than float32" in (warning(Precision.BFLOAT16) or "")
        assert (warning(Precision.BFLOAT16, in_blocks=True) is None) == of_blocks
        assert warning(Precision.FLOAT32) is warning(None) is None
    monkeypatch.setattr(machine, "has_bfloat16_products", lambda device: True)
    assert warning(Precision.BFLOAT16) is None
