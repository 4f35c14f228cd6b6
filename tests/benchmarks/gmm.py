"""The Gaussian mixture of arXiv 1805.10469, trained as in the OVIS paper (arXiv 2008.01998, figure 2). By hand:

    OMP_NUM_THREADS=1 python -m tests.benchmarks.gmm --out FOLDER [--pairs iwae/vimco rws/reparam ..] [--k 10,20,5,2]
    python -m tests.benchmarks.gmm --out FOLDER --table

The paper's code is GitHub vlievin/ovis. ``experiments/gaussian-mixture-model.json`` has the settings and ten seeds,
``ovis/models/gaussian_mixture.py`` the model and both errors, ``ovis/datasets/utils.py`` and ``lib/datasets/gmm.py``
the data, ``ovis/analysis/gradients.py`` the SNR, and ``README.md`` says how each is summarised. So here: 100 new
examples of the true model in every step, Adam at 1e-3 in everything, 100,000 steps; then

- the posterior's error: the mean over x of the distance (Euclidean) of q(z | x) from the posterior of the true model;
- the prior's error: the distance of the learned cluster weights from the true ones;
- the SNR of the gradient of phi at a batch of 100 examples, from 500 draws of z: the mean over phi of |mean| / sd.

The summary of an error is its minimum over evaluations every 3,000 steps, and that of the SNR is its mean. What
differs: the posterior's error is the exact mean over x, by quadrature. The paper takes 100 new examples, and the
minimum takes advantage of their noise; this summary is ``as_published``. The SNR is measured every 10,000 steps
instead of every 3,000.

All pairs and seeds of one K train together, since a step of one alone would mostly be overhead: their networks are
stacked into one model, and each has its own part of the batch. ``tests/engine/programs/test_mixture.py`` shows that
each trains as it would alone. Results are written to FOLDER as they come, one file for each pair and K.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.estimators.base import Coefficients, Formula, ScoreEstimator
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.optimisation import Adam
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.snr import ratios
from dregcli.names import Promise
from dregcli.specs.number_lists import parse_seeds
from tests.benchmarks.support.command import run
from tests.benchmarks.support.statistics import mean_and_error
from tests.benchmarks.support.tables import table, with_error
from tests.support.mixture import CLUSTERS, DISTANCE, SCALE, Mixture, examples, mixture, true_joint, true_weights

BATCH, RATE, STEPS = 100, 1e-3, 100_000
AT_ONCE = 100
"""Steps whose examples are drawn together."""

EVALUATED, SUMMARISED = 1_000, 3_000
"""Steps between two evaluations of the errors, and between two that a summary uses, as in the paper."""

MEASURED, DRAWS, LEAST_VARIANCE = 10_000, 500, 1e-9
"""Steps between two measurements of the SNR, draws of one, and the variance from which a parameter counts."""

TVO = "tvo:partitions=5,beta=0.01/covariance"
PAIRS = ("iwae/ovis:gamma=1", "iwae/ovis", "rws/reparam", "iwae/vimco", TVO, "iwae/reinforce")
ARRAYS = ("model", "path", "score")

PUBLISHED: dict[str, dict[str, dict[int, float]]] = {
    "posterior": {
        "iwae/ovis:gamma=1": {10: 0.0125, 20: 0.013},
        "iwae/ovis": {10: 0.023, 20: 0.0225},
        "rws/reparam": {10: 0.030, 20: 0.024},
        "iwae/vimco": {10: 0.22, 20: 0.28},
        TVO: {10: 0.18, 20: 0.037},
        "iwae/reinforce": {10: 0.59, 20: 0.66},
    },
    "prior": {
        "iwae/ovis:gamma=1": {10: 0.0027, 20: 0.0027},
        "iwae/ovis": {10: 0.0027, 20: 0.0027},
        "rws/reparam": {10: 0.0027, 20: 0.0027},
        "iwae/vimco": {10: 0.0027, 20: 0.0027},
        TVO: {10: 0.14, 20: 0.0027},
        "iwae/reinforce": {10: 0.037, 20: 0.032},
    },
    "snr": {
        "iwae/ovis:gamma=1": {2: 0.65, 5: 1.1, 10: 1.6, 20: 2.3},
        "rws/reparam": {2: 0.47, 5: 0.46, 10: 0.53, 20: 0.69},
        "iwae/vimco": {2: 0.21, 5: 0.20, 10: 0.18, 20: 0.16},
        "iwae/reinforce": {2: 0.09, 5: 0.068, 10: 0.053, 20: 0.043},
    },
}
"""Values read off the picture ``.assets/gmm.png`` of the paper's code."""


