"""What a command prints of a run is what every command takes, from any folder, and hints can be pasted."""

import re
import shlex
from pathlib import Path

import pytest

from dregcli.cli.lazy import CommandByName
from dregcli.cli.main import main
from dregcli.cli.tree import COMMANDS
from dregcli.commands import OF_DATA, OF_RUNS
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run
from tests.support.store_runs import claim

ODD = "it's $HOME `x`"
"""A folder's name that an unquoted command would lose."""

QUICK = {
    "eval": ("--k", 4, "--n", 4),
    "report": (),
    "sample": ("--n", 2),
    "variance": ("--k", 4, "--examples", 2, "--replicates", 20, "--estimator", "dreg", "--estimator", "reparam"),
    "bias-check": ("--k", 4, "--examples", 2, "--max-batches", 48),
    "advise": ("--replicates", 20, "--budget", 0.1, "--estimator", "dreg", "--estimator", "reparam"),
    "finetune-encoder": ("--steps", 2, "--k", 4, "--quiet"),
    "train": ("--steps", 22, "--quiet", "--resume"),
    "runs list": (),
    "runs show": (),
    "runs tag": ("--add", "t"),
    "runs note": ("a note",),
    "runs verify": ("--replay", 5),
    "runs rerun": ("--quiet",),
    "runs diff": (),
    "runs export": (),
    "runs rm": ("--yes",),
}
"""Every command that takes a run, as quick as it can be."""

RELATIVE = ("eval", "report", "train", "runs diff", "runs rerun")
"""Those that are tried with a relative path."""

OF_A_STORE = {"runs gc", "runs import", "runs doctor", "paper list", "paper run", "paper export"}
"""Those that take a whole store and no run."""


@pytest.fixture
def odd(tmp_path: Path, ready, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A completed run ``x/v001`` in a store with an odd name; the user is in another folder without a store."""
    ready(*SMALL, "--objective", "iwae", "--estimator", "dreg", name="x")
    store = tmp_path / ODD / "store"
    store.parent.mkdir()
    (tmp_path / "runs").rename(store)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DREG_RUNS_DIR")
    return store


def _arguments(name: str, reference: str) -> list[object]:
    after = {"runs diff": (reference,), "runs export": ("out.zip",)}.get(name, ())
    options = QUICK[name]
    if name == "train":
        return [*name.split(), *options, reference]
    return [*name.split(), reference, *after, *options]


def test_every_command_that_takes_runs_is_tried() -> None:
    assert QUICK.keys() | OF_A_STORE == OF_RUNS


def hints(text: str) -> list[list[str]]:
    """The commands that a text asks for, as a shell splits them: each ends its line."""
    names = "|".join(sorted({name.split()[0] for name in OF_RUNS | OF_DATA}))
    found = re.findall(rf"(?<![/-])(?<!by )\bdreg (?:{names}) .*$", text, flags=re.MULTILINE)
    return [shlex.split(line) for line in found]


def accepted(words: list[str]) -> bool:
    """Whether the program's own parser takes a command."""
    assert words[0] == "dreg"
    typed = next(typed for typed in COMMANDS if words[1 : 1 + len(typed.split())] == typed.split())
    command = CommandByName(typed, COMMANDS[typed])
    command.make_context(command.name, words[1 + len(typed.split()) :], resilient_parsing=False).close()
    return True


@pytest.mark.parametrize(
    ("name", "is_relative"),
    [(name, name in RELATIVE) for name in QUICK],
)
def test_a_printed_path_is_accepted(capsys, odd: Path, tmp_path: Path, name: str, is_relative: bool) -> None:
    store = Path("..") / ODD / "store" if is_relative else odd
    said = run(capsys, *_arguments(name, str(store / "x" / "v001")))
    assert said.code in (0, 5), said
    assert [path.name for path in Path.cwd().iterdir()] == (["out.zip"] if name == "runs export" else [])
    # What was made of the run is beside it.
    kept = {"eval": "evals", "sample": "figures", "variance": "variance", "bias-check": "bias"}
    made = [odd / "x" / "v001" / kept[name]] if name in kept else []
    made += {"runs rerun": [odd / "x" / "v002"], "finetune-encoder": [odd / "x-finetune-iwae-dreg-k4"]}.get(name, [])
    assert all(path.is_dir() for path in made)
    for words in hints(said.out + said.err):
        assert accepted(words)
    if name == "runs rm":
        assert not (odd / "x" / "v001").exists()
        (back,) = [words for words in hints(said.out) if "--restore" in words]
        assert main(back[1:]) == 0
        assert (odd / "x" / "v001").is_dir()


def test_a_path_wins_over_another_store(capsys, odd: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    claim(other, "x")
    one, two = odd / "x" / "v001", other / "x" / "v001"
    for runs_dir in (other, odd, tmp_path / "none"):
        assert run(capsys, "runs", "tag", one, "--add", "here", "--runs-dir", runs_dir).code == 0
    assert [run.labels().tags for run in RunStore(other).runs()] == [()]
    both = run(capsys, "runs", "list", one, two, odd / "x", "--json").json["runs"]
    assert [each["run"] for each in both] == [str(one), str(two)]
    # Called alike, they are told apart; a name is of the store that was given.
    listed = run(capsys, "runs", "list", one, "x", "--runs-dir", other).out
    assert f"\n{one} " in listed
    assert "\nx/v001 " in listed
    report = run(capsys, "report", one, odd / "x", "--json").json
    assert [each["run"] for group in report["groups"] for each in group["runs"]] == [str(one)]


def test_hints_of_errors_can_be_pasted_and_work(capsys, odd: Path) -> None:
    given = ("--runs-dir", odd)
    told = [
        run(capsys, "train", "--resume", "x", *given),
        run(capsys, "eval", "y", *given),
        run(capsys, "runs", "export", "x/v001", "x.zip", *given),
        run(capsys, "runs", "import", "x.zip", *given),
        run(capsys, "runs", "show", "x", *given),
        run(capsys, "runs", "rm", "x/v002", *given),
        run(capsys, "eval", "x", *QUICK["eval"], *given),
        run(capsys, "report", *given),
    ]
    found = [words for each in told for words in hints(each.out + each.err) if words[1:3] != ["runs", "import"]]
    assert len(found) >= 7
    for words in found:
        assert str(odd) in " ".join(words) or words[-1] == "--help", words
        assert accepted(words)
        if words[1] in ("report", "runs"):
            assert main(words[1:]) == 0, words
    # A data folder that was given is given again.
    missing = run(capsys, "train", "--dataset", "mnist", "--data-dir", ODD, "--json").json["error"]["next"]
    assert ["dreg", "download", "mnist", "--data-dir", ODD] in hints(missing)
    started = run(capsys, "train", "--resume", "x", *given, "--data-dir", ODD).err
    assert hints(started)[0][-4:] == ["--runs-dir", str(odd), "--data-dir", ODD]
