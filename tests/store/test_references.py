import subprocess
import sys
from pathlib import Path

import pytest

from dregcli.errors import RunNotFound, StoreFormatError
from dregcli.store.runs import RunStore
from tests.support.store_runs import claim


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    for name in ("xyz", "xyz", "xyz", "mnist-iwae"):
        claim(Path("runs"), name)
    return RunStore(Path("runs"))


def labels(store: RunStore, reference: str) -> list[str]:
    return [run.label for run in store.resolve(reference)]


@pytest.mark.parametrize("reference", ["xyz", "runs/xyz", "./runs/xyz/", "runs//xyz", "{here}/runs/xyz", "xyz/"])
def test_a_name_is_all_its_versions(store: RunStore, tmp_path: Path, reference: str) -> None:
    assert labels(store, reference.format(here=tmp_path)) == ["xyz/v001", "xyz/v002", "xyz/v003"]


@pytest.mark.parametrize(
    "reference",
    ["xyz/v002", "runs/xyz/v002", "./runs/xyz/v002/", "{here}/runs/xyz/v002", "xyz/v2", "runs/mnist-iwae/../xyz/v2"],
)
def test_a_version_is_one_run(store: RunStore, tmp_path: Path, reference: str) -> None:
    (run,) = store.resolve(reference.format(here=tmp_path))
    assert (run.name, run.version, run.label) == ("xyz", 2, "xyz/v002")
    assert run.spec()["k"] == 64


def test_references_from_elsewhere(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = RunStore(tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs" / "xyz")
    assert labels(elsewhere, "v003") == ["xyz/v003"]
    assert labels(elsewhere, "../mnist-iwae") == ["mnist-iwae/v001"]
    assert labels(elsewhere, ".") == ["xyz/v001", "xyz/v002", "xyz/v003"]
    monkeypatch.chdir("/")
    assert labels(elsewhere, "runs/xyz/v001") == ["xyz/v001"]
    assert labels(elsewhere, "xyz/v001") == ["xyz/v001"]
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert labels(RunStore(tmp_path / "link"), str(tmp_path / "runs" / "xyz" / "v001")) == ["xyz/v001"]


def test_versions_past_999_stay_in_order(store: RunStore) -> None:
    for version in ("v999", "v1000", "v1001"):
        (Path("runs/mnist-iwae") / version).mkdir()
    assert [run.version for run in store.resolve("mnist-iwae")] == [1, 999, 1000, 1001]
    assert claim(Path("runs"), "mnist-iwae").run.label == "mnist-iwae/v1002"


def test_unknown_names_suggest_the_nearest_and_say_how_to_list(store: RunStore) -> None:
    with pytest.raises(RunNotFound) as caught:
        store.resolve("runs/mnist-iwea")
    assert "Did you mean 'mnist-iwae'?" in caught.value.what
    assert caught.value.hint == "there are mnist-iwae, xyz; list the runs: dreg runs list"
    with pytest.raises(RunNotFound) as other:
        RunStore(Path("./runs").resolve()).resolve("mnist-iwea")
    assert f"dreg runs list --runs-dir {Path('runs').resolve()}" in str(other.value.hint)
    with pytest.raises(RunNotFound, match="no version v009; it has v001, v002, v003"):
        store.resolve("xyz/v009")
    with pytest.raises(RunNotFound) as empty:
        RunStore(Path("nowhere")).resolve("xyz")
    assert "dreg train" in str(empty.value.hint)


@pytest.mark.parametrize(
    "reference", ["", "/nowhere/at/all", "xyz/../../b", "a/b/c/d", "xyz/v001/x", "\0", "x" * 5000, "x" * 300]
)
def test_references_that_cannot_be(store: RunStore, reference: str) -> None:
    with pytest.raises(RunNotFound):
        store.resolve(reference)


def test_folders_that_are_no_run_are_called_so(store: RunStore, tmp_path: Path) -> None:
    Path("runs/notes").mkdir()
    Path("runs/notes/v001").mkdir()
    Path("runs/notes/v001/todo.txt").write_text("x")
    Path("runs/thing").mkdir()
    Path("runs/file").write_text("x")
    (tmp_path / "other").mkdir()
    for reference in ("runs/notes", "notes/v001", "thing", "runs/file", str(tmp_path / "other"), "runs", "/"):
        with pytest.raises(StoreFormatError, match="is not a run of the store"):
            store.resolve(reference)
    assert [run.label for run in store.runs()] == ["mnist-iwae/v001", "xyz/v001", "xyz/v002", "xyz/v003"]


def test_listing_loads_no_torch(store: RunStore) -> None:
    assert store.runs()
    code = (
        "import sys; from pathlib import Path; from dregcli.store.runs import RunStore\n"
        "for run in RunStore(Path('runs')).runs():\n"
        "    run.info(), run.spec(), run.all_metrics(), run.checkpoints(), run.best()\n"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
