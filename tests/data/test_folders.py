from pathlib import Path

import pytest

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
        ({"LOCALAPPDATA": "/local"}, "win32", Path("/local/dreg")),
        ({}, "win32", HOME / "AppData/Local/dreg"),
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
