"""``dreg data list | show | verify | rm`` as a user sees them."""

import h5py
import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.catalogue import DATASETS
from tests.support.cli import run

VALUES = np.random.RandomState(2).randint(0, 256, (50, 6, 6)).astype(np.uint8)


@pytest.fixture
def data(tmp_path, capsys):
    np.save(tmp_path / "a.npy", VALUES)
    assert run(capsys, "data", "import", tmp_path / "a.npy", "--name", "mine").code == 0
    return tmp_path / "data"


@pytest.mark.parametrize("command", ["import", "list", "show", "verify", "rm"])
def test_every_help_has_an_example_and_the_usual_options(capsys, monkeypatch, command) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run(capsys, "data", command, "--help")
    assert shown.code == 0
    assert f"dreg data {command}" in shown.out.split("╯")[-1]
    for option in ("--data-dir", "--json", "--quiet", "DREG_DATA_DIR"):
        assert option in shown.out
    assert f"{command} " in run(capsys, "data", "--help").out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["data", "import"], "dreg data import --help"),
        (["data", "show", "digits", "--no"], "dreg data show --help"),
        (["data", "shwo"], "dreg data --help"),
        (["nonsense"], "dreg --help"),
        (["train", "--no"], "dreg train --help"),
    ],
)
def test_a_wrong_command_line_names_its_help(capsys, words, hint) -> None:
    outcome = run(capsys, *words)
    assert outcome.code == 2
    assert f"next:  {hint}\n" in outcome.err


def test_list(capsys, data) -> None:
    outcome = run(capsys, "data", "list", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.json["data_dir"] == str(data)
    rows = {row["dataset"]: row for row in outcome.json["results"]}
    assert list(rows) == [*DATASETS, "mine"]
    mine = rows["mine"]
    assert mine == {
        "dataset": "mine",
        "status": "cached",
        "imported": True,
        "problem": None,
        "kind": "intensity",
        "image": [6, 6],
        "splits": {"train": 40, "valid": 5, "test": 5},
        "split_conventions": ["seed-0"],
        "bytes": (data / "mine.h5").stat().st_size,
        "checksum": read_cache("mine", data).checksum,
        "path": str(data / "mine.h5"),
        "source": mine["source"],
    }
    assert "a.npy" in mine["source"]
    assert (rows["mnist"]["status"], rows["mnist"]["image"]) == ("not downloaded", [28, 28])
    shown = run(capsys, "data", "list").out
    line = next(line for line in shown.splitlines() if line.startswith("mine "))
    for word in ("cached, imported", "intensity", "6x6", "40", "seed-0", mine["checksum"][:8]):
        assert word in line


def test_list_with_a_damaged_one(capsys, data) -> None:
    (data / "mine.h5").write_bytes(b"x" + (data / "mine.h5").read_bytes()[1:])
    assert run(capsys, "data", "list", "--json").json["results"][-1]["image"] is None
    outcome = run(capsys, "data", "list")
    assert outcome.code == 0
    assert "mine is damaged: " in outcome.out
    assert "; remove it with  dreg data rm mine --force\n" in outcome.out


def test_verify(capsys, data) -> None:
    good = run(capsys, "data", "verify")
    assert good.code == 0
    assert {line.split()[0]: line.split()[1] for line in good.out.splitlines()[1:]} == {
        "digits": "OK",
        "linear-gaussian": "OK",
        "mine": "OK",
    }
    with h5py.File(data / "mine.h5", "a") as file:
        file["test"][2, 3] ^= 1
    bad = run(capsys, "data", "verify", "mine", "digits", "--json")
    assert bad.code == 1
    assert [(row["dataset"], row["verdict"]) for row in bad.json["results"]] == [
        ("mine", "damaged"),
        ("digits", "ok"),
    ]
    shown = run(capsys, "data", "verify")
    assert shown.code == 1
    assert "checksum" in shown.out
    assert "dreg data rm mine" in shown.out


def test_verify_what_is_not_there(capsys, data) -> None:
    missing = run(capsys, "data", "verify", "mnist")
    assert missing.code == 10
    assert "dreg download mnist" in missing.err
    assert "Did you mean 'mine'?" in run(capsys, "data", "verify", "mien").err


def test_show(capsys, data, tmp_path) -> None:
    outcome = run(capsys, "data", "show", "mine", "--split", "test", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["figure"] == str(data / "figures" / "mine-test.png")
    assert outcome.json["provenance"]["file"] == str(tmp_path / "a.npy")
    assert (outcome.json["kind"], outcome.json["levels"], outcome.json["image"]) == ("intensity", 255, [6, 6])
    assert (data / "figures" / "mine-test.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "own.png"
    assert run(capsys, "data", "show", "digits", "--out", out).out == f"figure: {out}\n"
    again = run(capsys, "data", "show", "digits", "--out", out)
    assert again.code == 2
    assert "the file exists already" in again.err
    assert run(capsys, "data", "show", "mine", "--split-convention", "burda").code == 2
    assert "Did you mean 'digits'?" in run(capsys, "data", "show", "digit").err


class _Terminal:
    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:
        return self.answer + "\n"


def test_rm_without_a_terminal_wants_yes(capsys, data) -> None:
    outcome = run(capsys, "data", "rm", "mine")
    assert outcome.code == 2
    assert "dreg data rm mine --yes" in outcome.err
    assert (data / "mine.h5").exists()


@pytest.mark.parametrize("answer", ["n", "y"])
def test_rm_asks(capsys, data, monkeypatch, answer) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal(answer))
    outcome = run(capsys, "data", "rm", "mine")
    assert outcome.code == 0
    assert "'mine' is your own data" in outcome.err
    assert "cannot be downloaded again" in outcome.err
    assert (data / "mine.h5").exists() == (answer == "n")
    assert ("removed mine" in outcome.out) == (answer == "y")
    assert ("nothing was removed" in outcome.out) == (answer == "n")


def test_rm_yes(capsys, data) -> None:
    size = (data / "mine.h5").stat().st_size
    figure = data / "figures" / "mine-train.png"
    assert run(capsys, "data", "show", "mine").code == 0
    assert figure.exists()
    outcome = run(capsys, "data", "rm", "mine", "--yes", "--json")
    assert outcome.code == 0
    removed = {"dataset": "mine", "path": str(data / "mine.h5"), "bytes": size, "figures": [str(figure)]}
    assert outcome.json == {"removed": [removed]}
    assert not figure.exists()
    assert not (data / "mine.h5").exists()
    assert run(capsys, "data", "rm", "mine", "--yes").code == 2
    assert run(capsys, "data", "rm", "digits", "--yes").code == 2
    assert run(capsys, "data", "rm", "mnist", "--yes").code == 10
