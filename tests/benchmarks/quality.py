"""The bound at equal steps and at equal seconds, dense and screened, and screening's variance. By hand:

    python -m tests.benchmarks.quality [--steps 4000] [--seeds 0-4] [--modes dense-compiled,screened-compiled,...]

For each seed all modes train in turn, a stretch of steps each, from the same initial model on the same examples,
pixels and noise. Equal steps: the bound after ``--steps``. Equal seconds: every mode is given the seconds that the
slowest of that seed took for its steps; the others train on until they have spent as many: nothing is interpolated.
Only optimisation counts, not evaluation nor compilation. Differences are to the first mode, seed by seed.

Variance: on the first mode's model of the first seed, frozen, over many draws of noise on fixed examples, the share
that each other mode adds to the first's variance of the gradient. Nothing here asserts anything.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import torch

from dregcli.app.planning.plan import Plan
from dregcli.data.folders import default_data_dir
from dregcli.engine.device import prepare_process
from dregcli.engine.training import Trainer
from dregcli.names import Split
from tests.benchmarks.support.bounds import automatic_chunk, split_bounds
from tests.benchmarks.support.command import run
from tests.benchmarks.support.frozen import frozen_gradient
from tests.benchmarks.support.inflation import Inflation, inflation
from tests.benchmarks.support.modes import (
    MODES,
    NO_END,
    add_settings,
    make_plan,
    make_trainer,
    mode_options,
    names,
    numbers,
)
from tests.benchmarks.support.others import OtherWork
from tests.benchmarks.support.statistics import mean_and_error
from tests.benchmarks.support.tables import figure, table, with_error


@dataclass
class Course:
    """One mode's training from one seed."""

    plan: Plan
    trainer: Trainer
    asked: argparse.Namespace
    seconds: float = 0.0
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    at_steps: float = 0.0
    seconds_of_steps: float = 0.0
    at_seconds: float = 0.0
    steps_in_seconds: int = 0

    def advance(self) -> None:
        """One step, on the clock; with its row of metrics where one is due."""
        started = time.perf_counter()
        self.trainer.advance()
        if self.trainer.step % self.plan.spec.log_every == 0:
            self.trainer.row()
        self.seconds += time.perf_counter() - started

    def bound(self, limit: int | None) -> float:
        """The mean bound over the split now."""
        k = self.plan.spec.k
        chunk = automatic_chunk(self.plan, k)
        found = split_bounds(self.trainer.model, self.plan, self.asked.split, k=k, limit=limit, k_chunk=chunk)
        return float(found.mean())

    def mark(self) -> None:
        """A point of the curve, on some of the examples."""
        self.curve.append((self.trainer.step, self.seconds, self.bound(self.asked.curve_examples)))


def train(seed: int, asked: argparse.Namespace, data_dir: Path) -> dict[str, Course]:
    """All modes from one seed, in turn."""
    courses: dict[str, Course] = {}
    for mode in asked.modes:
        options = {"dataset": asked.dataset, "k": asked.k, "seed": seed, "device": "cpu", "steps": NO_END}
        plan = make_plan(options | mode_options(mode, asked.settings), data_dir)
        courses[mode] = Course(plan, make_trainer(plan), asked)
    for first in range(0, asked.steps, asked.eval_every):
        for course in courses.values():
            for _ in range(min(asked.eval_every, asked.steps - first)):
                course.advance()
            course.mark()
    for course in courses.values():
        course.at_steps, course.seconds_of_steps = course.bound(None), course.seconds
    given = max(course.seconds for course in courses.values())
    for course in courses.values():
        while course.seconds < given:
            course.advance()
        course.at_seconds, course.steps_in_seconds = course.bound(None), course.trainer.step
    return courses


def _bounds_row(mode: str, courses: Sequence[Course], first: Sequence[Course]) -> list[str]:
    """One mode's bounds over seeds, and their differences to the first mode's."""
    cells = [mode]
    for attribute, beside in (("at_steps", "seconds_of_steps"), ("at_seconds", "steps_in_seconds")):
        values = [getattr(course, attribute) for course in courses]
        differences = [value - getattr(other, attribute) for value, other in zip(values, first, strict=True)]
        cells += [
            figure(mean(getattr(course, beside) for course in courses), 1 if beside == "seconds_of_steps" else 0),
            with_error(*mean_and_error(values)),
            figure(stdev(values), 3) if len(values) > 1 else "-",
            "" if courses is first else with_error(*mean_and_error(differences), sign=True),
        ]
    return cells


