"""``dreg runs rerun`` and ``dreg runs verify --replay``: a run can be repeated, and it shows where it cannot."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dregcli.app.runs.rerun import differing_fields
from dregcli.cli.main import main
from dregcli.names import Capture
from dregcli.store import documents, hdf5, layout, metrics
from dregcli.store.capture import capture_environment
from dregcli.store.records import read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.cli import SMALL, run, typed
from tests.support.data_few import few_digits
from tests.support.store_faults import flip

VARIANTS = {
    "dense": ("--backward", "dense"),
    "bfloat16": (
        "--backward",
        "screened",
        "--screen-precision",
        "bfloat16",
        "--k",
        "32",
        "--eval-every",
        "8",
        "--eval-k",
        "16",
    ),
    "learning": ("--estimator", "dreg-cv", "--track-estimators", "stl"),
}


@pytest.fixture(scope="module", autouse=True)
def _few_digits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        few_digits(patch)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "runs"
    for name, words in VARIANTS.items():
        assert main(typed("train", *SMALL, *words, "--name", name, "--runs-dir", root, "--quiet")) == 0
    words = ["finetune-encoder", "dense", "--steps", "10", "--log-every", "5", "--name", "child"]
    assert main([*words, "--runs-dir", str(root), "--quiet"]) == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.mark.parametrize("name", [*VARIANTS, "child"])
def test_a_rerun_is_the_run_again_to_the_last_bit(capsys, root: Path, name: str) -> None:
    done = run(capsys, "runs", "rerun", name, "--runs-dir", root)
    assert done.code == 0
    assert f"nothing that numbers depend on has changed since {name}/v001" in done.err
    first, second = RunStore(root).resolve(name)
    assert second.version == 2
    assert differences(second, first) == []
    assert second.spec() == first.spec()


def test_what_differs_here_is_told(capsys, root: Path) -> None:
    one = RunStore(root).resolve("bfloat16")[0]
    environment = one.environment()
    environment["packages"]["torch"] = "1.0"
    environment["threads"] = 99
    _rewrite(one, layout.ENVIRONMENT_FILE, documents.encode(environment))
    assert run(capsys, "train", "--resume", one.path, "--steps", 25, "--k-chunk", 16, "--runs-dir", root).code == 0
    resumed = one.resumed_environments()[2]
    resumed["cpu"]["model"] = "abacus"
    _rewrite(one, layout.environment_file(2), documents.encode(resumed))
    done = run(capsys, "runs", "rerun", "bfloat16", "--name", "again", "--runs-dir", root, "--json")
    assert done.code == 0
    assert "packages.torch 1.0, now" in done.err
    assert "threads 99, now" in done.err
    assert "k_chunk none, now 16 (before a resume)" in done.err
    assert "cpu.model abacus, now" in done.err
    assert "packages.torch" not in done.err.partition("(after a resume)")[2]
    assert done.json["run"] == f"{root}/again/v001"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        # What has nothing to do with the run's numbers.
        ("git", {"commit": "c0ffee", "clean": False, "diff": "+x = 1", "untracked_files": {"a.py": {}}}, None),
        ("packages.rich", "1.0", None),
        ("platform", "another kernel", None),
        ("python.executable", "/usr/bin/python", None),
        ("variables", {"DREG_RUNS_DIR": "x"}, None),
        # What numbers depend on.
        ("packages.dreg", "0.1", "packages.dreg 0.1, now "),
        ("packages.torch", "1.0", "packages.torch 1.0, now "),
        ("packages.numpy", "1.0", "packages.numpy 1.0, now "),
        ("source_sha256", "0" * 64, "the source of dreg differs (commit "),
        ("device", "cuda", "device cuda, now cpu"),
        ("cpu.model", "another", "cpu.model another, now "),
        ("threads", 99, "threads 99, now "),
        ("ranks", 2, "ranks 2, now 1"),
        ("variables", {"MKL_CBWR": "COMPATIBLE"}, "variables.MKL_CBWR COMPATIBLE, now none"),
    ],
)
def test_only_what_can_change_numbers_is_a_difference(field: str, value: object, says: str | None) -> None:
    extra = {"threads": 1, "device": "cpu"}
    now = capture_environment(argv=[], extra=extra, capture=Capture.NONE)
    now |= {"git": {"commit": "b" * 40}, "variables": {}}
    then = copy.deepcopy(now) | {"git": {"commit": "a" * 40}}
    outer, _, inner = field.partition(".")
    then[outer] = then[outer] | {inner: value} if inner else value
    found = differing_fields(then, now)
    assert found == [] if says is None else len(found) == 1 and found[0].startswith(says)
    assert len(differing_fields(now, then)) == len(found)  # also what this process has and the run had not
    # Without a digest of the source, its commit counts.
    del then["source_sha256"]
    assert any(each.startswith("git.commit") for each in differing_fields(then, now)) is True


def test_a_run_whose_data_are_gone_claims_nothing(capsys, root: Path) -> None:
    one = RunStore(root).resolve("dense")[0]
    _rewrite(one, layout.SPEC_FILE, documents.encode({**one.spec(), "data_checksum": "0" * 64}))
    assert run(capsys, "runs", "rerun", "dense", "--runs-dir", root).code == 11
    assert len(RunStore(root).resolve("dense")) == 1
    assert run(capsys, "runs", "rerun", "nothing", "--runs-dir", root).code == 13


@pytest.mark.parametrize("name", [*VARIANTS, "child"])
def test_a_sound_run_replays(capsys, root: Path, name: str) -> None:
    done = run(capsys, "runs", "verify", name, "--replay", 10, "--runs-dir", root, "--json")
    assert done.code == 0
    assert done.json["replay"]["rows"]["train"] == 2
    assert done.json["replay"]["differences"] == []
    if name == "bfloat16":
        assert done.json["replay"]["rows"]["valid"] == 1
    whole = run(capsys, "runs", "verify", name, "--replay", 99, "--runs-dir", root).out
    assert f"replayed {10 if name == 'child' else 20} steps of {name}/v001: " in whole
    assert "the same to the last bit" in whole


def test_a_number_in_its_last_bit_is_found(capsys, root: Path) -> None:
    one = RunStore(root).resolve("dense")[0]
    path = one.path / layout.METRICS_FILE
    content = hdf5.read(path, metrics.KIND)
    content.arrays["train/ess"][1] = np.nextafter(content.arrays["train/ess"][1], 0.0)
    path.write_bytes(hdf5.encode(metrics.KIND, arrays=content.arrays, attrs=content.attrs))
    words = ("runs", "verify", "dense", "--runs-dir", root)
    assert run(capsys, *words).code == 0
    assert run(capsys, *words, "--replay", 9).code == 0
    found = run(capsys, *words, "--replay", 10, "--json")
    assert found.code == 1
    ((difference),) = found.json["replay"]["differences"]
    assert (difference["split"], difference["step"], difference["column"]) == ("train", 10, "ess")
    assert "first train ess at step 10" in run(capsys, *words, "--replay", 10).out


def test_a_fault_in_another_version_is_said_to_keep_from_replaying(capsys, root: Path) -> None:
    shutil.copytree(root / "dense" / "v001", root / "dense" / "v002")
    flip(root / "dense" / "v001" / layout.METRICS_FILE, 700)
    words = ("runs", "verify", "dense", "--replay", 5, "--runs-dir", root)
    found, as_json = run(capsys, *words), run(capsys, *words, "--json")
    assert (found.code, as_json.code, as_json.json["replay"]) == (1, 1, None)
    (line,) = [line for line in found.err.splitlines() if line.startswith("warning: nothing was replayed")]
    assert f"dreg runs verify dense/v002 --replay 5 --runs-dir {root}" in line
    flip(root / "dense" / "v002" / layout.METRICS_FILE, 700)
    assert "dreg runs" not in run(capsys, *words).err


def test_another_seed_is_found(capsys, root: Path) -> None:
    one = RunStore(root).resolve("dense")[0]
    _rewrite(one, layout.SPEC_FILE, documents.encode({**one.spec(), "seed": 5}))
    assert run(capsys, "runs", "verify", "dense", "--replay", 5, "--runs-dir", root).code == 1


def test_what_cannot_be_replayed(capsys, root: Path) -> None:
    few = run(capsys, "runs", "verify", "dense", "--replay", 2, "--runs-dir", root)
    assert few.code == 2
    assert "--replay 5" in few.err
    assert run(capsys, "runs", "verify", "--replay", 5, "--runs-dir", root).code == 2
    assert run(capsys, "runs", "verify", "dense", "child", "--replay", 5, "--runs-dir", root).code == 2


def _rewrite(one: Run, name: str, content: bytes) -> None:
    """Another document with the right digest."""
    path = one.path / layout.RUN_FILE
    info = read_info(path)
    (one.path / name).write_bytes(content)
    digests = {**info.digests, name: (documents.sha256(content),)}
    path.write_bytes(write_info(type(info)(**{**vars(info), "digests": digests})))
