"""``dreg download`` as a user sees it. The data layer's own tests cover sources and faults one by one."""

import gzip
import shutil
from pathlib import Path

import pytest

from tests.support.cli import SMALL, run

MNIST = Path(__file__).parents[2] / ".." / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")


def test_digits_need_no_download(capsys) -> None:
    outcome = run(capsys, "download", "digits", "--json")
    assert outcome.code == 0, outcome.err
    (result,) = outcome.json["results"]
    assert result["outcome"] == "embedded"
    assert result["splits"] == {"train": 1297, "valid": 250, "test": 250}


def test_unknown_name(capsys) -> None:
    outcome = run(capsys, "download", "mnits")
    assert outcome.code == 2
    assert "Did you mean 'mnist'?" in outcome.err


def test_a_source_that_is_not_there(capsys, tmp_path) -> None:
    outcome = run(capsys, "download", "mnist", "--source", tmp_path / "nowhere")
    assert outcome.code != 0
    assert "nowhere" in outcome.err
    assert "Traceback" not in outcome.err


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
