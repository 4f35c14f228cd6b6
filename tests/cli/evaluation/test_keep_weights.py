"""``dreg eval --keep-weights``: all log-weights, in a file that other programs read."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import dregcli
from dregcli.app.evaluation import importance, keeping
from dregcli.app.planning.load_data import data_of
from dregcli.app.runs.remove import plan_run_removal, remove_runs
from dregcli.engine.sampling import seen_pixels
from dregcli.errors import StoreCorrupt, UsageError
from dregcli.names import Split
from tests.support.cli import SMALL, run

EVAL = ("eval", "t", "--k", "5,40", "--n", 140, "--keep-weights")
RUNS = Path("runs")
FOLDER = RUNS / "t/v001/log_w"
STEM = "test-k40-seed0-step20"


@pytest.fixture(autouse=True)
def _trained(ready, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ready(*SMALL, name="t")


def _ends_at(number: int, end: Callable[[], Any]) -> Callable[..., Any]:
    """The estimate of a batch, with something else before its n-th call."""
    estimate, calls = importance.estimate, []

    def estimated(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == number:
            end()
        return estimate(*arguments, **options)

    return estimated


def _out_of_memory() -> None:
    raise MemoryError


def test_log_weights_are_those_of_the_bound_and_have_named_axes(capsys) -> None:
    outcome = run(capsys, *EVAL, "--json")
    assert outcome.code == 0, outcome.err
    assert "40 x 140 log-weights in float32 take 0.0 MB" in outcome.err
    assert outcome.json["results"][0]["log_w"] == f"log_w/{STEM}.h5"
    loaded = dregcli.load_run("t")
    (evaluation,) = loaded.evaluations()
    with h5py.File(FOLDER / f"{STEM}.h5") as file:
        log_w = file["log_w"]
        assert (log_w.shape, log_w.dtype, log_w.chunks) == ((40, 140), np.dtype("float32"), (40, 128))
        # By these, netCDF-4 and xarray know axes.
        assert [[scale.name for scale in axis.values()] for axis in log_w.dims] == [["/k"], ["/example"]]
        assert all(file[name].attrs["CLASS"] == b"DIMENSION_SCALE" for name in ("k", "example"))
        assert file["example"][:].tolist() == list(range(140))
        assert log_w.attrs["units"] == "nats"
        values = log_w[:].astype(np.float64)
    np.testing.assert_array_equal(values, evaluation.log_weights())
    np.testing.assert_array_equal(values[:, 120:130], evaluation.log_weights(120, 10))
    bound = torch.logsumexp(torch.from_numpy(values), dim=0) - np.log(40)
    np.testing.assert_allclose(bound, evaluation.arrays()["bound"], rtol=1e-14)
    data = data_of(loaded.spec, Path())
    x = torch.cat(list(seen_pixels(data.examples(Split.TEST), data.pixels, split=Split.TEST, seed=0)))[:140]
    np.testing.assert_array_equal(values, loaded.model.log_weights(x, k=40), "float32 loses nothing")


def test_xarray_reads_them(capsys) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    assert run(capsys, *EVAL).code == 0
    with xarray.open_dataset(FOLDER / f"{STEM}.h5", engine="h5netcdf") as opened:
        assert opened["log_w"].dims == ("k", "example")


def test_the_run_can_be_verified_and_carried(capsys) -> None:
    for _ in range(2):
        assert run(capsys, *EVAL).code == 0
    names = sorted(path.name for path in FOLDER.iterdir())
    assert names == [f"{STEM}-2.h5", f"{STEM}-2.h5.sha256", f"{STEM}.h5", f"{STEM}.h5.sha256"]
    shown = run(capsys, "runs", "verify", "t")
    assert (shown.code, "no file has changed" in shown.out) == (0, True), shown.out
    assert run(capsys, "runs", "export", "t", "t.zip").code == 0
    assert run(capsys, "runs", "import", "t.zip", "--name", "u").code == 0
    first, second = (dregcli.load_run(name).evaluations()[-1].log_weights() for name in ("t", "u"))
    np.testing.assert_array_equal(first, second)
    path = Path(f"runs/u/v001/log_w/{STEM}.h5")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert run(capsys, "runs", "verify", "u").code == 1
    path.unlink()
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        dregcli.load_run("u").evaluations()[0].log_weights()


@pytest.mark.parametrize(
    ("number", "end"), [(1, lambda: signal.raise_signal(signal.SIGINT)), (2, _out_of_memory)], ids=["signal", "crash"]
)
def test_a_stopped_evaluation_continues_with_its_log_weights(capsys, monkeypatch, number: int, end) -> None:
    assert run(capsys, *EVAL).code == 0
    expected = dregcli.load_run("t").evaluations()[0].log_weights()
    with monkeypatch.context() as patch:
        patch.setattr(importance, "estimate", _ends_at(number, end))
        patch.setattr(importance, "SAVE_SECONDS", -1.0)
        assert run(capsys, *EVAL).code != 0
    assert list(FOLDER.glob(".*.tmp"))
    again = run(capsys, *EVAL)
    assert "continuing at example 128" in again.err
    np.testing.assert_array_equal(dregcli.load_run("t").evaluations()[1].log_weights(), expected)
    assert not list(FOLDER.glob(".*"))


@pytest.mark.parametrize("words", [EVAL, EVAL[:-1]], ids=["weights", "bound"])
def test_an_evaluation_of_a_run_that_is_removed_meanwhile_loses_nothing(capsys, monkeypatch, words) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            importance, "estimate", _ends_at(2, lambda: remove_runs(plan_run_removal(["t"], runs_dir=RUNS)))
        )
        patch.setattr(importance, "SAVE_SECONDS", -1.0)
        ended = run(capsys, *words)
    assert (ended.code, "error: The run was removed or renamed in the meantime" in ended.err) == (16, True), ended.err
    assert ("computed but not kept" in ended.err) is ("--keep-weights" not in words)
    assert "dreg runs rm --restore t/v001" in ended.err
    assert not FOLDER.parent.exists()
    assert run(capsys, "runs", "rm", "--restore", "t/v001").code == 0
    again = run(capsys, *words)
    assert (again.code, "continuing at example 128" in again.err) == (0, True), again.err


def test_without_the_unfinished_file_an_evaluation_starts_over(capsys, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importance, "estimate", _ends_at(2, _out_of_memory))
        patch.setattr(importance, "SAVE_SECONDS", -1.0)
        assert run(capsys, *EVAL).code != 0
    for path in FOLDER.glob(".*.tmp"):
        path.unlink()
    again = run(capsys, *EVAL)
    assert again.code == 0
    assert "the evaluation starts over" in again.err
    assert np.isfinite(dregcli.load_run("t").evaluations()[0].log_weights()).all()


def test_an_unfinished_evaluation_without_log_weights_is_another_one(capsys, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importance, "estimate", _ends_at(2, _out_of_memory))
        patch.setattr(importance, "SAVE_SECONDS", -1.0)
        assert run(capsys, *EVAL[:-1]).code != 0
    assert "starts over" not in run(capsys, *EVAL).err
    assert "continuing at example 128" in run(capsys, *EVAL[:-1]).err


def test_what_cannot_be_kept_is_refused_before_any_work(capsys, monkeypatch) -> None:
    several = run(capsys, *EVAL, "--repeats", 2)
    assert (several.code, "keep-weights: keeps one draw" in several.err) == (2, True)
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "SIZE_LIMIT", 2**20 + 10_000)
        large = run(capsys, *EVAL)
    assert (large.code, "give a smaller --k or --n" in large.err) == (2, True)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 10, 0))
        assert run(capsys, *EVAL).code == 16
    assert not Path("runs/t/v001/evals").exists()


def test_an_evaluation_without_log_weights_says_so(capsys) -> None:
    assert run(capsys, *EVAL[:3], 5, "--n", 8).code == 0
    with pytest.raises(UsageError, match="kept no log-weights"):
        dregcli.load_run("t").evaluations()[0].log_weights()
