"""Output in any encoding, and output that cannot be written: readable, and an exit code of its own."""

import ast
import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import dregcli
from dregcli.cli.main import main
from dregcli.errors import OutputLost
from dregcli.wording import encodable, in_ascii
from tests.support.cli import SMALL

LOST = OutputLost.exit_code
SHOWN = (
    "--help",
    "--version",
    "train --help",
    "estimators",
    "data list --json",
    "runs list",
    "runs list --json",
    "runs show x",
    "runs note x",
    "runs diff x/v001 x/v001",
    "runs verify",
    "runs doctor",
    "report",
    "report --json",
    "report --csv -",
    "report --latex -",
    "report --cite",
    "eval x --k 4 --n 4",
    "eval x --k 4 --n 4 --json",
    "train --resume x --steps 22",
)
"""All ways to show text, of a run ``x``."""

WRONG = ("eval nowhere --json", "train --lr 0 --json", "train --bogus", "runs rm x", "report --time-to é")


@pytest.fixture
def x(ready) -> None:
    """A run ``x`` with a note in several scripts."""
    ready(*SMALL, "--objective", "iwae", "--estimator", "dreg", name="x").add_label(note="café ± 中")


def _stream(path: Path | str, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(path, "w")), encoding=encoding, errors="strict")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_text_fails_for_its_characters(x, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for i, line in enumerate((*SHOWN, *WRONG)):
        with monkeypatch.context() as patch:
            for name in ("stdout", "stderr"):
                patch.setattr(sys, name, _stream(tmp_path / f"{name}-{i}", encoding))
            code = main(line.split())
            sys.stdout.close()
            sys.stderr.close()
        shown, said = (((tmp_path / f"{name}-{i}").read_bytes()).decode(encoding) for name in ("stdout", "stderr"))
        assert code == (0 if line in SHOWN else 13 if "nowhere" in line else 2), (line, said)
        assert shown or said
        assert "Traceback" not in said
        if line == "runs note x":
            assert {"ascii": r"cafe +/- \u4e2d", "cp1252": r"café ± \u4e2d"}[encoding] in shown
        if line == "report":
            assert ("bound ± s.e." if encoding != "ascii" else "mean +/- s.e.") in shown.replace("mean ±", "bound ±")


def test_columns_stay_below_their_names_in_ascii(x, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _stream(tmp_path / "out", "ascii"))
    assert main(["eval", "x", "--k", "4", "--n", "4", "--quiet"]) == 0
    sys.stdout.close()
    lines = (tmp_path / "out").read_text(encoding="ascii").splitlines()
    header, row = next((one, two) for one, two in pairwise(lines) if "ELBO" in one)
    assert len(header) == len(row)
    assert row.index("+/-") > 0


def test_every_character_of_the_program_has_an_ascii_form() -> None:
    used: set[str] = set()
    for path in Path(dregcli.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        used |= {char for text in texts for char in text if char.isprintable() and not char.isascii()}
    assert {"±", "█"} <= used
    for char in used | set("─│╭╰┼━αθΓ²é…\u2013\u00d7"):
        assert in_ascii(char).isascii(), char
        assert "\\" not in in_ascii(char), char
    assert [in_ascii(char) for char in "─│┼╮αΓé\u00d7"] == ["-", "|", "+", "+", "alpha", "Gamma", "e", "x"]
    assert len({in_ascii(char) for char in "▁▂▃▄▅▆▇█"}) == 8
    assert encodable("é ± \udcc3", "utf-8") == "é ± \\udcc3"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_one_line_and_a_code_of_its_own(x, tmp_path, capsys, monkeypatch) -> None:
    for line in (*SHOWN, "eval nowhere --json", "train --lr 0 --json"):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full := _stream("/dev/full"))
            assert main(line.split()) == LOST, line
        full.close()  # what was left in it went nowhere, and says nothing more
        said = capsys.readouterr().err
        assert said.count("Standard output cannot be written: No space left on device.") == 1, line
        assert "Traceback" not in said
    for line, code in (("--version", 0), ("runs list", 0), ("runs show x", LOST), ("eval nowhere", LOST)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", full := _stream("/dev/full"))
            assert main(line.split()) == code, line  # what has no message is done
        full.close()
    # Who sent a signal waits for its code.
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full := _stream("/dev/full"))
        patch.setattr("dregcli.cli.main.program", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([]) == 130
    full.close()
    # Messages that are lost end no work, and what was to be shown is.
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full := _stream("/dev/full"))
        assert main([*map(str, ("train", *SMALL, "--estimator", "stl", "--objective", "iwae")), "--json"]) == LOST
    full.close()
    assert '"status": "completed"' in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_nothing_is_said_once_more_when_the_process_ends(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['dreg', *sys.argv[1:]]; from dregcli.cli.main import entry; entry()"
    for out in ("/dev/full", os.devnull):
        with Path(out).open("wb" if out == "/dev/full" else "rb") as stdout:  # the other is open for reading alone
            done = subprocess.run(
                [sys.executable, "-c", code, "--help"], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == LOST
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("error: Standard output cannot be written: ")
