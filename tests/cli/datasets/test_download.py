"""``dreg download`` as a user sees it. The data layer's own tests cover sources and faults one by one."""

import dataclasses
import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from dregcli.data.catalogue import DATASETS
from dregcli.names import Split
from tests.support.cli import SMALL, run

MNIST = Path(__file__).parents[3] / ".." / "shared" / "data" / "mnist"
OMNIGLOT = MNIST.parent / "omniglot"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")


def test_digits_need_no_download(capsys) -> None:
    outcome = run(capsys, "download", "digits", "--json")
    assert outcome.code == 0, outcome.err
    (result,) = outcome.json["results"]
    assert result["outcome"] == "embedded"
    assert result["splits"] == {"train": 1297, "valid": 250, "test": 250}


def test_the_next_command_is_of_the_same_data_folder(capsys, tmp_path) -> None:
    folder = tmp_path / "my data"
    shown = run(capsys, "download", "digits", "--data-dir", folder).out.splitlines()[-1]
    assert shown == f"next: dreg train --dataset digits --data-dir '{folder}'"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "dreg download mnist OPTION\ndreg download --all OPTION\n"),
        (["mnist", "digits", "--source", "my files"], "dreg download mnist --source 'my files' OPTION"),
        (["mnist", "--offline", "--source", "http://a/"], "or: dreg download mnist --source FOLDER OPTION\n"),
        (["mnist", "--source", "ftp://a/"], "https:// address, or: dreg download mnist --source PATH OPTION\n"),
        (["mnist", "--source", "http://[a/"], "dreg download mnist --source https://HOST/FOLDER/ OPTION"),
        (["mnist", "--source", "nowhere"], ": dreg download mnist --source FOLDER OPTION\n"),
        (["omniglot", "omniglot-lake", "--offline"], "dreg download omniglot omniglot-lake OPTION"),
    ],
)
def test_hints_are_of_the_same_data_folder(capsys, tmp_path, arguments, hint) -> None:
    folder = tmp_path / "my data"
    told = run(capsys, "download", *arguments, "--data-dir", folder).err
    assert hint.replace("OPTION", f"--data-dir '{folder}'") in told


def test_the_usage_has_its_names_once(capsys) -> None:
    usage = next(line for line in run(capsys, "download", "--help").out.splitlines() if "Usage:" in line)
    assert usage.split("dreg download ")[1].split() == ["[OPTIONS]", "[DATASET]..."]


def test_unknown_name(capsys) -> None:
    outcome = run(capsys, "download", "mnits")
    assert outcome.code == 2
    assert "Did you mean 'mnist'?" in outcome.err


def test_a_source_that_is_not_there(capsys, tmp_path) -> None:
    outcome = run(capsys, "download", "mnist", "--source", tmp_path / "nowhere")
    assert outcome.code != 0
    assert "nowhere" in outcome.err
    assert "Traceback" not in outcome.err


