import os
from pathlib import Path

import pytest

from dregcli.cli.main import main
from dregcli.data.folders import default_data_dir, download_command
from dregcli.errors import UsageError

HOME = Path("/home/me")


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", str(HOME))
    monkeypatch.delenv("DREG_DATA_DIR", raising=False)


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({"DREG_DATA_DIR": "/data", "XDG_CACHE_HOME": "/x"}, "linux", Path("/data")),
        ({"DREG_DATA_DIR": "~/data"}, "darwin", HOME / "data"),
        ({"DREG_DATA_DIR": ""}, "linux", HOME / ".cache/dreg"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", Path("/x/dreg")),
        ({"XDG_CACHE_HOME": "relative"}, "linux", HOME / ".cache/dreg"),
        ({}, "linux", HOME / ".cache/dreg"),
        ({}, "darwin", HOME / "Library/Caches/dreg"),
    ],
)
def test_default_data_dir(env, platform, expected):
    assert default_data_dir(env, platform) == expected


def test_a_home_that_does_not_exist_is_a_clear_error():
    with pytest.raises(UsageError, match="no default data folder") as caught:
        default_data_dir({"DREG_DATA_DIR": "~nobody-of-that-name/data"}, "linux")
    assert "--data-dir" in str(caught.value.hint)


def test_command_names_the_data_folder_only_where_it_must(monkeypatch):
    monkeypatch.setenv("DREG_DATA_DIR", "/data")
    assert download_command("mnist", Path("/data")) == "dreg download mnist"
    assert download_command("mnist", Path("/my data"), source="FOLDER") == (
        "dreg download mnist --source FOLDER --data-dir '/my data'"
    )


def test_without_a_home_folder_only_what_lies_in_a_data_folder_is_missing(monkeypatch, tmp_path, capsys):
    """As where a container runs a user that nobody knows: neither HOME nor an entry in the list of users."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 999_999)
    with pytest.raises(UsageError):
        default_data_dir(platform="linux")
    monkeypatch.chdir(tmp_path)
    few = ["--steps", "1", "--k", "1", "--hidden", "4", "--latent-dim", "2"]
    for words in (["train", "--name", "a", *few], ["runs", "verify", "a", "--replay", "1"], ["data", "list"]):
        assert main(words) == 0
    capsys.readouterr()
    assert main(["train", "--dataset", "mnist", *few]) == 10
    assert "next:  dreg download mnist --data-dir FOLDER" in capsys.readouterr().err
    assert main(["data", "show", "digits"]) == main(["download", "mnist"]) == 2
    assert "next:  name one with --data-dir FOLDER or DREG_DATA_DIR" in capsys.readouterr().err
