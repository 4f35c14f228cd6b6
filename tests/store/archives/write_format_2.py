"""Write the store in ``format-2/``, with the program of the format's time and its real commands.

    python tests/store/archives/write_format_2.py tests/store/archives/format-2

``small/v001`` is completed, with an evaluation, a bias check, a variance, a figure, a tag and a note; ``small/v002``
was interrupted by a signal and resumed; ``small/v003`` was killed after a checkpoint, with metrics past it. The kill
ends the script too. What would name the machine is replaced, and pictures are cut to a few bytes.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TRAIN = (
    *("train", "--name", "small", "--dataset", "digits", "--steps", "30", "--k", "4", "--batch-size", "8"),
    *("--hidden", "4", "--latent-dim", "2", "--eval-every", "10", "--checkpoint-every", "10", "--log-every", "5"),
    *("--track-estimators", "stl", "--capture", "none", "--device", "cpu", "--compile", "off"),
)


def command(*words: str) -> None:
    from dregcli.cli.main import main

    sys.argv = ["dreg", *words]
    main(list(words))


def train(seed: int, *, signal_at: tuple[int, int]) -> None:
    """Train, and have this process signal itself: (after this step, this signal)."""
    from dregcli.engine.training import Trainer

    advance = Trainer.advance

    def then_signal(self: Trainer) -> None:
        advance(self)
        if self.step == signal_at[0]:
            os.kill(os.getpid(), signal_at[1])

    Trainer.advance = then_signal
    command(*TRAIN, "--seed", str(seed))
    Trainer.advance = advance


def hide_the_machine() -> None:
    """Set the clock, replace the names of this machine and of its folders, and cut pictures."""
    import socket

    from dregcli.app.training import train as training
    from dregcli.store import lease, records, writer
    from dregcli.store.run import Run

    object.__setattr__(records.SYSTEM_CLOCK, "now", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    socket.gethostname = lambda: "a-host"
    lease._boot_id = lambda: "a-boot"
    keep = Run.add_file
    Run.add_file = lambda run, folder, stem, suffix, content: keep(run, folder, stem, suffix, content[:64])
    writer.FLUSH_SECONDS = 0.0  # so that the killed run has metrics past its checkpoint
    found = training.environment_now

    def environment_now(*args: Any) -> dict[str, Any]:
        hidden = {"time": "2026-01-02T00:00:00+00:00", "cwd": "/home/user", "platform": "Linux", "variables": {}}
        cpu = {"model": "a processor", "cores": 2, "usable_cores": 2}
        python = {"version": sys.version.split()[0], "executable": "python"}
        return found(*args) | hidden | {"cpu": cpu, "python": python, "git": None, "libraries": {}, "threads": 1}

    training.environment_now = environment_now


def write(root: Path) -> None:
    os.environ["DREG_RUNS_DIR"] = str(root)
    hide_the_machine()
    command(*TRAIN)
    command("eval", "small/v001", "--k", "8", "--split", "test")
    command(
        "bias-check", "small/v001", "--k", "4", "--estimator", "dreg", "--estimator", "stl", "--max-batches", "96"
    )
    command("variance", "small/v001", "--k", "1,4", "--examples", "20", "--replicates", "50")
    command("report", "small/v001")
    command("runs", "tag", "small/v001", "--add", "paper")
    command("runs", "note", "small/v001", "the first one")
    train(1, signal_at=(12, signal.SIGTERM))
    command("train", "--resume", "small/v002")
    train(2, signal_at=(18, signal.SIGKILL))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
