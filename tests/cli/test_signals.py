"""Signals that no command answers itself: what lies aside is removed, and the exit code is the signal's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from dregcli.cli import main
from dregcli.data import cache_writer

chunks, name = cache_writer.chunks, sys.argv.pop()

def stopped(rows):
    yield from chunks(rows)
    os.kill(os.getpid(), getattr(signal, name))

cache_writer.chunks = stopped
# What runs in the background of a shell inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
main.entry()
"""


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("SIGTERM", 143, "Terminated."), ("SIGINT", 130, "Interrupted."), ("SIGUSR1", 143, "Stopped by SIGUSR1.")],
)
def test_an_import_that_is_stopped_leaves_nothing(tmp_path: Path, name, code, said) -> None:
    source, data = tmp_path / "x.amat", tmp_path / "data"
    source.write_text("\n".join(" ".join(str((i * j) % 7) for j in range(4)) for i in range(1, 40)))
    words = ["data", "import", str(source), "--name", "mine", "--data-dir", str(data)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, name], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in data.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
