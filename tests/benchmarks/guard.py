"""Has the program become slower? Ratios of this machine against those kept for processors of its kind. By hand:

    python -m tests.benchmarks.guard [--write]

It takes about four minutes on a machine that does nothing else. It runs ``tests.benchmarks.step``, ``evaluation`` and
``whole`` briefly, takes ratios within their rounds (a machine's clock wanders, and ratios hardly do), and compares
them with ``ratios.json``. Of all ratios larger is better. Those that fell by more than 15 % are named, and the exit
status is 1. ``--write`` keeps the measured ratios instead: do so after a change that was meant to change them, or on
a kind of processor that the file does not have.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.benchmarks.support.processor import features_of, told, told_by_system
from tests.benchmarks.support.tables import figure, table

FILE: Final = Path(__file__).with_name("ratios.json")
"""Ratios by name, by kind of processor."""

FALLEN: Final = 0.15
"""The share of a ratio whose loss is told."""

Ratios = Mapping[str, float]

K: Final = 64

SPEEDS: Final = {
    "dense / one backward pass in plain torch": ("mlp", "dense", "hook"),
    "dense, compiled / dense": ("mlp", "dense-compiled", "dense"),
    "screened / dense": ("mlp", "screened", "dense"),
    "screened, compiled / screened": ("mlp", "screened-compiled", "screened"),
    "ten estimators tracked / screened": ("mlp", "tracked", "screened"),
    "conv screened / two losses in plain torch": ("conv", "screened", "two-backward"),
}
"""Two contestants of ``tests.benchmarks.step``, of which network: steps/s of the first to those of the second."""

HALF: Final = {"bfloat16 / screened": ("mlp", "bfloat16", "screened")}
"""Only where the processor has bfloat16 products."""

EVALUATION: Final = "evaluation / products of its size"
WHOLE_STEPS: Final = "200"
WHOLE: Final = f"dreg train of {WHOLE_STEPS} steps / script in plain torch"


@dataclass(frozen=True)
class Change:
    """A ratio that was kept and what it is now; None where it could not be measured."""

    name: str
    before: float
    now: float | None

    @property
    def has_fallen(self) -> bool:
        """Whether so much was lost that somebody should look."""
        return self.now is None or self.now < (1 - FALLEN) * self.before


def compare(kept: Ratios, found: Ratios) -> list[Change]:
    """Every ratio that was kept, beside what it is now."""
    return [Change(name, before, found.get(name)) for name, before in kept.items()]


def read(file: Path) -> dict[str, dict[str, float]]:
    """What is kept."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write(file: Path, kind: str, found: Ratios) -> None:
    """Keep the ratios of one kind of processor; those of others stay as they are."""
    kept = {**read(file), kind: {name: round(value, 3) for name, value in found.items()}}
    aside = file.with_name(f"{file.name}.new")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def _measure(name: str, words: Sequence[str], folder: Path, data_words: Sequence[str]) -> Any:
    """Run a benchmark as a command, its tables on stderr; the figures that it keeps."""
    file = folder / f"{name}.json"
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *words, *data_words, "--json", str(file)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads(file.read_text(encoding="utf-8"))


def _milliseconds(raced: Any, network: str, name: str) -> list[float]:
    """Of a contestant's step, round by round; none where it failed."""
    contestants = raced[network]["k"][str(K)]["contestants"]
    return next((each["ms"] for each in contestants if each["name"] == name), [])


def speeds(raced: Mapping[str, Any], asked: Mapping[str, tuple[str, str, str]]) -> dict[str, float]:
    """The ratios of races: medians over the rounds that they share."""
    found: dict[str, float] = {}
    for name, (network, one, other) in asked.items():
        own, theirs = (_milliseconds(raced, network, each) for each in (one, other))
        if own and theirs:
            found[name] = median(there / here for here, there in zip(own, theirs, strict=True))
    return found


def _race(
    network: str,
    ratios: Mapping[str, tuple[str, str, str]],
    asked: argparse.Namespace,
    folder: Path,
    *,
    train_steps: int,
) -> dict[str, Any]:
    """The contestants of one network that ratios ask for."""
    wanted = {each for where, *both in ratios.values() if where == network for each in both}
    words = ["--networks", network, "--k", str(K), "--modes", ",".join(sorted(wanted))]
    terms = ["--rounds", str(asked.rounds), "--seconds", "1", "--patience", str(asked.patience)]
    return _measure("step", [*words, *terms, "--train-steps", str(train_steps)], folder, asked.data_words)


def _ratios(asked: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], dict[str, float], list[str]]:
    """The processor, every ratio that could be measured, and how busy others kept the machine in each race."""
    wanted = SPEEDS | (HALF if "BF16" in features_of(told_by_system()) else {})
    raced = {
        **_race("mlp", wanted, asked, folder, train_steps=300),
        **_race("conv", wanted, asked, folder, train_steps=60),
    }
    processor, found = raced["mlp"]["processor"], speeds(raced, wanted)
    of_evaluation = ["--n", "128", "--k", "2000", "--train-steps", "20"]
    evaluation = _measure("evaluation", of_evaluation, folder, asked.data_words)
    found[EVALUATION] = next(iter(evaluation["shares"].values()))
    words = ["--steps", WHOLE_STEPS, "--rounds", "2", "--skip-typed", "--patience", str(asked.patience)]
    whole = _measure("whole", [*words, "--k", str(K)], folder, asked.data_words)
    script, ours = (each["seconds"] for each in whole[WHOLE_STEPS])
    found[WHOLE] = median(there / here for here, there in zip(ours, script, strict=True))
    loads = [f"{network}: {race['k'][str(K)]['load']}" for network, race in raced.items()]
    return processor, found, loads


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the measured ratios of this kind of processor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=5.0, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--data-dir", default=None)
    asked = parser.parse_args()
    asked.data_words = [] if asked.data_dir is None else ["--data-dir", asked.data_dir]
    return asked


def main() -> None:
    """Measure, compare, tell."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        processor, found, loads = _ratios(asked, Path(folder))
    kind = processor["kind"]
    kept = read(FILE).get(kind, {})
    changes = {each.name: each for each in compare(kept, found)}
    print(f"\n{told(processor)}")
    rows = []
    for name in dict.fromkeys([*kept, *found]):
        change = changes.get(name)
        word = "new" if change is None else "FELL" if change.has_fallen else ""
        rows.append([name, figure(kept.get(name)), figure(found.get(name)), word])
    print(table(["ratio, larger is better", "kept", "now", ""], rows))
    print("\n".join(loads))
    if asked.write:
        write(FILE, kind, found)
        print(f"\nkept in {FILE.name} for {kind}")
        return
    if not kept:
        known = "\n".join(f"  {each}" for each in read(FILE)) or "  none"
        raise SystemExit(
            f"\n{FILE.name} has no ratios for this kind of processor. Keep these with "
            f"python -m tests.benchmarks.guard --write. Kinds in the file:\n{known}"
        )
    fallen = [name for name, change in changes.items() if change.has_fallen]
    if fallen:
        raise SystemExit(f"\nfell by more than {100 * FALLEN:.0f} %, or could not be measured: {'; '.join(fallen)}")
    print(f"\nno ratio fell by more than {100 * FALLEN:.0f} %")


if __name__ == "__main__":
    main()
