"""``dreg data import`` as a user sees it; the data layer's own tests cover formats and faults one by one."""

import json
import shlex

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.names import Split
from tests.support.cli import SMALL, run
from tests.support.data_import import contents

VALUES = np.random.RandomState(2).randint(0, 256, (80, 36)).astype(np.uint8)


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    return tmp_path / "a.npy"


def test_then_it_trains(capsys, source, tmp_path) -> None:
    outcome = run(capsys, "data", "import", source, "--name", "mine")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("next: dreg train --dataset mine\n")
    assert "36 values were taken as images of 6 x 6" in outcome.err
    assert "valid 8 and test 8 of 80 examples were drawn with --split-seed 0" in outcome.err
    trained = run(capsys, "train", "--dataset", "mine", *SMALL, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["bound"]["test"] < 0


@pytest.mark.parametrize("count", [3, 4, 38])
def test_the_command_that_is_shown_works(count, capsys, tmp_path) -> None:
    """Also where a batch of the usual size would be more than there is, and in a folder whose name has a space."""
    np.save(tmp_path / "a.npy", VALUES[:count, : 36 if count > 3 else 1])
    folder = tmp_path / "da ta"
    outcome = run(capsys, "data", "import", tmp_path / "a.npy", "--name", "few", "--data-dir", folder)
    words = shlex.split(outcome.out.splitlines()[-1].removeprefix("next: dreg "))
    at = SMALL.index("--batch-size")
    trained = run(capsys, *words, *SMALL[:at], *SMALL[at + 2 :])
    assert trained.code == 0, trained.err


def test_json(capsys, source, tmp_path) -> None:
    outcome = run(capsys, "data", "import", source, "--name", "mine", "--valid", 10, "--test", "0.2", "--json")
    assert outcome.code == 0
    found = outcome.json
    kept = read_cache("mine", tmp_path / "data")
    assert found["splits"] == {"train": 54, "valid": 10, "test": 16}
    assert found["checksum"] == kept.checksum
    assert found["path"] == str(tmp_path / "data" / "mine.h5")
    assert found["provenance"] == json.loads(json.dumps(dict(kept.provenance)))
    assert found["notes"][-1] == "valid 10 and test 16 of 80 examples were drawn with --split-seed 0"
    assert (found["kind"], found["levels"], found["image"]) == ("intensity", 255, [6, 6])
    assert found["split_hashes"] == {split.value: kept.split_hashes[split] for split in Split}
    assert found.keys() == {
        *("dataset", "path", "kind", "levels", "image", "source", "checksum", "split_convention", "splits"),
        *("split_hashes", "provenance", "notes", "format", "warnings", "left_out", "figure"),
    }


def test_every_option_arrives(capsys, tmp_path) -> None:
    bits = VALUES.T.reshape(36, 80) % 2 * 7
    np.savez(tmp_path / "a.npz", some=bits, other=bits[:5])
    options = ["--key", "some", "--kind", "intensity", "--levels", "7", "--shape", "4x9", "--transpose", "--invert"]
    options += ["--valid", "20", "--test", "10"]
    outcome = run(capsys, "data", "import", tmp_path / "a.npz", "--name", "m", *options, "--split-seed", 4)
    assert outcome.code == 0, outcome.err
    dataset = read_cache("m", tmp_path / "data")
    assert (dataset.kind, dataset.levels, dataset.height, dataset.width) == ("intensity", 7, 4, 9)
    order = np.random.RandomState(4).permutation(80)
    np.testing.assert_array_equal(dataset.splits[Split.TEST], 7 - bits.T[order[70:]])
    np.testing.assert_array_equal(dataset.splits[Split.VALID], 7 - bits.T[order[50:70]])


def test_hints_name_the_folder(capsys, source, tmp_path) -> None:
    folder = tmp_path / "a folder"
    outcome = run(capsys, "data", "import", source, "--name", "mine", "--data-dir", folder)
    assert outcome.out.endswith(f"next: dreg train --dataset mine --data-dir '{folder}'\n")
    kept = (folder / "mine.h5").read_bytes()
    option = f"--data-dir '{folder}'"
    assert f"dreg data rm mine --yes {option}" in run(capsys, "data", "rm", "mine", "--data-dir", folder).err
    (folder / "mine.h5").write_bytes(b"x" + kept[1:])
    for command in ("list", "verify"):
        assert f"dreg data rm mine --force {option}" in run(capsys, "data", command, "--data-dir", folder).out
    trained = run(capsys, "train", "--dataset", "mine", *SMALL, "--data-dir", folder)
    assert f"dreg data rm mine --force {option}" in trained.err


def test_a_leak_is_a_warning_even_when_quiet(capsys, tmp_path) -> None:
    np.savez(tmp_path / "a.npz", train=VALUES[:60], valid=VALUES[50:65], test=VALUES[65:])
    outcome = run(capsys, "data", "import", tmp_path / "a.npz", "--name", "mine", "--quiet")
    assert outcome.err == (
        "warning: 10 of 15 valid examples are in train too, value for value: the valid bound is too optimistic\n"
    )


def test_replace(capsys, source, tmp_path) -> None:
    assert run(capsys, "data", "import", source, "--name", "mine").code == 0
    before = contents(tmp_path / "data")
    refused = run(capsys, "data", "import", source, "--name", "mine", "--split-seed", 1)
    assert refused.code == 2
    assert "--name: 'mine' exists already: choose another name, or give --replace" in refused.err
    assert contents(tmp_path / "data") == before
    assert run(capsys, "data", "import", source, "--name", "mine", "--split-seed", 1, "--replace").code == 0
    assert read_cache("mine", tmp_path / "data").split_convention == "seed-1"


def test_every_fault_of_the_options_at_once(capsys, source, tmp_path) -> None:
    outcome = run(capsys, "data", "import", source, "--name", "mnist", "--shape", "6", "--valid", "2.5", "--json")
    assert outcome.code == 2
    assert outcome.json["error"]["what"].splitlines() == [
        "--name: 'mnist' is a data set of the catalogue",
        "--shape: must be height x width, such as 28x28, not '6'",
        "--valid: must be a count of at least 1, or a fraction between 0 and 1, not '2.5'",
    ]
    assert not (tmp_path / "data").exists()


def test_damage_says_what_where_and_next(capsys, source, tmp_path) -> None:
    source.write_bytes(source.read_bytes()[:-1])
    outcome = run(capsys, "data", "import", source, "--name", "mine")
    assert outcome.code == 11
    assert "header that promises 80 x 36 values of uint8 = 2,880 bytes, but 2,879 follow" in outcome.err
    assert f"where: {source}" in outcome.err
    assert "next: " in outcome.err
    assert "Traceback" not in outcome.err
    assert contents(tmp_path / "data") == {}


def test_an_unknown_kind(capsys, source) -> None:
    outcome = run(capsys, "data", "import", source, "--name", "mine", "--kind", "grey")
    assert outcome.code == 2
    assert "intensity" in outcome.err


def test_warnings_and_formats_are_shown(capsys, tmp_path) -> None:
    np.savez(tmp_path / "a.npz", x_train=VALUES, x_test=VALUES[:8] / 255)
    outcome = run(capsys, "data", "import", tmp_path / "a.npz", "--name", "mine", "--key", "train=x_train", "--quiet")
    assert outcome.err.startswith("warning: the test split was drawn from train although 'x_test' is there")
    outcome = run(capsys, "data", "import", tmp_path / "a.npz", "--name", "two", "--quiet")
    assert "warning: the splits seem to have different scales: train has 0 to 255, test has 0 to" in outcome.err
    assert ".csv" in run(capsys, "data", "import", "--help").out
