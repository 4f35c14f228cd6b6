"""Tags and notes: nothing is lost by a race, a kill or a wrong word, and nothing altered is believed."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dregcli.errors import StoreCorrupt, StoreFormatError, StoreWriteError, UsageError
from dregcli.names import RunStatus
from dregcli.store import documents, labels
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.store_faults import CountingFileSystem, FailingFileSystem, Killed, KillingFileSystem, every, flip
from tests.support.store_runs import FakeClock, claim

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return claim(tmp_path).run


def _forge(run: Run, **changed: object) -> Path:
    """A label with other content but a right digest, as a hostile program could write it."""
    content = {"encoding-type": "label", "encoding-version": "1", "time": NOW.isoformat()}
    home = run.path / "labels"
    home.mkdir()
    path = home / "label.json"
    path.write_bytes(documents.seal({**content, "tags_added": [], "tags_removed": [], "note": None, **changed}))
    return path


def test_tags_are_added_less_removed_in_order(run: Run) -> None:
    assert run.labels() == labels.Labels()
    run.add_label(add=["paper", "fig:3"])
    run.add_label(remove=["paper", "never-there"])
    run.add_label(add=["v1.0", "fig:3"])
    assert run.labels().tags == ("fig:3", "v1.0")
    run.add_label(add=["paper"])
    assert run.labels().tags == ("fig:3", "v1.0", "paper")
    for number in range(12):  # past nine, where names sort otherwise than numbers
        run.add_label(add=["blink"] if number % 2 else [], remove=[] if number % 2 else ["blink"])
    assert run.labels().tags[-1] == "blink"


def test_notes_keep_their_time_and_any_text(tmp_path: Path) -> None:
    clock = FakeClock()
    run = RunStore(tmp_path, CountingFileSystem(), clock.clock).claim("digits", spec={}, environment={}).run
    texts = ["first", "zwei\nlines: ümläut ☃", "not UTF-8: \udcff", "y" * labels.NOTE_LENGTH]
    for text in texts:
        run.add_label(note=text)
        clock.pass_seconds(-60)  # a clock that jumps back alters no order
    found = run.labels().notes
    assert [note.text for note in found] == texts
    assert found[0].time > found[1].time


def test_a_live_run_is_labelled_without_its_lease(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    RunStore(tmp_path).resolve("digits")[0].add_label(add=["watched"], note="looks good")
    writer.append("train", {"step": 1, "bound": -1.0})
    writer.finish(RunStatus.COMPLETED, {"step": 1})
    assert writer.run.labels().tags == ("watched",)


@pytest.mark.parametrize(
    "words", [["two words"], ["ok", ""], ["-x"], ["a/b"], ["ä"], ["x" * 61], ["x\n"], [".."], ["*"]]
)
def test_what_cannot_be_a_tag(run: Run, words: list[str]) -> None:
    with pytest.raises(UsageError, match="cannot be tags"):
        run.add_label(add=words)
    with pytest.raises(UsageError, match="cannot be tags"):
        run.add_label(remove=words)
    assert not (run.path / "labels").exists()


@pytest.mark.parametrize("text", ["", " \n", "y" * (labels.NOTE_LENGTH + 1)])
def test_what_cannot_be_a_note(run: Run, text: str) -> None:
    with pytest.raises(UsageError, match="A note must have"):
        run.add_label(note=text)
    assert not (run.path / "labels").exists()


def test_writers_that_race_all_succeed(run: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from dregcli.store.run import Run\n"
        "sys.stdin.readline()\n"
        "for i in range(5): Run(Path(sys.argv[1])).add_label(add=[f'{sys.argv[2]}-{i}'], note=sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    racing = [subprocess.Popen([*command, f"w{i}"], stdin=subprocess.PIPE, text=True) for i in range(4)]
    for process in racing:
        process.communicate("go\n")
        assert process.returncode == 0
    found = run.labels()
    assert set(found.tags) == {f"w{i}-{j}" for i in range(4) for j in range(5)}
    assert len(found.notes) == 20


def test_a_fault_anywhere_leaves_what_was_there(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        run = claim(tmp_path / str(number)).run
        run.add_label(add=["first"])
        fs = FailingFileSystem(number)
        try:
            Run(run.path, fs).add_label(add=["second"], note="n")
        except StoreWriteError:
            # Where the last sync fails the label may well be there; a half of one never is.
            assert run.labels().tags in {("first",), ("first", "second")}
            run.add_label(add=["third"])
            assert run.labels().tags[-1] == "third"
            return True
        # Fewer operations than the fault's number: it was never met.
        return fs.count >= number

    assert every(40, attempt) >= 4


def test_a_kill_anywhere_leaves_what_was_there(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        run = claim(tmp_path / str(number)).run
        run.add_label(add=["first"])
        try:
            Run(run.path, KillingFileSystem(number)).add_label(add=["second"])
        except Killed:
            assert run.labels().tags in {("first",), ("first", "second")}
            run.add_label(add=["third"])
            assert run.labels().tags[-1] == "third"
            return True
        return False

    assert every(40, attempt) >= 4


def test_any_flipped_byte_and_any_cut_is_found(run: Run) -> None:
    run.add_label(add=["paper"], note="n")
    path = run.path / "labels" / "label.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        flip(path, position)
        with pytest.raises((StoreCorrupt, StoreFormatError)) as caught:
            run.labels()
        assert caught.value.where == str(path)
        path.write_bytes(whole)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreCorrupt):
            run.labels()
    path.write_bytes(whole)
    assert run.labels().tags == ("paper",)


@pytest.mark.parametrize(
    "changed",
    [
        {"tags_added": "abc"},
        {"tags_added": [1]},
        {"tags_added": {"a": 1}},
        {"tags_added": [["a"]]},
        {"tags_removed": None},
        {"tags_added": ["\x1b[31m"]},
        {"note": "n", "time": 3},
        {"note": "n", "time": "yesterday"},
        {"note": "n", "time": "2026-01-02T03:04:05"},
        {"encoding-type": "run"},
    ],
)
def test_a_label_that_this_program_never_writes_is_refused(run: Run, changed: dict[str, object]) -> None:
    path = _forge(run, **changed)
    with pytest.raises(StoreCorrupt) as caught:
        run.labels()
    assert caught.value.where == str(path)


def test_a_newer_version_is_refused_with_advice(run: Run) -> None:
    _forge(run, **{"encoding-version": "2"})
    with pytest.raises(StoreFormatError, match="encoding-version 2") as caught:
        run.labels()
    assert "newer dreg" in str(caught.value.hint)


def test_other_files_beside_labels_are_not_read(run: Run) -> None:
    run.add_label(add=["paper"])
    home = run.path / "labels"
    for name in (".label-2.json.tmp", "label-x.json", "notes.txt"):
        (home / name).write_text("{")
    assert run.labels().tags == ("paper",)
    assert json.loads((home / "label.json").read_text())["note"] is None