def test_help_names_every_data_set(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = run(capsys, "download", "--help").out
    for name in DATASETS:
        assert name in shown


def test_json_tells_what_it_is(capsys) -> None:
    (result,) = run(capsys, "download", "linear-gaussian", "--json").json["results"]
    assert (result["kind"], result["levels"], result["image"]) == ("real", 1, [4, 5])
    assert set(result["split_hashes"]) == set(Split)
    assert set(result["provenance"]["mean_log_marginal_nats"]) == set(Split)
    assert result["notes"] == []


def test_the_table_has_the_kind_and_the_size(capsys) -> None:
    outcome = run(capsys, "download", "digits", "linear-gaussian", "digits")
    header, digits, gaussian, after = outcome.out.splitlines()
    assert header.split() == ["data", "set", "outcome", "kind", "train", "valid", "test", "image", "where"]
    assert digits.split()[:7] == ["digits", "embedded", "intensity", "1,297", "250", "250", "8x8"]
    assert gaussian.split()[:7] == ["linear-gaussian", "embedded", "real", "5,000", "1,000", "1,000", "4x5"]
    assert after == "next: dreg train --dataset linear-gaussian"


def test_names_are_checked_before_any_work(capsys, tmp_path) -> None:
    outcome = run(capsys, "download", "fashion-mnist", "mnits")
    assert outcome.code == 2
    assert "Did you mean 'mnist'?" in outcome.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a data set: digits, mnist, "),
        (["digits", "--all"], "--all already includes digits"),
        (["digits", "mnist", "--source", "."], "--source holds one data set, but the command names 2"),
        (["digits", "--source", "."], "the data set 'digits' is part of the program, and is not read from a source"),
        (["linear-gaussian", "--source", "nowhere"], "leave --source out: dreg download linear-gaussian"),
        (["--all", "--source", "."], "--source holds one data set, but the command names 8"),
        (["mnist", "--offline", "--source", "http://127.0.0.1/"], "a web address cannot be read offline"),
    ],
)
def test_contradictions(capsys, arguments, said) -> None:
    outcome = run(capsys, "download", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "next:" in outcome.err


@pytest.fixture
def nothing_installed(monkeypatch):
    """Fashion-MNIST as on a machine without Debian's package."""
    entry = dataclasses.replace(DATASETS["fashion-mnist"], system_folders=())
    monkeypatch.setitem(DATASETS, "fashion-mnist", entry)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_says_what_is_missing(capsys, monkeypatch, how) -> None:
    if how == "variable":
        monkeypatch.setenv("DREG_OFFLINE", "1")
    outcome = run(capsys, "download", "omniglot", *(["--offline"] if how == "option" else []))
    assert outcome.code == 10
    assert "'omniglot' is not on this machine, and it cannot be fetched offline" in outcome.err
    assert "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat" in outcome.err
    assert "dreg download omniglot --source FOLDER" in outcome.err


@pytest.mark.parametrize("source", [[], ["--source", OMNIGLOT]])
def test_a_file_of_the_users_own_is_left_alone(capsys, tmp_path, source) -> None:
    path = tmp_path / "data" / "omniglot-lake.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["precious"] = [1.0, 2.0]
    before = path.read_bytes()
    outcome = run(capsys, "download", "omniglot-lake", *source)
    assert outcome.code == 2
    assert "'omniglot-lake.h5' in the data folder, and does not replace it" in outcome.err
    assert f"where: {path}" in outcome.err
    assert "next:  move that file away and repeat the command" in outcome.err
    assert path.read_bytes() == before


MISSING = ["mnist", "binarized-mnist", "fashion-mnist", "omniglot", "omniglot-lake", "caltech101-silhouettes"]


@pytest.mark.usefixtures("nothing_installed")
def test_all_tells_every_failure_and_keeps_the_others(capsys) -> None:
    outcome = run(capsys, "download", "--all", "--offline")
    assert outcome.code == 12
    assert "digits" in outcome.out
    assert "linear-gaussian" in outcome.out
    assert "next: dreg train" not in outcome.out
    assert "6 of 8 data sets could not be downloaded" in outcome.err
    for name in MISSING:
        assert f"{name}: the data set '{name}' is not on this machine" in outcome.err
    assert f"dreg download {' '.join(MISSING)}" in outcome.err


@pytest.mark.usefixtures("nothing_installed")
def test_all_in_json_is_one_object(capsys) -> None:
    outcome = run(capsys, "download", "--all", "--offline", "--json")
    assert outcome.code == 12
    assert [each["dataset"] for each in outcome.json["results"]] == ["digits", "linear-gaussian"]
    assert [(each["dataset"], each["exit_code"]) for each in outcome.json["failures"]] == [(n, 10) for n in MISSING]
    assert "6 of 8 data sets could not be downloaded" in outcome.err


def test_one_failure_among_several_names_has_its_own_advice(capsys) -> None:
    outcome = run(capsys, "download", "digits", "omniglot", "--offline")
    assert outcome.code == 12
    assert "1 of 2 data sets could not be downloaded" in outcome.err
    assert "dreg download omniglot --source FOLDER" in outcome.err


@pytest.mark.parametrize("arguments", ["['--help']", "['download', 'digits', '--quiet']"])
def test_the_light_commands_need_no_torch(tmp_path, arguments) -> None:
    code = (
        "import sys; from dregcli.cli.main import main\n"
        f"assert main({arguments}) == 0\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(not OMNIGLOT.is_dir(), reason="Lake's small archives are not beside the repository")
def test_lakes_small_archives_say_what_they_are(capsys) -> None:
    outcome = run(capsys, "download", "omniglot-lake", "--source", OMNIGLOT)
    assert outcome.code == 0, outcome.err
    assert "2,500 220 2,120" in " ".join(outcome.out.split())
    for said in ("resized from 105x105", "only Lake's two small archives", "no checksum is published for"):
        assert said in outcome.err


@needs_mnist
def test_mnist_from_a_folder_trains(capsys, tmp_path) -> None:
    outcome = run(capsys, "download", "mnist", "--source", MNIST)
    assert outcome.code == 0, outcome.err
    assert "50,000" in outcome.out
    assert "next: dreg train --dataset mnist" in outcome.out
    trained = run(capsys, "train", "--dataset", "mnist", *SMALL, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["bound"]["test"] < -100


@needs_mnist
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_archive_is_refused_and_nothing_is_cached(capsys, tmp_path, damage) -> None:
    folder = tmp_path / "source"
    shutil.copytree(MNIST, folder)
    (path,) = folder.glob("t10k-images*")
    path.chmod(0o644)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        plain = bytearray(gzip.decompress(content))
        plain[5000] ^= 1
        path.write_bytes(gzip.compress(bytes(plain), 1))
    outcome = run(capsys, "download", "mnist", "--source", folder)
    assert outcome.code == 11, outcome.err
    assert "t10k-images" in outcome.err
    assert not (tmp_path / "data" / "mnist.h5").exists()