def measure_inflation(model_of: Course, plans: dict[str, Plan], asked: argparse.Namespace) -> dict[str, dict]:
    """By mode, the inflation of the encoder's and the decoder's gradients against the first mode's."""
    model = model_of.trainer.model

    def of(plan: Plan) -> dict[str, Inflation]:
        sources = (
            (frozen_gradient(model, model_of.plan, batch=i), frozen_gradient(model, plan, batch=i))
            for i in range(asked.batches)
        )
        return inflation(sources, draws=asked.draws, group=lambda name: name.partition(".")[0])

    return {mode: of(plan) for mode, plan in plans.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2, 3, 4])
    parser.add_argument("--modes", type=names, default=["dense-compiled", "screened-compiled", "bfloat16-compiled"])
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--split", type=Split, default=Split.TEST)
    parser.add_argument("--eval-every", type=int, default=500)
    parser.add_argument("--curve-examples", type=int, default=1000, help="of the curve's points; the ends take all")
    parser.add_argument("--batches", type=int, default=16, help="of fixed examples, for the variance")
    parser.add_argument("--draws", type=int, default=64, help="of noise on each of them")
    parser.add_argument("--json", type=Path, default=None, help="keep all figures in this file")
    parser.add_argument("--data-dir", type=Path, default=None)
    add_settings(parser)
    asked = parser.parse_args()
    if strange := set(asked.modes) - set(MODES):
        parser.error(f"no such modes: {', '.join(sorted(strange))}; there are {', '.join(MODES)}")
    return asked


def main() -> None:
    """Train, print the bounds; measure the variance, print it."""
    asked = _arguments()
    prepare_process()
    data_dir = asked.data_dir or default_data_dir()
    others = OtherWork()
    found: dict[str, list[Course]] = {mode: [] for mode in asked.modes}
    for seed in asked.seeds:
        for mode, course in train(seed, asked, data_dir).items():
            found[mode].append(course)
            told = " ".join(f"{bound:.2f}" for _, _, bound in course.curve)
            print(f"seed {seed} {mode}: {told}; {course.at_steps:.3f}, {course.at_seconds:.3f}", flush=True)
    first = found[asked.modes[0]]
    print(
        f"\n{asked.dataset} {asked.split}, K={asked.k}, {len(asked.seeds)} seeds, {torch.get_num_threads()} threads;"
    )
    print(f"after {asked.steps} steps, and after as many seconds as the slowest took; ± standard error, nats")
    header = ["mode", "s", "bound", "s.d.", "difference", "steps", "bound", "s.d.", "difference"]
    print(table(header, [_bounds_row(mode, courses, first) for mode, courses in found.items()]))
    print(others.told())

    plans = {mode: courses[0].plan for mode, courses in found.items() if courses is not first}
    inflated = measure_inflation(first[0], plans, asked) if asked.draws > 1 else {}
    if inflated:
        print(f"\nvariance added to that of {asked.modes[0]}, %; {asked.batches} batches, {asked.draws} draws each")
        groups = list(next(iter(inflated.values())))
        rows = [
            [mode, *(with_error(100 * each[name].value, 100 * each[name].stderr) for name in groups)]
            for mode, each in inflated.items()
        ]
        print(table(["mode", *groups], rows))
    if asked.json:
        kept = {
            mode: [{"seed": seed, **_plain(course)} for seed, course in zip(asked.seeds, courses, strict=True)]
            for mode, courses in found.items()
        }
        variance = {mode: {name: vars(each) for name, each in groups.items()} for mode, groups in inflated.items()}
        asked.json.write_text(json.dumps({"courses": kept, "inflation": variance}, indent=1))


def _plain(course: Course) -> dict[str, object]:
    fields = ("curve", "at_steps", "seconds_of_steps", "at_seconds", "steps_in_seconds")
    return {name: getattr(course, name) for name in fields}


if __name__ == "__main__":
    run(main)
