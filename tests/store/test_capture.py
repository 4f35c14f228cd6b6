import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import dregcli
from dregcli.names import Capture
from dregcli.store import capture, documents

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package ``thing`` in a checkout with one commit."""
    package = tmp_path / "checkout" / "thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package.parent / ".gitignore").write_text("ignored\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "one")
    return package


def test_the_environment_is_json_and_says_what_a_rerun_needs() -> None:
    found = capture.capture_environment(argv=["dreg", "train"], extra={"threads": 2, "data_sha256": "ab"})
    back = documents.decode(documents.encode(found), Path("environment.json"))
    assert back == found
    assert json.loads(json.dumps(found))["argv"] == ["dreg", "train"]
    assert found["packages"]["dreg"] == dregcli.__version__
    assert found["packages"]["torch"]
    assert found["packages"]["h5py"]
    assert found["python"]["version"] == sys.version
    assert found["cpu"]["cores"] == os.cpu_count()
    assert (found["threads"], found["data_sha256"]) == (2, "ab")
    assert found["time"].endswith("+00:00")
    assert found["hostname"]
    assert found["platform"]


@needs_git
def test_a_clean_checkout(package: Path) -> None:
    (package.parent / "ignored").write_text("x")
    found = capture.source_state(package)
    assert found is not None
    assert found["commit"] == git(package, "rev-parse", "HEAD")
    assert (found["clean"], found["diff"], found["untracked"]) == (True, "", [])


@needs_git
def test_a_dirty_checkout_keeps_the_diff_and_names_untracked_files(package: Path) -> None:
    (package / "__init__.py").write_text("x = 2\n")
    (package / "staged.py").write_text("y = 1\n")
    git(package, "add", "staged.py")
    (package / "é new.py").write_text("z = 1\n")
    found = capture.source_state(package)
    assert found is not None
    assert not found["clean"]
    assert "+x = 2" in found["diff"]
    assert "+y = 1" in found["diff"]
    assert found["untracked"] == ["thing/é new.py"]
    assert not found["diff_cut"]


@needs_git
def test_large_changes_are_cut(package: Path) -> None:
    (package / "__init__.py").write_text("x = 3\n" * capture.DIFF_LIMIT)
    for number in range(capture.UNTRACKED_LIMIT + 1):
        (package / f"{number}.py").write_text("")
    found = capture.source_state(package)
    assert found is not None
    assert found["diff_cut"]
    assert len(found["diff"]) == capture.DIFF_LIMIT
    assert len(found["untracked"]) == capture.UNTRACKED_LIMIT
    assert found["untracked_count"] == capture.UNTRACKED_LIMIT + 1


@needs_git
def test_secrets_stay_where_they_are_and_contents_are_kept_only_where_asked(package: Path) -> None:
    root = package.parent
    (package / "tracked.py").write_text("password = 'XYZ1'\nx = 1\n")
    (root / ".env.prod").write_text("A=XYZ\n")
    git(root, "add", "-f", ".")
    git(root, "commit", "-q", "-m", "two")
    git(root, "config", "diff.noprefix", "true")
    (package / "tracked.py").write_text("password = 'XYZ2'\nx = 2\n")
    (root / ".env.prod").write_text("A=XYZ\nB=XYZ\n")
    files = {
        "exp.py": "y = 1\n",
        "leak.py": "key = 'sk-abcdefghijklmnopqXYZwxyz'\n",
        "credentials.yml": "user: XYZ\n",
        "notes.txt": "XYZ\n",
        "large.json": "0" * (capture.TEXT_LIMIT + 1) + "XYZ",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "link.py").symlink_to(root / "credentials.yml")
    # Runs that lie in the checkout are no changes to it: in a folder of runs, and right in it.
    for folder in (root / "mine" / "a" / "v001", root / "b" / "v002"):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        (folder / "parts").mkdir()
        (folder / "parts" / "x.h5").write_text("x")
    for store in (root, root / "mine"):
        (store / "store.json").write_text("{}")
    (root / "mine" / ".trash").mkdir()
    (root / "mine" / ".trash" / "x").write_text("x")

    found = {each: capture.source_state(package, each) for each in Capture}
    assert "XYZ" not in json.dumps(found)
    none, names, source = found.values()
    assert none == {"commit": git(root, "rev-parse", "HEAD"), "clean": False}
    assert names is not None
    assert source is not None
    assert names["untracked"] == sorted([*files, "link.py"])
    assert names["untracked_files"]["credentials.yml"] == {
        "bytes": 10,
        "sha256": hashlib.sha256(b"user: XYZ\n").hexdigest(),
    }
    assert names["untracked_files"]["link.py"] == {"bytes": None, "sha256": None}
    assert ("-x = 1\n" in names["diff"], "+x = 2\n" in names["diff"], names["diff_redacted"]) == (True, True, 4)
    assert "untracked_text" not in names
    assert source["untracked_text"] == {"exp.py": "y = 1\n"}
    assert set(source["withheld"]) == {*files, "link.py"} - {"exp.py"}
    for name in (*files, "link.py"):
        (root / name).unlink()
    git(root, "checkout", "-q", ".")
    clean = capture.source_state(package)
    assert clean is not None
    assert clean["clean"]


def test_the_environment_holds_no_secret_of_the_command_line_and_of_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DREG_DATA_DIR", "https://me:XYZ@host/data")
    argv = ["dreg", "train", "--config", "https://XYZ@host/x", "--password", "XYZ"]
    found = capture.capture_environment(argv=argv, extra={"note": "token=abXYZ123"}, capture=Capture.NONE)
    assert "XYZ" not in json.dumps(found)
    assert found["argv"][:4] == ["dreg", "train", "--config", "https://[redacted]@host/x"]
    assert found["capture"] == "none"


@needs_git
def test_an_installed_copy_inside_another_repository_is_no_checkout(package: Path) -> None:
    installed = package.parent / ".venv" / "site-packages" / "other"
    installed.mkdir(parents=True)
    (package.parent / "untracked").mkdir()
    assert capture.source_state(installed) is None
    assert capture.source_state(package.parent / "untracked") is None


def test_no_git_and_no_repository_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thing").mkdir()
    assert capture.source_state(tmp_path / "thing") is None
    assert capture.source_state(tmp_path / "gone") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capture.source_state(Path(dregcli.__file__).parent) is None
    assert capture.capture_environment(argv=[], extra={})["git"] is None


@needs_git
def test_a_repository_without_a_commit_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    git(tmp_path, "init", "-q")
    assert capture.source_state(tmp_path / "thing") is None


def test_the_digest_of_the_source_is_of_the_files_that_compute_numbers(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        package = Path(tempfile.mkdtemp(dir=tmp_path))
        for name, text in files.items():
            path = package / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        (package / "notes.txt").write_text(str(package))
        return capture.source_digest(package)

    whole = digest(engine__a="x = 1", names="", cli__a="print()")
    assert digest(engine__a="x = 1", names="", cli__a="print(1)", report__a="") == whole
    others = {digest(engine__a="x = 2", names=""), digest(engine__b="x = 1", names=""), digest(engine__a="x = 1")}
    assert len({whole, *others}) == 4
    assert capture.capture_environment(argv=[], extra={})["source_sha256"] == capture.source_digest(
        Path(dregcli.__file__).parent
    )
