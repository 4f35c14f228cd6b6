"""Annealed importance sampling: an estimate of log p(x) that does not use the posterior q.

Chains go from the prior p(z), or p(z | c), to the true posterior through f_b(z) = p(z) p(x | z)^b, by one Hamiltonian
transition at each of N - 1 inverse temperatures. Each chain carries a weight w with E[w] = p(x), for any q, however
badly q fits. So annealing gives a second opinion on an importance estimate, which cannot see regions where q draws
no samples.

The result is the log of the mean weight: the log of an unbiased estimate. So in expectation the result is a **lower**
bound of log p(x) (Jensen), too low by about half the square of its standard error. The same holds for the importance
estimate. If the two disagree and annealing is higher, the importance estimate has missed mass. If annealing is lower,
its schedule is too short.

Weights are unbiased only if a transition's settings do not depend on the chain's past. So a pilot pass with few
chains and its own noise finds a step size for every example and temperature, and the measured chains use these step
sizes.

References: Neal, "Annealed importance sampling", arXiv physics/9803008; Wu, Burda, Salakhutdinov, Grosse, "On the
quantitative analysis of decoder-based generative models", arXiv 1611.04273.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.defaults import ANNEALING_CHAINS, ANNEALING_STEPS
from dregcli.engine.annealed import Annealed
from dregcli.engine.annealing_draws import MOST_STEPS, AnnealingDraws
from dregcli.engine.examples import Examples
from dregcli.engine.hamiltonian import Points, transition
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH, Pixels, evaluation_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import Fault, NotFinite
from dregcli.names import Split

TARGET_ACCEPTANCE = 0.65
"""Acceptance that step sizes are adapted to; near the optimum for Hamiltonian transitions (arXiv 1206.1901, 4.4)."""

LONGEST = 0.5 * math.pi
"""Largest length of a trajectory. In a direction that the likelihood leaves as wide as the prior, a quarter of a
period forgets the start, and half a period arrives at the start's mirror image."""

JITTER = 0.2
"""Largest relative change of a step size, up or down, drawn for every chain and transition. If all trajectories had
one length, a direction with this length as its period would return to its start every time."""

_GAIN = 0.25
"""Change of a step size's logarithm if the acceptance is off by 1, in the long run. With this gain, step sizes follow
the temperatures within about six steps, and the noise of four chains moves them by only a few per cent."""

_SHARPNESS = 4.0


@dataclass(frozen=True)
class Annealing:
    """Settings of the annealing.

    Attributes:
        steps: N, increments of the inverse temperature. Twice as many about halve the variance of log-weights.
        chains: measured chains of each example, M. More chains reduce the error and also estimate it better.
        leapfrogs: leapfrog steps in a transition; each evaluates the decoder and its derivative once.
        pilot_chains: chains of each example that find the step sizes.
    """

    steps: int = ANNEALING_STEPS
    chains: int = ANNEALING_CHAINS
    leapfrogs: int = 10
    pilot_chains: int = 4


def number_faults(*, steps: int, chains: int, leapfrogs: int) -> list[Fault]:
    """Return the faults in the numbers of an annealing."""
    faults: list[Fault] = []
    if type(steps) is not int or not 2 <= steps <= MOST_STEPS:
        faults.append(Fault("steps", f"must be a whole number from 2 to {MOST_STEPS}, got {steps}."))
    if type(chains) is not int or chains < 2:
        faults.append(Fault("chains", f"must be a whole number, at least 2, for a standard error, got {chains}."))
    if type(leapfrogs) is not int or leapfrogs < 1:
        faults.append(Fault("leapfrogs", f"must be a whole number, at least 1, got {leapfrogs}."))
    return faults


def schedule(steps: int) -> Tensor:
    """Return inverse temperatures 0 = b_0 < ... < b_N = 1, float64, shape (N + 1,).

    They follow a sigmoid from -4 to 4, rescaled. Increments are small where chains leave the prior, whose draws
    explain x worst, and where chains arrive (arXiv 1611.04273).
    """
    along = torch.sigmoid(torch.linspace(-_SHARPNESS, _SHARPNESS, steps + 1, dtype=torch.float64))
    return (along - along[0]) / (along[-1] - along[0])