@dataclass
class Course:
    """What one pair's training gave; each entry of a curve has one number for each seed.

    Attributes:
        pair: word of objective and estimator.
        k: samples per example.
        seeds: the seeds.
        steps: steps taken so far.
        posterior: the exact error of q, every ``EVALUATED`` steps.
        prior: the error of the cluster weights, every ``EVALUATED`` steps.
        as_published: the error of q at 100 new examples, every ``SUMMARISED`` steps.
        snr: SNR of phi's gradient, every ``MEASURED`` steps.
    """

    pair: str
    k: int
    seeds: list[int]
    steps: int = 0
    posterior: list[list[float]] = field(default_factory=list[list[float]])
    prior: list[list[float]] = field(default_factory=list[list[float]])
    as_published: list[list[float]] = field(default_factory=list[list[float]])
    snr: list[list[float]] = field(default_factory=list[list[float]])

    def summary(self, name: str) -> list[float]:
        """Return one number for each seed: the mean of the SNR, and the minimum of an error."""
        curve = torch.tensor(getattr(self, name), dtype=torch.float64)
        every = SUMMARISED // EVALUATED
        if name in ("posterior", "prior") and len(curve) > every:
            curve = curve[every::every]
        found = curve.mean(0) if name == "snr" else curve.amin(0)
        return [float(each) for each in found]


@dataclass(frozen=True)
class Beside(ScoreEstimator):
    """Several pairs, each for an equal part of the examples, in order.

    Attributes:
        pairs: pairs without a path.
        examples: number of examples of all pairs together.
    """

    name: ClassVar[str] = "beside"
    reference: ClassVar[str] = ""
    cites: ClassVar[tuple[str, ...]] = ()

    pairs: tuple[Pair, ...]
    examples: int

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute the weights of each pair from its own examples; ``objective`` is not used."""
        assert terms.log_w.shape[1] == self.examples, "the weights of some examples alone were requested"
        found = [
            pair.at(part)[1]
            for pair, part in zip(
                self.pairs, torch.split(terms.log_w, self.examples // len(self.pairs), dim=1), strict=True
            )
        ]
        return Coefficients(*(torch.cat([getattr(each, name) for each in found], 1) for name in ARRAYS))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise nothing."""
        return Promise.BIASED

    def formula(self, objective: Objective) -> Formula:
        """Return no formula: there are several."""
        return Formula("", "", "")


