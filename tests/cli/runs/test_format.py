"""The store's format: the archive of the present one is read and continued, any other is refused with advice."""

import json
import shutil
from pathlib import Path

import pytest

from dregcli.store import documents, layout
from tests.store.archives import PRESENT
from tests.support.cli import SMALL, Outcome, run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PRESENT, tmp_path / "runs"))


@pytest.fixture
def dreg(capsys: pytest.CaptureFixture[str], root: Path):
    def call(*words: object) -> Outcome:
        return run(capsys, *words, "--runs-dir", root)

    return call


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_archive_has_the_present_format() -> None:
    """Who changes the format writes an archive of it: else the tests below would show nothing."""
    assert json.loads((PRESENT / "store.json").read_bytes()) == {"format": layout.FORMAT_VERSION}
    assert sum(path.stat().st_size for path in PRESENT.rglob("*") if path.is_file()) < 300_000


def test_reading_the_archive_changes_nothing(dreg, root: Path) -> None:
    before = contents(root)
    listed = dreg("runs", "list", "--json").json["runs"]
    assert [(each["name"], each["version"], each["status"], each["step"], each["tags"]) for each in listed] == [
        ("small", 1, "completed", 30, ["paper"]),
        ("small", 2, "completed", 30, []),
        ("small", 3, "crashed", 15, []),
    ]
    shown = dreg("runs", "show", "small/v001", "--json").json
    assert (shown["best"], shown["damage"], shown["notes"][0]["text"]) == (30, [], "the first one")
    assert [(each["step"], each["fault"]) for each in shown["checkpoints"]] == [(20, None), (30, None)]
    assert {Path(name).parent.name for name in shown["results"]} == {"evals", "bias", "variance"}
    assert len(dreg("runs", "show", "small/v002", "--json").json["resumed"]) == 1
    verified = dreg("runs", "verify", "--json")
    assert (verified.code, verified.json) == (0, {"runs": 3, "sound": True, "findings": []})
    assert dreg("runs", "doctor").code == 0
    differing = dreg("runs", "diff", "small/v001", "small/v002", "--json").json
    assert [row["field"] for row in differing["spec"]] == ["seed"]
    assert contents(root) == before


def test_the_archive_is_reported(dreg) -> None:
    report = dreg("report", "small")
    assert report.code == 0
    for told in (
        "iwae/dreg",
        "test -27.55",
        "eval: test bound at K=8",
        "bias: iwae/stl at K=4: biased",
        "variance: ",
    ):
        assert told in report.out, told


def test_the_archive_is_continued_evaluated_and_carried(dreg, root: Path, tmp_path: Path) -> None:
    resumed = dreg("train", "--resume", "small/v003", "--json")
    assert resumed.code == 0
    assert (resumed.json["status"], resumed.json["step"]) == ("completed", 30)
    assert "at step 10" in resumed.err
    assert [path.name for path in (root / "small" / "v003" / "rolled-back").iterdir()] == ["0001-to-step-00000010"]
    assert dreg("eval", "small/v001", "--k", 4, "--n", 20).code == 0
    assert dreg("runs", "export", "small/v001", tmp_path / "small.zip").code == 0
    assert dreg("runs", "import", tmp_path / "small.zip", "--name", "again").code == 0
    assert dreg("runs", "verify").code == 0


OTHERS = {
    1: (
        "which dreg wrote before version 0.1.0; this dreg knows format 2",
        "read it with the older dreg, from a clone at its tag",
    ),
    99: ("which a newer dreg wrote; this dreg knows format 2", "install a newer dreg"),
}


@pytest.mark.parametrize("version", OTHERS)
def test_a_store_of_another_format_is_refused_by_every_command_and_left_alone(
    dreg, root: Path, tmp_path: Path, version: int
) -> None:
    (root / "store.json").write_bytes(documents.encode({"format": version}))
    before = contents(root)
    what, hint = OTHERS[version]
    for words in (
        ("runs", "list"),
        ("runs", "show", "small"),
        ("runs", "tag", "small/v001", "--add", "good"),
        ("runs", "export", "small/v001", tmp_path / "x.zip"),
        ("report", "small"),
        ("eval", root / "small" / "v001"),
        ("bias-check", "small/v001", "--k", 4),
        ("train", "--resume", "small/v003"),
        ("train", *SMALL, "--name", "new"),
    ):
        refused = dreg(*words, "--json")
        assert refused.code == 17, words
        error = refused.json["error"]
        assert what in error["what"], words
        assert hint in error["next"], words
        assert error["where"] == str(root / "store.json"), words
    examined = dreg("runs", "doctor", "--json")
    assert examined.code == 1
    assert examined.json["checks"][0]["health"] == "fault"
    assert dreg("runs", "verify").code == 1
    assert contents(root) == before


@pytest.mark.parametrize("version", ["1", "3"])
def test_a_run_of_another_version_hides_no_other(dreg, root: Path, version: str) -> None:
    path = root / "small" / "v001" / "run.json"
    written = documents.unseal(path) | {"encoding-version": version}
    path.write_bytes(documents.seal(written))
    listed = dreg("runs", "list")
    assert listed.code == 0
    assert f"small/v001 cannot be read: run.json has run encoding-version {version}, which " in listed.err
    assert "small/v002" in listed.out