class AnnealedBatch:
    """The annealing of one evaluation batch, one transition at a time; it can stop and continue after each.

    Every random number is drawn by address, so the state holds none, and a continued annealing ends with the same
    bits.

    Args:
        model: the model; its posterior is not used.
        pixels: shape (B, D), at most a whole evaluation batch.
        annealing: settings of the annealing.
        split: split of these examples; noise is addressed by it.
        batch: index of the evaluation batch in the split.
        seed: seed of the evaluation, never the training's seed.
    """

    def __init__(
        self, model: Model, pixels: Tensor, annealing: Annealing, *, split: Split, batch: int, seed: int
    ) -> None:
        self.annealing, self.batch = annealing, batch
        self._split, self._examples = split, len(pixels)
        self._likelihood = likelihood = model.annealed(pixels)
        self._draws = AnnealingDraws(
            Randomness(seed, pixels.device), split, batch, len(pixels), likelihood.width, likelihood.dtype
        )
        self._b: list[float] = schedule(annealing.steps).tolist()
        self._longest = LONGEST / max(1, annealing.leapfrogs)
        self._step_sizes = torch.full(
            (annealing.steps - 1, len(pixels)), self._longest, dtype=torch.float64, device=pixels.device
        )
        self._pilot = True
        self._index = 0
        self._begin()

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        return self._examples

    @property
    def _chains(self) -> int:
        return self.annealing.pilot_chains if self._pilot else self.annealing.chains

    def _begin(self) -> None:
        """Draw the chains of a pass from the prior."""
        self._points = self._likelihood(self._likelihood.start(self._draws.states(self._chains, pilot=self._pilot)))
        # -inf is a density of 0 and a weight of 0. Later values are finite, since no chain moves to a density of 0.
        self._refuse(
            ~(self._points.log_likelihood < math.inf), "log p(x | z) is not a number at a draw of the prior."
        )
        self._log_weights = torch.zeros_like(self._points.log_likelihood)
        self._accepted = torch.zeros_like(self._points.log_likelihood[0])

    def _refuse(self, wrong: Tensor, what: str) -> None:
        """Raise for the first example with a wrong chain; ``wrong`` has shape (M, B)."""
        if wrong.any():
            example = self.batch * EVALUATION_BATCH + int(wrong.any(dim=0).nonzero()[0])
            hint = "look for overflow in the model at these parameters"
            raise NotFinite(what, where=f"example {example} of {self._split}, counted from 0", hint=hint)

    @property
    def work(self) -> int:
        """Number of transitions of single chains in total, including the pilot's."""
        return (self.annealing.steps - 1) * (self.annealing.pilot_chains + self.annealing.chains)

    @property
    def worked(self) -> int:
        """Number of these transitions that are done."""
        before = 0 if self._pilot else (self.annealing.steps - 1) * self.annealing.pilot_chains
        return before + self._index * self._chains

    @property
    def done(self) -> bool:
        """Whether the measured chains have arrived."""
        return not self._pilot and self._index == self.annealing.steps - 1

    def advance(self) -> None:
        """Move all chains of the pass to the next temperature: first update their weights, then their positions.

        Raises:
            NotFinite: log p(x | z) is NaN or +inf at a draw of the prior.
            RuntimeError: the annealing is done.
        """
        if self.done:
            message = "the chains have arrived"
            raise RuntimeError(message)
        b, index = self._b, self._index
        self._log_weights = self._log_weights + (b[index + 1] - b[index]) * self._points.log_likelihood
        acceptance = self._move(b[index + 1], self._step_sizes[index]).mean(dim=0)
        self._accepted = self._accepted + acceptance
        if self._pilot:
            self._adapt(acceptance)
        self._index += 1
        if self._pilot and self._index == self.annealing.steps - 1:
            self._pilot, self._index = False, 0
            self._begin()

    def _move(self, b: float, step_size: Tensor) -> Tensor:
        """Make one transition of all chains and return the probabilities of acceptance, shape (M, B)."""
        momentum = self._draws.normal(Stream.ANNEALING_MOMENTA, self._index, self._chains, pilot=self._pilot)
        decides, varies = self._draws.uniform(self._index, self._chains, pilot=self._pilot)
        self._points, probability = transition(
            self._likelihood,
            self._points,
            momentum,
            decides,
            b=b,
            step_size=step_size * (1.0 + JITTER * (2.0 * varies - 1.0)),
            leapfrogs=self.annealing.leapfrogs,
        )
        return probability

    def _adapt(self, acceptance: Tensor) -> None:
        """Set the step sizes from this temperature on, from the pilot's mean acceptance, shape (B,)."""
        # Move more at first, when step sizes may be far off, but always enough to follow the temperatures.
        gain = max(_GAIN, (1 + self._index) ** -0.5)
        moved = self._step_sizes[self._index] * (gain * (acceptance - TARGET_ACCEPTANCE)).exp()
        self._step_sizes[self._index :] = moved.clamp(max=self._longest)

    def state(self) -> tuple[dict[str, int], dict[str, Tensor]]:
        """Return all that a later process needs to continue, as plain numbers and tensors by name.

        The returned tensors do not change when the batch continues.
        """
        tensors = {
            "step_sizes": self._step_sizes.clone(),
            "log_weights": self._log_weights,
            "accepted": self._accepted,
            **self._points.tensors(),
        }
        return {"pilot": int(self._pilot), "index": self._index}, tensors

    def load(self, numbers: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
        """Continue from the state of an annealing of the same model, pixels and arguments."""
        self._pilot, self._index = bool(numbers["pilot"]), numbers["index"]
        own = {name: tensor.to(self._step_sizes.device) for name, tensor in tensors.items()}
        self._step_sizes = own.pop("step_sizes").clone()
        self._log_weights, self._accepted = own.pop("log_weights"), own.pop("accepted")
        self._points = Points(**own)

    def result(self) -> Annealed:
        """Return the result of the measured chains.

        Raises:
            NotFinite: no chain of an example has a positive weight.
            RuntimeError: the annealing is not done.
        """
        if not self.done:
            message = "the chains have not arrived"
            raise RuntimeError(message)
        log_weights = self._log_weights + (self._b[-1] - self._b[-2]) * self._points.log_likelihood
        none = (log_weights == -math.inf).all(dim=0, keepdim=True)
        self._refuse(none, "log p(x | z) is -inf along every chain.")
        return Annealed(log_weights, self._accepted / (self.annealing.steps - 1))


def anneal(
    model: Model,
    examples: Examples,
    pixels: Pixels,
    annealing: Annealing,
    *,
    split: Split,
    seed: int,
    limit: int | None = None,
    first_batch: int = 0,
) -> Iterator[AnnealedBatch]:
    """Yield the evaluation batches of a split; the caller advances each until it is done.

    Args:
        model: the model.
        examples: examples of the split, on the model's device.
        pixels: rule that turns stored values into pixels; under the same seed they equal those in ``evaluate``.
        annealing: settings of the annealing.
        split: name of the split; pixels and noise are addressed by it.
        seed: seed of the evaluation, never the training's seed.
        limit: number of examples to use, from the first on; None uses all.
        first_batch: index of the batch to begin with; earlier batches are already known.
    """
    randomness = Randomness(seed)
    count = len(examples) if limit is None else min(limit, len(examples))
    for batch in range(first_batch, -(-count // EVALUATION_BATCH)):
        first = batch * EVALUATION_BATCH
        rows = examples.rows(torch.arange(first, min(first + EVALUATION_BATCH, count)))
        seen = evaluation_pixels(pixels, rows, randomness, split, batch)
        yield AnnealedBatch(model, seen, annealing, split=split, batch=batch, seed=seed)