class Training:
    """The training of some pairs.

    Args:
        pairs: pairs of objective and estimator.
        k: samples per example.
        seeds: seeds of the weights and of the examples, which all pairs share; the noise has the first one.
    """

    def __init__(self, pairs: Sequence[Pair], k: int, seeds: Sequence[int]) -> None:
        self.k, self.count = k, len(pairs)
        self.batch = len(pairs) * len(seeds) * BATCH
        self.pair = Pair(Elbo(), Beside(tuple(pairs), self.batch))
        self.model = mixture([*seeds] * len(pairs))
        assert isinstance(self.model.module, Mixture)
        self.module = self.model.module
        parameters = {**self.model.model_parameters(), **self.model.posterior_parameters()}
        self.optimiser = Adam(parameters, lr=RATE)
        self.seeds = [Randomness(seed) for seed in seeds]
        self.drawn = torch.empty(0)
        self.grid = torch.linspace(-6 * SCALE, DISTANCE * (CLUSTERS - 1) + 6 * SCALE, 2_000).unsqueeze(1)
        joint = true_joint(self.grid.double()).exp()
        self.density = joint.sum(1) / joint.sum()

    def examples(self, stream: Stream, step: int, count: int = BATCH) -> Tensor:
        """Draw examples for each seed at its own address, (S, count, 1)."""
        return torch.stack([examples(count, each.generator(stream, step)) for each in self.seeds])

    def gradients(self, x: Tensor, stream: Stream, step: int, *, train_model: bool = True) -> dict[str, Tensor]:
        """Return the gradients of each pair and seed, (P S, ...), at examples of each seed, (S, 100, 1).

        Each is a mean over the 100 examples of its pair and seed; the engine divides by the whole batch instead.
        """
        whole = x.repeat(self.count, 1, 1).flatten(0, 1).to(self.module.prior_logits)
        draws = AddressedNoise(self.seeds[0], stream, step, k=self.k, batch=self.batch, width=1)
        found = Step(self.model, whole, draws, Execution()).gradients(self.pair, train_model=train_model)
        return {name: each * (self.batch / BATCH) for name, each in found.whole().items()}

    def step(self, step: int) -> None:
        """Take one training step (from 0)."""
        if step % AT_ONCE == 0:
            self.drawn = self.examples(Stream.PIXELS, step // AT_ONCE, AT_ONCE * BATCH)
        at = step % AT_ONCE * BATCH
        self.optimiser.step(self.gradients(self.drawn[:, at : at + BATCH], Stream.NOISE, step))

    @torch.no_grad()
    def distances(self, x: Tensor) -> Tensor:
        """Return the distance of q(z | x) from the true posterior, (P S, B); ``x`` is (S, B, 1)."""
        whole = x.repeat(self.count, 1, 1)
        q = self.module.logits(whole.flatten(0, 1)).softmax(-1)
        true = true_joint(whole.flatten(0, 1)).softmax(-1)
        return (q - true).square().sum(-1).sqrt().reshape(whole.shape[:2])

    def posterior(self) -> Tensor:
        """Return the exact mean of the distance over x, (P S,)."""
        return self.distances(self.grid.expand(len(self.seeds), *self.grid.shape)).double() @ self.density

    @torch.no_grad()
    def prior(self) -> Tensor:
        """Return the distance of the learned cluster weights from the true ones, (P S,)."""
        return (self.module.prior_logits.softmax(-1) - true_weights()).square().sum(-1).sqrt()

    def snr(self, step: int) -> Tensor:
        """Return the mean over phi of |mean| / sd of the gradient, (P S,)."""
        x = self.examples(Stream.DIAGNOSTIC_EXAMPLES, step)
        total = squares = torch.zeros(())
        for i in range(DRAWS):
            parts = self.gradients(x, Stream.DIAGNOSTIC_NOISE, step * DRAWS + i, train_model=False).values()
            flat = torch.cat([each.flatten(1) for each in parts], dim=1).double()
            total, squares = total + flat, squares + flat.square()
        mean = total / DRAWS
        variance = (squares - DRAWS * mean.square()) / (DRAWS - 1)
        counts = variance > LEAST_VARIANCE
        each = torch.where(counts, ratios(mean, variance)[0], 0.0)
        return each.sum(1) / counts.sum(1)

    def record(self, courses: Sequence[Course], step: int, *, is_last: bool) -> bool:
        """Append to the courses what is due after some steps; return whether it is time to write them."""
        due: dict[str, Tensor] = {}
        if step % EVALUATED == 0 or is_last:
            due |= {"posterior": self.posterior(), "prior": self.prior()}
        if step and (step % SUMMARISED == 0 or is_last):
            due["as_published"] = self.distances(self.examples(Stream.EVALUATION_PIXELS, step)).mean(1)
        if step and (step % MEASURED == 0 or is_last):
            due["snr"] = self.snr(step)
        for name, values in due.items():
            for course, part in zip(courses, torch.split(values, len(self.seeds)), strict=True):
                getattr(course, name).append(part.tolist())
        for course in courses:
            course.steps = step
        return "snr" in due


def pair_of(word: str, k: int) -> Pair:
    """Return the pair that ``objective/estimator`` names."""
    objective, _, estimator = word.partition("/")
    return resolve_pair(objective, estimator, k)


def train(words: Sequence[str], k: int, seeds: Sequence[int], steps: int) -> Iterator[list[Course]]:
    """Train pairs, and yield their courses whenever the SNR was measured."""
    training = Training([pair_of(word, k) for word in words], k, seeds)
    courses = [Course(word, k, list(seeds)) for word in words]
    for step in range(steps + 1):
        if training.record(courses, step, is_last=step == steps):
            yield courses
        if step < steps:
            training.step(step)


def path_of(folder: Path, word: str, k: int) -> Path:
    """Return the file of one pair and K."""
    return folder / f"{word.replace('/', '-').replace(':', '-').replace('=', '').replace(',', '-')}-k{k}.json"


def shown(folder: Path, name: str) -> str:
    """Return a table of one summary: pairs by K, ours and the published value."""
    courses = [Course(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    ks = sorted({course.k for course in courses})
    rows: list[list[str]] = []
    for word in dict.fromkeys([*PAIRS, *(course.pair for course in courses)]):
        found = {course.k: course for course in courses if course.pair == word}
        if not found:
            continue
        row = [word]
        for k in ks:
            known = PUBLISHED["posterior" if name == "as_published" else name].get(word, {}).get(k)
            row += [_cell(found[k], name) if k in found else "-", "-" if known is None else f"{known:g}"]
        rows.append(row)
    return table([name, *(title for k in ks for title in (f"K={k}", "paper"))], rows)


def _cell(course: Course, name: str) -> str:
    value, error = mean_and_error(course.summary(name))
    digits = 3 if name == "snr" else 4
    return with_error(value, error, digits) + ("" if course.steps == STEPS else f" at {course.steps:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=PAIRS, help="By default those of the paper.")
    parser.add_argument("--k", default="10,20,5,2")
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--table", action="store_true", help="Print the tables of what lies in the folder.")
    asked: Any = parser.parse_args()
    if asked.table:
        print("\n\n".join(shown(asked.out, name) for name in ("posterior", "as_published", "prior", "snr")))
        return
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    for k in map(int, asked.k.split(",")):
        started = time.process_time()
        for courses in train(asked.pairs, k, parse_seeds(asked.seeds)[0], asked.steps):
            for course in courses:
                path_of(asked.out, course.pair, k).write_text(json.dumps(asdict(course)))
            print(f"K={k}, step {courses[0].steps:,}: {time.process_time() - started:,.0f} CPU s", flush=True)


if __name__ == "__main__":
    run(main)
