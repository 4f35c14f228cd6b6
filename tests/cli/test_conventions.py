"""Split conventions through the commands, on a tiny data set that has two."""

import pytest

from dregcli.app.reporting.report import make_report
from dregcli.data import catalogue
from dregcli.data.fetching.download import download_entry
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run
from tests.support.data_idx import tiny_entry, tiny_folder


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path) -> None:
    entry = tiny_entry()
    monkeypatch.setitem(catalogue.DATASETS, "tiny", entry)
    download_entry(entry, tmp_path / "data", source=str(tiny_folder(tmp_path / "source")))


def _train(capsys, name: str, *options: object) -> dict:
    outcome = run(capsys, "train", "--dataset", "tiny", *SMALL, "--name", name, "--json", *options)
    assert outcome.code == 0, outcome.err
    return outcome.json


BURDA = ("--split-convention", "burda")


def test_every_command_keeps_the_convention(capsys, tmp_path) -> None:
    dreg, burda = _train(capsys, "d"), _train(capsys, "b", *BURDA)
    assert (dreg["split_convention"], burda["split_convention"]) == ("dreg", "burda")
    assert dreg["split_hashes"]["test"] == burda["split_hashes"]["test"]
    assert dreg["split_hashes"]["train"] != burda["split_hashes"]["train"]
    for split in ("train", "valid", "test"):
        (result,) = run(capsys, "eval", "b", "--k", 4, "--split", split, "--json").json["results"]
        assert (result["split_convention"], result["split_hash"]) == ("burda", burda["split_hashes"][split])
    (found,) = RunStore(tmp_path / "runs").resolve("b")
    kept = {each.attrs["split"]: each.attrs["split_hash"] for each in found.results("evals")}
    assert kept == burda["split_hashes"]
    assert run(capsys, "eval", "b", "--k", 4, "--split", "valid", "--json").json["results"][0]["n"] == 3
    resumed = run(capsys, "train", "--resume", "b", "--steps", 25, *BURDA, "--json")
    assert resumed.json["split_hashes"] == burda["split_hashes"]
    assert run(capsys, "train", "--resume", "b", "--steps", 30, "--split-convention", "dreg").code == 2
    tuned = run(capsys, "finetune-encoder", "b", "--steps", 5, "--json")
    assert tuned.json["split_hashes"] == burda["split_hashes"]
    checked = run(capsys, "bias-check", "b", "--max-batches", 96, "--json")
    assert checked.code in (0, 5), checked.err
    assert checked.json["settings"]["split_hash"] == burda["split_hashes"]["train"]


def test_bounds_on_the_split_that_two_conventions_share_compare(capsys, tmp_path) -> None:
    _train(capsys, "d")
    _train(capsys, "b", *BURDA)
    assert "cannot be compared" not in run(capsys, "eval", "d", "b", "--k", 4, "--split", "test").err
    assert "cannot be compared" in run(capsys, "eval", "d", "b", "--k", 4, "--split", "valid").err
    sections = make_report(["d", "b"], runs_dir=tmp_path / "runs").sections
    assert [section.title for section in sections] == ["tiny, dreg split", "tiny, burda split"]


def test_another_convention_over_a_runs_spec(capsys, tmp_path) -> None:
    _train(capsys, "d")
    spec = tmp_path / "runs/d/v001/spec.json"
    again = run(capsys, "train", "--config", spec, *BURDA, "--name", "b", "--json")
    assert again.code == 0, again.err
    assert again.json["split_convention"] == "burda"
    other = run(capsys, "train", "--config", tmp_path / "runs/b/v001/spec.json", "--dataset", "digits", "--json")
    assert other.code == 0, other.err
    assert other.json["split_convention"] == "dreg"
    same = run(capsys, "train", "--config", spec, "--split-convention", "dreg", "--json")
    assert same.code == 0, same.err


def test_a_convention_that_is_not_there(capsys) -> None:
    outcome = run(capsys, "train", "--dataset", "tiny", *SMALL, "--split-convention", "burdaa")
    assert outcome.code == 2
    assert "split-convention: tiny has the splits dreg, burda, got 'burdaa'. Did you mean 'burda'?" in outcome.err
